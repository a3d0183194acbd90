//! Those who share what they learn share one budget, and a failure is no free answer.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use epiledger_ledger::entry::{AuditEntry, AuditLogEntry, ProtocolApprove, parse_audit_entry};
use epiledger_privacy::{
    accountant::{Asker, ReserveError},
    clock::Timing,
    release::{Executor, Failed, RawBatches, release},
};

use crate::{
    finer::{Still, plan_under},
    setup::{Bench, asker, rules},
};

/// What a value that no arithmetic can handle would do, were functions not total.
struct Fails;

impl Executor for Fails {
    async fn execute(&self, _: Arc<dyn ExecutionPlan>, _: usize) -> Result<RawBatches, Failed> {
        Err(Failed)
    }
}

/// Ten names under ten protocols, each within its own caps, get together what one would: the id space's cap.
#[test]
fn colluding_askers_share_one_lifetime_cap() {
    let bench = Bench::with(rules(["0.05", "10", "10", "10"], "1"));
    let [_, _, AuditEntry::ProtocolApprove(approval)] = rules(["0.05", "10", "10", "10"], "1") else {
        unreachable!("the third rule is the approval")
    };
    let (mut answered, mut refused) = (0, 0);
    for number in 0..10 {
        let (principal, protocol) = (format!("asker {number}"), format!("protocol {number}"));
        let approval =
            ProtocolApprove { protocol: protocol.clone(), investigators: vec![principal.clone()], ..approval.clone() };
        bench.accountant.record(AuditEntry::ProtocolApprove(approval), Vec::new()).unwrap();
        let who = Asker { principal, protocol, key_id: format!("key {number}"), ..asker(Timing::Immediate) };
        let places = Some(vec![format!("place {number}")]);
        match bench.accountant.reserve(plan_under(1, places, "0.01"), &who) {
            Ok(_) => answered += 1,
            Err(ReserveError::Exhausted(level, _)) => {
                assert_eq!(level.level, "id_space");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((answered, refused), (5, 5));
}

/// A question that fails is charged before it runs, and again when it is asked again: running it until it does not
/// fail, or because it fails, is never free.
#[tokio::test]
async fn a_failed_question_asked_again_is_charged_again() {
    let bench = Bench::new("10");
    for times in 1..=3 {
        let plan = plan_under(1, Some(vec!["north".into()]), "0.01");
        let reserved = bench.accountant.reserve(plan.clone(), &asker(Timing::Immediate)).unwrap();
        assert!(release(reserved, &Fails, &Still, Timing::Immediate).await.is_err());
        assert!(bench.accountant.cached(&plan).is_none(), "a failure is no answer");
        let log = bench.accountant.log();
        let intents = (0..log.size())
            .filter(|index| {
                let entry = parse_audit_entry(&log.read(*index).unwrap()).unwrap();
                matches!(entry, AuditLogEntry::Entry(AuditEntry::QueryIntent(intent)) if intent.rho != "0")
            })
            .count();
        assert_eq!(intents, times);
    }
}
