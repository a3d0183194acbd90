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
    OnPatient { left: Scan, right: Scan, outer: bool, by_id: bool, comma: bool },
    /// Rows of patients who have rows elsewhere, or have none.
    Picked { rows: Scan, by: Scan, among: Option<Condition>, negated: bool, exists: bool },
    /// With the public table, on a column.
    WithRegion { rows: Scan, column: usize, outer: bool },
    /// One row for each patient, or for each value of a key of theirs: n, s, m.
    PerPatient { rows: Scan, key: Option<usize>, number: usize, among: Option<Condition> },
    /// Rows of both, by pairs of columns of one type.
    Union { left: Scan, right: Scan, pairs: Vec<(usize, usize)> },
    /// A table with one more column, `w`.
    Window { rows: Scan, over: Over },
}

/// Values that a key over a column may have, by branch of a union; none where they are not public.
pub type Known = Vec<Option<Vec<Cell>>>;

/// A column that can be named.
#[derive(Clone, Debug)]
pub struct Column {
    pub sql: String,
    pub kind: Kind,
    pub may_lack: bool,
    pub known: Known,
    /// The scan and its column that are read for it.
    pub reads: Vec<(usize, usize)>,
    /// Its declared range is that of the rows, so it can be summed.
    pub summed: bool,
    /// It can be a key.
    pub key: bool,
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
            may_lack: column.nullable,
            known: vec![known],
            reads: vec![(number, at)],
            summed: matches!(column.kind, Kind::Integer { .. } | Kind::Decimal { .. }),
            key: true,
        }
    });
    columns.collect()
}

fn named(columns: Vec<Column>, alias: &str) -> Vec<Column> {
    let rename = |c: Column| Column { sql: format!("{alias}.{}", c.sql.split('.').nth(1).unwrap()), ..c };
    columns.into_iter().map(rename).collect()
}

impl Source {
    pub fn scans(&self) -> Vec<&Scan> {
        match self {
            Self::One(scan) => vec![scan],
            Self::OnPatient { left, right, .. } | Self::Union { left, right, .. } => vec![left, right],
            Self::Picked { rows, by, .. } => vec![rows, by],
            Self::WithRegion { rows, .. } | Self::PerPatient { rows, .. } | Self::Window { rows, .. } => vec![rows],
        }
    }

