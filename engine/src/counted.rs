//! The n behind a mean, a variance or a deviation, from what the asker's protocol has released: no width of theirs is known
//! without one. A released number is the protocol's to read and costs nothing again; the data are not looked at, and
//! what other protocols paid for does not show.

use std::sync::Arc;

use datafusion::{
    functions_aggregate::count::count_udaf,
    logical_expr::{Aggregate, Expr, LogicalPlan, expr::AggregateFunction},
};
use epiledger_privacy::{
    accountant::Asker,
    bound::{Wanted, bound},
    loss::{RHO_ONE, Rho},
    query::Query,
};
use epiledger_sql::noisy_in_place_of;

use crate::{
    api::{PrivacyAsk, QueryError, QueryRequest},
    query::Engine,
    question::Question,
};

impl Engine {
    /// The request with the n that its accuracy needs and does not name, where a release has it: the least over all
    /// cells, so that no cell's interval is wider than what is asked.
    pub(crate) fn counted(
        &self,
        request: &QueryRequest,
        asker: &Asker,
        purpose: &str,
    ) -> Result<QueryRequest, QueryError> {
        let Some(PrivacyAsk::Accuracy(width, None)) = &request.privacy else { return Ok(request.clone()) };
        let n = self.released_n(request, asker, purpose)?;
        Ok(QueryRequest { privacy: Some(PrivacyAsk::Accuracy(width.clone(), n)), ..request.clone() })
    }

    /// The released count of the values that the accuracy is of: asked alone, or in the same question at another price.
    fn released_n(&self, request: &QueryRequest, asker: &Asker, purpose: &str) -> Result<Option<u64>, QueryError> {
        let plan = self.at(request, Rho::from_units(RHO_ONE), purpose)?;
        // A count or a sum has an accuracy without it.
        if plan.width(Rho::from_units(RHO_ONE), Wanted::Exact).is_some() {
            return Ok(None);
        }
        let question = Question { sql: request.sql.clone(), params: request.params.clone() };
        let Some(alone) = count_alone(&question.bind(&self.catalog)?) else { return Ok(None) };
        let params = self.params(&QueryRequest { privacy: None, ..request.clone() }, purpose)?;
        let Ok(alone) = bound(&alone, &self.catalog, &self.snapshot(), &params) else { return Ok(None) };
        let Some((what, _)) = alone.needed().pop() else { return Ok(None) };
        let keys = [alone.cache_key(), plan.cache_key()];
        let releases = self.accountant.releases().into_iter();
        let newest = releases
            .filter(|held| held.protocol == asker.protocol && keys.contains(&held.release.cache_key()))
            .max_by_key(|held| held.index);
        let least = newest.and_then(|held| {
            let draw = held.release.draws().iter().find(|draw| draw.what == what)?;
            draw.values.iter().min().copied()
        });
        Ok(least.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0))
    }
}

/// The question for the count behind the first mean, variance or deviation, and nothing else, over the same rows and keys.
fn count_alone(query: &Query) -> Option<Query> {
    let aggregate = query.private();
    let count = aggregate.aggr_expr.iter().find_map(count_of_values)?;
    let alone = Aggregate::try_new(Arc::clone(&aggregate.input), aggregate.group_expr.clone(), vec![count]).ok()?;
    let shown = noisy_in_place_of(&alone).ok()?;
    Query::new(LogicalPlan::Aggregate(alone), shown).ok()
}

/// `COUNT(x)` for the mean, the variance or the deviation of `x`, under the same filter.
fn count_of_values(expr: &Expr) -> Option<Expr> {
    let function = match expr {
        Expr::Alias(alias) => return count_of_values(&alias.expr),
        Expr::AggregateFunction(function) => function,
        _ => return None,
    };
    let spread = ["avg", "var", "var_pop", "stddev", "stddev_pop"].contains(&function.func.name());
    let x = match function.params.args.as_slice() {
        // What the function computes with; the values are counted as they are.
        [Expr::Cast(cast)] if cast.field.data_type().is_floating() => (*cast.expr).clone(),
        [x] => x.clone(),
        _ => return None,
    };
    let filter = function.params.filter.clone();
    spread.then(|| {
        Expr::AggregateFunction(AggregateFunction::new_udf(count_udaf(), vec![x], false, filter, Vec::new(), None))
    })
}
