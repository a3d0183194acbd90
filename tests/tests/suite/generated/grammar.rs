//! Questions from a seed: expressions of every type and function of the dialect, over every shape of plan, with the
//! numbers, texts and dates that break things among their literals.

use rand::{RngExt, rngs::StdRng};

/// Columns that expressions may name, by type.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    pub ints: Vec<String>,
    pub decimals: Vec<String>,
    pub texts: Vec<String>,
    pub dates: Vec<String>,
}

/// Writes questions.
pub struct Grammar<'r> {
    rng: &'r mut StdRng,
}

const INTS: [&str; 10] =
    ["0", "1", "-1", "2", "7", "100", "9223372036854775807", "-9223372036854775807", "86400", "1000000000000"];
const DECIMALS: [&str; 7] = [
    "CAST('0.01' AS DECIMAL(18,2))",
    "CAST('-99999999999999999999999999999999999999' AS DECIMAL(38,0))",
    "CAST('99999999999999999999999999999999999.999' AS DECIMAL(38,3))",
    "CAST(0 AS DECIMAL(5,5))",
    "CAST('0.00000000000000000000000000000000000001' AS DECIMAL(38,38))",
    "CAST('12.5' AS DECIMAL(4,1))",
    "CAST(-1 AS DECIMAL(1,0))",
];
const FLOATS: [&str; 7] = ["0.0", "-0.5", "1e308", "-1e308", "5e-324", "3.25", "1e18"];
const TEXTS: [&str; 12] = [
    "''",
    "'a'",
    "'%'",
    "'_\\'",
    "'NaN'",
    "'-inf'",
    "'1e999'",
    "'2020-02-30'",
    "'-262143-01-01'",
    "'\u{df}\u{130}'",
    "'99999999999999999999999999999999999999999'",
    "' 7 '",
];
const DATES: [&str; 5] = ["DATE '0001-01-01'", "DATE '9999-12-31'", "DATE '2020-02-29'", "DATE '1970-01-01'", "now()"];
const UNITS: [&str; 6] = ["year", "quarter", "month", "week", "day", "decade"];
const PARTS: [&str; 10] = ["year", "quarter", "month", "week", "day", "decade", "isoyear", "dow", "isodow", "doy"];
const PATTERNS: [&str; 7] = ["'^.'", "'(a|b)*$'", "'[0-9]{2,5}'", "'(?i)\u{130}'", "''", "'\\d+|n'", "'(.)(.)?'"];
const INTERVALS: [&str; 6] =
    ["1 day", "13 months", "99999 years", "-5 weeks", "1 year 2 months 3 days", "2147483647 days"];

impl<'r> Grammar<'r> {
    pub fn new(rng: &'r mut StdRng) -> Self {
        Self { rng }
    }

    pub fn below(&mut self, most: usize) -> usize {
        self.rng.random_range(0..most)
    }

