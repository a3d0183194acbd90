//! `/`: in demo mode the county table for anyone; else where each role starts.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::super::Server;
use super::super::error::Problem;
use super::render;
use super::table::{Figure, interval, released, rows};
use crate::{chart, panel};

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    demo: bool,
    figure: Option<Figure>,
}

/// The start page.
///
/// # Errors
/// 500 when the page can't be rendered.
pub async fn page(State(server): State<Arc<Server>>) -> Result<Response, Problem> {
    let demo = server.demo;
    let figure = match demo {
        true => server.off_thread(counties).await?,
        false => None,
    };
    render(&Home { demo, figure })
}

fn counties(server: &Server) -> Option<Figure> {
    let shown = released(server, &panel::PATIENTS)?;
    let counties = rows(&shown.answer);
    let bars: Vec<_> = counties.iter().map(super::table::Row::bar).collect();
    let table = counties.iter().map(|row| row.keys.iter().cloned().chain(interval(row.value)).collect());
    Some(Figure {
        title: panel::PATIENTS.title.to_owned(),
        heads: ["County (FIPS)", "Patients", "95 % interval (noise only)"].map(str::to_owned).to_vec(),
        rows: table.collect(),
        svg: chart::horizontal(panel::PATIENTS.title, &bars),
        price: shown.price,
        index: shown.index,
        cut: shown.answer.snapshot.cut_at,
        sql: panel::PATIENTS.sql.to_owned(),
    })
}
