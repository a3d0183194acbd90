//! A released answer as a figure on a page: rows of text for the table, bars for the chart.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use epiledger_privacy::{day::Day, loss::Rho};

use super::super::Server;
use crate::api::{Answer, ColumnRole, Principal, ReleaseSummary, Role};
use crate::chart::Bar;
use crate::panel::Panel;

/// A figure on a page.
pub(super) struct Figure {
    /// What it shows.
    pub title: String,
    /// Column heads.
    pub heads: Vec<String>,
    /// Cells as text.
    pub rows: Vec<Vec<String>>,
    /// The chart, already escaped SVG.
    pub svg: String,
    /// What was paid for it, and until when that could be paid again.
    pub price: String,
    /// Log index of the outcome.
    pub index: u64,
    /// Day of the snapshot's cut.
    pub cut: String,
    /// The question.
    pub sql: String,
}

/// A release for a page: its numbers, where the log has it and what was paid for it.
pub(super) struct Shown {
    /// Columns and rows.
    pub answer: Answer,
    /// Log index of the outcome.
    pub index: u64,
    /// What was paid, and until when that could be paid again.
    pub price: String,
}

/// One row of a released answer with a single value column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// The keys, as text; NULL is `(none)`.
    pub keys: Vec<String>,
    /// The noisy value with its 95 % interval.
    pub value: [f64; 3],
}

impl Row {
    /// The row as a bar.
    pub(super) fn bar(&self) -> Bar {
        let [value, low, high] = self.value;
        Bar { label: self.keys.join(", "), value, low, high }
    }
}

/// The pages read releases as the epidemiologist role does, whoever looks: a panel is public to its viewers.
pub(super) fn viewer(server: &Server) -> Principal {
    let protocols = server.engine.protocols().into_iter().map(|p| p.protocol).collect();
    Principal { name: "panel".into(), key_id: "panel".into(), role: Role::Epidemiologist, protocols }
}

/// The newest release for a panel, when there is one.
pub(super) fn released(server: &Server, panel: &Panel) -> Option<Shown> {
    let viewer = viewer(server);
    let releases = server.engine.releases(&viewer);
    let newest = releases.iter().filter(|r| r.sql == panel.sql).max_by_key(|r| r.index)?;
    let answer = server.engine.release(&viewer, &newest.statement_id).ok()?;
    let price =
        format!("Released once for rho {}. {}", newest.price.rho, lasts(server, newest, &answer.snapshot.cut_at));
    Some(Shown { answer, index: newest.index, price })
}

/// How long what is left would pay for this panel if it were asked again at every daily cut.
fn lasts(server: &Server, release: &ReleaseSummary, cut_at: &str) -> String {
    let protocols = server.engine.protocols();
    let left = protocols.iter().find(|p| p.protocol == release.protocol).and_then(|p| {
        let [cap, spent] = [&p.cap.rho, &p.spent.rho].map(|rho| Rho::parse(rho).ok());
        Some(cap?.less(spent?))
    });
    let left = left.map(|left| left.min(server.engine.left()));
    let price = Rho::parse(&release.price.rho).ok().filter(|price| *price > Rho::ZERO);
    let last = left.zip(price).zip(Day::parse(cut_at)).and_then(|((left, price), cut)| {
        let cuts = i32::try_from(left.units() / price.units()).ok()?;
        cut.0.checked_add(cuts).filter(|day| *day < LAST_DAY).map(Day)
    });
    match last {
        Some(day) => format!("Asked anew at every daily cut, the budget would run dry after that of {day}."),
        None => "Asked anew at every daily cut, the budget would not run dry.".to_owned(),
    }
}

/// 9999-12-31, past which no date is shown.
const LAST_DAY: i32 = 2_932_896;

/// The rows of an answer: keys, and the first value with its interval.
pub(super) fn rows(answer: &Answer) -> Vec<Row> {
    let of = |role: ColumnRole| answer.columns.iter().position(|c| c.role == role);
    let (Some(value), Some(low), Some(high)) = (of(ColumnRole::Value), of(ColumnRole::Low), of(ColumnRole::High))
    else {
        return Vec::new();
    };
    let keys: Vec<usize> =
        answer.columns.iter().enumerate().filter(|(_, c)| c.role == ColumnRole::Key).map(|(i, _)| i).collect();
    (0..answer.batch.num_rows())
        .filter_map(|row| {
            let value = [number(answer, value, row)?, number(answer, low, row)?, number(answer, high, row)?];
            Some(Row { keys: keys.iter().map(|k| text(answer, *k, row)).collect(), value })
        })
        .collect()
}

fn number(answer: &Answer, column: usize, row: usize) -> Option<f64> {
    let column = answer.batch.columns().get(column)?;
    if column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::Float64 => Some(column.as_primitive::<Float64Type>().value(row)),
        // A count shown on a page needs no more than 2^53.
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string().parse().ok(),
        _ => text_of(column, row)?.parse().ok(),
    }
}

fn text(answer: &Answer, column: usize, row: usize) -> String {
    let text = answer.batch.columns().get(column).and_then(|c| text_of(c, row));
    let text = text.unwrap_or_else(|| "(none)".to_owned());
    // A month or a day needs no midnight.
    text.strip_suffix("T00:00:00").map(str::to_owned).unwrap_or(text)
}

fn text_of(column: &arrow::array::ArrayRef, row: usize) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options).ok()?;
    formatter.value(row).try_to_string().ok()
}

/// A number for people: at most one digit after the point.
pub(super) fn shown(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// A value with its interval, for people.
pub(super) fn interval(value: [f64; 3]) -> [String; 2] {
    let [value, low, high] = value;
    [shown(value), format!("{} to {}", shown(low), shown(high))]
}

#[cfg(test)]
mod tests {
    use super::super::super::format::tests::answer;
    use super::*;

    #[test]
    fn rows_take_keys_and_the_interval_and_leave_out_null_values() {
        let rows = rows(&answer());
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0], Row { keys: vec!["25017".into()], value: [12.0, 10.5, 13.5] });
        assert_eq!(rows[1].bar().low, -3.0);
        assert_eq!(interval(rows[0].value), ["12".to_owned(), "10.5 to 13.5".to_owned()]);
    }
}
