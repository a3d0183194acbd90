//! V from its definition in `bound.md`, patient by patient, in whole numbers of 128 bits. What is keyed (which rows
//! past M, which groups past G, which values past D) is hashed here anew, over Arrow's row encoding.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::Int64Type;
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use epiledger_privacy::catalog::Kind;
use hmac::{Hmac, KeyInit, Mac};
use siphasher::sip128::{Hasher128, SipHasher24};

use super::question::{Asked, Column, Condition, Key, Over, Question, Scan, Source, Value, What, columns_of};
use super::tables::{Cell, Patient, Row, World, stored};

/// The consent that the questions' purpose needs.
pub const PURPOSE: i32 = 2;

/// A key of a hash, from the dataset's secret.
fn derived(secret: &[u8; 32], label: &str, text: &str) -> [u8; 16] {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
    mac.update(label.as_bytes());
    mac.update(&[0]);
    mac.update(text.as_bytes());
    mac.finalize().into_bytes()[..16].try_into().unwrap()
}

fn hashed(key: &[u8; 16], bytes: &[u8]) -> u128 {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(bytes);
    hasher.finish128().as_u128()
}

fn encoded(arrays: &[ArrayRef]) -> Vec<Vec<u8>> {
    let fields = arrays.iter().map(|array| SortField::new(array.data_type().clone())).collect();
    let rows = RowConverter::new(fields).unwrap().convert_columns(arrays).unwrap();
    rows.iter().map(|row| row.data().to_vec()).collect()
}

/// The rows of a patient that a scan gives: the M least by hash over the columns that are read, then the consented.
fn scanned<'a>(world: &World, patient: &'a Patient, scan: &Scan, reads: &BTreeSet<usize>, key: &[u8; 16]) -> Vec<&'a Row> {
    let table = &world.catalog.tables[scan.table];
    let most = usize::try_from(table.private.unwrap().scan_rows).unwrap();
    let mut rows: Vec<&Row> = patient.rows[scan.table].iter().collect();
    if rows.len() > most {
        let own: Vec<(i64, &Row)> = rows.iter().map(|row| (patient.id, *row)).collect();
        let encoded = encoded(&stored(table, &own, |at| reads.contains(&at)));
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|at| hashed(key, &encoded[*at]));
        rows = order.into_iter().take(most).map(|at| rows[at]).collect();
    }
    rows.retain(|row| row.consent & PURPOSE != 0);
    rows
}

