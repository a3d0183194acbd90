//! The public tables, free to query: regions, condition codes, a calendar, standard populations.
//!
//! All from published lists, nothing from patient data. One Parquet file each in `DATA/public`.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use epiledger_privacy::catalog::Catalog;
use epiledger_privacy::day::Day;
use epiledger_privacy::deidentify::listed_conditions;
use epiledger_privacy::research::{CALENDAR_START, CONDITION_CATEGORIES, Region};
use parquet::arrow::ArrowWriter;

use crate::error::IngestError;
use crate::folder::{Folder, sync_parent};
use crate::table::file_properties;

/// WHO World Standard Population 2000-2025 in hundred-thousandths, ages 0-4 to 100+ (Ahmad and others, WHO 2001).
const WHO: [i128; 21] = [
    8860, 8690, 8600, 8470, 8220, 7930, 7610, 7150, 6590, 6040, 5370, 4550, 3720, 2960, 2210, 1520, 910, 440, 150, 40,
    5,
];

/// European Standard Population 2013 in hundred-thousandths, ages 0, 1-4, 5-9 to 90+ (Eurostat 2013).
const ESP: [i128; 20] = [
    1000, 4000, 5500, 5500, 5500, 6000, 6000, 6500, 7000, 7000, 7000, 7000, 6500, 6000, 5500, 5000, 4000, 2500, 1500,
    1000,
];

/// US standard million of 2000, ages 0, 1-4, 5-9 to 85+ (US Census Bureau P25-1130, NCHS).
const US: [i128; 19] = [
    13_818, 55_317, 72_533, 73_032, 72_169, 66_478, 64_529, 71_044, 80_762, 81_851, 72_118, 62_716, 48_454, 38_793,
    34_264, 31_773, 26_999, 17_842, 15_508,
];

/// Writes the public tables that are missing.
///
/// # Errors
/// The system refuses, or the catalog has other columns.
pub fn write(folder: &Folder, catalog: &Catalog, regions: &[Region]) -> Result<(), IngestError> {
    fs::create_dir_all(folder.public()).map_err(IngestError::io("make", &folder.public()))?;
    let start = Day::parse(CALENDAR_START).unwrap_or(Day(0));
    let data_cut = Day::parse(&catalog.data_cut).unwrap_or(start);
    let tables: [(&str, Vec<ArrayRef>); 4] = [
        ("region", region(regions)),
        ("concept", concept()),
        ("calendar", calendar(start, data_cut)),
        ("standard_population", standard_population()),
    ];
    for (name, columns) in tables {
        let path = folder.public().join(format!("{name}.parquet"));
        let Some(table) = catalog.table(name) else { continue };
        if path.exists() {
            continue;
        }
        let failed = |e: &dyn std::fmt::Display| IngestError::table(name, "written")(e.to_string());
        let batch = RecordBatch::try_new(table.schema(), columns).map_err(|e| failed(&e))?;
        // Work is priced by the declared size.
        if u64::try_from(batch.num_rows()).is_ok_and(|rows| rows > table.declared_rows) {
            return Err(failed(&"it has more rows than the catalog declares"));
        }
        write_file(&path, &batch).map_err(|e| failed(&e))?;
    }
    Ok(())
}

fn write_file(path: &Path, batch: &RecordBatch) -> Result<(), parquet::errors::ParquetError> {
    let temporary = path.with_extension("new");
    let mut writer =
        ArrowWriter::try_new(File::create(&temporary)?, batch.schema(), Some(file_properties(&batch.schema())))?;
    writer.write(batch)?;
    writer.into_inner()?.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_parent(path).map_err(|e| parquet::errors::ParquetError::External(Box::new(e)))
}

fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn numbers(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn region(regions: &[Region]) -> Vec<ArrayRef> {
    vec![
        texts(regions.iter().map(|r| Some(r.region_code.as_str()))),
        texts(regions.iter().map(|r| Some(r.name.as_str()))),
        texts(regions.iter().map(|r| r.parent_code.as_deref())),
        texts(regions.iter().map(|r| Some(r.level.as_str()))),
        numbers(regions.iter().map(|r| r.population_year)),
        numbers(regions.iter().map(|r| r.population)),
    ]
}

/// Condition codes with their category; names for CCSR categories alone (SNOMED CT's terms are licensed).
fn concept() -> Vec<ArrayRef> {
    let rows: Vec<(&str, &str, Option<&str>, &str)> = CONDITION_CATEGORIES
        .iter()
        .map(|(code, name)| ("CCSR", *code, Some(*name), *code))
        .chain(listed_conditions().map(|(code, category)| ("SNOMED", code, None, category)))
        .collect();
    vec![
        texts(rows.iter().map(|r| Some(r.0))),
        texts(rows.iter().map(|r| Some(r.1))),
        texts(rows.iter().map(|r| r.2)),
        texts(rows.iter().map(|r| Some(r.3))),
    ]
}

fn calendar(start: Day, data_cut: Day) -> Vec<ArrayRef> {
    let days: Vec<Day> = (start.0..=data_cut.0).map(Day).collect();
    vec![
        Arc::new(Date32Array::from_iter_values(days.iter().map(|d| d.0))),
        numbers(days.iter().map(|d| i64::from(d.parts().0))),
        numbers(days.iter().map(|d| i64::from(d.parts().1))),
        numbers(days.iter().map(|d| i64::from(d.weekday()) + 1)),
        numbers(days.iter().map(|d| iso_week(*d).0)),
        numbers(days.iter().map(|d| iso_week(*d).1)),
        numbers(days.iter().map(|d| mmwr_week(*d).0)),
        numbers(days.iter().map(|d| mmwr_week(*d).1)),
    ]
}

/// ISO 8601 week: it begins on Monday and belongs to the year of its Thursday.
fn iso_week(day: Day) -> (i64, i64) {
    week_by(Day(day.0 - day.weekday().cast_signed() + 3))
}

/// MMWR week (CDC): it begins on Sunday and belongs to the year of its Wednesday.
fn mmwr_week(day: Day) -> (i64, i64) {
    let since_sunday = (day.weekday().cast_signed() + 1) % 7;
    week_by(Day(day.0 - since_sunday + 3))
}

/// Year and number of the week whose middle day this is.
fn week_by(middle: Day) -> (i64, i64) {
    let year = middle.year();
    let first = Day::from_parts(year, 1, 1).map_or(middle.0, |d| d.0);
    (i64::from(year), i64::from((middle.0 - first) / 7 + 1))
}

fn standard_population() -> Vec<ArrayRef> {
    // Five-year groups, the last one open; ESP and US split the first one after the first year of life.
    let five = |groups: i64| (0..groups).map(move |g| (g * 5, (g < groups - 1).then_some(g * 5 + 4)));
    let split = |groups: i64| [(0, Some(0)), (1, Some(4))].into_iter().chain(five(groups).skip(1));
    let mut rows: Vec<(&str, i64, Option<i64>, i128)> = Vec::new();
    let who_sum: i128 = WHO.iter().sum();
    rows.extend(five(21).zip(WHO).map(|((low, high), w)| ("WHO 2000-2025", low, high, w * 1_000_000 / who_sum)));
    rows.extend(split(19).zip(ESP).map(|((low, high), w)| ("ESP 2013", low, high, w * 10)));
    rows.extend(split(18).zip(US).map(|((low, high), w)| ("US 2000", low, high, w)));
    let weights = Decimal128Array::from_iter_values(rows.iter().map(|r| r.3)).with_precision_and_scale(18, 6);
    vec![
        texts(rows.iter().map(|r| Some(r.0))),
        numbers(rows.iter().map(|r| r.1)),
        Arc::new(rows.iter().map(|r| r.2).collect::<Int64Array>()),
        // Precision 18 holds every weight, which is below 10^6.
        weights.map_or_else(|_| numbers(std::iter::empty()), |w| Arc::new(w) as ArrayRef),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bounds of joins rest on these columns holding each value once (`privacy`'s list of public keys).
    #[test]
    fn keys_of_the_public_tables_are_unique() {
        use std::collections::BTreeSet;

        use arrow::array::AsArray;

        let codes = concept();
        let codes: Vec<&str> = codes[1].as_string::<i32>().iter().flatten().collect();
        let distinct: BTreeSet<&str> = codes.iter().copied().collect();
        assert!(codes.len() > CONDITION_CATEGORIES.len());
        assert_eq!(distinct.len(), codes.len(), "a concept code is listed twice, or a CCSR category is a SNOMED code");
        let days = calendar(Day(10_957), Day(20_000));
        let distinct: BTreeSet<i32> = days[0].as_primitive::<arrow::datatypes::Date32Type>().iter().flatten().collect();
        assert_eq!(distinct.len(), days[0].len());
    }

    #[test]
    fn weeks_of_known_days() {
        let week = |text: &str| (iso_week(Day::parse(text).unwrap()), mmwr_week(Day::parse(text).unwrap()));
        // ISO: 2021-01-03 is a Sunday of 2020's week 53; MMWR: it begins 2021's week 1 (CDC's calendars).
        assert_eq!(week("2021-01-03"), ((2020, 53), (2021, 1)));
        assert_eq!(week("2021-01-02"), ((2020, 53), (2020, 53)));
        assert_eq!(week("2020-03-01"), ((2020, 9), (2020, 10)));
        assert_eq!(week("2024-12-30"), ((2025, 1), (2025, 1)));
    }

    #[test]
    fn standards_sum_to_one() {
        assert_eq!(ESP.iter().sum::<i128>(), 100_000);
        assert_eq!(US.iter().sum::<i128>(), 1_000_000);
        let columns = standard_population();
        assert!(columns.iter().all(|c| c.len() == 60));
    }
}
