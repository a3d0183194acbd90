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
    Measured, Shape,
    groups::{FOREIGN, Groups},
    listed::{Listed, Rows},
};

/// A value column of U: the state of each slot.
#[derive(Debug, Default)]
struct Folded {
    counts: Vec<i64>,
    /// Clamped values are at most 2^24, so the sum of a unit's rows fits.
    sums: Vec<i64>,
    /// Squares are at most 2^27.
    squares: Vec<i64>,
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
    /// For each integer of V the values that it needs one by one.
    listed: Vec<Option<Listed>>,
    /// For each group the last slot that was opened for it; it may be of a unit that ended.
    last_slot: Vec<usize>,
    // Reused from batch to batch.
    row_groups: Vec<u32>,
    row_slots: Vec<usize>,
    kept: Vec<usize>,
    group_of: Vec<u32>,
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
            listed: shape.needed.iter().map(|needed| Listed::of(needed, &shape)).collect::<Result<_>>()?,
            last_slot: Vec::new(),
            row_groups: Vec::new(),
            row_slots: Vec::new(),
            kept: Vec::new(),
            group_of: Vec::new(),
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
        let column = |value: usize| {
            batch.columns().get(shape.column_of(value)).ok_or_else(|| storage_fault("a value column is missing"))
        };
        for (value, (folded, fold)) in self.folded.iter_mut().zip(&shape.folds).enumerate() {
            let column = column(value)?;
            folded.count(column.as_ref(), &self.row_slots);
            if fold.sum || fold.squares.is_some() {
                let values = column.as_primitive_opt::<Int64Type>();
                let values = values.ok_or_else(|| storage_fault("a value is off the grid"))?;
                if fold.sum {
                    add(&mut folded.sums, values, &self.row_slots, |value| value);
                }
                if let Some(range) = fold.squares {
                    add(&mut folded.squares, values, &self.row_slots, |value| range.square(value));
                }
            }
        }
        let rows = Rows { units: units.values(), groups: &row_groups, slots: &self.row_slots };
        for listed in self.listed.iter_mut().flatten() {
            listed.push(column(listed.value())?, &rows, &self.groups, &shape.group_key)?;
        }
        self.row_groups = row_groups;
        Ok(())
    }

    /// Bytes held.
    pub(super) fn size(&self) -> usize {
        let folded = self.folded.iter().map(|f| f.counts.capacity() + f.sums.capacity() + f.squares.capacity());
        let listed: usize = self.listed.iter().flatten().map(Listed::size).sum();
        let slots = self.slots.capacity() / 2 + self.rows.capacity() + self.last_slot.capacity();
        let rows = self.row_slots.capacity() + self.row_groups.capacity() / 2 + self.kept.capacity();
        let units = 2 * self.open.capacity() + self.group_of.capacity() / 2 + 4 * self.hashed.capacity();
        self.groups.size() + listed + 8 * (folded.sum::<usize>() + slots + rows + units)
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
            folded.resize(self.slots.len());
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
        self.group_of.clear();
        self.group_of.resize(end, FOREIGN);
        for slot in &self.kept {
            let group = self.slots.get(*slot).copied().unwrap_or(FOREIGN);
            if let Some(patients) = self.groups.patients.get_mut(group as usize) {
                *patients += 1;
            }
            if let Some(of_slot) = self.group_of.get_mut(*slot) {
                *of_slot = group;
            }
        }
        let measures = self.shape.needed.iter().zip(&mut self.listed).zip(&mut self.groups.columns);
        for ((measured, listed), column) in measures {
            if let Some(listed) = listed {
                listed.close(end, &self.group_of, column);
                continue;
            }
            for slot in &self.kept {
                let group = self.slots.get(*slot).copied().unwrap_or(FOREIGN);
                column.add(group, measured.of(*slot, &self.rows, &self.folded, self.shape.rows));
            }
        }
        self.open.drain(..units);
        self.open.iter_mut().for_each(|(_, start)| *start -= end);
        self.slots.drain(..end);
        self.rows.drain(..end);
        for folded in &mut self.folded {
            folded.forget(end);
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
pub(super) fn encoded_unit(unit: i64) -> [u8; 9] {
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

    fn resize(&mut self, slots: usize) {
        for list in [&mut self.counts, &mut self.sums, &mut self.squares] {
            list.resize(slots, 0);
        }
    }

    fn forget(&mut self, slots: usize) {
        for list in [&mut self.counts, &mut self.sums, &mut self.squares] {
            list.drain(..slots);
        }
    }
}

/// Adds `part` of each value to the sum of its slot.
fn add(sums: &mut [i64], column: &Int64Array, slots: &[usize], part: impl Fn(i64) -> i64) {
    let mut add = |value: i64, slot: &usize| {
        if let Some(sum) = sums.get_mut(*slot) {
            *sum = sum.saturating_add(part(value));
        }
    };
    if column.null_count() > 0 {
        for (value, slot) in column.iter().zip(slots) {
            if let Some(value) = value {
                add(value, slot);
            }
        }
        return;
    }
    column.values().iter().zip(slots).for_each(|(value, slot)| add(*value, slot));
}

impl Measured {
    /// U1 of a slot; 0 for what is listed.
    fn of(self, slot: usize, rows: &[i64], folded: &[Folded], most_rows: i64) -> i128 {
        let at = |list: &[i64]| list.get(slot).copied().unwrap_or(0);
        let of_value = |value: usize, list: fn(&Folded) -> &[i64]| folded.get(value).map_or(0, |f| at(list(f)));
        let count = |value: usize| of_value(value, |f| &f.counts);
        let weighed = |sum: i128, count: i64| {
            if count <= most_rows { sum } else { sum * i128::from(most_rows) / i128::from(count) }
        };
        match self {
            Self::Patients => 1,
            Self::Rows => i128::from(at(rows).min(most_rows)),
            Self::Count { value, most } => i128::from(count(value).min(most)),
            Self::Sum { value, middle } => {
                let count = count(value);
                let sum = i128::from(of_value(value, |f| &f.sums)) - i128::from(middle) * i128::from(count);
                weighed(sum, count)
            }
            Self::Squares { value } => weighed(of_value(value, |f| &f.squares).into(), count(value)),
            Self::Distinct { .. } | Self::Medians { .. } => 0,
        }
    }
}
