//! V, and how its groups are numbered: keys to small integers, one hash-table look-up a row, nothing allocated for
//! rows whose group is known.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch, UInt32Array},
        compute::take,
        datatypes::{Field, Schema},
        row::{RowConverter, Rows, SortField},
    },
    common::{DataFusionError, Result},
    physical_plan::aggregates::{
        group_values::{GroupValues, new_group_values},
        order::GroupOrdering,
    },
};

use super::{
    Shape,
    column::{Column, add},
    columns,
};

/// Rows that belong to no public cell.
pub(super) const FOREIGN: u32 = u32::MAX;

/// Foreign keys that the table may remember before it is made anew.
const MOST_FOREIGN: usize = 65_536;

/// V of the units seen so far.
pub(super) struct Groups {
    shape: Arc<Shape>,
    interned: Box<dyn GroupValues>,
    /// For public cells: the cell of each number that `interned` gives; later numbers are foreign keys.
    cell_of: Vec<u32>,
    converter: RowConverter,
    /// Each group's keys as Arrow rows: typed, self-delimiting, ordered as the keys are.
    encoded: Rows,
    /// One for each needed integer.
    pub(super) columns: Vec<Column>,
    /// Units that count in each group.
    pub(super) patients: Vec<u64>,
    numbers: Vec<usize>,
}

fn too_many() -> DataFusionError {
    DataFusionError::ResourcesExhausted("too many groups".into())
}

impl Groups {
    pub(super) fn new(shape: Arc<Shape>) -> Result<Self> {
        let fields = shape.keys.iter().enumerate().map(|(at, key)| Field::new(format!("k{at}"), key.clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let converter = RowConverter::new(shape.keys.iter().map(|key| SortField::new(key.clone())).collect())?;
        let mut groups = Self {
            interned: new_group_values(schema, &GroupOrdering::None)?,
            cell_of: Vec::new(),
            encoded: converter.empty_rows(0, 0),
            converter,
            columns: shape.needed.iter().map(Column::of).collect(),
            patients: Vec::new(),
            numbers: Vec::new(),
            shape,
        };
        groups.start()?;
        Ok(groups)
    }

    /// Without keys there is one group; public cells are all there from the start.
    fn start(&mut self) -> Result<()> {
        let shape = Arc::clone(&self.shape);
        if shape.keys.is_empty() {
            self.grow(1);
        } else if let Some(cells) = &shape.cells {
            self.converter.append(&mut self.encoded, cells)?;
            self.grow(self.encoded.num_rows());
            self.intern_cells(cells)?;
        }
        Ok(())
    }

    fn intern_cells(&mut self, cells: &[ArrayRef]) -> Result<()> {
        self.interned.clear_shrink(0);
        self.interned.intern(cells, &mut self.numbers)?;
        self.cell_of = vec![FOREIGN; self.interned.len()];
        for (cell, number) in self.numbers.iter().enumerate() {
            if let Some(place) = self.cell_of.get_mut(*number).filter(|place| **place == FOREIGN) {
                *place = u32::try_from(cell).map_err(|_| too_many())?;
            }
        }
        Ok(())
    }

    fn grow(&mut self, groups: usize) {
        self.patients.resize(groups, 0);
        self.columns.iter_mut().for_each(|column| column.grow(groups));
    }

    pub(super) fn len(&self) -> usize {
        self.patients.len()
    }

    /// Writes the group of each row; [`FOREIGN`] where the keys are no public cell.
    pub(super) fn intern(&mut self, keys: &[ArrayRef], rows: usize, groups: &mut Vec<u32>) -> Result<()> {
        groups.clear();
        if keys.is_empty() {
            groups.resize(rows, 0);
            return Ok(());
        }
        let before = self.interned.len();
        self.interned.intern(keys, &mut self.numbers)?;
        let after = self.interned.len();
        let shape = Arc::clone(&self.shape);
        if let Some(cells) = &shape.cells {
            groups.extend(self.numbers.iter().map(|number| self.cell_of.get(*number).copied().unwrap_or(FOREIGN)));
            if after > self.cell_of.len() + MOST_FOREIGN {
                self.intern_cells(cells)?;
            }
            return Ok(());
        }
        if u32::try_from(after).map_or(true, |after| after == FOREIGN) {
            return Err(too_many());
        }
        if after > before {
            self.remember(keys, before, after)?;
        }
        #[expect(clippy::cast_possible_truncation, reason = "numbers are below `after`, which fits")]
        groups.extend(self.numbers.iter().map(|number| *number as u32));
        Ok(())
    }

    /// Encodes the keys of groups `before..after`, each from a row that has them.
    fn remember(&mut self, keys: &[ArrayRef], before: usize, after: usize) -> Result<()> {
        let mut firsts = vec![None; after - before];
        for (row, number) in self.numbers.iter().enumerate() {
            if let Some(first) = number.checked_sub(before).and_then(|new| firsts.get_mut(new))
                && first.is_none()
            {
                *first = Some(u32::try_from(row).map_err(|_| too_many())?);
            }
        }
        let firsts = UInt32Array::from(firsts);
        let firsts = keys.iter().map(|key| Ok(take(key, &firsts, None)?)).collect::<Result<Vec<_>>>()?;
        self.converter.append(&mut self.encoded, &firsts)?;
        self.grow(after);
        Ok(())
    }

    /// A group's encoded keys.
    pub(super) fn encoded(&self, group: u32) -> &[u8] {
        if self.shape.keys.is_empty() { &[] } else { self.encoded.row(group as usize).data() }
    }

    /// Bytes held.
    pub(super) fn size(&self) -> usize {
        let numbers = self.patients.capacity() * 8 + self.cell_of.capacity() * 4 + self.numbers.capacity() * 8;
        let columns: usize = self.columns.iter().map(Column::size).sum();
        self.interned.size() + self.encoded.size() + numbers + columns
    }

    /// Adds another partition's V.
    pub(super) fn merge(&mut self, other: Self) -> Result<()> {
        let mut places = Vec::new();
        if self.shape.cells.is_some() || self.shape.keys.is_empty() {
            places.extend((0..other.len()).map(|place| u32::try_from(place).unwrap_or(FOREIGN)));
        } else {
            let keys = other.converter.convert_rows(other.encoded.iter())?;
            self.intern(&keys, other.len(), &mut places)?;
        }
        add(&mut self.patients, &other.patients, &places);
        for (column, other) in self.columns.iter_mut().zip(other.columns) {
            column.merge(other, &places);
        }
        Ok(())
    }

    /// V: groups in which at least one patient counts.
    pub(super) fn finish(&self) -> Result<RecordBatch> {
        let kept: Vec<usize> =
            (0..self.len()).filter(|group| self.patients.get(*group).is_some_and(|n| *n > 0)).collect();
        let mut arrays = if self.shape.keys.is_empty() {
            Vec::new()
        } else if kept.is_empty() {
            columns(&[], &self.shape.keys)?
        } else {
            self.converter.convert_rows(kept.iter().map(|group| self.encoded.row(*group)))?
        };
        for column in &self.columns {
            arrays.push(column.array(&kept)?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.shape.schema), arrays)?)
    }
}
