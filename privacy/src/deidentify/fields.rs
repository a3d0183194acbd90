//! Reading a bundle's rows by an allow-list of fields, with Safe Harbor's identifiers as a check on the rest.

use serde_json::{Map, Value};

use super::Fault;
use crate::day::Day;

/// Words that mark a field as one of Safe Harbor's 18 identifiers (45 CFR 164.514(b)(2)(i)), whole parts of a
/// field's name in lower case. Places and dates are not here: they are generalized.
const IDENTIFYING: [&str; 48] = [
    "account",
    "address",
    "beneficiary",
    "biometric",
    "birthplace",
    "certificate",
    "city",
    "contact",
    "device",
    "drivers",
    "email",
    "face",
    "family",
    "fax",
    "fingerprint",
    "first",
    "firstname",
    "given",
    "image",
    "initials",
    "insurance",
    "ip",
    "last",
    "lastname",
    "lat",
    "latitude",
    "license",
    "lon",
    "longitude",
    "maiden",
    "middle",
    "mrn",
    "name",
    "passport",
    "phone",
    "photo",
    "plate",
    "retina",
    "serial",
    "social",
    "ssn",
    "street",
    "surname",
    "telephone",
    "udi",
    "url",
    "vin",
    "voice",
];

/// One row of a bundle: an object of scalar fields.
pub(super) struct Fields<'a> {
    table: &'static str,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The row, once every field outside `allowed` is known to be harmless (it drops) and every allowed text too.
    pub(super) fn check(table: &'static str, value: &'a Value, allowed: &[&str]) -> Result<Self, Fault> {
        let Value::Object(map) = value else {
            return Err(Fault::Row { table, field: "" });
        };
        for (name, value) in map {
            let identifies = if allowed.contains(&name.as_str()) {
                value.as_str().is_some_and(looks_identifying)
            } else {
                named_identifying(name)
            };
            if identifies {
                return Err(Fault::Identifier { field: printable(name) });
            }
        }
        Ok(Self { table, map })
    }

    fn bad(&self, field: &'static str) -> Fault {
        Fault::Row { table: self.table, field }
    }

    /// The field's value; null is the same as none.
    fn value(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|v| !v.is_null())
    }

    /// A text; an empty one is none.
    pub(super) fn text(&self, field: &'static str) -> Result<Option<&'a str>, Fault> {
        match self.value(field) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.bad(field)),
        }
    }

    /// A text that must be there.
    pub(super) fn need(&self, field: &'static str) -> Result<&'a str, Fault> {
        self.text(field)?.ok_or_else(|| self.bad(field))
    }

    /// A day.
    pub(super) fn day(&self, field: &'static str) -> Result<Option<Day>, Fault> {
        match self.text(field)? {
            None => Ok(None),
            Some(text) => Day::parse(text).map(Some).ok_or_else(|| self.bad(field)),
        }
    }

    /// A day that must be there.
    pub(super) fn need_day(&self, field: &'static str) -> Result<Day, Fault> {
        self.day(field)?.ok_or_else(|| self.bad(field))
    }

    /// A whole number.
    pub(super) fn integer(&self, field: &'static str) -> Result<Option<i64>, Fault> {
        match self.value(field) {
            None => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| self.bad(field)),
        }
    }

    /// A number in units of 10^-scale, the nearest one; a decimal in a text or a JSON number.
    pub(super) fn decimal(&self, field: &'static str, scale: i32) -> Result<Option<i64>, Fault> {
        let number = match self.value(field) {
            None => return Ok(None),
            Some(Value::String(text)) => text.trim().parse::<f64>().ok(),
            Some(value) => value.as_f64(),
        };
        let units = number.filter(|n| n.is_finite()).map(|n| (n * 10_f64.powi(scale)).round());
        // `as` saturates, and the catalog's bounds clamp far inside.
        units.map(|n| Some(n as i64)).ok_or_else(|| self.bad(field))
    }
}