impl Condition {
    /// As SQL has it: true, false or unknown.
    pub fn holds(&self, row: &[Cell]) -> Option<bool> {
        match self {
            Self::Compares(at, op, cell) => {
                if row[*at] == Cell::Null {
                    return None;
                }
                let order = row[*at].cmp(cell);
                Some(match *op {
                    "=" => order == Ordering::Equal,
                    "<>" => order != Ordering::Equal,
                    "<" => order == Ordering::Less,
                    "<=" => order != Ordering::Greater,
                    ">" => order == Ordering::Greater,
                    _ => order != Ordering::Less,
                })
            }
            Self::Among(at, cells) => (row[*at] != Cell::Null).then(|| cells.contains(&row[*at])),
            Self::Missing(at) => Some(row[*at] == Cell::Null),
            Self::Both(a, b) => match (a.holds(row), b.holds(row)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Either(a, b) => match (a.holds(row), b.holds(row)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::Not(inner) => inner.holds(row).map(|truth| !truth),
        }
    }
}

fn satisfied(condition: &Option<Condition>, row: &[Cell]) -> bool {
    condition.as_ref().is_none_or(|condition| condition.holds(row) == Some(true))
}

fn joined(a: &[Cell], b: &[Cell]) -> Vec<Cell> {
    [a, b].concat()
}

/// P of one patient.
fn rows(world: &World, patient: &Patient, source: &Source, reads: &[BTreeSet<usize>], key: &[u8; 16]) -> Vec<Vec<Cell>> {
    let scans = source.scans();
    let scanned: Vec<Vec<Vec<Cell>>> = scans
        .iter()
        .zip(reads)
        .map(|(scan, reads)| scanned(world, patient, scan, reads, key).into_iter().map(|row| row.cells.clone()).collect())
        .collect();
    match source {
        Source::One(_) => scanned[0].clone(),
        Source::OnPatient { right, outer, by_id, .. } => {
            let lacking = vec![Cell::Null; world.catalog.tables[right.table].columns.len() - 1];
            let mut all = Vec::new();
            for l in &scanned[0] {
                let met = scanned[1].iter().filter(|r| !by_id || (l[0] == r[0] && l[0] != Cell::Null));
                let before = all.len();
                all.extend(met.map(|r| joined(l, r)));
                if *outer && all.len() == before {
                    all.push(joined(l, &lacking));
                }
            }
            all
        }
        Source::Picked { among, negated, .. } => {
            let found = scanned[1].iter().any(|row| satisfied(among, row));
            if found == *negated { Vec::new() } else { scanned[0].clone() }
        }
        Source::WithRegion { column, outer, .. } => {
            let mut all = Vec::new();
            for row in &scanned[0] {
                match world.regions.iter().find(|region| region[0] == row[column - 1]) {
                    Some(region) => all.push(joined(row, region)),
                    None if *outer => all.push(joined(row, &[Cell::Null, Cell::Null, Cell::Null])),
                    None => {}
                }
            }
            all
        }
        Source::PerPatient { key, number, among, .. } => {
            let mut groups: BTreeMap<Option<Cell>, Vec<Cell>> = BTreeMap::new();
            for row in scanned[0].iter().filter(|row| satisfied(among, row)) {
                groups.entry(key.map(|key| row[key - 1].clone())).or_default().push(row[number - 1].clone());
            }
            let fold = |(key, values): (Option<Cell>, Vec<Cell>)| {
                let known: Vec<i128> = values.iter().filter_map(int).collect();
                let (sum, most) = (known.iter().sum(), known.iter().max().copied());
                let sum = most.map_or(Cell::Null, |_| Cell::Int(sum));
                let mut row = vec![Cell::Int(values.len() as i128), sum, most.map_or(Cell::Null, Cell::Int)];
                row.extend(key);
                row
            };
            groups.into_iter().map(fold).collect()
        }
        Source::Union { pairs, .. } => {
            let left = scanned[0].iter().map(|row| pairs.iter().map(|(l, _)| row[l - 1].clone()).collect());
            let right = scanned[1].iter().map(|row| pairs.iter().map(|(_, r)| row[r - 1].clone()).collect());
            left.chain(right).collect()
        }
        Source::Window { over, .. } => windowed(&scanned[0], *over),
    }
}

fn int(cell: &Cell) -> Option<i128> {
    match cell {
        Cell::Int(n) => Some(*n),
        _ => None,
    }
}

fn windowed(rows: &[Vec<Cell>], over: Over) -> Vec<Vec<Cell>> {
    let mut rows = rows.to_vec();
    // NULLs are last upwards and first downwards, as the engine has them; then the whole row.
    let place = |row: &[Cell], by: usize| row[by - 1].clone();
    if let Over::Number(by) | Over::Before(_, by) | Over::DenseRank(by) = over {
        rows.sort_by(|a, b| place(a, by).cmp(&place(b, by)).then_with(|| a.cmp(b)));
    }
    let with = |at: usize, row: &Vec<Cell>| {
        let w = match over {
            Over::Number(_) => Cell::Int(at as i128 + 1),
            Over::Rank(by) => {
                let before = rows.iter().filter(|other| place(other, by) > place(row, by)).count();
                Cell::Int(before as i128 + 1)
            }
            Over::DenseRank(by) => {
                let before = rows.iter().map(|other| place(other, by)).filter(|other| *other < place(row, by));
                Cell::Int(before.collect::<BTreeSet<_>>().len() as i128 + 1)
            }
            Over::Count(None) => Cell::Int(rows.len() as i128),
            Over::Count(Some(by)) => {
                Cell::Int(rows.iter().filter(|other| place(other, by) == place(row, by)).count() as i128)
            }
            Over::Before(value, _) => at.checked_sub(1).map_or(Cell::Null, |before| place(&rows[before], value)),
        };
        joined(row, &[w])
    };
    rows.iter().enumerate().map(|(at, row)| with(at, row)).collect()
}

/// Rows of one patient that a join may give; past it the patient contributes nothing.
fn allowance(world: &World, source: &Source) -> Option<usize> {
    let most = |scan: &Scan| world.catalog.tables[scan.table].private.unwrap().scan_rows as usize;
    match source {
        Source::OnPatient { left, right, outer, by_id, .. } => {
            let once = |scan: &Scan| most(scan) == 1 || (*by_id && scan.table == "visit");
            let (l, r) = (most(left), most(right));
            let pairs = match (once(left), once(right)) {
                (true, true) => l.min(r),
                (false, true) => l,
                (true, false) => r,
                (false, false) => l * r,
            };
            Some(match (outer, once(right)) {
                (false, _) => pairs,
                (true, true) => l,
                (true, false) => pairs.max(l + r),
            })
        }
        Source::WithRegion { rows, .. } => Some(most(rows)),
        _ => None,
    }
}

/// First day of the day's month.
fn month(days: i128) -> i128 {
    let (year, month, _) = epiledger_privacy::day::Day(i32::try_from(days).unwrap()).parts();
    epiledger_privacy::day::Day::from_parts(year, month, 1).unwrap().0.into()
}

impl Key {
    fn of(&self, columns: &[Column], row: &[Cell]) -> Cell {
        let yes_no = |condition: &Condition| condition.holds(row);
        match self {
            Self::Column(at) => row[*at].clone(),
            Self::Month(at) => int(&row[*at]).map_or(Cell::Null, |days| Cell::Int(month(days))),
            Self::Bucket(at, low, width, count) => {
                let Some(x) = int(&row[*at]) else { return Cell::Null };
                let unit = match columns[*at].kind {
                    Kind::Decimal { scale, .. } => 10_i128.pow(scale.try_into().unwrap()),
                    _ => 1,
                };
                let bucket = (x - i128::from(*low) * unit).div_euclid(i128::from(*width) * unit);
                Cell::Int((bucket + 1).clamp(0, i128::from(*count) + 1))
            }
            Self::Case(condition, otherwise) => match (yes_no(condition) == Some(true), otherwise) {
                (true, _) => Cell::Text("yes".into()),
                (false, true) => Cell::Text("no".into()),
                (false, false) => Cell::Null,
            },
            Self::Truth(condition) => yes_no(condition).map_or(Cell::Null, Cell::Truth),
        }
    }

    /// The values that the key may have in one branch of a union; none where they are known from data alone.
    fn cells(&self, columns: &[Column], branch: usize) -> Option<BTreeSet<Cell>> {
        let known = |at: usize| columns[at].known.get(branch).or(columns[at].known.first()).cloned().flatten();
        if let Self::Month(at) = self {
            let Kind::Date { low, high, .. } = &columns[*at].kind else { return None };
            let day = |text: &str| i128::from(epiledger_privacy::day::Day::parse(text).unwrap().0);
            return Some((day(low)..=day(high)).map(|day| Cell::Int(month(day))).collect());
        }
        let read: BTreeSet<usize> = self.columns().into_iter().collect();
        let lists: Option<Vec<(usize, Vec<Cell>)>> = read.iter().map(|at| Some((*at, known(*at)?))).collect();
        let Some(lists) = lists else {
            return Some(match self {
                Self::Column(_) | Self::Month(_) => return None,
                Self::Bucket(_, _, _, count) => (0..=i128::from(*count) + 1).map(Cell::Int).collect(),
                Self::Case(_, true) => [Cell::Text("yes".into()), Cell::Text("no".into())].into(),
                Self::Case(_, false) => [Cell::Text("yes".into()), Cell::Null].into(),
                Self::Truth(_) => [Cell::Truth(true), Cell::Truth(false)].into(),
            });
        };
        // Whatever the declared values make of it, and a value that is lacking.
        let mut rows = vec![(vec![Cell::Null; columns.len()], false)];
        for (at, values) in lists {
            let lacking = columns[at].may_lack.then_some(Cell::Null);
            let with = |(row, nulled): &(Vec<Cell>, bool)| {
                let one = |value: &Cell| {
                    let mut row = row.clone();
                    row[at] = value.clone();
                    (row, *nulled || *value == Cell::Null)
                };
                values.iter().chain(&lacking).map(one).collect::<Vec<_>>()
            };
            rows = rows.iter().flat_map(with).collect();
        }
        let cells = rows.iter().map(|(row, nulled)| (self.of(columns, row), *nulled));
        Some(cells.filter(|(cell, nulled)| !(*nulled && *cell == Cell::Null)).map(|(cell, _)| cell).collect())
    }

    fn scalar(&self, columns: &[Column], cell: &Cell) -> ScalarValue {
        let kind = |at: &usize| columns[*at].kind.clone();
        match (self, cell) {
            (Self::Truth(_), Cell::Truth(truth)) => ScalarValue::Boolean(Some(*truth)),
            (Self::Truth(_), _) => ScalarValue::Boolean(None),
            (Self::Case(..), _) => text(cell),
            (Self::Column(at), _) if kind(at) == Kind::Text => text(cell),
            (Self::Column(at) | Self::Month(at), _) if matches!(kind(at), Kind::Date { .. }) => {
                ScalarValue::Date32(int(cell).map(|n| i32::try_from(n).unwrap()))
            }
            _ => ScalarValue::Int64(int(cell).map(|n| i64::try_from(n).unwrap())),
        }
    }
}

fn text(cell: &Cell) -> ScalarValue {
    match cell {
        Cell::Text(text) => ScalarValue::Utf8(Some(text.clone())),
        _ => ScalarValue::Utf8(None),
    }
}

/// A declared range on its grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    low: i128,
    high: i128,
}

impl Range {
    fn middle(self) -> i128 {
        (self.low + self.high).div_euclid(2)
    }

