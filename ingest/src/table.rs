//! The private tables: Delta logs over Parquet files that are clustered by patient.
//!
//! A table's content is a function of a state: ledger size, cut day and catalog. Its files lie in a folder of the
//! state's name, so writing them again after a crash writes the same files, and a table that has reached the state is
//! left alone. Each commit removes the files before it, adds the state's, and carries the ledger size as its `txn`
//! action.

mod delta;
mod file;

use epiledger_privacy::day::Day;

pub use delta::Table;
pub use file::Written;
pub(crate) use file::{BucketFile, file_properties};

/// What a snapshot's tables are a function of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Ledger entries read, block leaves counted.
    pub ledger_size: u64,
    /// The cut's day: consents and the determination are judged on it.
    pub cut_at: Day,
    /// SHA-256 of the catalog, hex.
    pub catalog_hash: String,
    /// Equal ranges of `person_id`.
    pub buckets: u32,
}

impl State {
    /// The folder of its files within each table's.
    #[must_use]
    pub fn folder(&self) -> String {
        let catalog: String = self.catalog_hash.chars().take(12).collect();
        format!("{:012}-{}-{catalog}", self.ledger_size, self.cut_at)
    }

    /// A bucket's file within the table's folder.
    #[must_use]
    pub fn file(&self, bucket: u32) -> String {
        format!("{}/{bucket:05}-of-{:05}.parquet", self.folder(), self.buckets)
    }

    /// First and last `person_id` of a bucket, inclusive: the 63-bit range in equal parts.
    #[must_use]
    pub fn range(&self, bucket: u32) -> (i64, i64) {
        let low = |bucket: u32| (u128::from(bucket) << 63).div_ceil(u128::from(self.buckets.max(1)));
        let end = |number: u128| i64::try_from(number).unwrap_or(i64::MAX);
        (end(low(bucket)), end(low(bucket + 1) - 1))
    }
}

/// Which of `count` equal ranges a `person_id` lies in.
pub(crate) fn range_of(person: i64, count: u32) -> u32 {
    let number = u128::from(person.cast_unsigned() & (u64::MAX >> 1));
    u32::try_from((number * u128::from(count)) >> 63).unwrap_or(0)
}

/// Entries that one bucket holds about, however large the ledger is: so ingest's memory does not grow with it.
const ENTRIES_A_BUCKET: u64 = 10_000;

/// How many buckets a ledger of this size gets.
#[must_use]
pub fn buckets_for(ledger_size: u64) -> u32 {
    let wanted = ledger_size.div_ceil(ENTRIES_A_BUCKET).clamp(4, 1 << 16);
    u32::try_from(wanted).unwrap_or(1 << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_equal_disjoint_and_complete() {
        for buckets in [1, 4, 7, 64, 1_000] {
            let state = State { ledger_size: 1, cut_at: Day(0), catalog_hash: "ab".repeat(32), buckets };
            let mut next = Some(0);
            for bucket in 0..buckets {
                let (low, high) = state.range(bucket);
                assert_eq!(Some(low), next);
                assert_eq!((range_of(low, state.buckets), range_of(high, state.buckets)), (bucket, bucket));
                next = high.checked_add(1);
            }
            assert_eq!(next, None, "the last range ends at i64::MAX");
        }
    }

    #[test]
    fn buckets_grow_with_the_ledger() {
        assert_eq!(buckets_for(10), 4);
        assert_eq!(buckets_for(40_000), 4);
        assert_eq!(buckets_for(800_001), 81);
    }
}
