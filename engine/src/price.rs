//! Prices as people read and write them.

use epiledger_privacy::{
    budget::Level,
    loss::{Delta, PrivacyLoss, Rho},
    refusal::{Code, PlanError},
};

use crate::{
    api::{BudgetReport, LevelBudget, Price, Principal, PrivacyAsk, ProtocolView, QueryError, QueryRequest},
    epsilon::epsilon,
    odds::groups,
    query::Engine,
    question::refused,
    reach::shown,
};

/// A loss as a price.
#[must_use]
pub fn price(loss: PrivacyLoss, delta_rep: Delta) -> Price {
    Price { rho: loss.rho.to_string(), delta: loss.delta.to_string(), epsilon: epsilon(loss, delta_rep) }
}

/// The price of what was paid before.
#[must_use]
pub fn nothing() -> Price {
    Price { rho: "0".into(), delta: "0".into(), epsilon: 0.0 }
}

/// Reads an asked price; an accuracy or an epsilon became a rho before ([`Engine::priced`]).
///
/// # Errors
/// `BAD_PRIVACY_PARAM`.
pub fn asked(ask: &PrivacyAsk) -> Result<Rho, QueryError> {
    let bad = |what: String| refused(&PlanError::new(Code::BadPrivacyParam, what));
    match ask {
        PrivacyAsk::Epsilon(_) | PrivacyAsk::Accuracy(..) => {
            Err(bad("an epsilon or an accuracy has a price for a question alone".into()))
        }
        PrivacyAsk::Malformed => Err(QueryError::Refused {
            code: Code::BadPrivacyParam.as_str().to_owned(),
            message: "`privacy` names one price".to_owned(),
            position: None,
            hint: r#"write {"epsilon": 0.5}, {"rho": "0.001"}, {"accuracy": 20} or {"accuracy": 2, "assume_n": 500}"#
                .to_owned(),
        }),
        PrivacyAsk::Rho(text) => match Rho::parse(&plain(text)) {
            Ok(Rho::ZERO) => Err(bad("rho must be above 0".into())),
            Ok(rho) => Ok(rho),
            Err(e) => Err(bad(format!("rho: {e}"))),
        },
    }
}

/// `5e-4` as `0.0005`; anything else as it is, for the parser to judge.
fn plain(text: &str) -> String {
    match text.parse::<f64>() {
        Ok(number) if text.contains(['e', 'E']) && (1e-12..=1e6).contains(&number) => {
            let digits = format!("{number:.12}");
            digits.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => text.to_owned(),
    }
}

impl Engine {
    /// The asked price as the core takes it: an epsilon or an accuracy becomes a rho.
    pub(crate) fn priced(&self, request: &QueryRequest, purpose: &str) -> Result<QueryRequest, QueryError> {
        let rho = match &request.privacy {
            Some(PrivacyAsk::Epsilon(text)) => self.of_epsilon(request, text, purpose)?,
            Some(PrivacyAsk::Accuracy(width, assume_n)) => self.of_accuracy(request, width, *assume_n, purpose)?,
            _ => return Ok(request.clone()),
        };
        Ok(QueryRequest { privacy: Some(PrivacyAsk::Rho(rho.to_string())), ..request.clone() })
    }

    pub(crate) fn delta_rep(&self) -> Delta {
        self.accountant.policy().map_or(Delta::from_units(10_000_000_000), |policy| policy.delta_rep)
    }

    /// The levels that what is spent never comes back to: all but the rate window, which a refusal, a plan and the
    /// history show.
    fn lasting(&self, protocol: &str, principal: &str) -> Vec<Level> {
        let levels = self.accountant.levels(protocol, principal);
        levels.into_iter().filter(|level| level.level != "window").collect()
    }

    /// What is left at the tightest lasting level, rho and delta each.
    pub(crate) fn remaining(&self, protocol: &str, principal: &str) -> Price {
        let left = self
            .lasting(protocol, principal)
            .iter()
            .map(Level::remaining)
            .reduce(|a, b| PrivacyLoss::of_any(a.rho.min(b.rho), a.delta.min(b.delta)));
        price(left.unwrap_or_default(), self.delta_rep())
    }

    /// What is left of the id space, for whole lifetimes: who asks does not matter.
    pub(crate) fn left(&self) -> Rho {
        let levels = self.lasting("", "");
        levels.iter().find(|level| level.level == "id_space").map_or(Rho::ZERO, |level| level.remaining().rho)
    }

    /// The lasting levels that bind the caller. It changes when something is spent or a policy comes into force, not
    /// with the hours.
    #[must_use]
    pub fn budget(&self, who: &Principal) -> BudgetReport {
        let delta_rep = self.delta_rep();
        let mut levels: Vec<LevelBudget> = Vec::new();
        let protocols = if who.protocols.is_empty() { vec![String::new()] } else { who.protocols.clone() };
        for protocol in protocols {
            for level in self.lasting(&protocol, &who.name) {
                if !levels.iter().any(|have| have.level == level.level && have.name == level.name) {
                    levels.push(shown(level, delta_rep));
                }
            }
        }
        let remaining = who
            .protocols
            .first()
            .map_or_else(|| self.remaining("", &who.name), |protocol| self.remaining(protocol, &who.name));
        let cap = self.accountant.policy().map_or(PrivacyLoss::ZERO, |policy| policy.cap);
        // What a policy caps is the loss of one patient; a group's delta depends on the questions that are asked.
        let groups = groups(cap, delta_rep, |people| (people == 1).then_some(cap.delta));
        BudgetReport { levels, remaining, delta_rep: delta_rep.to_string(), groups }
    }

    /// Every protocol of the log.
    #[must_use]
    pub fn protocols(&self) -> Vec<ProtocolView> {
        let budget = self.accountant.budget();
        let delta_rep = self.delta_rep();
        let view = |(id, p): (&String, &epiledger_privacy::budget::Protocol)| ProtocolView {
            protocol: id.clone(),
            title: p.approval.title.clone(),
            purpose: p.approval.purpose.clone(),
            investigators: p.approval.investigators.clone(),
            valid_from: p.approval.valid_from.clone(),
            valid_to: p.approval.valid_to.clone(),
            status: if p.suspended { "suspended" } else { "approved" }.to_owned(),
            cap: price(p.cap, delta_rep),
            spent: price(p.spent, delta_rep),
        };
        budget.protocols().iter().map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scientific_numbers_are_read_as_decimals() {
        assert_eq!(plain("5e-4"), "0.0005");
        assert_eq!(plain("0.0005"), "0.0005");
        assert_eq!(plain("1e308"), "1e308");
        for bad in ["1e308", "NaN", "inf", "-1", "0x"] {
            assert!(asked(&PrivacyAsk::Rho(bad.into())).is_err(), "{bad}");
        }
    }
}