    fn half(self) -> i128 {
        (self.high - self.middle()).max(self.middle() - self.low)
    }

    fn magnitude(self) -> i128 {
        self.low.abs().max(self.high.abs())
    }

    /// Grid units squared in 1 of a square.
    fn unit(self) -> i128 {
        let most = 1 << 28;
        ((self.half().pow(2) + most - 1) / most).max(1)
    }

    fn square(self, x: i128) -> i128 {
        (x - self.middle()).pow(2) / self.unit() - self.half().pow(2) / self.unit() / 2
    }

    /// Step between candidates, and how many there are.
    fn candidates(self, most: u64) -> (i128, u64) {
        let steps = (0..18).flat_map(|power| [1, 2, 5].map(|first| first * 10_i128.pow(power)));
        let count = |step: i128| u64::try_from((self.high - self.low + step / 2) / step + 1).unwrap();
        steps.map(|step| (step, count(step))).find(|(_, count)| *count <= most.max(2)).unwrap()
    }
}

impl Value {
    fn of(&self, row: &[Cell]) -> Cell {
        match self {
            Self::One => Cell::Int(1),
            Self::Column(at) => row[*at].clone(),
            Self::Within(at, low, high) => {
                // GREATEST and LEAST pass over NULL.
                let x = int(&row[*at]).map_or(i128::from(*low), |x| x.max((*low).into()));
                Cell::Int(x.min((*high).into()))
            }
            Self::Plus(a, b) => match (int(&row[*a]), int(&row[*b])) {
                (Some(a), Some(b)) => Cell::Int(a + b),
                _ => Cell::Null,
            },
        }
    }

