//! A question as a tree: rows of one patient at a time, keys and aggregates. The tree is written as SQL here and
//! computed naively by [`super::naive`]; neither knows of the other.

use std::collections::BTreeSet;

use epiledger_privacy::catalog::Kind;

use super::tables::{Cell, FIRST_DAY, World, day};

/// One private table under a name.
#[derive(Clone, Debug)]
pub struct Scan {
    pub table: &'static str,
    pub alias: &'static str,
}

/// A condition; columns are positions in the list of what can be named where it stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    Compares(usize, &'static str, Cell),
    Among(usize, Vec<Cell>),
    Missing(usize),
    Both(Box<Condition>, Box<Condition>),
    Either(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
}

/// What a window computes over a patient's rows; the number is a column of the table.
#[derive(Clone, Copy, Debug)]
pub enum Over {
    Number(usize),
    Rank(usize),
    DenseRank(usize),
    Count(Option<usize>),
    Before(usize, usize),
}

/// FROM.
#[derive(Clone, Debug)]
pub enum Source {
    One(Scan),
    /// Two tables on the patient, and on the visit's id.
    OnPatient {
        left: Scan,
        right: Scan,
        outer: bool,
        by_id: bool,
        comma: bool,
    },
    /// Rows of patients who have rows elsewhere, or have none.
    Picked {
        rows: Scan,
        by: Scan,
        among: Option<Condition>,
        negated: bool,
        exists: bool,
    },
    /// With the public table, on a column.
    WithRegion {
        rows: Scan,
        column: usize,
        outer: bool,
    },
    /// One row for each patient, or for each value of a key of theirs: n, s, m.
    PerPatient {
        rows: Scan,
        key: Option<usize>,
        number: usize,
        among: Option<Condition>,
    },
    /// Rows of both, by pairs of columns of one type.
    Union {
        left: Scan,
        right: Scan,
        pairs: Vec<(usize, usize)>,
    },
    /// A table with one more column, `w`.
    Window {
        rows: Scan,
        over: Over,
    },
}

/// Values that a key over a column may have, by branch of a union; none where they are not public. No branch at all: the
/// column is computed from several rows, and no key over it is public.
pub type Known = Vec<Option<Vec<Cell>>>;

/// A column that can be named.
#[derive(Clone, Debug)]
pub struct Column {
    pub sql: String,
    pub kind: Kind,
    /// In each branch of a union; empty outside of one.
    pub kinds: Vec<Kind>,
    pub may_lack: bool,
    pub known: Known,
    /// The scan and its column that are read for it.
    pub reads: Vec<(usize, usize)>,
    /// Its declared range is that of the rows, so it can be summed.
    pub summed: bool,
    /// It can be a key.
    pub key: bool,
    /// It is unsigned, as ranks are: it is hashed as it is typed.
    pub unsigned: bool,
}

/// What is aggregated, or counted.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    One,
    Column(usize),
    /// `LEAST(GREATEST(x, low), high)` of a whole number.
    Within(usize, i64, i64),
    /// `x + y` of whole numbers.
    Plus(usize, usize),
}

