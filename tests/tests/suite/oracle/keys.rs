//! Keys: their value in a row, and the cells that are public.

use std::collections::BTreeSet;

use datafusion::common::ScalarValue;
use epiledger_privacy::catalog::Kind;

use super::question::{Column, Condition, Key};
use super::rows::int;
use super::tables::Cell;

/// First day of the day's month.
fn month(days: i128) -> i128 {
    let (year, month, _) = epiledger_privacy::day::Day(i32::try_from(days).unwrap()).parts();
    epiledger_privacy::day::Day::from_parts(year, month, 1).unwrap().0.into()
}

impl Key {
    pub fn of(&self, columns: &[Column], row: &[Cell]) -> Cell {
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
    pub fn cells(&self, columns: &[Column], branch: usize) -> Option<BTreeSet<Cell>> {
        let known = |at: usize| columns[at].known.get(branch).or(columns[at].known.first()).cloned().flatten();
        if let Self::Month(at) = self {
            let column = &columns[*at];
            let Kind::Date { low, high, .. } = column.kinds.get(branch).unwrap_or(&column.kind) else { return None };
            let day = |text: &str| i128::from(epiledger_privacy::day::Day::parse(text).unwrap().0);
            return Some((day(low)..=day(high)).map(|day| Cell::Int(month(day))).collect());
        }
        let read: BTreeSet<usize> = self.columns().into_iter().collect();
        if read.iter().any(|at| columns[*at].known.is_empty()) {
            return None;
        }
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

    pub fn scalar(&self, columns: &[Column], cell: &Cell) -> ScalarValue {
        let kind = |at: &usize| columns[*at].kind.clone();
        match (self, cell) {
            (Self::Truth(_), Cell::Truth(truth)) => ScalarValue::Boolean(Some(*truth)),
            (Self::Truth(_), _) => ScalarValue::Boolean(None),
            (Self::Case(..), _) => text(cell),
            (Self::Column(at), _) if columns[*at].unsigned => {
                ScalarValue::UInt64(int(cell).map(|n| u64::try_from(n).unwrap()))
            }
            (Self::Column(at), _) if kind(at) == Kind::Text => text(cell),
            (Self::Column(at) | Self::Month(at), _) if matches!(kind(at), Kind::Date { .. }) => {
                ScalarValue::Date32(int(cell).map(|n| i32::try_from(n).unwrap()))
            }
            _ => ScalarValue::Int64(int(cell).map(|n| i64::try_from(n).unwrap())),
        }
    }
}

pub fn text(cell: &Cell) -> ScalarValue {
    match cell {
        Cell::Text(text) => ScalarValue::Utf8(Some(text.clone())),
        _ => ScalarValue::Utf8(None),
    }
}
