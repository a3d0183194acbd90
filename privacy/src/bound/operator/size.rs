//! What a run may hold, by plan and by the catalog's sizes alone: so much is reserved before a question is paid.

use super::{Measured, Shape};
use crate::bound::physical::Layout;

/// Bytes that every run may hold: batches, one patient at a time below the operator, public sides of joins.
const OF_A_RUN: u64 = 256 << 20;

/// Bytes of a group in the operator's tables beside its integers: its keys, and its number.
const OF_A_GROUP: u64 = 512;

/// Bytes of a value that counts in a set of different ones, spare room of the set with it.
const OF_A_DIFFERENT_VALUE: u64 = 48;

/// Bytes that no run may pass, so that several fit side by side.
const MOST: u64 = 1 << 30;

impl Shape {
    /// Bytes that a run may hold; `rows` is what a unit may bring.
    pub(in crate::bound) fn memory(&self, patients: u64, rows: u64, layout: Layout) -> usize {
        let partitions = layout.partitions.get() as u64;
        let (mut of_a_group, mut of_a_row, mut values) = (OF_A_GROUP, 64 * self.needed.len() as u64, 0_u64);
        for needed in &self.needed {
            match needed {
                Measured::Medians { candidates, .. } => {
                    of_a_group = of_a_group.saturating_add(candidates.count.saturating_mul(8));
                    of_a_row += 32;
                }
                Measured::Distinct { limit, .. } => {
                    values = values.saturating_add(*limit as u64);
                    of_a_row += 128;
                }
                _ => of_a_group += 16,
            }
        }
        let slots = patients.saturating_mul(self.groups as u64);
        // Each partition holds all public cells, and V is made of them once more; an unknown key has a patient.
        let groups = match &self.cells {
            Some(cells) => cells.first().map_or(1, |cells| cells.len() as u64).saturating_mul(partitions + 1),
            None if self.keys.is_empty() => partitions + 1,
            None => slots.saturating_mul(2),
        };
        let bytes = OF_A_RUN
            .saturating_add(groups.saturating_mul(of_a_group))
            .saturating_add(slots.saturating_mul(values).saturating_mul(OF_A_DIFFERENT_VALUE))
            .saturating_add(rows.saturating_mul(of_a_row).saturating_mul(partitions));
        usize::try_from(bytes.min(MOST)).unwrap_or(usize::MAX)
    }
}
