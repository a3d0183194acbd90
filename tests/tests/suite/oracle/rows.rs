//! P of one patient: what each source gives, row by row.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

use arrow::array::ArrayRef;
use arrow::row::{RowConverter, SortField};
use hmac::{Hmac, KeyInit, Mac};
use siphasher::sip128::{Hasher128, SipHasher24};

use super::question::{Condition, Over, Scan, Source};
use super::tables::{Cell, Patient, Row, World, stored};

/// The consent that the questions' purpose needs.
pub const PURPOSE: i32 = 2;

/// A key of a hash, from the dataset's secret.
pub fn derived(secret: &[u8; 32], label: &str, text: &str) -> [u8; 16] {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
    mac.update(label.as_bytes());
    mac.update(&[0]);
    mac.update(text.as_bytes());
    mac.finalize().into_bytes()[..16].try_into().unwrap()
}

pub fn hashed(key: &[u8; 16], bytes: &[u8]) -> u128 {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(bytes);
    hasher.finish128().as_u128()
}

pub fn encoded(arrays: &[ArrayRef]) -> Vec<Vec<u8>> {
    let fields = arrays.iter().map(|array| SortField::new(array.data_type().clone())).collect();
    let rows = RowConverter::new(fields).unwrap().convert_columns(arrays).unwrap();
    rows.iter().map(|row| row.data().to_vec()).collect()
}

/// The rows of a patient that a scan gives: the M least by hash over the columns that are read, then the consented.
fn scanned<'a>(
    world: &World,
    patient: &'a Patient,
    scan: &Scan,
    reads: &BTreeSet<usize>,
    key: &[u8; 16],
) -> Vec<&'a Row> {
    let table = &world.catalog.tables[scan.table];
    let most = usize::try_from(table.private.unwrap().scan_rows).unwrap();
    let mut rows: Vec<&Row> = patient.rows[scan.table].iter().collect();
    if rows.len() > most {
        let own: Vec<(i64, &Row)> = rows.iter().map(|row| (patient.id, *row)).collect();
        let encoded = encoded(&stored(table, &own, |at| reads.contains(&at)));
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|at| hashed(key, &encoded[*at]));
        rows = order.into_iter().take(most).map(|at| rows[at]).collect();
    }
    rows.retain(|row| row.consent & PURPOSE != 0);
    rows
}

