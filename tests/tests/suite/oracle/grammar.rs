//! Random questions of a random schema.

use epiledger_privacy::catalog::Kind;
use rand::{RngExt, rngs::StdRng};

use super::question::{Asked, Column, Condition, Key, Over, Question, Scan, Source, Value, What, columns_of, some_day};
use super::tables::{Cell, World};

const SCANS: [(&str, &str); 3] = [("alpha", "a"), ("visit", "v"), ("drug", "d")];

fn scan(at: usize) -> Scan {
    Scan { table: SCANS[at].0, alias: SCANS[at].1 }
}

fn any<'a, T>(rng: &mut StdRng, of: &'a [T]) -> Option<&'a T> {
    if of.is_empty() { None } else { Some(&of[rng.random_range(0..of.len())]) }
}

fn odds(rng: &mut StdRng, one_in: u32) -> bool {
    rng.random_range(0..one_in) == 0
}

/// A value that rows are likely to have.
fn value(rng: &mut StdRng, kind: &Kind) -> Cell {
    match kind {
        Kind::Text => Cell::Text(["north", "west", "a", "b", "", "left"][rng.random_range(0..6)].to_owned()),
        Kind::Date { .. } => some_day(rng.random_range(-20..200)),
        Kind::Id => Cell::Int(rng.random_range(0..4)),
        Kind::Integer { low, high } | Kind::Decimal { low, high, .. } => {
            Cell::Int(rng.random_range(i128::from(*low) - 1..=i128::from(*high) + 1))
        }
    }
}

/// A condition on columns that are named in `of`, by position; none where there are none.
fn condition(rng: &mut StdRng, columns: &[Column], of: &[usize], depth: u32) -> Option<Condition> {
    let at = *any(rng, of)?;
    let column = &columns[at];
    if depth > 0 && odds(rng, 2) {
        let (a, b) = (condition(rng, columns, of, depth - 1)?, condition(rng, columns, of, depth - 1)?);
        return Some(match rng.random_range(0..3) {
            0 => Condition::Both(Box::new(a), Box::new(b)),
            1 => Condition::Either(Box::new(a), Box::new(b)),
            _ => Condition::Not(Box::new(a)),
        });
    }
    Some(match rng.random_range(0..5) {
        0 if column.may_lack => Condition::Missing(at),
        1 => Condition::Among(at, (0..rng.random_range(1..4)).map(|_| value(rng, &column.kind)).collect()),
        _ => {
            let op = ["=", "<>", "<", "<=", ">", ">="][rng.random_range(0..6)];
            Condition::Compares(at, op, value(rng, &column.kind))
        }
    })
}

fn of_kind(columns: &[Column], wanted: impl Fn(&Column) -> bool) -> Vec<usize> {
    (0..columns.len()).filter(|at| wanted(&columns[*at])).collect()
}

fn source(rng: &mut StdRng, world: &World) -> Source {
    let (one, other) = (rng.random_range(0..3), rng.random_range(0..2));
    let (rows, by) = (scan(one), scan((one + 1 + other) % 3));
    let columns = columns_of(world, &rows, 0);
    let whole = of_kind(&columns, |c| matches!(c.kind, Kind::Integer { .. }) && c.known == [None]);
    let number = 1 + *any(rng, &whole).unwrap();
    match rng.random_range(0..12) {
        0..3 => Source::One(rows),
        3 | 4 => {
            let by_id = rows.table != "alpha" && by.table != "alpha" && !odds(rng, 3);
            Source::OnPatient { left: rows, right: by, outer: odds(rng, 3), by_id, comma: odds(rng, 2) }
        }
        5 | 6 => {
            let inner = columns_of(world, &by, 1);
            let every: Vec<usize> = (0..inner.len()).collect();
            let among = if odds(rng, 3) { None } else { condition(rng, &inner, &every, 1) };
            Source::Picked { rows, by, among, negated: odds(rng, 2), exists: odds(rng, 2) }
        }
        7 => match any(rng, &of_kind(&columns, |c| matches!(c.kind, Kind::Text))) {
            Some(column) => Source::WithRegion { rows, column: 1 + *column, outer: odds(rng, 2) },
            None => Source::One(rows),
        },
        8 | 9 => {
            let keys = of_kind(&columns, |c| !matches!(c.kind, Kind::Decimal { .. }));
            let key = any(rng, &keys).map(|at| at + 1).filter(|at| *at != number && rng.random());
            let free = of_kind(&columns, |_| true).into_iter().filter(|at| at + 1 != number && Some(at + 1) != key);
            let among = if odds(rng, 2) { None } else { condition(rng, &columns, &free.collect::<Vec<_>>(), 1) };
            Source::PerPatient { rows, key, number, among }
        }
        10 => {
            let right = columns_of(world, &by, 1);
            let same = |l: &Kind, r: &Kind| match (l, r) {
                (Kind::Decimal { scale: l, .. }, Kind::Decimal { scale: r, .. }) => l == r,
                _ => std::mem::discriminant(l) == std::mem::discriminant(r),
            };
            let mut pairs = Vec::new();
            for (l, column) in columns.iter().enumerate() {
                let found = of_kind(&right, |r| same(&column.kind, &r.kind) && !matches!(r.kind, Kind::Decimal { .. }));
                pairs.extend(any(rng, &found).map(|r| (l + 1, r + 1)));
            }
            Source::Union { left: rows, right: by, pairs }
        }
        _ => {
            let by = 1 + rng.random_range(0..columns.len());
            let over = match rng.random_range(0..5) {
                0 => Over::Number(by),
                1 => Over::Rank(by),
                2 => Over::DenseRank(by),
                3 => Over::Count(rng.random::<bool>().then_some(by)),
                _ => Over::Before(number, by),
            };
            Source::Window { rows, over }
        }
    }
}

