//! Ranges of patients: one cut of the patients into partitions, the same for every private table of a plan, so that
//! tables meet on the patient without moving a row.

use std::sync::Arc;

use datafusion::{
    common::{ScalarValue, SplitPoint},
    physical_expr::{LexOrdering, Partitioning, PhysicalSortExpr, RangePartitioning, expressions::Column},
};

use crate::snapshot::StoredFile;

/// A range of patients that no file of any table crosses, and the bytes that lie in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    low: i64,
    high: i64,
    bytes: u64,
}

/// The finest cut of the patients that respects every file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blocks(Vec<Block>);

impl Blocks {
    /// Files whose ranges overlap lie in one block.
    pub(crate) fn of<'a>(files: impl Iterator<Item = &'a StoredFile>) -> Self {
        let mut files: Vec<&StoredFile> = files.collect();
        files.sort_by_key(|file| file.low);
        let mut blocks: Vec<Block> = Vec::new();
        for file in files {
            match blocks.last_mut() {
                Some(last) if file.low <= last.high => {
                    last.high = last.high.max(file.high);
                    last.bytes = last.bytes.saturating_add(file.size);
                }
                _ => blocks.push(Block { low: file.low, high: file.high, bytes: file.size }),
            }
        }
        Self(blocks)
    }

    /// At most `partitions` ranges of about equal bytes: the least patient of each but the first, increasing.
    pub(super) fn splits(&self, partitions: usize) -> Vec<i64> {
        let total: u128 = self.0.iter().map(|block| u128::from(block.bytes)).sum::<u128>().max(1);
        let (mut before, mut current, mut splits) = (0u128, 0u128, Vec::new());
        for block in &self.0 {
            let place = before * partitions as u128 / total;
            if place > current {
                splits.push(block.low);
                current = place;
            }
            before += u128::from(block.bytes);
        }
        splits
    }
}

/// Rows with `unit` in `[split, next split)` lie in one partition, in order.
pub(super) fn partitioning(unit: Column, splits: &[i64]) -> Option<(Partitioning, LexOrdering)> {
    let ordering = LexOrdering::new([PhysicalSortExpr::new_default(Arc::new(unit))])?;
    let points = splits.iter().map(|split| SplitPoint::new(vec![ScalarValue::Int64(Some(*split))])).collect();
    let range = RangePartitioning::try_new(ordering.clone(), points).ok()?;
    Some((Partitioning::Range(range), ordering))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(low: i64, high: i64, size: u64) -> StoredFile {
        StoredFile { path: String::new(), size, low, high }
    }

    #[test]
    fn files_that_overlap_between_tables_are_never_cut_apart() {
        let files = [file(0, 9, 10), file(10, 19, 10), file(5, 12, 1), file(20, 29, 10), file(40, 49, 10)];
        let blocks = Blocks::of(files.iter());
        assert_eq!(blocks.splits(8), [20, 40]);
        assert_eq!(blocks.splits(2), [20]);
        assert!(blocks.splits(1).is_empty());
    }

    #[test]
    fn there_are_never_more_ranges_than_partitions() {
        for count in 1..40 {
            let files: Vec<StoredFile> = (0..count).map(|n| file(n * 10, n * 10 + 9, 1 + n as u64 % 7)).collect();
            for partitions in 1..9 {
                let splits = Blocks::of(files.iter()).splits(partitions);
                assert!(splits.len() < partitions && splits.windows(2).all(|w| w[0] < w[1]));
            }
        }
        assert!(Blocks::default().splits(4).is_empty());
    }
}
