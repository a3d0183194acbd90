//! Policies and the rate window over time, by a clock that the test turns.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use epiledger_ledger::{
    Clock, Log, NoteKey, Setup, StdFs,
    entry::{AuditEntry, PolicyTerms, SnapshotPinned},
    verify::{AuditOptions, audit},
};
use epiledger_privacy::{
    accountant::{Accountant, AccountantError, ReserveError, Reserved},
    clock::Timing,
};

use sha2::{Digest, Sha256};

use crate::{
    finer::plan_under,
    setup::{asker, rules},
};

const DAY: u64 = 86_400;

/// 2026-03-01, noon, plus whatever the test adds.
struct Wall(AtomicU64);

impl Clock for Wall {
    fn now_seconds(&self) -> u64 {
        1_772_366_400 + self.0.load(Ordering::SeqCst)
    }
}

struct World {
    accountant: Arc<Accountant>,
    clock: Arc<Wall>,
    terms: PolicyTerms,
    dir: tempfile::TempDir,
}

fn opened(dir: &Path, clock: &Arc<Wall>) -> Arc<Accountant> {
    let (dir, key) = (dir.join("audit"), NoteKey::from_seed("test/audit", &[3; 32]).unwrap());
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let setup = Setup { clock, ..Setup::default() };
    let log = match dir.exists() {
        true => Log::open_with(Arc::new(StdFs), &dir, key, setup),
        false => Log::create_with(Arc::new(StdFs), &dir, "test/audit", key, setup),
    };
    Accountant::open(Arc::new(log.unwrap())).unwrap()
}

impl World {
    /// Rho 1 for a life, 0.25 for a day, a protocol and a snapshot.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(Wall(AtomicU64::new(0)));
        let accountant = opened(dir.path(), &clock);
        let [proposal, _, approval] = rules(["1", "1", "1", "0.25"], "1");
        let AuditEntry::PolicyPropose(proposal) = proposal else { unreachable!("the first rule is a proposal") };
        let world = Self { accountant, clock, terms: proposal.terms, dir };
        world.set(world.terms.clone()).unwrap();
        world.accountant.record(approval, Vec::new()).unwrap();
        let blob = vec![7; 40];
        let commit = Sha256::digest(&blob).iter().map(|byte| format!("{byte:02x}")).collect();
        let pinned = SnapshotPinned { number: 1, cut_at: "2026-03-01T03:00Z".into(), scheduled: true, commit };
        world.accountant.record(AuditEntry::Snapshot(pinned), vec![blob]).unwrap();
        world
    }

    fn set(&self, terms: PolicyTerms) -> Result<u64, AccountantError> {
        let proposal = self.accountant.propose_policy(terms, "one").unwrap();
        self.accountant.confirm_policy(proposal, "two").map(|(_, set)| set.policy)
    }

    fn at(&self, seconds: u64) {
        self.clock.0.store(seconds, Ordering::SeqCst);
    }

    /// A question of its own each time, at rho 0.05.
    fn ask(&self, policy: u64) -> Result<Reserved, ReserveError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        self.accountant
            .reserve(plan_under(policy, Some(vec![format!("place {number}")]), "0.05"), &asker(Timing::Immediate))
    }

    /// Pays, and lets the question fail; the board forgives.
    fn spend(&self, policy: u64) -> Result<(), &'static str> {
        match self.ask(policy) {
            Ok(reserved) => {
                drop(reserved);
                // Its thread writes the outcome, and then lets go of the accountant and its log.
                while !self.accountant.budget().open().is_empty() || Arc::strong_count(&self.accountant) > 1 {
                    std::thread::yield_now();
                }
                let approval = self.accountant.budget().protocols()["p"].approval.clone();
                self.accountant.record(AuditEntry::ProtocolApprove(approval), Vec::new()).unwrap();
                Ok(())
            }
            Err(ReserveError::Exhausted(level, _)) => Err(level.level),
            Err(ReserveError::Stale) => Err("stale"),
            Err(other) => unreachable!("{other}"),
        }
    }
}

