//! Rows of a Synthea file, CSV or Parquet, both read the same way: named columns, text values.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::utils::datafusion_strsim::levenshtein;
use epiledger_privacy::day::Day;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::{IngestError, short};

/// What an importer does with a column of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Reads it; it must be there.
    Must,
    /// Reads it where it is there.
    May,
    /// Knows it, and never reads it.
    Never,
}

/// The columns that a file may have.
pub(super) type Columns = [(&'static str, Use)];

/// The file of a table in a folder, whichever of its two forms is there.
pub(super) fn find(dir: &Path, table: &str) -> Option<PathBuf> {
    ["csv", "parquet"].into_iter().map(|form| dir.join(format!("{table}.{form}"))).find(|path| path.is_file())
}

/// One row: the wanted columns' values and where it stands.
pub(super) struct Row<'a> {
    file: &'a str,
    line: u64,
    columns: &'a Columns,
    values: Vec<Option<&'a str>>,
}

impl<'a> Row<'a> {
    /// The value of a column; `None` for an empty one, and for one that is never read.
    pub(super) fn get(&self, column: &str) -> Option<&'a str> {
        let at = self.columns.iter().position(|(name, _)| *name == column)?;
        self.values.get(at).copied().flatten()
    }

    /// An error about this row.
    pub(super) fn error(&self, reason: String) -> IngestError {
        IngestError::Source { file: self.file.to_owned(), line: self.line, reason }
    }

    /// The value of a column that must not be empty.
    pub(super) fn need(&self, column: &str) -> Result<&'a str, IngestError> {
        self.get(column).ok_or_else(|| self.error(format!("the column {column} is empty")))
    }

    /// The local calendar date of a day or time; `None` when the column is empty.
    pub(super) fn day(&self, column: &str) -> Result<Option<Day>, IngestError> {
        let Some(text) = self.get(column) else { return Ok(None) };
        let day = Day::parse(text).map(Some);
        day.ok_or_else(|| self.error(format!("the column {column} holds no date of the form YYYY-MM-DD")))
    }

    /// A date that must be there.
    pub(super) fn need_day(&self, column: &str) -> Result<Day, IngestError> {
        self.day(column)?.ok_or_else(|| self.error(format!("the column {column} is empty")))
    }
}

/// Calls `each` for every row of a file.
pub(super) fn read(
    path: &Path,
    columns: &Columns,
    each: &mut dyn FnMut(&Row<'_>) -> Result<(), IngestError>,
) -> Result<(), IngestError> {
    let file = short(path);
    match path.extension().is_some_and(|form| form == "parquet") {
        true => read_parquet(path, &file, columns, each),
        false => read_csv(path, &file, columns, each),
    }
}

/// Position of each column that is read among the file's; names are compared without case. A column that Synthea does
/// not write is an error: it may be one that is read, misspelt.
fn positions(file: &str, columns: &Columns, names: &[String]) -> Result<Vec<Option<usize>>, IngestError> {
    let wrong = |reason: String| IngestError::Source { file: file.to_owned(), line: 1, reason };
    let mut by_name = HashMap::new();
    for (at, name) in names.iter().enumerate() {
        let name = name.trim().to_ascii_uppercase();
        if !columns.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
            let distance = |known: &str| levenshtein(&known.to_ascii_uppercase(), &name);
            let nearest = columns.iter().map(|(known, _)| *known).min_by_key(|known| distance(known));
            return Err(wrong(format!(
                "the column {name} is not one of Synthea's; did you mean {}? Correct its name, or leave it out",
                nearest.unwrap_or_default()
            )));
        }
        if by_name.insert(name, at).is_some() {
            return Err(wrong(format!(
                "the column {} stands in the file twice",
                names.get(at).map_or("", |n| n.trim())
            )));
        }
    }
    let find = |(name, used): &(&'static str, Use)| match (by_name.get(&name.to_ascii_uppercase()), used) {
        (None, Use::Must) => Err(wrong(format!("there is no column {name}; is this a Synthea export?"))),
        (_, Use::Never) => Ok(None),
        (found, _) => Ok(found.copied()),
    };
    columns.iter().map(find).collect()
}

