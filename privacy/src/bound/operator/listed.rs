//! Where sums don't do: the values of open slots one by one, until their unit has ended.

use std::hash::Hasher;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray},
        datatypes::Int64Type,
        row::{RowConverter, SortField},
    },
    common::Result,
};
use siphasher::sip128::{Hasher128, SipHasher24};

use super::{
    super::{scan::storage_fault, values::Candidates},
    Measured, Shape,
    column::Column,
    groups::{FOREIGN, Groups},
    unit::encoded_unit,
};

/// (slot, value), in the order of rows: so those of units that ended come first.
pub(super) struct Open<T> {
    entries: Vec<(usize, T)>,
    closed: Vec<(usize, T)>,
}

impl<T: Ord> Open<T> {
    const fn new() -> Self {
        Self { entries: Vec::new(), closed: Vec::new() }
    }

    /// Hands on the entries of each slot before `end` in their order, and forgets them.
    fn close(&mut self, end: usize, mut each: impl FnMut(usize, &mut dyn Iterator<Item = &T>, usize)) {
        let split = self.entries.partition_point(|(slot, _)| *slot < end);
        self.closed.clear();
        self.closed.extend(self.entries.drain(..split));
        self.entries.iter_mut().for_each(|(slot, _)| *slot -= end);
        self.closed.sort_unstable();
        for of_one in self.closed.chunk_by(|a, b| a.0 == b.0) {
            if let Some((slot, _)) = of_one.first() {
                each(*slot, &mut of_one.iter().map(|(_, value)| value), of_one.len());
            }
        }
    }

    fn size(&self) -> usize {
        (self.entries.capacity() + self.closed.capacity()) * size_of::<(usize, T)>()
    }
}

/// The values behind one integer of V.
pub(super) enum Listed {
    /// Different ones, each with its rank: of a slot the D least count.
    Distinct { value: usize, limit: usize, converter: RowConverter, open: Open<(u128, u128)> },
    /// Candidates: of a slot the lower median counts.
    Medians { value: usize, candidates: Candidates, open: Open<i64> },
}

/// What is known of the rows of a batch.
pub(super) struct Rows<'a> {
    pub(super) units: &'a [i64],
    pub(super) groups: &'a [u32],
    pub(super) slots: &'a [usize],
}

impl Listed {
    /// The list for an integer of V; none for one that is summed.
    pub(super) fn of(measured: &Measured, shape: &Shape) -> Result<Option<Self>> {
        Ok(match *measured {
            Measured::Distinct { value, limit } => {
                let of_values = shape.values.get(value).ok_or_else(|| storage_fault("a value column is missing"))?;
                let converter = RowConverter::new(vec![SortField::new(of_values.clone())])?;
                Some(Self::Distinct { value, limit, converter, open: Open::new() })
            }
            Measured::Medians { value, candidates } => Some(Self::Medians { value, candidates, open: Open::new() }),
            _ => None,
        })
    }

    /// The value column that it reads.
    pub(super) const fn value(&self) -> usize {
        match self {
            Self::Distinct { value, .. } | Self::Medians { value, .. } => *value,
        }
    }

    /// Takes a batch's values; NULL is none, and rows of no public cell have no slot.
    pub(super) fn push(&mut self, column: &ArrayRef, rows: &Rows<'_>, groups: &Groups, key: &[u8; 16]) -> Result<()> {
        let nulls = column.logical_nulls();
        let valid = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        let of_slot = |(row, slot): (usize, &usize)| (*slot != usize::MAX && valid(row)).then_some((row, *slot));
        let counted = rows.slots.iter().enumerate().filter_map(of_slot);
        match self {
            Self::Distinct { converter, open, .. } => {
                let encoded = converter.convert_columns(std::slice::from_ref(column))?;
                for (row, slot) in counted {
                    let mut of_value = SipHasher24::new_with_key(key);
                    of_value.write(encoded.row(row).data());
                    let value = of_value.finish128().as_u128();
                    // As Arrow encodes (unit, keys, hash): 16 bytes that are not NULL begin with a 1.
                    let mut rank = SipHasher24::new_with_key(key);
                    rank.write(&encoded_unit(rows.units.get(row).copied().unwrap_or(0)));
                    rank.write(groups.encoded(rows.groups.get(row).copied().unwrap_or(FOREIGN)));
                    rank.write(&[1]);
                    rank.write(&value.to_be_bytes());
                    open.entries.push((slot, (rank.finish128().as_u128(), value)));
                }
            }
            Self::Medians { candidates, open, .. } => {
                let values = column.as_primitive_opt::<Int64Type>();
                let values = values.ok_or_else(|| storage_fault("a value is off the grid"))?;
                open.entries.extend(counted.map(|(row, slot)| (slot, candidates.index(values.value(row)))));
            }
        }
        Ok(())
    }

    /// Adds to V what the slots before `end` leave, each in its group; those of no group leave nothing.
    pub(super) fn close(&mut self, end: usize, group_of: &[u32], to: &mut Column) {
        let group = |slot: usize| group_of.get(slot).copied().filter(|group| *group != FOREIGN);
        match self {
            Self::Distinct { limit, open, .. } => open.close(end, |slot, values, _| {
                let Some(group) = group(slot) else { return };
                let (mut last, mut taken) = (None, 0);
                for value in values.filter(|value| last.replace(**value) != Some(**value)) {
                    if taken == *limit {
                        break;
                    }
                    taken += 1;
                    to.insert(group, value.1);
                }
            }),
            Self::Medians { open, .. } => open.close(end, |slot, values, count| {
                // Of c values in order, number floor((c+1)/2).
                if let (Some(group), Some(median)) = (group(slot), values.nth(count.saturating_sub(1) / 2)) {
                    to.choose(group, *median);
                }
            }),
        }
    }

    /// Bytes held.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Distinct { open, .. } => open.size(),
            Self::Medians { open, .. } => open.size(),
        }
    }
}