    fn range(&self, columns: &[Column]) -> Range {
        let of = |at: &usize| match columns[*at].kind {
            Kind::Integer { low, high } | Kind::Decimal { low, high, .. } => Range { low: low.into(), high: high.into() },
            _ => Range { low: 0, high: 0 },
        };
        match self {
            Self::One => Range { low: 1, high: 1 },
            Self::Column(at) => of(at),
            Self::Within(at, low, high) => {
                let bounded = |x: i128| x.max((*low).into()).min((*high).into());
                Range { low: bounded(of(at).low), high: bounded(of(at).high) }
            }
            Self::Plus(a, b) => Range { low: of(a).low + of(b).low, high: of(a).high + of(b).high },
        }
    }
}

type Filter = Option<Condition>;

/// A column of V.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    Patients,
    Having(Filter),
    Rows,
    Count(Value, Filter),
    Total(Value, Filter, Range),
    Centred(Value, Filter, Range),
    Squares(Value, Filter, Range),
    Distinct(Value, Filter),
    /// With the step between candidates.
    Medians(Value, Filter, Range, i128),
}

impl Measure {
    /// Its name without its arguments.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Patients => "n",
            Self::Having(_) => "n_i",
            Self::Rows => "N",
            Self::Count(..) => "N_i",
            Self::Total(..) => "T",
            Self::Centred(..) => "S",
            Self::Squares(..) => "Q",
            Self::Distinct(..) => "E",
            Self::Medians(..) => "M",
        }
    }
}

