//! Holding a row to the catalog: every stored value lies in its column's declared range or domain.

use std::collections::BTreeSet;

use super::{Cell, Fault};
use crate::catalog::{Catalog, Column, Kind, Table};
use crate::day::Day;

/// Longest code, unit or lot number that is kept; longer text is free text.
const MAX_CODE: usize = 40;

/// One column's rule.
enum Rule {
    Code,
    Domain(BTreeSet<String>),
    Day { low: i32, high: i32, year_only: bool },
    Id,
    Integer { low: i64, high: i64 },
    Decimal { low: i64, high: i64 },
}

/// The rules of one table's columns, in order.
pub(super) struct Layout {
    table: &'static str,
    columns: Vec<(Rule, bool)>,
}

/// What becomes of a row.
pub(super) enum Fit {
    /// It is kept; so many of its values were moved to the nearest declared bound or to null.
    Kept(u64),
    /// It lies outside of the declared days, as a whole.
    Dropped,
}

impl Layout {
    /// The rules of the catalog's table; `None` when it is missing or its dates are unreadable.
    pub(super) fn of(table: &'static str, catalog: &Catalog) -> Option<Self> {
        let Table { columns, .. } = catalog.table(table)?;
        let columns = columns.iter().map(|c| Some((rule(c)?, c.nullable))).collect::<Option<Vec<_>>>()?;
        Some(Self { table, columns })
    }

    /// Moves each cell into its column's range; refuses a row that does not fit the table at all.
    pub(super) fn fit(&self, cells: &mut [Cell]) -> Result<Fit, Fault> {
        let fault = || Fault::Row { table: self.table, field: "" };
        if cells.len() != self.columns.len() {
            return Err(fault());
        }
        let mut moved = 0;
        for (cell, (rule, nullable)) in cells.iter_mut().zip(&self.columns) {
            match rule.apply(cell) {
                Applied::Same => {}
                Applied::Moved(to) => {
                    *cell = to;
                    moved += 1;
                }
                Applied::None if *nullable => {
                    *cell = Cell::Null;
                    moved += 1;
                }
                Applied::None if matches!(rule, Rule::Day { .. }) => return Ok(Fit::Dropped),
                Applied::None => return Err(fault()),
                Applied::Null if *nullable => {}
                Applied::Null => return Err(fault()),
            }
        }
        Ok(Fit::Kept(moved))
    }
}

/// What a rule says of a cell.
enum Applied {
    Same,
    Moved(Cell),
    /// There is no value of the column for it.
    None,
    /// It is null.
    Null,
}

impl Rule {
    fn apply(&self, cell: &Cell) -> Applied {
        let clamp = |value: i64, low: i64, high: i64, make: fn(i64) -> Cell| {
            if (low..=high).contains(&value) { Applied::Same } else { Applied::Moved(make(value.clamp(low, high))) }
        };
        match (self, cell) {
            (_, Cell::Null) => Applied::Null,
            (Self::Code, Cell::Text(text)) if is_code(text) => Applied::Same,
            (Self::Domain(values), Cell::Text(text)) if values.contains(text) => Applied::Same,
            (Self::Domain(values), Cell::Text(_)) if values.contains("other") => {
                Applied::Moved(Cell::Text("other".into()))
            }
            (Self::Day { low, high, year_only }, Cell::Day(day)) if (low..=high).contains(&day) => {
                if *year_only {
                    Applied::Moved(Cell::Day(Day(*day).first_of_year().0))
                } else {
                    Applied::Same
                }
            }
            (Self::Id, Cell::Int(_)) => Applied::Same,
            (Self::Integer { low, high }, Cell::Int(value)) => clamp(*value, *low, *high, Cell::Int),
            (Self::Decimal { low, high }, Cell::Decimal(value)) => clamp(*value, *low, *high, Cell::Decimal),
            _ => Applied::None,
        }
    }
}

/// Is the text a code, a unit or a lot number, and not free text?
fn is_code(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/%[]{}*^+<>=()'".contains(&b);
    !text.is_empty() && text.len() <= MAX_CODE && text.bytes().all(plain)
}

fn rule(column: &Column) -> Option<Rule> {
    Some(match (&column.kind, &column.domain) {
        (Kind::Text, Some(domain)) => Rule::Domain(domain.iter().cloned().collect()),
        (Kind::Text, None) => Rule::Code,
        (Kind::Date { low, high, year_only }, _) => {
            Rule::Day { low: Day::parse(low)?.0, high: Day::parse(high)?.0, year_only: *year_only }
        }
        (Kind::Id, _) => Rule::Id,
        (Kind::Integer { low, high }, _) => Rule::Integer { low: *low, high: *high },
        (Kind::Decimal { low, high, .. }, _) => Rule::Decimal { low: *low, high: *high },
    })
}
