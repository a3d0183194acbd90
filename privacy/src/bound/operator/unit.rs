//! One pass over a partition: the rows of each unit are folded by group, cut to R rows and G groups, and added to V.
//!
//! A slot is one (unit, group) of U. The slots of a unit are adjacent; those of units that ended are closed after
//! each batch, so there are never more than one batch and one unit can open.

use std::{hash::Hasher, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, AsArray, Int64Array, RecordBatch},
        compute::{filter_record_batch, is_not_null},
        datatypes::Int64Type,
    },
    common::Result,
};
use siphasher::sip128::{Hasher128, SipHasher24};

use super::{
    super::scan::storage_fault,
    Fold, Measured, Shape,
    groups::{FOREIGN, Groups},
};

/// A value column of U: the state of each slot.
#[derive(Debug, Default)]
struct Folded {
    counts: Vec<i64>,
    /// Clamped values are below 2^24, so the sum of a unit's rows fits.
    sums: Vec<i64>,
}

/// The open units of one partition, and V of those that ended.
pub(super) struct Units {
    shape: Arc<Shape>,
    pub(super) groups: Groups,
    /// First unit seen and the current one.
    pub(super) range: Option<(i64, i64)>,
    /// Units with open slots, and where their slots begin.
    open: Vec<(i64, usize)>,
    /// Group of each slot.
    slots: Vec<u32>,
    rows: Vec<i64>,
    folded: Vec<Folded>,
    /// For each group the last slot that was opened for it; it may be of a unit that ended.
    last_slot: Vec<usize>,
    // Reused from batch to batch.
    row_groups: Vec<u32>,
    row_slots: Vec<usize>,
    kept: Vec<usize>,
    hashed: Vec<(u128, usize)>,
}

impl Units {
    pub(super) fn new(shape: Arc<Shape>) -> Result<Self> {
        Ok(Self {
            groups: Groups::new(Arc::clone(&shape))?,
            range: None,
            open: Vec::new(),
            slots: Vec::new(),
            rows: Vec::new(),
            folded: shape.folds.iter().map(|_| Folded::default()).collect(),
            last_slot: Vec::new(),
            row_groups: Vec::new(),
            row_slots: Vec::new(),
            kept: Vec::new(),
            hashed: Vec::new(),
            shape,
        })
    }

