//! FROM: what each source can name, which columns it reads, and how it is written.

use std::collections::BTreeSet;

use epiledger_privacy::catalog::Kind;

use super::question::{Column, Condition, Over, Scan, Source, columns_of};
use super::tables::{Cell, World};

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
                if *outer {
                    all.extend(lacking(right))
                } else {
                    all.extend(right)
                }
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
                        kinds: Vec::new(),
                        may_lack: public.nullable || *outer,
                        known: vec![Some(values)],
                        reads: vec![(0, *column)],
                        summed: at == 2,
                        key: true,
                        unsigned: false,
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
                    kinds: Vec::new(),
                    may_lack,
                    known: Vec::new(),
                    reads,
                    summed: true,
                    key,
                    unsigned: false,
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
                        kinds: vec![l.kind.clone(), r.kind.clone()],
                        may_lack: l.may_lack || r.may_lack,
                        known: l.known.iter().chain(&r.known).cloned().collect(),
                        reads: l.reads.iter().chain(&r.reads).copied().collect(),
                        summed: l.summed,
                        key: true,
                        unsigned: false,
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
                let unsigned = matches!(over, Over::Number(_) | Over::Rank(_) | Over::DenseRank(_));
                all.push(Column {
                    sql: "t.w".into(),
                    kind,
                    kinds: Vec::new(),
                    may_lack,
                    known: Vec::new(),
                    reads,
                    summed,
                    key,
                    unsigned,
                });
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

    /// The FROM clause, and conditions that it needs in WHERE.
    pub fn sql(&self, world: &World) -> (String, Vec<String>) {
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
                let inner = format!(
                    "SELECT {a}.person_id{shown}, {folds} FROM {}{more} GROUP BY {a}.person_id{by}",
                    from(rows)
                );
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

    /// The name of the rows' patient.
    pub fn unit(&self) -> &'static str {
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
