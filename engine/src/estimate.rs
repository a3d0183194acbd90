//! What a question would cost, from text and catalog, and from what was released before. Free and not logged.

use epiledger_privacy::{accountant::Asker, bound::BoundedPlan};

use crate::{
    api::{Estimate, EstimatedPrimitive, Principal, PrivacyAsk, QueryError, QueryRequest},
    odds::groups,
    price::price,
    query::Engine,
};

impl Engine {
    /// What a question would cost.
    ///
    /// # Errors
    /// The refusal it would get, or a protocol that does not allow it.
    pub fn estimate(&self, who: &Principal, request: QueryRequest) -> Result<Estimate, QueryError> {
        let (asker, plan, assumed_n) = self.planned(who, &request)?;
        let primitives = plan.draws().iter().zip(plan.needed()).map(|(draw, (what, scale))| {
            // A quantile's scale and half-width are of ranks, not of values.
            let unit = if draw.mechanism() == "noisy_max" { 1.0 } else { 10f64.powi(i32::from(scale)) };
            #[expect(clippy::cast_precision_loss, reason = "half-widths are under 2^53")]
            let half_width = Some(draw.half_width() as f64 / unit);
            EstimatedPrimitive { what, sigma: format!("{}", draw.sigma() / unit), half_width }
        });
        Ok(Estimate {
            price: price(plan.loss(), self.delta_rep()),
            primitives: primitives.collect(),
            keys: if plan.threshold().is_some() { "unknown" } else { "public" }.to_owned(),
            cells: plan.cells(),
            k_min: plan.threshold().map(|t| t.k_min),
            threshold: plan.threshold().map(|t| t.over),
            assumed_n,
            deadline_seconds: plan.deadline().as_secs_f64(),
            remaining: self.remaining(&asker.protocol, &asker.principal),
            groups: groups(plan.loss(), self.delta_rep(), |people| plan.group_delta(people)),
        })
    }

    /// The asker and the plan of a question that is not asked, and the n that its accuracy is reckoned with.
    pub(crate) fn planned(
        &self,
        who: &Principal,
        request: &QueryRequest,
    ) -> Result<(Asker, BoundedPlan, Option<u64>), QueryError> {
        let asker = self.asker(who, request)?;
        let purpose = self.accountant.permit(&asker).map_err(|e| self.not_reserved(e, None))?;
        let request = self.counted(request, &asker, &purpose)?;
        let plan = self.bounded(&self.priced(&request, &purpose)?, &purpose)?.plan;
        let assumed_n = match request.privacy {
            Some(PrivacyAsk::Accuracy(_, assume_n)) => assume_n,
            _ => None,
        };
        Ok((asker, plan, assumed_n))
    }
}
