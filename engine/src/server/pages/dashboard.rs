//! `/dashboard`: prevalence by county and by month, from releases: a viewer spends nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use epiledger_ledger::entry::Period;

use super::super::Server;
use super::super::error::Problem;
use super::render;
use super::table::{Figure, Row, Shown, interval, released, rows, shown, viewer};
use crate::chart;
use crate::panel::{self, Panel};
use crate::series::{PeriodView, SeriesView};

#[derive(Template)]
#[template(path = "dashboard.html")]
struct Dashboard {
    figures: Vec<Figure>,
    missing: Vec<&'static str>,
}

/// The dashboard.
///
/// # Errors
/// 500 when the page can't be rendered.
pub async fn page(State(server): State<Arc<Server>>) -> Result<Response, Problem> {
    let (figures, missing) = server.off_thread(figures).await?;
    render(&Dashboard { figures, missing })
}

fn figures(server: &Server) -> (Vec<Figure>, Vec<&'static str>) {
    let get = |panel: &Panel| released(server, panel);
    let (patients, cases) = (get(&panel::PATIENTS), get(&panel::CASES));
    let (epidemic, pressure) = (get(&panel::EPIDEMIC), get(&panel::PRESSURE));
    let months = get(&panel::PREVALENCE);
    let mut missing = Vec::new();
    for (panel, there) in [
        (panel::PATIENTS, patients.is_some()),
        (panel::CASES, cases.is_some()),
        (panel::PREVALENCE, months.is_some()),
        (panel::EPIDEMIC, epidemic.is_some()),
        (panel::PRESSURE, pressure.is_some()),
    ] {
        if !there {
            missing.push(panel.title);
        }
    }
    let mut figures = Vec::new();
    if let (Some(patients), Some(cases)) = (&patients, &cases) {
        figures.push(prevalence(patients, cases));
    }
    if let Some(release) = &months {
        figures.push(plain(&panel::PREVALENCE, release, &["Month", "Per 100"], chart::vertical));
    }
    if let Some(release) = &epidemic {
        figures.push(plain(&panel::EPIDEMIC, release, &["Month", "Patients"], chart::vertical));
    }
    if let Some(release) = &pressure {
        figures.push(plain(&panel::PRESSURE, release, &["Gender", "Age", "mm Hg"], chart::horizontal));
    }
    figures.extend(server.engine.all_series(&viewer(server)).iter().map(series));
    (figures, missing)
}

/// Cases per 100 patients by county. The interval is that of the quotient's ends: wider than 95 %, never narrower.
fn prevalence(patients: &Shown, cases: &Shown) -> Figure {
    let denominators: BTreeMap<Vec<String>, [f64; 3]> =
        rows(&patients.answer).into_iter().map(|r| (r.keys, r.value)).collect();
    let mut shares: Vec<Row> = Vec::new();
    let mut table = Vec::new();
    for case in rows(&cases.answer) {
        let share = denominators.get(&case.keys).and_then(|patients| share(case.value, *patients));
        let [count, counted] = interval(case.value);
        let (share_text, share_range) = match share {
            Some([value, low, high]) => (shown(value), format!("{} to {}", shown(low), shown(high))),
            None => ("no data".to_owned(), String::new()),
        };
        table.push(case.keys.iter().cloned().chain([share_text, share_range, count, counted]).collect());
        if let Some(value) = share {
            shares.push(Row { keys: case.keys, value });
        }
    }
    let bars: Vec<_> = shares.iter().map(Row::bar).collect();
    let title = "COVID-19: patients ever diagnosed per 100 patients, by county";
    let heads = ["County (FIPS)", "Per 100", "Interval (noise only)", "Patients", "95 % interval (noise only)"];
    Figure {
        title: title.to_owned(),
        heads: heads.map(str::to_owned).to_vec(),
        rows: table,
        svg: chart::horizontal(title, &bars),
        price: cases.price.clone(),
        index: cases.index,
        cut: cases.answer.snapshot.cut_at.clone(),
        sql: panel::CASES.sql.to_owned(),
    }
}