impl Condition {
    /// As SQL has it: true, false or unknown.
    pub fn holds(&self, row: &[Cell]) -> Option<bool> {
        match self {
            Self::Compares(at, op, cell) => {
                if row[*at] == Cell::Null {
                    return None;
                }
                let order = row[*at].cmp(cell);
                Some(match *op {
                    "=" => order == Ordering::Equal,
                    "<>" => order != Ordering::Equal,
                    "<" => order == Ordering::Less,
                    "<=" => order != Ordering::Greater,
                    ">" => order == Ordering::Greater,
                    _ => order != Ordering::Less,
                })
            }
            Self::Among(at, cells) => (row[*at] != Cell::Null).then(|| cells.contains(&row[*at])),
            Self::Missing(at) => Some(row[*at] == Cell::Null),
            Self::Both(a, b) => match (a.holds(row), b.holds(row)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Either(a, b) => match (a.holds(row), b.holds(row)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::Not(inner) => inner.holds(row).map(|truth| !truth),
        }
    }
}

pub fn satisfied(condition: &Option<Condition>, row: &[Cell]) -> bool {
    condition.as_ref().is_none_or(|condition| condition.holds(row) == Some(true))
}

fn joined(a: &[Cell], b: &[Cell]) -> Vec<Cell> {
    [a, b].concat()
}

/// P of one patient.
pub fn rows(
    world: &World,
    patient: &Patient,
    source: &Source,
    reads: &[BTreeSet<usize>],
    key: &[u8; 16],
) -> Vec<Vec<Cell>> {
    let scans = source.scans();
    let scanned: Vec<Vec<Vec<Cell>>> = scans
        .iter()
        .zip(reads)
        .map(|(scan, reads)| {
            scanned(world, patient, scan, reads, key).into_iter().map(|row| row.cells.clone()).collect()
        })
        .collect();
    match source {
        Source::One(_) => scanned[0].clone(),
        Source::OnPatient { right, outer, by_id, .. } => {
            let lacking = vec![Cell::Null; world.catalog.tables[right.table].columns.len() - 1];
            let mut all = Vec::new();
            for l in &scanned[0] {
                let met = scanned[1].iter().filter(|r| !by_id || (l[0] == r[0] && l[0] != Cell::Null));
                let before = all.len();
                all.extend(met.map(|r| joined(l, r)));
                if *outer && all.len() == before {
                    all.push(joined(l, &lacking));
                }
            }
            all
        }
        Source::Picked { among, negated, .. } => {
            let found = scanned[1].iter().any(|row| satisfied(among, row));
            if found == *negated { Vec::new() } else { scanned[0].clone() }
        }
        Source::WithRegion { column, outer, .. } => {
            let mut all = Vec::new();
            for row in &scanned[0] {
                match world.regions.iter().find(|region| region[0] == row[column - 1]) {
                    Some(region) => all.push(joined(row, region)),
                    None if *outer => all.push(joined(row, &[Cell::Null, Cell::Null, Cell::Null])),
                    None => {}
                }
            }
            all
        }
        Source::PerPatient { key, number, among, .. } => {
            let mut groups: BTreeMap<Option<Cell>, Vec<Cell>> = BTreeMap::new();
            for row in scanned[0].iter().filter(|row| satisfied(among, row)) {
                groups.entry(key.map(|key| row[key - 1].clone())).or_default().push(row[number - 1].clone());
            }
            let fold = |(key, values): (Option<Cell>, Vec<Cell>)| {
                let known: Vec<i128> = values.iter().filter_map(int).collect();
                let (sum, most) = (known.iter().sum(), known.iter().max().copied());
                let sum = most.map_or(Cell::Null, |_| Cell::Int(sum));
                let mut row = vec![Cell::Int(values.len() as i128), sum, most.map_or(Cell::Null, Cell::Int)];
                row.extend(key);
                row
            };
            groups.into_iter().map(fold).collect()
        }
        Source::Union { pairs, .. } => {
            let left = scanned[0].iter().map(|row| pairs.iter().map(|(l, _)| row[l - 1].clone()).collect());
            let right = scanned[1].iter().map(|row| pairs.iter().map(|(_, r)| row[r - 1].clone()).collect());
            left.chain(right).collect()
        }
        Source::Window { over, .. } => windowed(&scanned[0], *over),
    }
}

pub fn int(cell: &Cell) -> Option<i128> {
    match cell {
        Cell::Int(n) => Some(*n),
        _ => None,
    }
}

fn windowed(rows: &[Vec<Cell>], over: Over) -> Vec<Vec<Cell>> {
    let mut rows = rows.to_vec();
    // NULLs are last upwards and first downwards, as the engine has them; then the whole row.
    let place = |row: &[Cell], by: usize| row[by - 1].clone();
    if let Over::Number(by) | Over::Before(_, by) | Over::DenseRank(by) = over {
        rows.sort_by(|a, b| place(a, by).cmp(&place(b, by)).then_with(|| a.cmp(b)));
    }
    let with = |at: usize, row: &Vec<Cell>| {
        let w = match over {
            Over::Number(_) => Cell::Int(at as i128 + 1),
            Over::Rank(by) => {
                let before = rows.iter().filter(|other| place(other, by) > place(row, by)).count();
                Cell::Int(before as i128 + 1)
            }
            Over::DenseRank(by) => {
                let before = rows.iter().map(|other| place(other, by)).filter(|other| *other < place(row, by));
                Cell::Int(before.collect::<BTreeSet<_>>().len() as i128 + 1)
            }
            Over::Count(None) => Cell::Int(rows.len() as i128),
            Over::Count(Some(by)) => {
                Cell::Int(rows.iter().filter(|other| place(other, by) == place(row, by)).count() as i128)
            }
            Over::Before(value, _) => at.checked_sub(1).map_or(Cell::Null, |before| place(&rows[before], value)),
        };
        joined(row, &[w])
    };
    rows.iter().enumerate().map(|(at, row)| with(at, row)).collect()
}

/// Rows of one patient that a join may give; past it the patient contributes nothing.
pub fn allowance(world: &World, source: &Source) -> Option<usize> {
    let most = |scan: &Scan| world.catalog.tables[scan.table].private.unwrap().scan_rows as usize;
    match source {
        Source::OnPatient { left, right, outer, by_id, .. } => {
            let once = |scan: &Scan| most(scan) == 1 || (*by_id && scan.table == "visit");
            let (l, r) = (most(left), most(right));
            let pairs = match (once(left), once(right)) {
                (true, true) => l.min(r),
                (false, true) => l,
                (true, false) => r,
                (false, false) => l * r,
            };
            Some(match (outer, once(right)) {
                (false, _) => pairs,
                (true, true) => l,
                (true, false) => pairs.max(l + r),
            })
        }
        Source::WithRegion { rows, .. } => Some(most(rows)),
        _ => None,
    }
}

/// Has the patient more rows of a table than a scan gives?
pub fn heavy(world: &World, patient: &Patient, source: &Source) -> bool {
    source.scans().into_iter().any(|scan| {
        let most = world.catalog.tables[scan.table].private.unwrap().scan_rows;
        patient.rows[scan.table].len() as u64 > most
    })
}
