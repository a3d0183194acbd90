//! What the walk knows of a plan: which column is the patient, and where every other column comes from.

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Columns of the published tables that hold a value once at most, by construction (`ingest`'s `public_tables`): a
/// calendar's days are counted up, a region stands under its own code, each concept code is listed once.
/// The catalog declares no keys, so bounds rest on this list: a join on any other column of a public table is priced
/// as if every declared row of it matched.
const PUBLIC_KEYS: [(&str, &str); 3] = [("calendar", "day"), ("region", "region_code"), ("concept", "concept_code")];

/// Is this column of a published table unique there?
pub(crate) fn is_public_key(table: &str, column: &str) -> bool {
    PUBLIC_KEYS.contains(&(table, column))
}

/// A closed range on a fixed-point grid: values are `low..=high` times 10^-scale. Days since 1970-01-01 for dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Digits after the point.
    pub scale: i8,
    /// Least value in grid units.
    pub low: i128,
    /// Greatest value in grid units.
    pub high: i128,
}

/// Where one column of a plan comes from. All of it is decided by the text and the catalog, never by data.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Lineage {
    /// The patient: a bare column of a scan, never NULL. Two such columns in one row are equal.
    pub unit: bool,
    /// Was the patient before an outer join that may have made it NULL.
    pub lost_unit: bool,
    /// Computed from the patient's pseudonym.
    pub from_unit: bool,
    /// One value for all rows of a patient.
    pub unit_determined: bool,
    /// Added by the walk to carry the patient; no question can name it.
    pub hidden: bool,
    /// An outer join may have made it NULL.
    pub outer: bool,
    /// Dates known by the year only.
    pub year_only: bool,
    /// The expression over scanned columns (`Column { relation: "<table>#<n>" }`, n-th scan of the walk), while small.
    pub origin: Option<Expr>,
    /// Range of its values, when the catalog bounds it. Measures clamp to it, so it need not be proved.
    pub grid: Option<Grid>,
}

/// What a private relation lets one patient contribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Private {
    /// Most rows of one patient that can come out here.
    pub fan_out: u64,
    /// R: rows of one patient that count in one group.
    pub rows: u64,
    /// G: groups that one patient touches.
    pub groups: u64,
    /// Greatest product of row caps over the unit joins below.
    pub product: u64,
    /// Private tables read, in the order of the walk, once each.
    pub tables: Vec<String>,
}

/// A plan node after the walk.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The plan, every expression rewritten so that it cannot fail.
    pub plan: LogicalPlan,
    /// Lineage of `plan.schema()`'s fields, by position.
    pub columns: Vec<Lineage>,
    /// None for a relation over public tables only.
    pub private: Option<Private>,
    /// Rows of a public relation, at most (declared); 0 for a private one.
    pub public_rows: u64,
    /// Sets of columns, by position, in which no two rows are alike (NULL like NULL); for rows of patients each set
    /// holds the patient. No columns at all: there is one row at most.
    pub unique: Vec<Vec<usize>>,
    /// Conditions over origins that all rows satisfy.
    pub predicates: Vec<Expr>,
}

/// The column that tells the branches of the walk's n-th union apart, in origins alone: a column of the union is
/// `CASE branch WHEN 0 THEN <first branch's> WHEN 1 THEN .. END`.
pub(crate) fn branch(union: usize) -> Expr {
    Expr::Column(Column::new(Some(format!("union#{union}")), "branch"))
}

/// Is this what [`branch`] made? No catalog table has this name with a number.
pub(crate) fn is_branch(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name == "branch"
        && column.relation.as_ref().is_some_and(|relation| relation.table().starts_with("union#")))
}

/// Most conditions that a value of another row takes along.
const MAX_PREDICATES: usize = 200;

/// The origin of a value that some row below has, not the row at hand (a minimum, the row before): the same columns
/// under a name of their own, the `number`-th, and the conditions that hold for them.
pub(crate) fn of_another_row(origin: Option<&Expr>, predicates: &mut Vec<Expr>, number: usize) -> Option<Expr> {
    let origin = origin?;
    let renamed = |expr: &Expr| {
        let renamed = expr.clone().transform_up(|expr| match expr {
            Expr::Column(Column { relation: Some(relation), name, .. }) => {
                let column = Column::new(Some(format!("{}~{number}", relation.table())), name);
                Ok(Transformed::yes(Expr::Column(column)))
            }
            other => Ok(Transformed::no(other)),
        });
        renamed.ok().map(|renamed| renamed.data)
    };
    let read = origin.column_refs();
    let shared = |predicate: &&Expr| predicate.column_refs().iter().any(|column| read.contains(column));
    let found: Vec<Expr> = predicates.iter().filter(shared).filter_map(renamed).collect();
    if predicates.len() + found.len() <= MAX_PREDICATES {
        predicates.extend(found);
    }
    renamed(origin)
}

impl Node {
    /// The first column that is the patient.
    pub fn unit(&self) -> Option<Column> {
        let index = self.columns.iter().position(|c| c.unit)?;
        Some(Column::from(self.plan.schema().qualified_field(index)))
    }
}

/// A walked private plan: every rule of the design holds on it.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    /// The plan, rewritten so that no expression can fail. Scans of catalog tables are untouched.
    /// Its schema begins with the columns of the plan that was walked; carriers of the patient may be mixed in.
    pub plan: LogicalPlan,
    /// The patient's column in `plan`: bare, qualified as in the schema, never NULL.
    pub unit: Column,
    /// R: rows of one patient that count in one group.
    pub rows: u64,
    /// G: groups of one patient, when the keys do not depend on the patient alone.
    pub groups: u64,
    /// Rows of one patient in `plan`, at most, where joins make them: a patient with more contributes nothing.
    pub allowance: Option<u64>,
    /// Private tables read, once each, in the order of the walk.
    pub tables: Vec<String>,
    /// Lineage of `plan.schema()`'s fields, by position.
    pub columns: Vec<Lineage>,
    /// Conditions over origins that all rows satisfy.
    pub predicates: Vec<Expr>,
}