/// One aggregate.
#[derive(Clone, Debug)]
pub enum What {
    Rows,
    Patients,
    Values(Value),
    Distinct(Value),
    Sum(Value),
    Mean(Value),
    Spread(&'static str, Value),
    /// A share in thousandths, and a spelling.
    Quantile(Value, u32, u8),
}

/// An aggregate of the rows that satisfy a condition.
#[derive(Clone, Debug)]
pub struct Asked {
    pub what: What,
    pub filter: Option<Condition>,
}

/// A key.
#[derive(Clone, Debug, PartialEq)]
pub enum Key {
    Column(usize),
    Month(usize),
    Bucket(usize, i64, u32, u32),
    /// `CASE WHEN .. THEN 'yes' [ELSE 'no'] END`.
    Case(Condition, bool),
    Truth(Condition),
}

#[derive(Clone, Debug)]
pub struct Question {
    pub source: Source,
    pub filter: Option<Condition>,
    pub keys: Vec<Key>,
    pub asked: Vec<Asked>,
}

/// The columns of one table, as conditions beside it name them.
pub fn columns_of(world: &World, scan: &Scan, number: usize) -> Vec<Column> {
    let table = &world.catalog.tables[scan.table];
    let columns = table.columns.iter().enumerate().skip(1).map(|(at, column)| {
        let known = match (&column.domain, &column.kind) {
            (Some(domain), Kind::Text) => Some(domain.iter().map(|text| Cell::Text(text.clone())).collect()),
            (Some(domain), _) => Some(domain.iter().map(|text| Cell::Int(text.parse().unwrap())).collect()),
            (None, _) => None,
        };
        Column {
            sql: format!("{}.{}", scan.alias, column.name),
            kind: column.kind.clone(),
            kinds: Vec::new(),
            may_lack: column.nullable,
            known: vec![known],
            reads: vec![(number, at)],
            summed: matches!(column.kind, Kind::Integer { .. } | Kind::Decimal { .. }),
            key: true,
            unsigned: false,
        }
    });
    columns.collect()
}

/// A value as a literal of its column's type.
pub fn literal(kind: &Kind, cell: &Cell) -> String {
    match (kind, cell) {
        (_, Cell::Text(text)) => format!("'{}'", text.replace('\'', "''")),
        (Kind::Date { .. }, Cell::Int(days)) => format!("DATE '{}'", day(*days)),
        (Kind::Decimal { scale, .. }, Cell::Int(n)) => {
            let (unit, sign) = (10_i128.pow((*scale).try_into().unwrap()), if *n < 0 { "-" } else { "" });
            let (whole, part) = (n.abs() / unit, n.abs() % unit);
            let part = if *scale == 0 { String::new() } else { format!(".{part:0>width$}", width = *scale as usize) };
            format!("CAST('{sign}{whole}{part}' AS DECIMAL(18,{scale}))")
        }
        (_, Cell::Int(n)) => n.to_string(),
        (_, Cell::Truth(_) | Cell::Null) => "NULL".to_owned(),
    }
}

impl Condition {
    pub fn sql(&self, columns: &[Column]) -> String {
        let one = |at: &usize| &columns[*at];
        match self {
            Self::Compares(at, op, cell) => format!("{} {op} {}", one(at).sql, literal(&one(at).kind, cell)),
            Self::Among(at, cells) => {
                let list: Vec<String> = cells.iter().map(|cell| literal(&one(at).kind, cell)).collect();
                format!("{} IN ({})", one(at).sql, list.join(", "))
            }
            Self::Missing(at) => format!("{} IS NULL", one(at).sql),
            Self::Both(a, b) => format!("({} AND {})", a.sql(columns), b.sql(columns)),
            Self::Either(a, b) => format!("({} OR {})", a.sql(columns), b.sql(columns)),
            Self::Not(inner) => format!("NOT ({})", inner.sql(columns)),
        }
    }

    pub fn columns(&self) -> Vec<usize> {
        match self {
            Self::Compares(at, ..) | Self::Among(at, _) | Self::Missing(at) => vec![*at],
            Self::Both(a, b) | Self::Either(a, b) => [a.columns(), b.columns()].concat(),
            Self::Not(inner) => inner.columns(),
        }
    }
}

impl Value {
    fn sql(&self, columns: &[Column]) -> String {
        let name = |at: &usize| &columns[*at].sql;
        match self {
            Self::One => "*".to_owned(),
            Self::Column(at) => name(at).clone(),
            Self::Within(at, low, high) => format!("LEAST(GREATEST({}, {low}), {high})", name(at)),
            Self::Plus(a, b) => format!("{} + {}", name(a), name(b)),
        }
    }