/// Per 100, between 0 and 100; nothing where the denominator may be under one patient.
fn share(cases: [f64; 3], patients: [f64; 3]) -> Option<[f64; 3]> {
    let ([value, low, high], [all, all_low, all_high]) = (cases, patients);
    if all_low < 1.0 {
        return None;
    }
    Some([value / all, low / all_high, high / all_low].map(|q| (100.0 * q).clamp(0.0, 100.0)))
}

fn plain(panel: &Panel, release: &Shown, heads: &[&str], draw: fn(&str, &[chart::Bar]) -> String) -> Figure {
    let rows = rows(&release.answer);
    let bars: Vec<_> = rows.iter().map(Row::bar).collect();
    Figure {
        title: panel.title.to_owned(),
        heads: heads.iter().copied().chain(["95 % interval (noise only)"]).map(str::to_owned).collect(),
        rows: rows.iter().map(|row| row.keys.iter().cloned().chain(interval(row.value)).collect()).collect(),
        svg: draw(panel.title, &bars),
        price: release.price.clone(),
        index: release.index,
        cut: release.answer.snapshot.cut_at.clone(),
        sql: panel.sql.to_owned(),
    }
}

/// A series: one price for all of it. Periods that are not closed have no data, and say so.
fn series(series: &SeriesView) -> Figure {
    let terms = &series.terms;
    let period = if terms.period == Period::Week { "week" } else { "month" };
    let title = format!("Patients by {period} of their first date, {} to {}", terms.from, terms.to);
    let ends = |p: &PeriodView| Some([p.value?, p.low?, p.high?]);
    let cells = |p: &PeriodView| {
        let text = |number: Option<i64>| number.map_or_else(String::new, |n| n.to_string());
        let [value, range] = match ends(p) {
            Some([value, low, high]) => [value.to_string(), format!("{low} to {high}")],
            None if p.state == "open" => ["no data".into(), format!("not closed before the cut of {}", p.closes)],
            None => ["no data".into(), p.state.to_owned()],
        };
        let cut = p.snapshot.as_ref().map_or_else(String::new, |snapshot| snapshot.cut_at.clone());
        vec![p.from.clone(), value, range, cut, text(p.index.and_then(|index| i64::try_from(index).ok()))]
    };
    #[expect(clippy::cast_precision_loss, reason = "counts of patients are far below 2^53")]
    let bar = |p: &PeriodView| {
        let [value, low, high] = ends(p).unwrap_or_default().map(|n| n as f64);
        chart::Bar { label: p.from.clone(), value, low, high }
    };
    let bars: Vec<_> = series.periods.iter().map(bar).collect();
    let newest = series.periods.iter().filter_map(|p| p.snapshot.as_ref()).map(|s| s.cut_at.clone()).max();
    let heads = ["From", "Patients", "95 % interval (noise only)", "Counted at the cut of", "Log entry"];
    let next =
        series.next.as_ref().map_or_else(|| "no period is left".into(), |day| format!("the next one closes on {day}"));
    Figure {
        heads: heads.map(str::to_owned).to_vec(),
        rows: series.periods.iter().map(cells).collect(),
        svg: chart::vertical(&title, &bars),
        price: format!(
            "The whole series was paid for once, with rho {} when it was opened: each patient counts once over all of it, \
             and it does not run dry before {}. It is {}; {next}.",
            series.price.rho, terms.to, series.state
        ),
        index: series.opened,
        cut: newest.unwrap_or_else(|| "no cut yet".into()),
        sql: series.sql.clone().unwrap_or_else(|| "redacted".into()),
        title,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_covers_the_quotients_of_the_ends_and_needs_a_denominator() {
        let got = share([50.0, 40.0, 60.0], [200.0, 190.0, 210.0]).unwrap();
        assert_eq!(got[0], 25.0);
        assert!(got[1] < 20.0 && got[2] > 30.0);
        assert_eq!(share([-3.0, -9.0, 3.0], [50.0, 40.0, 60.0]).unwrap()[..2], [0.0, 0.0]);
        assert_eq!(share([5.0, 1.0, 9.0], [5.0, 0.5, 9.0]), None);
    }
}