    /// What conditions, keys and aggregates can name, in the order of the rows' cells.
    pub fn columns(&self, world: &World) -> Vec<Column> {
        let of = |scan: &Scan, number: usize| columns_of(world, scan, number);
        let lacking = |columns: Vec<Column>| columns.into_iter().map(|c| Column { may_lack: true, ..c });
        match self {
            Self::One(scan) => of(scan, 0),
            Self::Picked { rows, .. } => of(rows, 0),
            Self::OnPatient { left, right, outer, .. } => {
                let mut all = of(left, 0);
                let right = of(right, 1);
                if *outer { all.extend(lacking(right)) } else { all.extend(right) }
                all
            }
            Self::WithRegion { rows, column, outer } => {
                let mut all = of(rows, 0);
                for (at, public) in world.catalog.tables["region"].columns.iter().enumerate() {
                    let mut values: Vec<Cell> = world.regions.iter().map(|row| row[at].clone()).collect();
                    values.retain(|value| *value != Cell::Null);
                    all.push(Column {
                        sql: format!("r.{}", public.name),
                        kind: public.kind.clone(),
                        may_lack: public.nullable || *outer,
                        known: vec![Some(values)],
                        reads: vec![(0, *column)],
                        summed: at == 2,
                        key: true,
                    });
                }
                all
            }
            Self::PerPatient { rows, key, number, .. } => {
                let columns = of(rows, 0);
                let most = world.catalog.tables[rows.table].private.unwrap().scan_rows;
                let most = i64::try_from(most).unwrap();
                let Kind::Integer { low, high } = columns[*number - 1].kind else { unreachable!("only whole numbers") };
                let reads = columns[*number - 1].reads.clone();
                let folded = |name: &str, kind: Kind, may_lack, reads: Vec<(usize, usize)>, key| Column {
                    sql: format!("t.{name}"),
                    kind,
                    may_lack,
                    known: vec![None],
                    reads,
                    summed: true,
                    key,
                };
                let ends = [0, low * most, high * most];
                let sum = Kind::Integer { low: *ends.iter().min().unwrap(), high: *ends.iter().max().unwrap() };
                let mut all = vec![
                    folded("n", Kind::Integer { low: 0, high: most }, false, Vec::new(), true),
                    folded("s", sum, true, reads.clone(), false),
                    folded("m", Kind::Integer { low, high }, true, reads, false),
                ];
                all.extend(key.map(|key| Column { sql: "t.k".into(), summed: false, ..columns[key - 1].clone() }));
                all
            }
            Self::Union { left, right, pairs } => {
                let (left, right) = (of(left, 0), of(right, 1));
                let pair = |(at, (l, r)): (usize, &(usize, usize))| {
                    let (l, r) = (&left[*l - 1], &right[*r - 1]);
                    Column {
                        sql: format!("t.u{at}"),
                        kind: hull(&l.kind, &r.kind),
                        may_lack: l.may_lack || r.may_lack,
                        known: l.known.iter().chain(&r.known).cloned().collect(),
                        reads: l.reads.iter().chain(&r.reads).copied().collect(),
                        summed: l.summed,
                        key: true,
                    }
                };
                pairs.iter().enumerate().map(pair).collect()
            }
            Self::Window { rows, over } => {
                let mut all = named(of(rows, 0), "t");
                let columns = &world.catalog.tables[rows.table].columns;
                let every = || (1..columns.len()).map(|at| (0, at)).collect();
                let (kind, may_lack, reads, summed) = match over {
                    // Their order is completed by the whole row.
                    Over::Number(_) => (Kind::Id, false, every(), false),
                    Over::Before(at, _) => (columns[*at].kind.clone(), true, every(), true),
                    Over::Rank(by) | Over::DenseRank(by) => (Kind::Id, false, vec![(0, *by)], false),
                    Over::Count(by) => (Kind::Id, false, by.iter().map(|by| (0, *by)).collect(), false),
                };
                let key = !matches!(over, Over::Before(..));
                all.push(Column { sql: "t.w".into(), kind, may_lack, known: vec![None], reads, summed, key });
                all
            }
        }
    }

    /// Columns of each scan that are read whatever is asked of the rows.
    pub fn reads(&self, world: &World) -> Vec<BTreeSet<usize>> {
        let mut reads = vec![BTreeSet::new(); self.scans().len()];
        match self {
            Self::One(_) | Self::Union { .. } | Self::Window { .. } => {}
            Self::OnPatient { by_id, .. } => reads.iter_mut().for_each(|r| r.extend(by_id.then_some(1))),
            Self::Picked { by, among, .. } => reads[1].extend(read_by(&columns_of(world, by, 1), among)),
            Self::WithRegion { column, .. } => reads[0].extend([*column]),
            Self::PerPatient { rows, key, among, .. } => {
                reads[0].extend(key);
                reads[0].extend(read_by(&columns_of(world, rows, 0), among));
            }
        }
        reads
    }

