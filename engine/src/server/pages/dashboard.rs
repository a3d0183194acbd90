//! `/dashboard`: prevalence by county and by month, from releases: a viewer spends nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::super::Server;
use super::super::error::Problem;
use super::render;
use super::table::{Figure, Row, Shown, interval, released, rows, shown};
use crate::chart;
use crate::panel::{self, Panel};

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
        rho: cases.rho.clone(),
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
        rho: release.rho.clone(),
        index: release.index,
        cut: release.answer.snapshot.cut_at.clone(),
        sql: panel.sql.to_owned(),
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