/// The bounds that a plan says it keeps.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub rows: u64,
    pub groups: u64,
    pub cells: Option<u64>,
}

/// The columns of V in order of first need.
pub fn measures(columns: &[Column], asked: &[Asked], bounds: Bounds) -> Vec<Measure> {
    let mut all: Vec<Measure> = Vec::new();
    let mut quantiles: Vec<(&Value, &Filter, u32)> = Vec::new();
    for a in asked {
        if let What::Quantile(value, share, _) = &a.what
            && !quantiles.contains(&(value, &a.filter, *share))
        {
            quantiles.push((value, &a.filter, *share));
        }
    }
    let unknown = 1_000 * bounds.groups / 11;
    let cells = bounds.cells.unwrap_or(unknown).max(1);
    let most = (2_000_000 / (cells * 3 * quantiles.len().max(1) as u64)).min(1_000);
    if bounds.cells.is_none() || asked.is_empty() {
        all.push(Measure::Patients);
    }
    for Asked { what, filter } in asked {
        let counted = |value: &Value| {
            asked.iter().any(|other| {
                let same = matches!(&other.what, What::Values(x) | What::Mean(x) | What::Spread(_, x) if x == value);
                same && other.filter == *filter
            })
        };
        let centred = |value: &Value, range: Range| {
            vec![Measure::Centred(value.clone(), filter.clone(), range), Measure::Count(value.clone(), filter.clone())]
        };
        let more = match what {
            What::Rows if filter.is_none() => vec![Measure::Rows],
            What::Rows => vec![Measure::Count(Value::One, filter.clone())],
            What::Patients if filter.is_none() => vec![Measure::Patients],
            What::Patients => vec![Measure::Having(filter.clone())],
            What::Values(value) => vec![Measure::Count(value.clone(), filter.clone())],
            What::Distinct(value) => vec![Measure::Distinct(value.clone(), filter.clone())],
            What::Sum(value) => {
                let range = value.range(columns);
                let finer = range.half().pow(2) + range.middle().pow(2) <= range.magnitude().pow(2);
                if counted(value) && finer {
                    centred(value, range)
                } else {
                    vec![Measure::Total(value.clone(), filter.clone(), range)]
                }
            }
            What::Mean(value) => centred(value, value.range(columns)),
            What::Spread(_, value) => {
                let range = value.range(columns);
                let mut all = vec![Measure::Squares(value.clone(), filter.clone(), range)];
                all.extend(centred(value, range));
                all
            }
            What::Quantile(value, ..) => {
                let range = value.range(columns);
                vec![Measure::Medians(value.clone(), filter.clone(), range, range.candidates(most.max(20)).0)]
            }
        };
        more.into_iter().for_each(|measure| {
            if !all.contains(&measure) {
                all.push(measure);
            }
        });
    }
    all
}

/// What one patient puts into one group.
enum Part {
    Sum(i128),
    /// Hashes of the distinct values that count.
    Values(BTreeSet<u128>),
    Candidate(Option<i128>),
}

/// Everything that V depends on beside the patients.
pub struct Reference<'a> {
    pub world: &'a World,
    pub question: &'a Question,
    pub bounds: Bounds,
    pub secret: [u8; 32],
    pub cache_key: &'a str,
}

/// V by keys; a column of integers has one number, one of candidates all of them, sorted.
pub type V = BTreeMap<String, Vec<Vec<i128>>>;

