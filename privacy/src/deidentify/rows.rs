//! Each table's row from a bundle's fields: what is taken, what is derived, what must be there.
//!
//! The cells stand in the order of the columns in [`crate::research`]; [`super::layout`] holds them to the catalog.

use serde_json::Value;

use super::category::condition_category;
use super::fields::Fields;
use super::place::zip3;
use super::{Cell, Fault, PseudonymKey};
use crate::catalog::Profile;
use crate::day::Day;
use crate::research::AGE_BANDS;

/// What a row depends on beside its own fields: its patient, its record, and the dataset's constants.
pub(super) struct Context<'a> {
    pub(super) person: i64,
    pub(super) provider: &'a str,
    pub(super) record: &'a str,
    pub(super) key: &'a PseudonymKey,
    pub(super) profile: Profile,
    pub(super) data_cut: Day,
}

impl Context<'_> {
    /// The surrogate id of the bundle's visit of this number.
    fn visit(&self, number: Option<i64>) -> Cell {
        number.map_or(Cell::Null, |n| Cell::Int(self.key.visit(self.person, self.provider, self.record, n)))
    }
}

fn text(value: Option<&str>) -> Cell {
    value.map_or(Cell::Null, |v| Cell::Text(v.to_owned()))
}

fn day(value: Option<Day>) -> Cell {
    value.map_or(Cell::Null, |d| Cell::Day(d.0))
}

