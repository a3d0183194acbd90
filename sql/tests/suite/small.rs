//! The catalog of a small world: tables of patients, one of them empty and one of NULLs alone, and public ones.

use epiledger_privacy::catalog::{Catalog, Column, Contribution, Kind, Profile, Table, UNIT};

const COUNTIES: [&str; 3] = ["A", "B", "C"];

fn columns(all: &[(&str, Kind, bool)]) -> Vec<Column> {
    let domain = |name: &str| match name {
        "sex" => Some(["f", "m"].map(str::to_owned).to_vec()),
        "county" => Some(COUNTIES.map(str::to_owned).to_vec()),
        _ => None,
    };
    let column = |(name, kind, nullable): &(&str, Kind, bool)| Column {
        name: (*name).into(),
        kind: kind.clone(),
        nullable: *nullable,
        domain: domain(name),
    };
    all.iter().map(column).collect()
}

/// Bounds that bind nothing: what is left of an answer is its meaning.
pub(crate) fn catalog() -> Catalog {
    let day = || Kind::Date { low: "2019-01-01".into(), high: "2020-12-31".into(), year_only: false };
    let number = |low, high| Kind::Integer { low, high };
    let cost = Kind::Decimal { scale: 2, low: 0, high: 10_000 };
    let unit = (UNIT, Kind::Id, false);
    let one = Some(Contribution { scan_rows: 1, rows: 1, groups: 1 });
    let many = Some(Contribution { scan_rows: 200, rows: 200, groups: 200 });
    let table =
        |private, declared_rows, all: &[(&str, Kind, bool)]| Table { private, declared_rows, columns: columns(all) };
    let text = |name, nullable| (name, Kind::Text, nullable);
    let id = |name, nullable| (name, Kind::Id, nullable);
    let tables = [
        (
            "person",
            table(
                one,
                100,
                &[unit.clone(), ("born", number(1940, 2000), true), text("sex", false), text("county", true)],
            ),
        ),
        (
            "visit",
            table(
                many,
                1000,
                &[
                    unit.clone(),
                    id("visit_id", false),
                    text("kind", false),
                    ("day", day(), false),
                    ("cost", cost, true),
                ],
            ),
        ),
        (
            "drug",
            table(
                many,
                1000,
                &[
                    unit.clone(),
                    id("visit_id", true),
                    text("code", false),
                    ("day", day(), false),
                    ("days", number(0, 90), true),
                ],
            ),
        ),
        ("death", table(one, 100, &[unit.clone(), ("died", day(), false)])),
        ("noted", table(many, 1000, &[unit.clone(), text("what", true)])),
        ("nobody", table(many, 1000, &[unit, ("day", day(), false)])),
        (
            "region",
            table(
                None,
                5,
                &[
                    text("region_code", false),
                    text("name", false),
                    ("people", number(0, 9), false),
                    text("parent", true),
                ],
            ),
        ),
        (
            "calendar",
            table(
                None,
                731,
                &[("day", day(), false), ("year", number(2019, 2020), false), ("month", number(1, 12), false)],
            ),
        ),
    ];
    Catalog {
        dataset: "small".into(),
        data_cut: "2020-12-31".into(),
        profile: Profile::ExpertDetermination,
        declared_patients: 100,
        tables: tables.into_iter().map(|(name, table)| (name.to_owned(), table)).collect(),
    }
}