/// An empty text and a number that is none are no value.
fn present(value: &str) -> Option<&str> {
    let value = value.trim();
    (!value.is_empty() && value != "NaN").then_some(value)
}

fn read_csv(
    path: &Path,
    file: &str,
    columns: &Columns,
    each: &mut dyn FnMut(&Row<'_>) -> Result<(), IngestError>,
) -> Result<(), IngestError> {
    let broken = |e: csv::Error| {
        let line = e.position().map_or(0, csv::Position::line);
        IngestError::Source { file: file.to_owned(), line, reason: format!("not a row of CSV: {e}") }
    };
    let mut reader = csv::Reader::from_path(path).map_err(broken)?;
    let names: Vec<String> = reader.headers().map_err(broken)?.iter().map(str::to_owned).collect();
    let positions = positions(file, columns, &names)?;
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(broken)? {
        let line = record.position().map_or(0, csv::Position::line);
        let values = positions.iter().map(|at| record.get((*at)?).and_then(present)).collect();
        each(&Row { file, line, columns, values })?;
    }
    Ok(())
}

fn read_parquet(
    path: &Path,
    file: &str,
    columns: &Columns,
    each: &mut dyn FnMut(&Row<'_>) -> Result<(), IngestError>,
) -> Result<(), IngestError> {
    let broken =
        |e: String| IngestError::Source { file: file.to_owned(), line: 0, reason: format!("not Parquet: {e}") };
    let opened = File::open(path).map_err(IngestError::io("open", path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(opened).map_err(|e| broken(e.to_string()))?;
    let names: Vec<String> = builder.schema().fields().iter().map(|f| f.name().clone()).collect();
    let positions = positions(file, columns, &names)?;
    let mut line = 0;
    for batch in builder.build().map_err(|e| broken(e.to_string()))? {
        let batch = batch.map_err(|e| broken(e.to_string()))?;
        let arrays = positions
            .iter()
            .map(|at| at.map(|at| cast(batch.column(at), &DataType::Utf8)).transpose())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| broken(e.to_string()))?;
        for row in 0..batch.num_rows() {
            line += 1;
            let value = |column: &'_ Option<arrow::array::ArrayRef>| -> Option<usize> {
                column.as_ref().filter(|c| c.is_valid(row)).map(|_| row)
            };
            let values = arrays
                .iter()
                .map(|column| {
                    let at = value(column)?;
                    present(column.as_ref()?.as_string_opt::<i32>()?.value(at))
                })
                .collect();
            each(&Row { file, line, columns, values })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<(u64, Option<String>)>, IngestError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.csv");
        std::fs::write(&path, text).unwrap();
        let mut found = Vec::new();
        read(&path, &[("Id", Use::Must), ("ZIP", Use::May), ("SSN", Use::Never)], &mut |row| {
            row.need("Id")?;
            found.push((row.line, row.get("ZIP").map(str::to_owned)));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        assert_eq!(rows("ZIP,ID\n02139,a\n,b\n").unwrap(), [(2, Some("02139".into())), (3, None)]);
        assert_eq!(rows("id\na\n").unwrap(), [(2, None)]);
    }

    #[test]
    fn a_column_that_synthea_does_not_write_is_named_with_the_nearest_that_it_does() {
        assert_eq!(rows("Id,ssn,ZIP\na,999,1\n").unwrap(), [(2, Some("1".into()))], "known, and not read");
        let error = rows("Id,ZIPP\na,1\n").unwrap_err().to_string();
        assert!(error.contains("x.csv` line 1") && error.contains("ZIPP") && error.contains("mean ZIP?"), "{error}");
        let error = rows("Id,ZIP,zip\na,1,2\n").unwrap_err().to_string();
        assert!(error.contains("twice"), "{error}");
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        let error = rows("ZIP\n02139\n").unwrap_err().to_string();
        assert!(error.contains("no column Id"), "{error}");
        let error = rows("Id,ZIP\na,1\n,2\n").unwrap_err().to_string();
        assert!(error.contains("x.csv` line 3") && error.contains("Id is empty"), "{error}");
        let error = rows("Id,ZIP\na\n").unwrap_err().to_string();
        assert!(error.contains("not a row of CSV"), "{error}");
    }
}