/// The listed spelling of `value`, whatever its case; else `fallback`.
fn listed(value: Option<&str>, spellings: &[(&str, &'static str)], fallback: &'static str) -> &'static str {
    value
        .and_then(|v| spellings.iter().find(|(spelling, _)| spelling.eq_ignore_ascii_case(v.trim())))
        .map_or(fallback, |(_, meaning)| meaning)
}

pub(super) fn person(row: &Value, context: &Context<'_>) -> Result<Vec<Cell>, Fault> {
    const ALLOWED: [&str; 8] = ["birth_date", "year_of_birth", "gender", "race", "ethnicity", "state", "county", "zip"];
    let row = Fields::check("person", row, &ALLOWED)?;
    let born = match (row.day("birth_date")?, row.integer("year_of_birth")?) {
        (Some(day), _) => i64::from(day.year()),
        (None, Some(year)) => year,
        (None, None) => {
            return Err(Fault::Row { table: "person", field: "year_of_birth" });
        }
    };
    let cut_year = i64::from(context.data_cut.year());
    if !(1850..=cut_year).contains(&born) {
        return Err(Fault::Row { table: "person", field: "year_of_birth" });
    }
    // Ages over 89 are one class in Safe Harbor, so the year of birth may not tell them apart either.
    let told = if context.profile == Profile::SafeHarbor { born.max(cut_year - 90) } else { born };
    let band = usize::try_from((cut_year - born) / 10).unwrap_or(0).min(AGE_BANDS.len() - 1);
    let gender = listed(
        row.text("gender")?,
        &[("female", "female"), ("f", "female"), ("male", "male"), ("m", "male"), ("other", "other"), ("o", "other")],
        "unknown",
    );
    let race = listed(
        row.text("race")?,
        &[
            ("white", "white"),
            ("black", "black"),
            ("asian", "asian"),
            ("native", "native"),
            ("hawaiian", "hawaiian"),
            ("other", "other"),
        ],
        "unknown",
    );
    let ethnicity =
        listed(row.text("ethnicity")?, &[("hispanic", "hispanic"), ("nonhispanic", "nonhispanic")], "unknown");
    // OMOP's standard concepts of these three domains; 0 is "no matching concept".
    let gender_concept = match gender {
        "female" => 8532,
        "male" => 8507,
        _ => 0,
    };
    let race_concept = match race {
        "white" => 8527,
        "black" => 8516,
        "asian" => 8515,
        "native" => 8657,
        "hawaiian" => 8557,
        _ => 0,
    };
    let ethnicity_concept = match ethnicity {
        "hispanic" => 38_003_563,
        "nonhispanic" => 38_003_564,
        _ => 0,
    };
    Ok(vec![
        Cell::Int(context.person),
        Cell::Int(told),
        text(AGE_BANDS.get(band).copied()),
        Cell::Int(gender_concept),
        text(Some(gender)),
        Cell::Int(race_concept),
        text(Some(race)),
        Cell::Int(ethnicity_concept),
        text(Some(ethnicity)),
        text(row.text("state")?),
        place(row.text("county")?, context),
        row.text("zip")?.and_then(zip3).map_or(Cell::Null, Cell::Text),
    ])
}

/// A county's code: told under an expert's determination alone.
fn place(county: Option<&str>, context: &Context<'_>) -> Cell {
    match context.profile {
        Profile::ExpertDetermination => text(county),
        Profile::SafeHarbor => Cell::Null,
    }
}

pub(super) fn observation_period(row: &Value, context: &Context<'_>) -> Result<Vec<Cell>, Fault> {
    const ALLOWED: [&str; 3] = ["observation_period_start_date", "observation_period_end_date", "end_reason"];
    let row = Fields::check("observation_period", row, &ALLOWED)?;
    let start = row.need_day("observation_period_start_date")?;
    let end = row.need_day("observation_period_end_date")?;
    if end < start {
        return Err(Fault::Row { table: "observation_period", field: "observation_period_end_date" });
    }
    let reason =
        listed(row.text("end_reason")?, &[("died", "died"), ("moved", "moved"), ("withdrew", "withdrew")], "data_cut");
    Ok(vec![Cell::Int(context.person), day(Some(start)), day(Some(end.min(context.data_cut))), text(Some(reason))])
}

pub(super) fn visit(row: &Value, context: &Context<'_>) -> Result<Vec<Cell>, Fault> {
    const ALLOWED: [&str; 6] =
        ["visit", "visit_concept_id", "visit_source_value", "visit_start_date", "visit_end_date", "care_site_region"];
    let row = Fields::check("visit_occurrence", row, &ALLOWED)?;
    let Some(number) = row.integer("visit")? else {
        return Err(Fault::Row { table: "visit_occurrence", field: "visit" });
    };
    let kind = row.text("visit_source_value")?;
    let concept = match kind {
        Some("IMP") => 9201,
        Some("AMB") => 9202,
        Some("EMER") => 9203,
        _ => 0,
    };
    Ok(vec![
        Cell::Int(context.person),
        context.visit(Some(number)),
        Cell::Int(concept),
        text(kind),
        day(Some(row.need_day("visit_start_date")?)),
        day(row.day("visit_end_date")?),
        place(row.text("care_site_region")?, context),
    ])
}

/// The cells that name what was seen, and the code.
fn coded<'a>(
    row: &Fields<'a>,
    context: &Context<'_>,
    [concept, code, vocabulary]: [&'static str; 3],
) -> Result<(Vec<Cell>, &'a str), Fault> {
    let value = row.need(code)?;
    let cells = vec![
        Cell::Int(context.person),
        context.visit(row.integer("visit")?),
        Cell::Int(row.integer(concept)?.unwrap_or(0)),
        text(Some(value)),
        text(row.text(vocabulary)?),
    ];
    Ok((cells, value))
}

pub(super) fn condition(row: &Value, context: &Context<'_>) -> Result<Vec<Cell>, Fault> {
    const ALLOWED: [&str; 7] = [
        "visit",
        "condition_concept_id",
        "condition_source_value",
        "condition_source_vocabulary",
        "condition_category",
        "condition_start_date",
        "condition_end_date",
    ];
    let row = Fields::check("condition_occurrence", row, &ALLOWED)?;
    let names = ["condition_concept_id", "condition_source_value", "condition_source_vocabulary"];
    let (mut cells, code) = coded(&row, context, names)?;
    cells.push(text(Some(row.text("condition_category")?.unwrap_or_else(|| condition_category(code)))));
    cells.push(day(Some(row.need_day("condition_start_date")?)));
    cells.push(day(row.day("condition_end_date")?));
    Ok(cells)
}

pub(super) fn drug(row: &Value, context: &Context<'_>) -> Result<Vec<Cell>, Fault> {
    const ALLOWED: [&str; 9] = [
        "visit",
        "drug_concept_id",
        "drug_source_value",
        "drug_source_vocabulary",
        "drug_exposure_start_date",
        "drug_exposure_end_date",
        "quantity",
        "days_supply",
        "lot_number",
    ];
    let row = Fields::check("drug_exposure", row, &ALLOWED)?;
    let names = ["drug_concept_id", "drug_source_value", "drug_source_vocabulary"];
    let (mut cells, _) = coded(&row, context, names)?;
    cells.push(day(Some(row.need_day("drug_exposure_start_date")?)));
    cells.push(day(row.day("drug_exposure_end_date")?));
    cells.push(row.decimal("quantity", 2)?.map_or(Cell::Null, Cell::Decimal));
    cells.push(row.integer("days_supply")?.map_or(Cell::Null, Cell::Int));
    cells.push(text(row.text("lot_number")?));
    Ok(cells)
}

pub(super) fn measurement(row: &Value, context: &Context<'_>) -> Result<Vec<Cell>, Fault> {
    const ALLOWED: [&str; 8] = [
        "visit",
        "measurement_concept_id",
        "measurement_source_value",
        "measurement_source_vocabulary",
        "measurement_date",
        "value_as_number",
        "value_as_string",
        "unit_source_value",
    ];
    let row = Fields::check("measurement", row, &ALLOWED)?;
    let names = ["measurement_concept_id", "measurement_source_value", "measurement_source_vocabulary"];
    let (mut cells, _) = coded(&row, context, names)?;
    cells.push(day(Some(row.need_day("measurement_date")?)));
    cells.push(row.decimal("value_as_number", 2)?.map_or(Cell::Null, Cell::Decimal));
    cells.push(text(row.text("value_as_string")?));
    cells.push(text(row.text("unit_source_value")?));
    Ok(cells)
}

pub(super) fn procedure(row: &Value, context: &Context<'_>) -> Result<Vec<Cell>, Fault> {
    const ALLOWED: [&str; 5] =
        ["visit", "procedure_concept_id", "procedure_source_value", "procedure_source_vocabulary", "procedure_date"];
    let row = Fields::check("procedure_occurrence", row, &ALLOWED)?;
    let names = ["procedure_concept_id", "procedure_source_value", "procedure_source_vocabulary"];
    let (mut cells, _) = coded(&row, context, names)?;
    cells.push(day(Some(row.need_day("procedure_date")?)));
    Ok(cells)
}

pub(super) fn death(row: &Value, context: &Context<'_>) -> Result<Vec<Cell>, Fault> {
    let row = Fields::check("death", row, &["death_date", "cause_source_value"])?;
    Ok(vec![Cell::Int(context.person), day(Some(row.need_day("death_date")?)), text(row.text("cause_source_value")?)])
}