    fn sql(&self, world: &World) -> (String, Vec<String>) {
        let from = |scan: &Scan| format!("{} {}", scan.table, scan.alias);
        let among = |scan: &Scan, condition: &Option<Condition>, word: &str| {
            let text = condition.as_ref().map(|c| format!(" {word} {}", c.sql(&columns_of(world, scan, 0))));
            text.unwrap_or_default()
        };
        let name = |scan: &Scan, at: usize| &world.catalog.tables[scan.table].columns[at].name;
        match self {
            Self::One(scan) => (from(scan), Vec::new()),
            Self::OnPatient { left, right, outer, by_id, comma } => {
                let (l, r) = (left.alias, right.alias);
                let mut on = format!("{l}.person_id = {r}.person_id");
                if *by_id {
                    on.push_str(&format!(" AND {l}.visit_id = {r}.visit_id"));
                }
                if *comma && !*outer {
                    return (format!("{}, {}", from(left), from(right)), vec![on]);
                }
                let kind = if *outer { "LEFT " } else { "" };
                (format!("{} {kind}JOIN {} ON {on}", from(left), from(right)), Vec::new())
            }
            Self::Picked { rows, by, among: condition, negated, exists } => {
                let (not, r, b) = (if *negated { "NOT " } else { "" }, rows.alias, by.alias);
                let picked = if *exists {
                    let more = among(by, condition, "AND");
                    format!("{not}EXISTS (SELECT 1 FROM {} WHERE {b}.person_id = {r}.person_id{more})", from(by))
                } else {
                    let more = among(by, condition, "WHERE");
                    format!("{r}.person_id {not}IN (SELECT {b}.person_id FROM {}{more})", from(by))
                };
                (from(rows), vec![picked])
            }
            Self::WithRegion { rows, column, outer } => {
                let (kind, alias) = (if *outer { "LEFT " } else { "" }, rows.alias);
                let on = format!("r.region_code = {alias}.{}", name(rows, *column));
                (format!("{} {kind}JOIN region r ON {on}", from(rows)), Vec::new())
            }
            Self::PerPatient { rows, key, number, among: condition } => {
                let (a, x) = (rows.alias, name(rows, *number));
                let key = key.map(|key| format!("{a}.{}", name(rows, key)));
                let shown = key.as_ref().map(|key| format!(", {key} AS k")).unwrap_or_default();
                let by = key.map(|key| format!(", {key}")).unwrap_or_default();
                let more = among(rows, condition, "WHERE");
                let folds = format!("COUNT(*) AS n, SUM({a}.{x}) AS s, MAX({a}.{x}) AS m");
                let inner = format!("SELECT {a}.person_id{shown}, {folds} FROM {}{more} GROUP BY {a}.person_id{by}", from(rows));
                (format!("({inner}) t"), Vec::new())
            }
            Self::Union { left, right, pairs } => {
                let side = |scan: &Scan, of: fn(&(usize, usize)) -> usize| {
                    let column = |(at, pair)| format!(", {}.{} AS u{at}", scan.alias, name(scan, of(pair)));
                    let columns: String = pairs.iter().enumerate().map(column).collect();
                    format!("SELECT {}.person_id{columns} FROM {}", scan.alias, from(scan))
                };
                (format!("({} UNION ALL {}) t", side(left, |p| p.0), side(right, |p| p.1)), Vec::new())
            }
            Self::Window { rows, over } => {
                let a = rows.alias;
                let by = |at: &usize| format!("{a}.{}", name(rows, *at));
                let unit = format!("PARTITION BY {a}.person_id");
                let window = match over {
                    Over::Number(at) => format!("ROW_NUMBER() OVER ({unit} ORDER BY {})", by(at)),
                    Over::Rank(at) => format!("RANK() OVER ({unit} ORDER BY {} DESC)", by(at)),
                    Over::DenseRank(at) => format!("DENSE_RANK() OVER ({unit} ORDER BY {})", by(at)),
                    Over::Count(None) => format!("COUNT(*) OVER ({unit})"),
                    Over::Count(Some(at)) => format!("COUNT(*) OVER ({unit}, {})", by(at)),
                    Over::Before(at, order) => format!("LAG({}) OVER ({unit} ORDER BY {})", by(at), by(order)),
                };
                let columns = world.catalog.tables[rows.table].columns.iter();
                let columns: Vec<String> = columns.map(|c| format!("{a}.{}", c.name)).collect();
                (format!("(SELECT {}, {window} AS w FROM {}) t", columns.join(", "), from(rows)), Vec::new())
            }
        }
    }

    fn unit(&self) -> &'static str {
        match self {
            Self::PerPatient { .. } | Self::Union { .. } | Self::Window { .. } => "t",
            _ => self.scans()[0].alias,
        }
    }
}

fn hull(a: &Kind, b: &Kind) -> Kind {
    match (a, b) {
        (Kind::Integer { low: l, high: h }, Kind::Integer { low, high }) => {
            Kind::Integer { low: *l.min(low), high: *h.max(high) }
        }
        _ => a.clone(),
    }
}

fn read_by(columns: &[Column], condition: &Option<Condition>) -> Vec<usize> {
    let named = condition.as_ref().map(Condition::columns).unwrap_or_default();
    named.into_iter().flat_map(|at| &columns[at].reads).map(|(_, column)| *column).collect()
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
        select.extend(self.asked.iter().enumerate().map(|(at, asked)| format!("{} AS a{at}", asked.sql(&columns, unit))));
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