#[test]
fn a_raise_is_pending_for_seven_days_of_the_logs_time_and_survives_restarts() {
    let world = World::new();
    let wider = PolicyTerms { window_rho_cap: "0.5".into(), ..world.terms.clone() };
    world.at(DAY + 17);
    assert_eq!(world.set(wider).unwrap(), 2);
    let pending = |accountant: &Accountant| {
        let (budget, time) = (accountant.budget(), accountant.log().time());
        (accountant.policy().unwrap().entry.policy, budget.pending(time).map(|p| p.entry.policy))
    };
    assert_eq!(pending(&world.accountant), (1, Some(2)));
    world.at(8 * DAY - 60);
    assert_eq!(pending(&world.accountant), (1, Some(2)));
    assert_eq!(world.spend(1), Ok(()));
    assert_eq!(world.spend(2), Err("stale"));
    // It was set in the minute of DAY + 17 s, so it is in force from DAY + 7 days on.
    world.at(8 * DAY);
    assert_eq!(pending(&world.accountant), (2, None));
    assert_eq!((world.spend(1), world.spend(2)), (Err("stale"), Ok(())));

    let World { accountant, clock, terms, dir } = world;
    drop(accountant);
    let world = World { accountant: opened(dir.path(), &clock), clock, terms, dir };
    assert_eq!(pending(&world.accountant), (2, None));
    // A lower cap binds at once, and a wall clock that goes back brings no old policy back.
    assert_eq!(world.set(PolicyTerms { window_rho_cap: "0.08".into(), ..world.terms.clone() }).unwrap(), 3);
    world.at(0);
    assert_eq!(pending(&world.accountant), (3, None));
    assert_eq!(world.spend(3), Err("window"));
    // Nobody confirms an own proposal, and one that mixes is refused.
    let own = world.accountant.propose_policy(world.terms.clone(), "one").unwrap();
    assert!(matches!(world.accountant.confirm_policy(own, "one"), Err(AccountantError::Refused { .. })));
    let mixed = PolicyTerms { window_rho_cap: "0.5".into(), rho_cap: "0.9".into(), ..world.terms.clone() };
    assert!(matches!(world.set(mixed), Err(AccountantError::Refused { what }) if what.contains("lower first")));
    world.accountant.log().flush().unwrap();
    assert_eq!(audited(&world), None);
}

#[test]
fn the_window_is_any_24_hours() {
    let world = World::new();
    // 0.25 holds five questions of a little less than 0.05.
    for minute in 0..5 {
        world.at(minute * 60);
        assert_eq!(world.spend(1), Ok(()), "{minute}");
    }
    for later in [300, DAY / 2, DAY - 1] {
        world.at(later);
        assert_eq!(world.spend(1), Err("window"), "{later}");
    }
    // The first of the five has left at a day, the second a minute later.
    world.at(DAY);
    assert_eq!((world.spend(1), world.spend(1)), (Ok(()), Err("window")));
    world.at(DAY + 60);
    assert_eq!((world.spend(1), world.spend(1)), (Ok(()), Err("window")));
    let levels = world.accountant.levels("p", "ada");
    let spent = |name: &str| levels.iter().find(|level| level.level == name).unwrap().spent.rho.units();
    assert_eq!(spent("window") * 7, spent("id_space") * 5);
    world.accountant.log().flush().unwrap();
    assert_eq!(audited(&world), None);
}

#[test]
fn no_more_questions_are_under_way_than_may_fail() {
    let world = World::new();
    let held: Vec<Reserved> = (0..3).map(|_| world.ask(1).map_err(|e| e.to_string()).unwrap()).collect();
    let size = world.accountant.log().size();
    assert!(matches!(world.ask(1), Err(ReserveError::UnderWay)));
    assert_eq!(world.accountant.log().size(), size, "it waits for a place, and writes and spends nothing");
    // All three fail: the protocol is suspended, and no fourth could have.
    drop(held);
    while !world.accountant.budget().open().is_empty() {
        std::thread::yield_now();
    }
    assert!(matches!(world.ask(1), Err(ReserveError::Protocol(why)) if why.contains("suspended")));
}

/// The auditor's fault.
fn audited(world: &World) -> Option<String> {
    audit(&world.dir.path().join("audit"), AuditOptions::default()).fault.map(|fault| fault.to_string())
}
