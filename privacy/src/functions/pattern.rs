//! Regular expressions: literals, compiled while the question is planned and held to a size, matched in linear time
//! (no look-around, no back-references; the syntax is that of the regex crate).

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use regex::{Regex, RegexBuilder};

use super::text::Short;
use super::{arrays, literal, typed, wrong_types};

/// Longest pattern of LIKE and SIMILAR TO, in bytes.
pub(crate) const MAX_PATTERN_BYTES: usize = 256;

/// Longest regular expression, in bytes.
const MAX_REGEX_BYTES: usize = 512;

/// Largest compiled pattern, in bytes.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// A function of a text and a literal regular expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Is there a match?
    Like,
    /// Matches that do not overlap.
    Count,
    /// The first match, NULL without one.
    Substring,
    /// A literal in the place of the first match, or with the flag `g` of each; `\1` is a group of the match.
    Replace,
}

/// The planner coerces arguments by [`ScalarUDFImpl::coerce_types`].
static SIGNATURE: LazyLock<Signature> = LazyLock::new(|| Signature::user_defined(Volatility::Immutable));

/// The compiled pattern, and whether every match is meant; none when it is too large or not one.
pub(crate) fn compiled(pattern: &str, flags: &str) -> Option<(Regex, bool)> {
    if pattern.len() > MAX_REGEX_BYTES || !flags.chars().all(|flag| "imsg".contains(flag)) {
        return None;
    }
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(MAX_COMPILED_BYTES).dfa_size_limit(MAX_COMPILED_BYTES);
    builder.case_insensitive(flags.contains('i'));
    builder.multi_line(flags.contains('m')).dot_matches_new_line(flags.contains('s'));
    builder.build().ok().map(|regex| (regex, flags.contains('g')))
}

/// The regular expression of SQL's SIMILAR TO, which matches whole texts: `%` is any text, `_` any character, a
/// backslash takes the next character as it is, `. ^ $` stand for themselves.
pub(crate) fn similar(pattern: &str) -> String {
    let mut regex = String::from("(?s)^(?:");
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            '\\' => regex.push_str(&regex::escape(chars.next().unwrap_or('\\').encode_utf8(&mut [0; 4]))),
            '.' | '^' | '$' => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
            other => regex.push(other),
        }
    }
    regex.push_str(")$");
    regex
}

impl Pattern {
    /// Where the flags stand, when they are given.
    pub(crate) const fn flags_at(self) -> usize {
        if matches!(self, Self::Replace) { 3 } else { 2 }
    }

    fn regex(self, args: &ScalarFunctionArgs) -> Result<(Regex, bool)> {
        let flags = if args.args.len() > self.flags_at() { words(args, self.flags_at())? } else { "" };
        // It was compiled once while the question was planned.
        compiled(words(args, 1)?, flags).ok_or_else(|| exec_datafusion_err!("not a regular expression"))
    }
}

impl ScalarUDFImpl for Pattern {
    fn name(&self) -> &str {
        match self {
            Self::Like => "regexp_like",
            Self::Count => "regexp_count",
            Self::Substring => "regexp_substr",
            Self::Replace => "regexp_replace",
        }
    }