    pub fn odds(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    pub fn pick(&mut self, of: &[&str]) -> String {
        let index = self.below(of.len());
        of[index].to_owned()
    }

    fn column(&mut self, of: &[String], otherwise: &[&str]) -> String {
        if of.is_empty() || self.odds(4) {
            return self.pick(otherwise);
        }
        let index = self.below(of.len());
        of[index].clone()
    }

    /// A whole number.
    pub fn int(&mut self, c: &Columns, depth: usize) -> String {
        if depth == 0 {
            return self.column(&c.ints, &INTS);
        }
        let d = depth - 1;
        match self.below(20) {
            0..4 => {
                let op = self.pick(&["+", "-", "*", "/", "%"]);
                format!("({} {op} {})", self.int(c, d), self.int(c, d))
            }
            4 => format!("(-{})", self.int(c, d)),
            5 => format!("length({})", self.text(c, d)),
            6 => format!("strpos({}, {})", self.text(c, d), self.pick(&TEXTS)),
            7 => format!("regexp_count({}, {})", self.text(c, d), self.pick(&PATTERNS)),
            8 => format!("date_part('{}', {})", self.pick(&PARTS), self.date(c, d)),
            9 => format!("date_diff('{}', {}, {})", self.pick(&UNITS), self.date(c, d), self.date(c, d)),
            10 => format!("age({}, {})", self.date(c, d), self.date(c, d)),
            11 => format!("({} - {})", self.date(c, d), self.date(c, d)),
            12 => {
                let from = self.castable(c, d);
                let to = self.pick(&["BIGINT", "INT", "SMALLINT", "TINYINT"]);
                format!("CAST(TRY_CAST({from} AS {to}) AS BIGINT)")
            }
            13 => format!("{}({})", self.pick(&["abs", "sign", "floor", "ceil", "round"]), self.int(c, d)),
            14 => format!(
                "{}({}, {})",
                self.pick(&["round", "trunc"]),
                self.int(c, d),
                self.pick(&["-2", "-19", "3", "-400"])
            ),
            15 => self.conditional(c, d, Self::int),
            16 => {
                let count = self.pick(&["1", "9", "9223372036854775807"]);
                format!("width_bucket({}, {}, {}, {count})", self.float(c, d), self.pick(&FLOATS), self.pick(&FLOATS))
            }
            17 => format!("mod({}, {})", self.int(c, d), self.int(c, d)),
            18 => format!("CAST({} AS BIGINT)", self.bool(c, d)),
            _ => self.int(c, 0),
        }
    }

    /// A decimal.
    pub fn decimal(&mut self, c: &Columns, depth: usize) -> String {
        if depth == 0 {
            return self.column(&c.decimals, &DECIMALS);
        }
        let d = depth - 1;
        match self.below(9) {
            0..3 => {
                let op = self.pick(&["+", "-", "*", "/", "%"]);
                format!("({} {op} {})", self.decimal(c, d), self.decimal(c, d))
            }
            3 => format!(
                "{}({})",
                self.pick(&["abs", "sign", "floor", "ceil", "round", "trunc", "-"]),
                self.decimal(c, d)
            ),
            4 => format!("round({}, {})", self.decimal(c, d), self.pick(&["1", "-3", "40", "-40"])),
            5 => {
                let from = self.castable(c, d);
                let to = self.pick(&["DECIMAL(38,0)", "DECIMAL(38,10)", "DECIMAL(3,2)", "DECIMAL(18,2)"]);
                format!("TRY_CAST(TRY_CAST({from} AS VARCHAR) AS {to})")
            }
            6 => self.conditional(c, d, Self::decimal),
            7 => format!("CAST(abs({}) AS DECIMAL(20,1))", self.int(c, d)),
            _ => self.decimal(c, 0),
        }
    }

    /// A float.
    pub fn float(&mut self, c: &Columns, depth: usize) -> String {
        if depth == 0 {
            return self.pick(&FLOATS);
        }
        let d = depth - 1;
        match self.below(8) {
            0 | 1 => {
                let op = self.pick(&["+", "-", "*", "/", "%"]);
                format!("({} {op} {})", self.float(c, d), self.float(c, d))
            }
            2 => {
                let one = [
                    "sqrt", "cbrt", "ln", "log", "log2", "log10", "exp", "sin", "cos", "tan", "asin", "acos", "atan",
                    "degrees", "radians", "round", "floor", "trunc", "sign", "abs",
                ];
                format!("{}({})", self.pick(&one), self.number(c, d))
            }
            3 => {
                format!("{}({}, {})", self.pick(&["power", "log", "atan2", "mod"]), self.number(c, d), self.float(c, d))
            }
            4 => format!("CAST({} AS DOUBLE)", self.castable(c, d)),
            5 => format!("CAST(TRY_CAST({} AS REAL) AS DOUBLE)", self.castable(c, d)),
            6 => self.conditional(c, d, Self::float),
            _ => format!("round({}, {})", self.float(c, d), self.pick(&["2", "-2", "400", "-400"])),
        }
    }

    pub fn number(&mut self, c: &Columns, depth: usize) -> String {
        match self.below(3) {
            0 => self.int(c, depth),
            1 => self.decimal(c, depth),
            _ => self.float(c, depth),
        }
    }

    /// What may be cast to a number: no date, and no literal, since a literal that does not fit is refused.
    fn castable(&mut self, c: &Columns, depth: usize) -> String {
        if self.odds(2) { format!("btrim({})", self.text(c, depth)) } else { format!("abs({})", self.number(c, depth)) }
    }

    /// A text.
    pub fn text(&mut self, c: &Columns, depth: usize) -> String {
        if depth == 0 {
            return self.column(&c.texts, &TEXTS);
        }
        let d = depth - 1;
        match self.below(17) {
            0 => format!(
                "{}({})",
                self.pick(&["lower", "upper", "initcap", "reverse", "trim", "ltrim", "rtrim"]),
                self.text(c, d)
            ),
            1 => format!(
                "{}({}, {})",
                self.pick(&["left", "right"]),
                self.text(c, d),
                self.pick(&["2", "-2", "9223372036854775807", "-9223372036854775807"])
            ),
            2 => format!("substr({}, {}, {})", self.text(c, d), self.pick(&INTS), self.pick(&INTS)),
            3 => format!(
                "{}({}, {}, {})",
                self.pick(&["replace", "translate"]),
                self.text(c, d),
                self.pick(&TEXTS),
                self.pick(&TEXTS)
            ),
            4 => format!(
                "split_part({}, {}, {})",
                self.text(c, d),
                self.pick(&TEXTS),
                self.pick(&["1", "-1", "0", "9223372036854775807"])
            ),
            5 => format!(
                "regexp_replace({}, {}, {}, {})",
                self.text(c, d),
                self.pick(&PATTERNS),
                self.pick(&["'\\1\\1x'", "'abcdefghijklmnop'", "''"]),
                self.pick(&["'g'", "'i'", "''"])
            ),
            6 => format!("regexp_substr({}, {})", self.text(c, d), self.pick(&PATTERNS)),
            7 | 8 => format!("({} || {})", self.text(c, d), self.text(c, d)),
            9 => format!("concat({}, {})", self.text(c, d), self.any(c, d)),
            10 => format!("concat_ws({}, {}, {})", self.pick(&TEXTS), self.any(c, d), self.text(c, d)),
            11 | 12 => format!("CAST({} AS VARCHAR)", self.any(c, d)),
            13 => format!("to_char({}, {})", self.date(c, d), self.pick(&["'%Y-%m'", "'%G-W%V-%u %j %b %a%%'"])),
            14 => self.conditional(c, d, Self::text),
            _ => self.text(c, 0),
        }
    }

    /// A date.
    pub fn date(&mut self, c: &Columns, depth: usize) -> String {
        if depth == 0 {
            return self.column(&c.dates, &DATES);
        }
        let d = depth - 1;
        match self.below(9) {
            0 => format!("date_trunc('{}', {})", self.pick(&UNITS), self.date(c, d)),
            1 => format!("({} {} {})", self.date(c, d), self.pick(&["+", "-"]), self.int(c, d)),
            2 => format!("({} {} INTERVAL '{}')", self.date(c, d), self.pick(&["+", "-"]), self.pick(&INTERVALS)),
            3 => format!("last_day({})", self.date(c, d)),
            4 => format!("make_date({}, {}, {})", self.int(c, d), self.int(c, d), self.int(c, d)),
            5 => format!("to_date({})", self.text(c, d)),
            6 => format!("TRY_CAST(btrim({}) AS DATE)", self.text(c, d)),
            7 => self.conditional(c, d, Self::date),
            _ => self.date(c, 0),
        }
    }

    pub fn any(&mut self, c: &Columns, depth: usize) -> String {
        match self.below(5) {
            0 => self.int(c, depth),
            1 => self.decimal(c, depth),
            2 => self.float(c, depth),
            3 => self.date(c, depth),
            _ => self.text(c, depth),
        }
    }

    /// CASE, `coalesce` and their kin over expressions of one type.
    fn conditional(&mut self, c: &Columns, depth: usize, of: fn(&mut Self, &Columns, usize) -> String) -> String {
        let (a, b) = (of(self, c, depth), of(self, c, depth));
        match self.below(4) {
            0 => format!("CASE WHEN {} THEN {a} ELSE {b} END", self.bool(c, depth)),
            1 => format!("CASE {a} WHEN {b} THEN {} END", of(self, c, depth)),
            _ => format!("{}({a}, {b})", self.pick(&["coalesce", "nullif", "greatest", "least", "nvl"])),
        }
    }

    /// A condition.
    pub fn bool(&mut self, c: &Columns, depth: usize) -> String {
        let d = depth.saturating_sub(1);
        match self.below(if depth == 0 { 6 } else { 14 }) {
            0 => format!("{} {} {}", self.int(c, d), self.pick(&["<", "=", ">=", "<>"]), self.int(c, d)),
            1 => format!("{} {} {}", self.decimal(c, d), self.pick(&["<", "=", ">="]), self.decimal(c, d)),
            2 => format!("{} < {}", self.float(c, d), self.number(c, d)),
            3 => format!("{} {} {}", self.text(c, d), self.pick(&["<", "=", "IS DISTINCT FROM"]), self.text(c, d)),
            4 => format!("{} {} {}", self.date(c, d), self.pick(&["<", "=", ">"]), self.date(c, d)),
            5 => format!("{} IS NULL", self.any(c, d)),
            6 => format!("({} {} {})", self.bool(c, d), self.pick(&["AND", "OR"]), self.bool(c, d)),
            7 => format!("NOT ({})", self.bool(c, d)),
            8 => format!(
                "{} {} {}",
                self.text(c, d),
                self.pick(&["LIKE", "ILIKE", "SIMILAR TO"]),
                self.pick(&["'%a_'", "'\\'", "'%\\%%'", "''", "'_%'"])
            ),
            9 => format!("{} {} {}", self.text(c, d), self.pick(&["~", "~*", "!~"]), self.pick(&PATTERNS)),
            10 => format!("{} BETWEEN {} AND {}", self.date(c, d), self.date(c, d), self.date(c, d)),
            11 => format!("{} IN ({}, {}, NULL)", self.int(c, d), self.int(c, d), self.int(c, 0)),
            12 => format!(
                "{}({}, {})",
                self.pick(&["starts_with", "ends_with", "contains", "regexp_like"]),
                self.text(c, d),
                self.pick(&["'a'", "''", "'9'"])
            ),
            _ => format!("({}) IS {}", self.bool(c, d), self.pick(&["TRUE", "NOT FALSE", "UNKNOWN"])),
        }
    }
}
