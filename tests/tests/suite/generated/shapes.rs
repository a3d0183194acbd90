//! The shapes of plan that questions take: which tables, how they are joined, and what is made of the answer.

use super::grammar::{Columns, Grammar};

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn person() -> Columns {
    Columns { ints: list(&["p.born"]), texts: list(&["p.county", "p.sex", "p.note"]), ..Columns::default() }
}

fn visit() -> Columns {
    Columns {
        ints: list(&["v.score"]),
        decimals: list(&["v.cost"]),
        texts: list(&["v.kind", "v.code"]),
        dates: list(&["v.day", "v.until"]),
    }
}

fn both(mut a: Columns, b: Columns) -> Columns {
    a.ints.extend(b.ints);
    a.decimals.extend(b.decimals);
    a.texts.extend(b.texts);
    a.dates.extend(b.dates);
    a
}

/// Made by a sub-query that is called t.
fn made() -> Columns {
    Columns { ints: list(&["t.i"]), decimals: list(&["t.d"]), texts: list(&["t.s"]), dates: list(&["t.day"]) }
}

impl Grammar<'_> {
    /// FROM and WHERE, and the columns that they give.
    fn rows(&mut self, depth: usize) -> (String, Columns) {
        let (from, columns) = match self.below(16) {
            0 => ("person p".to_owned(), person()),
            1 => ("visit v".to_owned(), visit()),
            2 => ("person p JOIN visit v ON p.person_id = v.person_id".to_owned(), both(person(), visit())),
            3 => {
                let on = self.bool(&both(person(), visit()), 1);
                (format!("person p LEFT JOIN visit v ON p.person_id = v.person_id AND {on}"), both(person(), visit()))
            }
            4 => {
                let mut columns = both(person(), Columns::default());
                columns.texts.push("r.name".into());
                columns.ints.push("r.people".into());
                ("person p LEFT JOIN region r ON r.region_code = p.county".to_owned(), columns)
            }
            5 => {
                let mut columns = visit();
                columns.ints.push("c.year".into());
                let day = self.date(&visit(), 1);
                (format!("visit v JOIN calendar c ON c.day = {day}"), columns)
            }
            11 => ("visit v RIGHT JOIN person p ON p.person_id = v.person_id".to_owned(), both(person(), visit())),
            12 => ("person p, visit v WHERE p.person_id = v.person_id".to_owned(), both(person(), visit())),
            13 => {
                let (kind, on) = (self.pick(&["JOIN", "LEFT JOIN"]), self.bool(&visit(), 1));
                (format!("visit v {kind} visit w ON v.person_id = w.person_id AND v.day < w.day AND {on}"), visit())
            }
            14 => (self.first_of_each(depth), made()),
            15 => (self.set(), Columns { texts: list(&["t.s"]), dates: list(&["t.day"]), ..Columns::default() }),
            6 | 7 => (self.per_patient(depth), made()),
            8 | 9 => (self.windowed(depth), made()),
            _ => (self.united(depth), made()),
        };
        let mut conditions = Vec::new();
        if self.odds(2) {
            conditions.push(self.bool(&columns, depth));
        }
        if self.odds(3) {
            let unit = if from.starts_with("person") || from.contains("RIGHT JOIN") {
                "p"
            } else if from.starts_with("visit") {
                "v"
            } else {
                "t"
            };
            conditions.push(self.about_the_patient(unit));
        }
        let word = if from.contains(" WHERE p.person_id = ") { "AND" } else { "WHERE" };
        let filter =
            if conditions.is_empty() { String::new() } else { format!(" {word} {}", conditions.join(" AND ")) };
        (format!("{from}{filter}"), columns)
    }

    /// A sub-query over other rows of the patient.
    fn about_the_patient(&mut self, unit: &str) -> String {
        let other = Columns {
            ints: list(&["o.score"]),
            decimals: list(&["o.cost"]),
            texts: list(&["o.kind", "o.code"]),
            dates: list(&["o.day", "o.until"]),
        };
        let (inner, not) = (self.bool(&other, 1), self.pick(&["", "NOT "]));
        let tied = format!("FROM visit o WHERE o.person_id = {unit}.person_id");
        match self.below(5) {
            0 => format!("{unit}.person_id {not}IN (SELECT o.person_id FROM visit o WHERE {inner})"),
            1 => format!("{not}EXISTS (SELECT 1 {tied} AND ({inner}))"),
            2 => format!("({not}EXISTS (SELECT 1 {tied}) OR {unit}.person_id = ANY (SELECT o.person_id FROM visit o))"),
            3 => format!("(SELECT COUNT(*) {tied} AND ({inner})) {} 1", self.pick(&[">", "=", "<"])),
            _ => format!("(SELECT MAX({}) {tied}) IS {not}NULL", self.any(&other, 1)),
        }
    }

    /// One row of each patient, by DISTINCT ON or QUALIFY.
    fn first_of_each(&mut self, depth: usize) -> String {
        let c = visit();
        let made = format!(
            "v.person_id, {} AS i, {} AS d, {} AS s, {} AS day",
            self.int(&c, depth),
            self.decimal(&c, 1),
            self.text(&c, depth),
            self.date(&c, 1)
        );
        if self.odds(2) {
            return format!("(SELECT DISTINCT ON (v.person_id) {made} FROM visit v ORDER BY v.person_id, v.day) t");
        }
        let first = self.pick(&["ROW_NUMBER()", "RANK()"]);
        format!("(SELECT {made} FROM visit v QUALIFY {first} OVER (PARTITION BY v.person_id ORDER BY v.day) = 1) t")
    }

    /// Set operations of rows that show the patient.
    fn set(&mut self) -> String {
        let mut side = |depth| {
            let c = visit();
            format!(
                "SELECT v.person_id, {} AS s, v.day AS day FROM visit v WHERE {}",
                self.text(&c, 0),
                self.bool(&c, depth)
            )
        };
        let (a, b) = (side(1), side(1));
        format!("({a} {} {b}) t", self.pick(&["UNION", "INTERSECT", "EXCEPT"]))
    }

    fn per_patient(&mut self, depth: usize) -> String {
        let c = visit();
        let ints = match self.below(5) {
            0 => "COUNT(*)".to_owned(),
            1 => format!("COUNT(DISTINCT {})", self.text(&c, depth)),
            2 => format!("SUM({})", self.int(&c, depth)),
            3 => format!("COUNT(*) FILTER (WHERE {})", self.bool(&c, depth)),
            _ => format!("{}({})", self.pick(&["MIN", "MAX"]), self.int(&c, depth)),
        };
        let decimals = format!("{}({})", self.pick(&["SUM", "AVG", "MIN", "MAX"]), self.decimal(&c, depth));
        let texts = format!("{}({})", self.pick(&["MIN", "MAX"]), self.text(&c, depth));
        let days = format!("{}({})", self.pick(&["MIN", "MAX"]), self.date(&c, depth));
        let key = if self.odds(3) { ", v.kind" } else { "" };
        format!(
            "(SELECT v.person_id, {ints} AS i, {decimals} AS d, {texts} AS s, {days} AS day FROM visit v GROUP BY v.person_id{key}) t"
        )
    }

    fn windowed(&mut self, depth: usize) -> String {
        let c = visit();
        let order = if self.odds(2) { self.int(&c, 1) } else { self.date(&c, 1) };
        let frame = self.pick(&[
            "",
            " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
            " ROWS BETWEEN 1 FOLLOWING AND 999999 FOLLOWING",
        ]);
        let over = format!("OVER (PARTITION BY v.person_id ORDER BY {order}{frame})");
        let plain = format!("OVER (PARTITION BY v.person_id ORDER BY {order})");
        let ints = match self.below(3) {
            0 => format!("ROW_NUMBER() {plain}"),
            1 => format!("SUM({}) {over}", self.int(&c, depth)),
            _ => format!("LAG({}) {plain}", self.int(&c, depth)),
        };
        let decimals = match self.below(2) {
            0 => format!("AVG(CAST(abs({}) AS DECIMAL(18,2))) {over}", self.decimal(&c, depth)),
            _ => format!("{}({}) {over}", self.pick(&["SUM", "MIN", "MAX"]), self.decimal(&c, depth)),
        };
        let texts = format!("{}({}) {plain}", self.pick(&["LAG", "LEAD", "FIRST_VALUE"]), self.text(&c, depth));
        let days = format!("{}({}) {plain}", self.pick(&["LAG", "MAX"]), self.date(&c, depth));
        format!("(SELECT v.person_id, {ints} AS i, {decimals} AS d, {texts} AS s, {days} AS day FROM visit v) t")
    }

    fn united(&mut self, depth: usize) -> String {
        let mut side = |c: Columns, from: &str, unit: &str| {
            format!(
                "SELECT {unit}.person_id, {} AS i, {} AS d, {} AS s, {} AS day FROM {from}",
                self.int(&c, depth),
                self.decimal(&c, 0),
                self.text(&c, depth),
                self.date(&c, depth)
            )
        };
        let (a, b) = (side(visit(), "visit v", "v"), side(person(), "person p", "p"));
        format!("({a} UNION ALL {b}) t")
    }

    /// A key: some with public values, some without.
    fn key(&mut self, c: &Columns, depth: usize) -> String {
        match self.below(8) {
            0 if c.texts.iter().any(|t| t == "p.county") => self.pick(&["p.county", "p.sex", "upper(p.sex)"]),
            1 => format!("({})", self.bool(c, depth)),
            2 if !c.dates.is_empty() => {
                let (unit, day) = (self.pick(&["year", "month"]), c.dates[0].clone());
                format!("date_trunc('{unit}', {day})")
            }
            3 => format!("CASE WHEN {} THEN 'a' WHEN {} THEN 'b' END", self.bool(c, depth), self.bool(c, 1)),
            4 if self.odds(2) => format!("width_bucket({}, 0, 10, 5)", self.float(c, depth)),
            4 => format!("width_bucket({}, -5.5, 50, 7)", self.int(c, depth)),
            5 => self.int(c, depth),
            6 => self.date(c, depth),
            _ => self.text(c, depth),
        }
    }

    /// A number with bounds.
    fn bounded(&mut self, c: &Columns, depth: usize) -> String {
        let columns: Vec<&String> = c
            .ints
            .iter()
            .chain(&c.decimals)
            .filter(|name| name.contains("score") || name.contains("cost") || name.contains("born"))
            .collect();
        if !columns.is_empty() && self.odds(2) {
            let at = self.below(columns.len());
            return columns[at].clone();
        }
        let x = if self.odds(3) { self.number(c, depth) } else { self.int(c, depth) };
        let (low, high) = (self.pick(&["-5", "0", "-500"]), self.pick(&["7", "100", "4000"]));
        format!("LEAST(GREATEST({x}, {low}), {high})")
    }

    fn aggregate(&mut self, c: &Columns, depth: usize) -> String {
        let fold = match self.below(12) {
            0 => "COUNT(*)".to_owned(),
            1 => return "COUNT(*) + 1".to_owned(),
            2 => format!("COUNT({})", self.any(c, depth)),
            3 => format!("COUNT(DISTINCT {})", self.any(c, depth)),
            4 | 5 => format!("SUM({})", self.bounded(c, depth)),
            6 => format!("AVG({})", self.bounded(c, depth)),
            7 | 8 => {
                let spread = self.pick(&["VAR", "VAR_POP", "STDDEV", "STDDEV_POP", "VAR_SAMP", "STDDEV_SAMP"]);
                format!("{spread}({})", self.bounded(c, depth))
            }
            9 => format!("MEDIAN({})", self.bounded(c, depth)),
            10 => format!("APPROX_PERCENTILE_CONT({}, 0.9)", self.bounded(c, depth)),
            _ => {
                let x = self.bounded(c, depth);
                return format!("SUM({x}) / NULLIF(COUNT(*), 0)");
            }
        };
        if self.odds(3) { format!("{fold} FILTER (WHERE {})", self.bool(c, 1)) } else { fold }
    }

    /// One question; the second says whether its rows are the cells, with no condition on released numbers.
    pub fn question(&mut self) -> (String, bool) {
        let depth = 1 + self.below(3);
        let (from, columns) = self.rows(depth);
        let keys: Vec<String> = (0..self.below(3)).map(|_| self.key(&columns, depth)).collect();
        let aggregates: Vec<String> = (0..1 + self.below(2)).map(|_| self.aggregate(&columns, depth)).collect();
        let mut select: Vec<String> = keys.iter().enumerate().map(|(i, key)| format!("{key} AS k{i}")).collect();
        select.extend(aggregates.iter().enumerate().map(|(i, aggregate)| format!("{aggregate} AS a{i}")));
        let group = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
        let inner = format!("SELECT {} FROM {from}{group}", select.join(", "));
        if self.odds(2) {
            return (inner, true);
        }
        if self.odds(3) {
            return (format!("WITH q AS ({inner}) SELECT * FROM q"), true);
        }
        // What is above the aggregate: released numbers, and keys when there are any.
        let released = Columns { ints: list(&["CAST(a0 AS BIGINT)"]), ..Columns::default() };
        let (shown, order) = (self.any(&released, depth), self.any(&released, 1));
        let having = self.bool(&released, depth);
        (format!("SELECT {shown} AS x, a0 FROM ({inner}) q WHERE {having} ORDER BY {order} LIMIT 5"), false)
    }
}