    fn signature(&self) -> &Signature {
        &SIGNATURE
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let texts = types.iter().all(|t| matches!(t, DataType::Utf8 | DataType::Null));
        if texts && (self.flags_at()..=self.flags_at() + 1).contains(&types.len()) {
            Ok(vec![DataType::Utf8; types.len()])
        } else {
            Err(wrong_types(self.name(), types))
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        // The planner has coerced the arguments; a plan from elsewhere must not skip that.
        if self.coerce_types(types)? != types {
            return Err(wrong_types(self.name(), types));
        }
        Ok(match self {
            Self::Like => DataType::Boolean,
            Self::Count => DataType::Int64,
            Self::Substring | Self::Replace => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = arrays(&args)?;
        let text: &StringArray = typed(&columns, 0)?;
        let (regex, every) = self.regex(&args)?;
        let result: ArrayRef = match self {
            Self::Like => Arc::new(text.iter().map(|t| t.map(|t| regex.is_match(t))).collect::<BooleanArray>()),
            Self::Count => {
                let count = |t: &str| i64::try_from(regex.find_iter(t).count()).ok();
                Arc::new(text.iter().map(|t| count(t?)).collect::<Int64Array>())
            }
            Self::Substring => {
                let first = |t: Option<&str>| -> Option<String> {
                    let mut to = Short::default();
                    to.push(regex.find(t?)?.as_str()).map(|()| to.0)
                };
                Arc::new(text.iter().map(first).collect::<StringArray>())
            }
            Self::Replace => {
                let with = template(words(&args, 2)?);
                let most = if every { usize::MAX } else { 1 };
                Arc::new(text.iter().map(|t| replaced(t?, &regex, &with, most)).collect::<StringArray>())
            }
        };
        Ok(ColumnarValue::Array(result))
    }
}

/// A part of a replacement.
enum Part {
    Text(String),
    Group(usize),
}

/// `\1` to `\9` are groups, `\0` and `\&` the whole match, `\\` a backslash.
fn template(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let group = match c {
            '\\' => match chars.next() {
                Some('&') => Some(0),
                Some(digit) if digit.is_ascii_digit() => digit.to_digit(10).and_then(|d| usize::try_from(d).ok()),
                other => {
                    plain.push(other.unwrap_or('\\'));
                    None
                }
            },
            other => {
                plain.push(other);
                None
            }
        };
        if let Some(group) = group {
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(Part::Group(group));
        }
    }
    parts.push(Part::Text(plain));
    parts
}

fn replaced(text: &str, regex: &Regex, with: &[Part], most: usize) -> Option<String> {
    let mut to = Short::default();
    let mut from = 0;
    for found in regex.captures_iter(text).take(most) {
        let whole = found.get(0)?;
        to.push(text.get(from..whole.start())?)?;
        for part in with {
            match part {
                Part::Text(text) => to.push(text)?,
                Part::Group(group) => to.push(found.get(*group).map_or("", |group| group.as_str()))?,
            }
        }
        from = whole.end();
    }
    to.push(text.get(from..)?)?;
    Some(to.0)
}

fn words(args: &ScalarFunctionArgs, index: usize) -> Result<&str> {
    match literal(args, index)? {
        ScalarValue::Utf8(Some(value)) => Ok(value),
        _ => Err(exec_datafusion_err!("argument {} is not a text", index + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_to_matches_whole_texts_and_takes_dots_as_they_are() {
        for (pattern, text, matches) in [
            ("J4(4|5)%", "J45.901", true),
            ("J4(4|5)%", "xJ45", false),
            ("a.c", "abc", false),
            ("a.c", "a.c", true),
            ("a_c", "a\nc", true),
            ("50\\%", "50%", true),
            ("50\\%", "500", false),
            ("[0-9]+", "17", true),
            ("a|b", "ab", false),
            ("a|b", "b", true),
            ("^a$", "a", false),
        ] {
            let (regex, _) = compiled(&similar(pattern), "").unwrap();
            assert_eq!(regex.is_match(text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn patterns_that_are_too_large_or_none_are_not_compiled() {
        for (pattern, flags) in
            [("(((a{100}){100}){100}){100}", ""), ("(", ""), ("(?=a)", ""), (r"(a)\1", ""), ("a", "x"), ("a", "e")]
        {
            assert!(compiled(pattern, flags).is_none(), "{pattern} {flags}");
        }
        assert!(compiled(&"a".repeat(MAX_REGEX_BYTES + 1), "").is_none());
        assert!(compiled("^e1[0-4]", "i").is_some_and(|(regex, every)| regex.is_match("E11") && !every));
    }

    #[test]
    fn a_replacement_takes_groups_and_never_grows_past_the_limit() {
        let of = |text: &str, pattern: &str, with: &str, flags: &str| {
            let (regex, every) = compiled(pattern, flags).unwrap();
            replaced(text, &regex, &template(with), if every { usize::MAX } else { 1 })
        };
        assert_eq!(of("2020-01", r"(\d+)-(\d+)", r"\2/\1", "").as_deref(), Some("01/2020"));
        assert_eq!(of("a-b-c", "-", r"\\", "g").as_deref(), Some(r"a\b\c"));
        assert_eq!(of("a-b-c", "-", "", "").as_deref(), Some("ab-c"));
        assert_eq!(of("ab", "", "x", "g").as_deref(), Some("xaxbx"));
        assert_eq!(of(&"a".repeat(4000), "", "xx", "g"), None);
        assert_eq!(of("abc", "b", r"[\&\9]", "").as_deref(), Some("a[b]c"));
    }
}