/// Refuses a bundle's unknown parts when one is named like an identifier; the others drop.
pub(super) fn refuse_identifiers<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<(), Fault> {
    names.find(|name| named_identifying(name)).map_or(Ok(()), |name| Err(Fault::Identifier { field: printable(name) }))
}

/// Does a field's name say that it holds an identifier? Its parts are split at `_`, `-`, `.` and inner capitals.
fn named_identifying(name: &str) -> bool {
    let mut parts = String::with_capacity(name.len() + 4);
    let mut lower_before = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && lower_before {
            parts.push('_');
        }
        lower_before = c.is_ascii_lowercase();
        parts.push(c.to_ascii_lowercase());
    }
    parts.split(|c: char| !c.is_ascii_alphabetic()).any(|part| IDENTIFYING.binary_search(&part).is_ok())
}

/// Does a text have the shape of an email or web address, an internet address, a social security or telephone number?
fn looks_identifying(text: &str) -> bool {
    if text.len() < 7 {
        return false;
    }
    let groups = || text.split(|c: char| !c.is_ascii_digit()).map(str::len);
    let shaped = |shape: &[usize]| {
        text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.' | b' ' | b'(' | b')' | b'+'))
            && groups().filter(|l| *l > 0).eq(shape.iter().copied())
    };
    let internet =
        text.matches('.').count() == 3 && text.split('.').all(|part| part.parse::<u8>().is_ok() && part.len() <= 3);
    text.contains('@') || text.contains("://") || shaped(&[3, 2, 4]) || shaped(&[3, 3, 4]) || internet
}

/// The field's name as reports may print it: letters, digits and `_`, at most 40.
fn printable(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_sorted_for_the_search() {
        assert!(IDENTIFYING.is_sorted());
    }

    #[test]
    fn identifiers_are_known_by_name() {
        for name in
            ["ssn", "SSN", "patient_name", "firstName", "home-address", "email", "PHONE", "device_serial", "LAT"]
        {
            assert!(named_identifying(name), "{name}");
        }
        for name in ["note", "laterality", "lastingeffect", "gender", "username2x", "unit_source_value", "race"] {
            assert!(!named_identifying(name), "{name}");
        }
    }

    #[test]
    fn identifiers_are_known_by_shape() {
        for text in ["999-57-6663", "(978) 466-2000", "978-342-9781", "a@b.org", "https://x.org/1", "192.168.10.7"] {
            assert!(looks_identifying(text), "{text}");
        }
        for text in ["8480-6", "2020-03-01", "840539006", "368581000119106", "01453", "mm[Hg]", "1.5", "A-123-45"] {
            assert!(!looks_identifying(text), "{text}");
        }
    }

    #[test]
    fn a_refusal_names_the_field_and_never_the_value() {
        let row = serde_json::json!({"gender": "female", "ssn": "999-57-6663"});
        let fault = Fields::check("person", &row, &["gender"]).err().unwrap();
        assert_eq!(fault, Fault::Identifier { field: "ssn".into() });
        assert!(!fault.to_string().contains("999"));
        let planted = serde_json::json!({"gender": "999-57-6663"});
        let fault = Fields::check("person", &planted, &["gender"]).err().unwrap();
        assert_eq!(fault, Fault::Identifier { field: "gender".into() });
    }

    #[test]
    fn decimals_round_to_the_grid() {
        let row = serde_json::json!({"a": 1.005, "b": "13.649", "c": -2, "d": "many", "e": 1e300});
        let fields = Fields::check("measurement", &row, &["a", "b", "c", "d", "e"]).unwrap();
        assert_eq!(fields.decimal("b", 2), Ok(Some(1365)));
        assert_eq!(fields.decimal("c", 2), Ok(Some(-200)));
        assert!(fields.decimal("d", 2).is_err());
        assert_eq!(fields.decimal("e", 2), Ok(Some(i64::MAX)));
    }
}
