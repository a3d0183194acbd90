//! A column of V as it grows: integers, sets of values, or how many patients chose each candidate.

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, Int64Array, ListArray},
        buffer::OffsetBuffer,
        datatypes::{DataType, Field, FieldRef},
    },
    common::Result,
};

use super::Measured;

/// One entry for each group.
pub(super) enum Column {
    /// Whole numbers, added up.
    Sums(Vec<i128>),
    /// (group, hash of a value): each of them once.
    Values(HashSet<(u32, [u8; 16])>),
    /// Patients at each of `each` candidates, group after group.
    Candidates { each: usize, counts: Vec<u64> },
}

fn list_field() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Int64, true))
}

fn int64(number: impl TryInto<i64>, otherwise: i64) -> i64 {
    number.try_into().unwrap_or(otherwise)
}

impl Column {
    pub(super) fn of(measured: &Measured) -> Self {
        match measured {
            Measured::Distinct { .. } => Self::Values(HashSet::new()),
            Measured::Medians { candidates, .. } => {
                Self::Candidates { each: usize::try_from(candidates.count).unwrap_or(0), counts: Vec::new() }
            }
            _ => Self::Sums(Vec::new()),
        }
    }

    /// Its type in V: Int64, or a list of as many Int64 as there are candidates.
    pub(super) fn data_type(measured: &Measured) -> DataType {
        match measured {
            Measured::Medians { .. } => DataType::List(list_field()),
            _ => DataType::Int64,
        }
    }

    /// Makes room for so many groups.
    pub(super) fn grow(&mut self, groups: usize) {
        match self {
            Self::Sums(sums) => sums.resize(groups, 0),
            Self::Values(_) => {}
            Self::Candidates { each, counts } => counts.resize(groups * *each, 0),
        }
    }

    /// Adds a number to a group's sum.
    pub(super) fn add(&mut self, group: u32, number: i128) {
        if let Self::Sums(sums) = self
            && let Some(sum) = sums.get_mut(group as usize)
        {
            *sum += number;
        }
    }

    /// Adds a value to a group's set.
    pub(super) fn insert(&mut self, group: u32, value: u128) {
        if let Self::Values(values) = self {
            values.insert((group, value.to_be_bytes()));
        }
    }

    /// Counts a patient at a candidate.
    pub(super) fn choose(&mut self, group: u32, candidate: i64) {
        if let Self::Candidates { each, counts } = self
            && let Some(candidate) = usize::try_from(candidate).ok().filter(|candidate| candidate < each)
            && let Some(count) = counts.get_mut(group as usize * *each + candidate)
        {
            *count += 1;
        }
    }

    /// Adds the same column of other patients; `places` are its groups' numbers here.
    pub(super) fn merge(&mut self, other: Self, places: &[u32]) {
        match (self, other) {
            (Self::Sums(to), Self::Sums(from)) => add(to, &from, places),
            (Self::Values(to), Self::Values(from)) => {
                let placed = from.into_iter().filter_map(|(group, value)| Some((*places.get(group as usize)?, value)));
                to.extend(placed);
            }
            (Self::Candidates { each, counts: to }, Self::Candidates { counts: from, .. }) => {
                for (place, from) in places.iter().zip(from.chunks_exact((*each).max(1))) {
                    let start = *place as usize * *each;
                    if let Some(to) = to.get_mut(start..start + *each) {
                        to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                    }
                }
            }
            // Columns of one shape are of one kind.
            _ => {}
        }
    }

    /// As V hands it on, at these groups. Sums that pass 64 bits stay at the end of their range, which changes by no
    /// more than the sum does.
    pub(super) fn array(&self, groups: &[usize]) -> Result<ArrayRef> {
        Ok(match self {
            Self::Sums(sums) => {
                let at = |group: &usize| sums.get(*group).copied().unwrap_or(0);
                let saturated = |sum: i128| int64(sum, if sum < 0 { i64::MIN } else { i64::MAX });
                Arc::new(groups.iter().map(at).map(saturated).collect::<Int64Array>())
            }
            Self::Values(values) => {
                let mut sizes = vec![0_i64; groups.iter().max().map_or(0, |last| last + 1)];
                for (group, _) in values {
                    if let Some(size) = sizes.get_mut(*group as usize) {
                        *size += 1;
                    }
                }
                Arc::new(groups.iter().map(|group| sizes.get(*group).copied().unwrap_or(0)).collect::<Int64Array>())
            }
            Self::Candidates { each, counts } => {
                let of = |group: &usize| counts.get(group * each..(group + 1) * each).unwrap_or(&[]);
                let flat: Int64Array = groups.iter().flat_map(of).map(|count| int64(*count, i64::MAX)).collect();
                let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(*each, groups.len()));
                Arc::new(ListArray::try_new(list_field(), offsets, Arc::new(flat), None)?)
            }
        })
    }

    /// Bytes held.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Sums(sums) => sums.capacity() * size_of::<i128>(),
            // A byte of control beside each entry.
            Self::Values(values) => values.capacity() * (size_of::<(u32, [u8; 16])>() + 1) * 8 / 7,
            Self::Candidates { counts, .. } => counts.capacity() * size_of::<u64>(),
        }
    }
}

pub(super) fn add<T: Copy + std::ops::AddAssign>(to: &mut [T], from: &[T], places: &[u32]) {
    for (place, value) in places.iter().zip(from) {
        if let Some(to) = to.get_mut(*place as usize) {
            *to += *value;
        }
    }
}
