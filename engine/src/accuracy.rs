//! A wanted accuracy turned into a price: the least rho whose interval is narrow enough. Decided from text, catalog and
//! an n that the asker assumes or that was released (`counted.rs`); nothing reads data, nothing is spent.

use std::collections::HashMap;

use datafusion::{
    arrow::datatypes::DataType,
    common::{
        ScalarValue,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{BinaryExpr, Expr, Operator},
};
use epiledger_privacy::{
    accountant::Asker,
    bound::{BoundedPlan, Wanted},
    loss::{PrivacyLoss, RHO_ONE, Rho},
    query::noisy_column,
    refusal::{Code, PlanError},
};

use crate::{
    api::{PrivacyAsk, QueryError, QueryRequest},
    query::Engine,
    question::refused,
};

/// Past this no price is looked for.
const MOST: u128 = 1_000_000 * RHO_ONE;

impl Engine {
    /// The least rho whose interval is as narrow as asked.
    pub(crate) fn of_accuracy(
        &self,
        request: &QueryRequest,
        width: &str,
        assume_n: Option<u64>,
        purpose: &str,
    ) -> Result<Rho, QueryError> {
        let bad = |what: &str| refused(&PlanError::new(Code::BadPrivacyParam, what.to_owned()));
        let width: f64 = width.parse().map_err(|_| bad("accuracy is not a number"))?;
        if !width.is_finite() || width <= 0.0 {
            return Err(bad("accuracy must be a finite half-width above 0"));
        }
        let plan = self.at(request, Rho::from_units(RHO_ONE), purpose)?;
        let wanted = wanted(&plan, assume_n).ok_or_else(|| {
            bad(match assume_n {
                None => "accuracy is for a COUNT or a SUM; for AVG, VAR or STDDEV ask for the COUNT of the same values first, or name `assume_n` too",
                Some(_) => {
                    "`assume_n` is for AVG, VAR, STDDEV or a ratio of counts; a count or a sum takes an accuracy without it"
                }
            })
        })?;
        let rho = least(|rho| wanted.width(&plan, rho).is_some_and(|reached| reached <= width));
        rho.ok_or_else(|| bad("no price reaches this accuracy: ask for a wider interval"))
    }

    /// The half-width that this rho would buy, for a question that asked for one.
    pub(crate) fn reachable(
        &self,
        request: &QueryRequest,
        asker: &Asker,
        purpose: &str,
        left: PrivacyLoss,
    ) -> Option<f64> {
        let request = &self.counted(request, asker, purpose).ok()?;
        let Some(PrivacyAsk::Accuracy(_, assume_n)) = &request.privacy else { return None };
        let plan = self.at(request, Rho::from_units(RHO_ONE), purpose).ok()?;
        wanted(&plan, *assume_n)?.width(&plan, left.rho).filter(|width| width.is_finite())
    }

    /// The plan at any price, and what else of it no price changes.
    pub(crate) fn at(&self, request: &QueryRequest, rho: Rho, purpose: &str) -> Result<BoundedPlan, QueryError> {
        let asked = QueryRequest { privacy: Some(PrivacyAsk::Rho(rho.to_string())), ..request.clone() };
        Ok(self.bounded(&asked, purpose)?.plan)
    }
}

/// The value that an accuracy is of, times a factor that the question writes.
struct Asked {
    value: Wanted,
    factor: f64,
}

impl Asked {
    fn width(&self, plan: &BoundedPlan, rho: Rho) -> Option<f64> {
        plan.width(rho, self.value).map(|width| width * self.factor)
    }
}

/// The first count or sum; under an assumption the first mean, variance or deviation, or else the first ratio of two
/// counts.
fn wanted(plan: &BoundedPlan, assume_n: Option<u64>) -> Option<Asked> {
    let has = |asked: Asked| asked.width(plan, Rho::from_units(RHO_ONE)).map(|_| asked);
    let plain = |value| has(Asked { value, factor: 1.0 });
    match assume_n {
        None => plain(Wanted::Exact),
        Some(n) => plain(Wanted::Of(n)).or_else(|| ratio(plan, n).and_then(has)),
    }
}

/// The first division of one aggregate by another in what is made of the released numbers.
fn ratio(plan: &BoundedPlan, of: u64) -> Option<Asked> {
    let keys = plan.release_schema().fields().len() - plan.aggregates();
    let mut names: HashMap<String, usize> =
        (0..plan.aggregates()).map(|index| (noisy_column(keys + index), index)).collect();
    // Below what the question makes of them, the released columns are renamed to their aggregates.
    let renamed = plan.post().apply(|node| {
        node.apply_expressions(|expr| {
            if let Expr::Alias(alias) = expr
                && let Expr::Column(column) = alias.expr.as_ref()
                && let Some(index) = names.get(&column.name).copied()
            {
                names.insert(alias.name.clone(), index);
            }
            Ok(TreeNodeRecursion::Continue)
        })
    });
    renamed.ok()?;
    let aggregate = |name: &str| names.get(name).copied();
    let asked = |expr: &Expr| {
        let (part, whole) = divided(expr)?;
        let ((part, times), (whole, over)) = (scaled(part)?, scaled(whole)?);
        let value = Wanted::Share { part: aggregate(part)?, whole: aggregate(whole)?, of };
        let factor = (times / over).abs();
        (factor.is_finite() && factor > 0.0).then_some(Asked { value, factor })
    };
    let mut found = None;
    let visited = plan.post().apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                found = found.take().or_else(|| asked(expr));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    visited.ok()?;
    found
}

/// Both sides of a division.
fn divided(expr: &Expr) -> Option<(&Expr, &Expr)> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right }) => Some((left, right)),
        Expr::ScalarFunction(call) if call.name() == "total_divide" => call.args.first().zip(call.args.get(1)),
        _ => None,
    }
}