fn number(rng: &mut StdRng, columns: &[Column]) -> Option<Value> {
    let all = of_kind(columns, |c| c.summed);
    let at = *any(rng, &all)?;
    let whole = of_kind(columns, |c| c.summed && matches!(c.kind, Kind::Integer { .. }));
    Some(match (rng.random_range(0..6), any(rng, &whole)) {
        (0, Some(x)) => {
            let low = rng.random_range(-20..20);
            Value::Within(*x, low, low + rng.random_range(0..40))
        }
        (1, Some(x)) => Value::Plus(*x, *any(rng, &whole)?),
        _ => Value::Column(at),
    })
}

fn key(rng: &mut StdRng, columns: &[Column], union: bool) -> Option<Key> {
    let every = of_kind(columns, |c| c.key);
    Some(match rng.random_range(0..8) {
        0 => Key::Month(*any(rng, &of_kind(columns, |c| matches!(c.kind, Kind::Date { .. })))?),
        1 => {
            let whole = of_kind(columns, |c| {
                matches!(c.kind, Kind::Integer { .. } | Kind::Decimal { .. }) && c.summed && c.key
            });
            let (width, count) = (1 << rng.random_range(0..6), 1 << rng.random_range(0..3));
            Key::Bucket(*any(rng, &whole)?, rng.random_range(-40..40), width, count)
        }
        2 if !union => Key::Case(condition(rng, columns, &every, 0)?, rng.random()),
        3 if !union => {
            let at = *any(rng, &every)?;
            Key::Truth(Condition::Compares(at, ["<", "="][rng.random_range(0..2)], value(rng, &columns[at].kind)))
        }
        _ => Key::Column(*any(rng, &of_kind(columns, |c| c.key && !matches!(c.kind, Kind::Decimal { .. })))?),
    })
}

fn asked(rng: &mut StdRng, columns: &[Column], before: &[Asked]) -> Option<Asked> {
    // Often of the same value under the same filter, so that primitives are shared.
    let shared = any(rng, before).filter(|_| odds(rng, 2));
    let summed = match shared.and_then(Asked::value) {
        Some(value) if value.columns().iter().all(|at| columns[*at].summed) && *value != Value::One => {
            Some(value.clone())
        }
        _ => number(rng, columns),
    };
    let every: Vec<usize> = (0..columns.len()).collect();
    let plain = any(rng, &every).map(|at| Value::Column(*at));
    let what = match rng.random_range(0..18) {
        0 => What::Rows,
        1 => What::Patients,
        2 => What::Values(plain?),
        3 => What::Values(summed?),
        4 | 16 => What::Distinct(plain?),
        17 => What::Patients,
        5..8 => What::Sum(summed?),
        8..10 => What::Mean(summed?),
        10..13 => {
            let names = ["VAR", "VAR_POP", "VAR_SAMP", "STDDEV", "STDDEV_POP", "STDDEV_SAMP"];
            What::Spread(names[rng.random_range(0..names.len())], summed?)
        }
        _ => What::Quantile(summed?, [500, 100, 900, 250, 999][rng.random_range(0..5)], rng.random_range(0..3)),
    };
    let filter = match shared {
        Some(shared) => shared.filter.clone(),
        None => {
            if odds(rng, if matches!(what, What::Patients) { 1 } else { 3 }) {
                condition(rng, columns, &every, 1)
            } else {
                None
            }
        }
    };
    Some(Asked { what, filter })
}

/// One question. Conditions of WHERE keep off the columns of keys and sums: what they narrow is tested elsewhere, and
/// here the declared ranges stand.
pub fn question(rng: &mut StdRng, world: &World) -> Question {
    let source = source(rng, world);
    let columns = source.columns(world);
    let union = matches!(source, Source::Union { .. });
    let mut keys: Vec<Key> = Vec::new();
    for _ in 0..[0, 1, 1, 2, 2, 3][rng.random_range(0..6)] {
        keys.extend(key(rng, &columns, union).filter(|key| !keys.contains(key)));
    }
    let mut all: Vec<Asked> = Vec::new();
    for _ in 0..rng.random_range(1..6) {
        all.extend(asked(rng, &columns, &all));
    }
    if all.is_empty() || (!keys.is_empty() && odds(rng, 20)) {
        all.clear();
    }
    if all.is_empty() && keys.is_empty() {
        all.push(Asked { what: What::Rows, filter: None });
    }
    let taken: Vec<usize> = keys
        .iter()
        .flat_map(Key::columns)
        .chain(all.iter().filter_map(Asked::value).flat_map(Value::columns))
        .collect();
    // A column of the joined table may be the key of another: the public one's row is read by it.
    let free: Vec<usize> = (0..columns.len()).filter(|at| !taken.contains(at)).collect();
    let filter = if odds(rng, 2) { condition(rng, &columns, &free, 2) } else { None };
    Question { source, filter, keys, asked: all }
}
