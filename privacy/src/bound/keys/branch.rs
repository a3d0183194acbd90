//! Keys over unions: the declared values of a union's column are those of its branches, one branch after the other.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr;

use super::super::lineage::{Lineage, is_branch};

/// Most choices of one branch from each union that are listed; past it the keys are unknown.
const MAX_CHOICES: usize = 64;

/// One branch of every union.
#[derive(Clone, Default)]
pub(super) struct Choice(Vec<(Expr, usize)>);

/// All choices of branches that these keys can come from; none when there are too many.
pub(super) fn choices(keys: &[Lineage]) -> Option<Vec<Choice>> {
    let mut unions: Vec<(Expr, usize)> = Vec::new();
    for origin in keys.iter().filter_map(|key| key.origin.as_ref()) {
        // The closure gives no error, so there is none to lose.
        let _ = origin.apply(|expr| {
            if let Some((branch, count)) = of_union(expr)
                && !unions.iter().any(|(known, _)| known == branch)
            {
                unions.push((branch.clone(), count));
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }
    let mut all = vec![Choice::default()];
    for (branch, count) in unions {
        if all.len().saturating_mul(count) > MAX_CHOICES {
            return None;
        }
        let with = |choice: &Choice, taken| {
            let mut choice = choice.clone();
            choice.0.push((branch.clone(), taken));
            choice
        };
        all = all
            .iter()
            .flat_map(|choice| (0..count).map(move |taken| (choice, taken)))
            .map(|(c, t)| with(c, t))
            .collect();
    }
    Some(all)
}

/// The union that an origin chooses by, and how many branches it has.
fn of_union(expr: &Expr) -> Option<(&Expr, usize)> {
    match expr {
        Expr::Case(case) => {
            let branch = case.expr.as_deref().filter(|e| is_branch(e))?;
            Some((branch, case.when_then_expr.len()))
        }
        _ => None,
    }
}

impl Choice {
    /// An origin, or a condition, of rows of these branches.
    pub(super) fn of(&self, origin: Expr) -> Expr {
        let taken = |expr: &Expr| {
            let (branch, _) = of_union(expr)?;
            let (_, taken) = self.0.iter().find(|(known, _)| known == branch)?;
            match expr {
                Expr::Case(case) => case.when_then_expr.get(*taken).map(|(_, then)| then.as_ref().clone()),
                _ => None,
            }
        };
        let rewritten = origin.clone().transform_down(|mut expr| {
            let mut changed = false;
            // A branch may be a union itself.
            while let Some(then) = taken(&expr) {
                (expr, changed) = (then, true);
            }
            Ok(Transformed::new(expr, changed, TreeNodeRecursion::Continue))
        });
        // The closure gives no error; an origin that still chooses has no public values.
        rewritten.map_or(origin, |rewritten| rewritten.data)
    }
}