impl Reference<'_> {
    fn part(&self, measure: &Measure, rows: &[&Vec<Cell>], columns: &[Column], group: &[ArrayRef], key: &[u8; 16]) -> Part {
        let most = i128::from(self.bounds.rows);
        let values = |value: &Value, filter: &Filter| -> Vec<Cell> {
            let passed = rows.iter().filter(|row| satisfied(filter, row)).map(|row| value.of(row));
            passed.filter(|cell| *cell != Cell::Null).collect()
        };
        let clamped = |value: &Value, filter: &Filter, range: Range| -> Vec<i128> {
            values(value, filter).iter().filter_map(int).map(|x| x.clamp(range.low, range.high)).collect()
        };
        let weighed = |parts: Vec<i128>| {
            let (count, sum) = (parts.len() as i128, parts.iter().sum::<i128>());
            Part::Sum(if count > most { sum * most / count } else { sum })
        };
        match measure {
            Measure::Patients => Part::Sum(1),
            Measure::Having(filter) => Part::Sum(i128::from(rows.iter().any(|row| satisfied(filter, row)))),
            Measure::Rows => Part::Sum((rows.len() as i128).min(most)),
            Measure::Count(value, filter) => Part::Sum((values(value, filter).len() as i128).min(most)),
            Measure::Total(value, filter, range) => weighed(clamped(value, filter, *range)),
            Measure::Centred(value, filter, range) => {
                weighed(clamped(value, filter, *range).into_iter().map(|x| x - range.middle()).collect())
            }
            Measure::Squares(value, filter, range) => {
                weighed(clamped(value, filter, *range).into_iter().map(|x| range.square(x)).collect())
            }
            Measure::Distinct(value, filter) => {
                let distinct: BTreeSet<Cell> = values(value, filter).into_iter().collect();
                let code = |cell: &Cell| {
                    let kind = match value {
                        Value::Column(at) => columns[*at].kind.clone(),
                        _ => Kind::Id,
                    };
                    hashed(key, &encoded(&[array(&kind, cell)])[0])
                };
                let ranked = |code: u128| {
                    let mut arrays = group.to_vec();
                    let bytes = ScalarValue::FixedSizeBinary(16, Some(code.to_be_bytes().to_vec()));
                    arrays.push(bytes.to_array().unwrap());
                    (hashed(key, &encoded(&arrays)[0]), code)
                };
                let mut ranked: Vec<(u128, u128)> = distinct.iter().map(|cell| ranked(code(cell))).collect();
                ranked.sort_unstable();
                let limit = self.bounds.rows.clamp(1, 64) as usize;
                Part::Values(ranked.into_iter().take(limit).map(|(_, code)| code).collect())
            }
            Measure::Medians(value, filter, range, step) => {
                let index = |x: i128| (x - range.low + step / 2) / step;
                let mut all: Vec<i128> = clamped(value, filter, *range).into_iter().map(index).collect();
                all.sort_unstable();
                Part::Candidate(all.get(all.len().saturating_sub(1) / 2).copied())
            }
        }
    }

    /// V of all patients but one.
    pub fn v(&self, without: Option<i64>) -> V {
        let (world, question) = (self.world, self.question);
        let columns = question.source.columns(world);
        let reads = question.reads(world);
        let measures = measures(&columns, &question.asked, self.bounds);
        let rows_key = derived(&self.secret, "rows", "");
        let group_key = derived(&self.secret, "groups", self.cache_key);
        let branches = columns.iter().map(|c| c.known.len()).max().unwrap_or(1);
        let cells: Vec<Option<Vec<BTreeSet<Cell>>>> =
            (0..branches).map(|branch| question.keys.iter().map(|key| key.cells(&columns, branch)).collect()).collect();
        let public: Option<Vec<Vec<BTreeSet<Cell>>>> = cells.into_iter().collect();
        let in_a_cell = |key: &[Cell]| match &public {
            Some(branches) => branches.iter().any(|of| key.iter().zip(of).all(|(cell, cells)| cells.contains(cell))),
            None => true,
        };
        let mut found: BTreeMap<Vec<Cell>, Vec<Vec<Part>>> = BTreeMap::new();
        for patient in world.patients.iter().filter(|p| Some(p.id) != without) {
            let rows = rows(world, patient, &question.source, &reads, &rows_key);
            let mut groups: BTreeMap<Vec<Cell>, Vec<&Vec<Cell>>> = BTreeMap::new();
            for row in rows.iter().filter(|row| satisfied(&question.filter, row)) {
                let key: Vec<Cell> = question.keys.iter().map(|key| key.of(&columns, row)).collect();
                if in_a_cell(&key) {
                    groups.entry(key).or_default().push(row);
                }
            }
            let count: usize = groups.values().map(Vec::len).sum();
            if allowance(world, &question.source).is_some_and(|most| count > most) {
                continue;
            }
            let group = |key: &[Cell]| -> Vec<ArrayRef> {
                let unit = ScalarValue::Int64(Some(patient.id));
                let keys = question.keys.iter().zip(key).map(|(key, cell)| key.scalar(&columns, cell));
                std::iter::once(unit).chain(keys).map(|scalar| scalar.to_array().unwrap()).collect()
            };
            let mut kept: Vec<(Vec<Cell>, Vec<&Vec<Cell>>)> = groups.into_iter().collect();
            if !question.keys.is_empty() {
                kept.sort_by_cached_key(|(key, _)| {
                    let bytes = encoded(&group(key)).remove(0);
                    (hashed(&group_key, &bytes), bytes)
                });
                kept.truncate(usize::try_from(self.bounds.groups).unwrap());
            }
            for (key, rows) in kept {
                let arrays = group(&key);
                let part = |measure| self.part(measure, &rows, &columns, &arrays, &group_key);
                found.entry(key).or_default().push(measures.iter().map(part).collect());
            }
        }
        let shown = |key: &[Cell]| {
            let scalars = question.keys.iter().zip(key).map(|(key, cell)| key.scalar(&columns, cell));
            scalars.map(|scalar| format!("{scalar:?}")).collect::<Vec<_>>().join(" | ")
        };
        let mut all: V = found.iter().map(|(key, parts)| (shown(key), gathered(parts, measures.len()))).collect();
        all.retain(|_, columns| something(columns));
        all
    }
}