/// The column that an expression shows, of another type perhaps, or NULL for a number; and what it is multiplied by.
fn scaled(expr: &Expr) -> Option<(&str, f64)> {
    match expr {
        Expr::Column(column) => Some((&column.name, 1.0)),
        Expr::Alias(alias) => scaled(&alias.expr),
        Expr::Cast(cast) => scaled(&cast.expr),
        Expr::TryCast(cast) => scaled(&cast.expr),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Multiply, right }) => product(left, right),
        Expr::ScalarFunction(call) if call.name() == "total_multiply" => product(call.args.first()?, call.args.get(1)?),
        Expr::ScalarFunction(call) if ["nullif", "total_finite"].contains(&call.name()) => scaled(call.args.first()?),
        _ => None,
    }
}

fn product<'a>(a: &'a Expr, b: &'a Expr) -> Option<(&'a str, f64)> {
    let (factor, other) = number(a).map(|factor| (factor, b)).or_else(|| Some((number(b)?, a)))?;
    scaled(other).map(|(name, times)| (name, times * factor))
}

/// A number that is written out, of another type perhaps.
fn number(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Literal(value, _) => match value.cast_to(&DataType::Float64) {
            Ok(ScalarValue::Float64(number)) => number,
            _ => None,
        },
        Expr::Alias(alias) => number(&alias.expr),
        Expr::Cast(cast) => number(&cast.expr),
        Expr::TryCast(cast) => number(&cast.expr),
        Expr::ScalarFunction(call) if call.name() == "total_finite" => number(call.args.first()?),
        _ => None,
    }
}

/// The least rho that fits, to about a part in two thousand; None where none does.
fn least(fits: impl Fn(Rho) -> bool) -> Option<Rho> {
    let fits = |units: u128| fits(Rho::from_units(units));
    let (mut low, mut high) = (0u128, 1u128);
    while !fits(high) {
        low = high;
        high = high.checked_mul(2).filter(|high| *high < MOST)?;
    }
    while high - low > 1 + high / 2048 {
        let middle = low + (high - low) / 2;
        if fits(middle) { high = middle } else { low = middle }
    }
    Some(Rho::from_units(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_price_that_fits_is_found() {
        for wanted in [1, 2, 3, 1_000, 123_456_789, RHO_ONE] {
            let found = least(|rho| rho.units() >= wanted).unwrap().units();
            assert!(found >= wanted && found <= wanted + 1 + wanted / 1024, "{wanted}: {found}");
        }
        assert_eq!(least(|_| false), None);
    }
}