    pub fn columns(&self) -> Vec<usize> {
        match self {
            Self::One => Vec::new(),
            Self::Column(at) | Self::Within(at, ..) => vec![*at],
            Self::Plus(a, b) => vec![*a, *b],
        }
    }
}

impl Asked {
    fn sql(&self, columns: &[Column], unit: &str) -> String {
        let of = |value: &Value| value.sql(columns);
        let fold = match &self.what {
            What::Rows => "COUNT(*)".to_owned(),
            What::Patients => format!("COUNT(DISTINCT {unit}.person_id)"),
            What::Values(value) => format!("COUNT({})", of(value)),
            What::Distinct(value) => format!("COUNT(DISTINCT {})", of(value)),
            What::Sum(value) => format!("SUM({})", of(value)),
            What::Mean(value) => format!("AVG({})", of(value)),
            What::Spread(name, value) => format!("{name}({})", of(value)),
            What::Quantile(value, 500, 0) => format!("MEDIAN({})", of(value)),
            What::Quantile(value, share, 1) => format!("APPROX_PERCENTILE_CONT({}, 0.{share:0>3})", of(value)),
            What::Quantile(value, share, _) => {
                format!("APPROX_PERCENTILE_CONT(0.{share:0>3}) WITHIN GROUP (ORDER BY {})", of(value))
            }
        };
        let filter = self.filter.as_ref().map(|filter| format!(" FILTER (WHERE {})", filter.sql(columns)));
        format!("{fold}{}", filter.unwrap_or_default())
    }

    pub fn value(&self) -> Option<&Value> {
        match &self.what {
            What::Rows | What::Patients => None,
            What::Values(value)
            | What::Distinct(value)
            | What::Sum(value)
            | What::Mean(value)
            | What::Spread(_, value)
            | What::Quantile(value, ..) => Some(value),
        }
    }

    pub fn columns(&self) -> Vec<usize> {
        let mut all = self.value().map(Value::columns).unwrap_or_default();
        all.extend(self.filter.iter().flat_map(Condition::columns));
        all
    }
}

impl Key {
    fn sql(&self, columns: &[Column]) -> String {
        match self {
            Self::Column(at) => columns[*at].sql.clone(),
            Self::Month(at) => format!("date_trunc('month', {})", columns[*at].sql),
            Self::Bucket(at, low, width, count) => {
                let high = low + i64::from(width * count);
                format!("width_bucket({}, {low}, {high}, {count})", columns[*at].sql)
            }
            Self::Case(condition, true) => format!("CASE WHEN {} THEN 'yes' ELSE 'no' END", condition.sql(columns)),
            Self::Case(condition, false) => format!("CASE WHEN {} THEN 'yes' END", condition.sql(columns)),
            Self::Truth(condition) => format!("({})", condition.sql(columns)),
        }
    }

    pub fn columns(&self) -> Vec<usize> {
        match self {
            Self::Column(at) | Self::Month(at) | Self::Bucket(at, ..) => vec![*at],
            Self::Case(condition, _) | Self::Truth(condition) => condition.columns(),
        }
    }
}

impl Question {
    pub fn sql(&self, world: &World) -> String {
        let columns = self.source.columns(world);
        let (from, mut conditions) = self.source.sql(world);
        conditions.extend(self.filter.iter().map(|filter| filter.sql(&columns)));
        let keys: Vec<String> = self.keys.iter().map(|key| key.sql(&columns)).collect();
        let mut select: Vec<String> = keys.iter().enumerate().map(|(at, key)| format!("{key} AS k{at}")).collect();
        let unit = self.source.unit();
        select
            .extend(self.asked.iter().enumerate().map(|(at, asked)| format!("{} AS a{at}", asked.sql(&columns, unit))));
        let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        let by = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
        format!("SELECT {} FROM {from}{filter}{by}", select.join(", "))
    }

    /// Columns that each scan reads.
    pub fn reads(&self, world: &World) -> Vec<BTreeSet<usize>> {
        let columns = self.source.columns(world);
        let mut reads = self.source.reads(world);
        let named = self.filter.iter().flat_map(Condition::columns);
        let named = named.chain(self.keys.iter().flat_map(Key::columns));
        for at in named.chain(self.asked.iter().flat_map(Asked::columns)) {
            columns[at].reads.iter().for_each(|(scan, column)| {
                reads[*scan].insert(*column);
            });
        }
        reads
    }
}

/// A day that is likely to lie among the rows.
pub fn some_day(at: i128) -> Cell {
    Cell::Int(i128::from(FIRST_DAY) + at)
}