fn array(kind: &Kind, cell: &Cell) -> ArrayRef {
    let scalar = match (kind, cell) {
        (Kind::Text, _) => text(cell),
        (Kind::Date { .. }, _) => ScalarValue::Date32(int(cell).map(|n| i32::try_from(n).unwrap())),
        (Kind::Decimal { scale, .. }, _) => ScalarValue::Decimal128(int(cell), 18, *scale),
        _ => ScalarValue::Int64(int(cell).map(|n| i64::try_from(n).unwrap())),
    };
    scalar.to_array().unwrap()
}

/// Is anything but zeros there?
fn something(columns: &[Vec<i128>]) -> bool {
    columns.iter().any(|column| column.len() != 1 || column[0] != 0)
}

fn gathered(patients: &[Vec<Part>], measures: usize) -> Vec<Vec<i128>> {
    let column = |at: usize| {
        let (mut sum, mut values, mut chosen, mut lists) = (0, BTreeSet::new(), Vec::new(), false);
        for parts in patients {
            match &parts[at] {
                Part::Sum(part) => sum += part,
                Part::Values(own) => values.extend(own.iter().copied()),
                Part::Candidate(own) => {
                    lists = true;
                    chosen.extend(*own);
                }
            }
        }
        chosen.sort_unstable();
        // Marked, so that one candidate is told from one sum.
        if lists { std::iter::once(-1).chain(chosen).collect() } else { vec![sum + values.len() as i128] }
    };
    (0..measures).map(column).collect()
}

/// V as a plan gave it, in the same form.
pub fn read(batches: &[arrow::record_batch::RecordBatch], keys: usize) -> V {
    let mut all = V::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let scalars = batch.columns()[..keys].iter().map(|c| ScalarValue::try_from_array(c, row).unwrap());
            let key = scalars.map(|scalar| format!("{scalar:?}")).collect::<Vec<_>>().join(" | ");
            let columns = batch.columns()[keys..].iter().map(|column| integers(column, row)).collect();
            assert!(all.insert(key, columns).is_none(), "a group came twice");
        }
    }
    all.retain(|_, columns| something(columns));
    all
}

fn integers(column: &Arc<dyn Array>, row: usize) -> Vec<i128> {
    let Some(lists) = column.as_list_opt::<i32>() else {
        let sums = column.as_primitive::<Int64Type>();
        return vec![if sums.is_null(row) { 0 } else { sums.value(row).into() }];
    };
    let mut chosen: Vec<i128> = vec![];
    if !lists.is_null(row) {
        chosen.extend(lists.value(row).as_primitive::<Int64Type>().iter().flatten().map(i128::from));
    }
    chosen.sort_unstable();
    std::iter::once(-1).chain(chosen).collect()
}
