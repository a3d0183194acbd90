//! The only shape of question that the trusted core understands.
//!
//! A [`Query`] is two plans. The **private** plan is one `Aggregate` over patients' rows: what is measured. The
//! **post** plan is everything above it (HAVING, ORDER BY, LIMIT, arithmetic, joins to public tables); it reads
//! the released, noisy table [`NOISY`], and can name no private table. `sql` builds both; nothing here trusts it:
//! [`Query::check`] walks both plans by an exhaustive allow-list, and so does `bound` before anything is spent.

use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Aggregate, LogicalPlan};

use crate::bound;
use crate::catalog::Catalog;
use crate::refusal::{Code, PlanError};

/// The table that a post plan reads: column `i` is called `c<i>` and is field `i` of the private aggregate's
/// output (its keys in order, then its aggregates in order), with that field's type.
pub const NOISY: &str = "__noisy";

/// The name of the noisy table's column for field `index` of the private aggregate.
#[must_use]
pub fn noisy_column(index: usize) -> String {
    format!("c{index}")
}

/// One question: what is measured, and what is made of the released numbers.
#[derive(Clone, Debug)]
pub struct Query {
    private: Aggregate,
    post: LogicalPlan,
}

impl Query {
    /// Takes the two plans apart from their text; refuses a private plan that is not rooted in an aggregate and a
    /// post plan that does not read [`NOISY`] with the aggregate's columns.
    ///
    /// # Errors
    /// `ROW_LEVEL_OUTPUT` when there is no aggregate at the root, `AGG_UNSUPPORTED` when the post plan's noisy table
    /// does not have exactly the aggregate's columns.
    pub fn new(private: LogicalPlan, post: LogicalPlan) -> Result<Self, PlanError> {
        let LogicalPlan::Aggregate(private) = private else {
            return Err(PlanError::new(Code::RowLevelOutput, "the question has no aggregate over patients' rows"));
        };
        let query = Self { private, post: bound::post::total_post(post)? };
        query.post_reads_the_aggregate()?;
        Ok(query)
    }

    /// What is measured: one aggregate over scans of catalog tables.
    #[must_use]
    pub const fn private(&self) -> &Aggregate {
        &self.private
    }

    /// What is made of the released numbers: a plan over [`NOISY`] and public tables.
    #[must_use]
    pub const fn post(&self) -> &LogicalPlan {
        &self.post
    }

    /// Repeats every rule on both plans, whoever built them.
    ///
    /// # Errors
    /// The refusal that applies first, walking the private plan from its scans up, then the post plan.
    pub fn check(&self, catalog: &Catalog) -> Result<(), PlanError> {
        let relation = bound::walk::walk(&self.private.input, catalog)?;
        bound::keys::total_keys(&self.private.group_expr, &relation)?;
        bound::total::measures(&self.private, &relation)?;
        bound::post::check_post(&self.post, catalog)
    }

    fn post_reads_the_aggregate(&self) -> Result<(), PlanError> {
        let mut scans = 0_usize;
        let mut faulty = false;
        self.post
            .apply_with_subqueries(|node| {
                if let LogicalPlan::TableScan(scan) = node
                    && scan.table_name == TableReference::bare(NOISY)
                {
                    scans += 1;
                    let schema = scan.source.schema();
                    let fields = self.private.schema.fields();
                    faulty |= schema.fields().len() != fields.len()
                        || schema.fields().iter().zip(fields.iter()).enumerate().any(|(index, (ours, theirs))| {
                            *ours.name() != noisy_column(index) || ours.data_type() != theirs.data_type()
                        });
                }
                Ok(TreeNodeRecursion::Continue)
            })
            .map_err(|_| PlanError::new(Code::AggUnsupported, "the plan above the aggregate cannot be read"))?;
        if scans == 0 || faulty {
            return Err(PlanError::new(
                Code::AggUnsupported,
                "the plan above the aggregate does not read the aggregate's columns",
            ));
        }
        Ok(())
    }
}

/// Does this aggregate over patients' rows keep the patient, that is: is one of its keys the bare, non-null
/// patient column of its input? Then it is an ordinary per-patient sub-query; if not, it is what gets released.
///
/// # Errors
/// The refusal of its input, when that input may not be asked at all.
pub fn groups_by_unit(aggregate: &Aggregate, catalog: &Catalog) -> Result<bool, PlanError> {
    let relation = bound::walk::walk(&aggregate.input, catalog)?;
    Ok(bound::walk::has_unit(&aggregate.group_expr, &relation))
}
