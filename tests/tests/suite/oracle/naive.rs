//! V from its definition in `bound.md`, patient by patient, in whole numbers of 128 bits. What is keyed (which rows
//! past M, which groups past G, which values past D) is hashed here anew, over Arrow's row encoding.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::Int64Type;
use datafusion::common::ScalarValue;
use epiledger_privacy::catalog::Kind;

use super::keys::text;
use super::question::{Asked, Column, Condition, Question, Value, What};
use super::rows::{allowance, derived, encoded, hashed, heavy, int, rows, satisfied};
use super::tables::{Cell, World};

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
            Kind::Integer { low, high } | Kind::Decimal { low, high, .. } => {
                Range { low: low.into(), high: high.into() }
            }
            _ => Range { low: 0, high: 0 },
        };
        match self {
            Self::One => Range { low: 1, high: 1 },
            Self::Column(at) => of(at),
            // GREATEST and LEAST pass over NULL, so either bound can come out. A range of one value is as good as a
            // number that is written.
            Self::Within(at, low, high) => {
                let (low, high, of) = (i128::from(*low), i128::from(*high), of(at));
                let floored = if of.low == of.high { of.low.max(low) } else { low };
                let most = of.high.max(low);
                Range { low: floored.min(high), high: if floored == most { high.min(most) } else { high } }
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
    /// Hashes of the distinct values that count, and whether there are more.
    Values(BTreeSet<u128>, bool),
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
    fn part(
        &self,
        measure: &Measure,
        rows: &[&Vec<Cell>],
        columns: &[Column],
        group: &[ArrayRef],
        key: &[u8; 16],
    ) -> Part {
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
                    let one = match value {
                        Value::Column(at) if columns[*at].unsigned => unsigned(cell),
                        Value::Column(at) => array(&columns[*at].kind, cell),
                        _ => array(&Kind::Id, cell),
                    };
                    hashed(key, &encoded(&[one])[0])
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
                let more = ranked.len() > limit;
                Part::Values(ranked.into_iter().take(limit).map(|(_, code)| code).collect(), more)
            }
            Measure::Medians(value, filter, range, step) => {
                let index = |x: i128| (x - range.low + step / 2) / step;
                let mut all: Vec<i128> = clamped(value, filter, *range).into_iter().map(index).collect();
                all.sort_unstable();
                Part::Candidate(all.get(all.len().saturating_sub(1) / 2).copied())
            }
        }
    }

    /// V; `past` gets the limits that a patient was past.
    pub fn v(&self, past: &mut BTreeSet<&'static str>) -> V {
        let (world, question) = (self.world, self.question);
        let columns = question.source.columns(world);
        let reads = question.reads(world);
        let measures = measures(&columns, &question.asked, self.bounds);
        let rows_key = derived(&self.secret, "rows", "");
        let group_key = derived(&self.secret, "groups", self.cache_key);
        let branches = columns.iter().map(|c| c.known.len()).max().unwrap_or(1).max(1);
        let cells: Vec<Option<Vec<BTreeSet<Cell>>>> =
            (0..branches).map(|branch| question.keys.iter().map(|key| key.cells(&columns, branch)).collect()).collect();
        let public: Option<Vec<Vec<BTreeSet<Cell>>>> = cells.into_iter().collect();
        let in_a_cell = |key: &[Cell]| match &public {
            Some(branches) => branches.iter().any(|of| key.iter().zip(of).all(|(cell, cells)| cells.contains(cell))),
            None => true,
        };
        let mut found: BTreeMap<Vec<Cell>, Vec<Vec<Part>>> = BTreeMap::new();
        for patient in &world.patients {
            past.extend(heavy(world, patient, &question.source).then_some("M"));
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
                past.insert("allowance");
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
                past.extend((kept.len() as u64 > self.bounds.groups).then_some("G"));
                kept.truncate(usize::try_from(self.bounds.groups).unwrap());
            }
            for (key, rows) in kept {
                past.extend((rows.len() as u64 > self.bounds.rows).then_some("R"));
                let arrays = group(&key);
                let part = |measure| self.part(measure, &rows, &columns, &arrays, &group_key);
                let parts: Vec<Part> = measures.iter().map(part).collect();
                past.extend(parts.iter().any(|part| matches!(part, Part::Values(_, true))).then_some("D"));
                found.entry(key).or_default().push(parts);
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

fn unsigned(cell: &Cell) -> ArrayRef {
    ScalarValue::UInt64(int(cell).map(|n| u64::try_from(n).unwrap())).to_array().unwrap()
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

/// Is anything but zeros and empty lists there?
fn something(columns: &[Vec<i128>]) -> bool {
    columns.iter().any(|column| *column != [0] && *column != [-1])
}

fn gathered(patients: &[Vec<Part>], measures: usize) -> Vec<Vec<i128>> {
    let column = |at: usize| {
        let (mut sum, mut values, mut chosen, mut lists) = (0, BTreeSet::new(), Vec::new(), false);
        for parts in patients {
            match &parts[at] {
                Part::Sum(part) => sum += part,
                Part::Values(own, _) => values.extend(own.iter().copied()),
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
    let mut chosen: Vec<i128> = vec![-1];
    if !lists.is_null(row) {
        // How many patients chose each candidate.
        for (candidate, count) in lists.value(row).as_primitive::<Int64Type>().iter().enumerate() {
            chosen.extend((0..count.unwrap_or(0)).map(|_| candidate as i128));
        }
    }
    chosen
}