    /// Takes a batch of P.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        match batch.columns().first() {
            Some(unit) if unit.null_count() > 0 => self.fold(&filter_record_batch(batch, &is_not_null(unit)?)?)?,
            _ => self.fold(batch)?,
        }
        let current = self.open.len().saturating_sub(1);
        self.close(current);
        Ok(())
    }

    /// Closes the last unit.
    pub(super) fn finish(mut self) -> (Groups, Option<(i64, i64)>) {
        self.close(self.open.len());
        (self.groups, self.range)
    }

    fn fold(&mut self, batch: &RecordBatch) -> Result<()> {
        let shape = Arc::clone(&self.shape);
        let keys = batch.columns().get(1..=shape.keys.len()).unwrap_or(&[]);
        let mut row_groups = std::mem::take(&mut self.row_groups);
        self.groups.intern(keys, batch.num_rows(), &mut row_groups)?;
        self.last_slot.resize(self.groups.len(), 0);
        let units = batch.columns().first().and_then(|unit| unit.as_primitive_opt::<Int64Type>());
        let units = units.ok_or_else(|| storage_fault("the unit is not a 64-bit integer"))?;
        self.assign(units.values(), &row_groups)?;
        self.row_groups = row_groups;
        for ((folded, fold), column) in self.folded.iter_mut().zip(&shape.folds).zip(shape.values()) {
            let column = batch.columns().get(column).ok_or_else(|| storage_fault("a value column is missing"))?;
            match fold {
                Fold::Count => folded.count(column.as_ref(), &self.row_slots),
                Fold::Sum => {
                    let values = column.as_primitive_opt::<Int64Type>();
                    folded.sum(values.ok_or_else(|| storage_fault("a value is off the grid"))?, &self.row_slots);
                }
            }
        }
        Ok(())
    }

    /// Gives each row its slot; a slot past the last for rows of no public cell.
    fn assign(&mut self, units: &[i64], row_groups: &[u32]) -> Result<()> {
        self.row_slots.clear();
        let mut current = self.range.map(|(_, current)| current);
        let mut start = self.open.last().map_or(0, |(_, start)| *start);
        for (unit, group) in units.iter().zip(row_groups) {
            if current != Some(*unit) {
                if current.is_some_and(|current| current > *unit) {
                    return Err(storage_fault("patients are out of order"));
                }
                current = Some(*unit);
                start = self.slots.len();
                self.open.push((*unit, start));
            }
            let slot = match self.last_slot.get_mut(*group as usize) {
                None => usize::MAX,
                // Stale numbers point before the unit's first slot, past the last, or at another group's.
                Some(last) if *last >= start && self.slots.get(*last) == Some(group) => {
                    if let Some(rows) = self.rows.get_mut(*last) {
                        *rows += 1;
                    }
                    *last
                }
                Some(last) => {
                    *last = self.slots.len();
                    self.slots.push(*group);
                    self.rows.push(1);
                    *last
                }
            };
            self.row_slots.push(slot);
        }
        if let (Some(first), Some(current)) = (units.first(), current) {
            self.range = Some((self.range.map_or(*first, |(first, _)| first), current));
        }
        for folded in &mut self.folded {
            folded.counts.resize(self.slots.len(), 0);
            folded.sums.resize(self.slots.len(), 0);
        }
        Ok(())
    }

    /// Adds the first `units` open units to V and forgets them.
    fn close(&mut self, units: usize) {
        let end = self.open.get(units).map_or(self.slots.len(), |(_, start)| *start);
        self.kept.clear();
        for at in 0..units {
            if let Some((unit, start)) = self.open.get(at).copied() {
                let end = self.open.get(at + 1).map_or(self.slots.len(), |(_, start)| *start);
                self.choose(unit, start..end);
            }
        }
        for slot in &self.kept {
            let group = self.slots.get(*slot).copied().unwrap_or(FOREIGN);
            if let Some(patients) = self.groups.patients.get_mut(group as usize) {
                *patients += 1;
            }
        }
        for (at, measured) in self.shape.needed.iter().enumerate() {
            let Some(sums) = self.groups.sums.get_mut(at) else { continue };
            for slot in &self.kept {
                let group = self.slots.get(*slot).copied().unwrap_or(FOREIGN);
                if let Some(sum) = sums.get_mut(group as usize) {
                    *sum += measured.of(*slot, &self.rows, &self.folded, self.shape.rows);
                }
            }
        }
        self.open.drain(..units);
        self.open.iter_mut().for_each(|(_, start)| *start -= end);
        self.slots.drain(..end);
        self.rows.drain(..end);
        for folded in &mut self.folded {
            folded.counts.drain(..end);
            folded.sums.drain(..end);
        }
        for (slot, group) in self.slots.iter().enumerate() {
            if let Some(last) = self.last_slot.get_mut(*group as usize) {
                *last = slot;
            }
        }
    }

    /// U2: at most G slots of a unit, least by (hash of unit and keys, keys).
    fn choose(&mut self, unit: i64, slots: std::ops::Range<usize>) {
        let rows: i64 = self.rows.get(slots.clone()).unwrap_or(&[]).iter().sum();
        if rows > self.shape.allowance {
            return;
        }
        if slots.len() <= self.shape.groups {
            self.kept.extend(slots);
            return;
        }
        self.hashed.clear();
        for slot in slots {
            let group = self.slots.get(slot).copied().unwrap_or(FOREIGN);
            let mut hasher = SipHasher24::new_with_key(&self.shape.group_key);
            hasher.write(&encoded_unit(unit));
            hasher.write(self.groups.encoded(group));
            self.hashed.push((hasher.finish128().as_u128(), slot));
        }
        let (slots, groups) = (&self.slots, &self.groups);
        let keys = |slot: usize| groups.encoded(slots.get(slot).copied().unwrap_or(FOREIGN));
        self.hashed.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| keys(a.1).cmp(keys(b.1))));
        self.kept.extend(self.hashed.iter().take(self.shape.groups).map(|(_, slot)| *slot));
    }
}

/// A 64-bit integer as Arrow's rows encode it: not NULL, then big-endian with the sign flipped.
fn encoded_unit(unit: i64) -> [u8; 9] {
    let mut bytes = [1; 9];
    for (to, from) in bytes.iter_mut().skip(1).zip((unit ^ i64::MIN).to_be_bytes()) {
        *to = from;
    }
    bytes
}

impl Folded {
    fn count(&mut self, column: &dyn Array, slots: &[usize]) {
        let nulls = column.logical_nulls();
        for (row, slot) in slots.iter().enumerate() {
            if let Some(count) = self.counts.get_mut(*slot) {
                *count += i64::from(nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)));
            }
        }
    }

    fn sum(&mut self, column: &Int64Array, slots: &[usize]) {
        if column.null_count() > 0 {
            for (value, slot) in column.iter().zip(slots) {
                if let (Some(value), Some(count), Some(sum)) =
                    (value, self.counts.get_mut(*slot), self.sums.get_mut(*slot))
                {
                    *count += 1;
                    *sum = sum.saturating_add(value);
                }
            }
            return;
        }
        for (value, slot) in column.values().iter().zip(slots) {
            if let (Some(count), Some(sum)) = (self.counts.get_mut(*slot), self.sums.get_mut(*slot)) {
                *count += 1;
                *sum = sum.saturating_add(*value);
            }
        }
    }
}

impl Measured {
    /// U1 of a slot.
    fn of(self, slot: usize, rows: &[i64], folded: &[Folded], most: i64) -> i128 {
        let at = |list: &[i64]| list.get(slot).copied().unwrap_or(0);
        let value = |value: usize| folded.get(value).map_or((0, 0), |f| (at(&f.counts), at(&f.sums)));
        match self {
            Self::Patients => 1,
            Self::Rows => i128::from(at(rows).min(most)),
            Self::Count { value: v } => i128::from(value(v).0.min(most)),
            Self::Sum { value: v, middle } => {
                let (count, sum) = value(v);
                let sum = i128::from(sum) - i128::from(middle) * i128::from(count);
                if count <= most { sum } else { sum * i128::from(most) / i128::from(count) }
            }
        }
    }
}
