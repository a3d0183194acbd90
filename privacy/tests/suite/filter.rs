//! Oracle 5: the fold over the audit log refuses exactly where OpenDP's own zCDP filter does.
//!
//! OpenDP's side is `make_privacy_filter` over `make_fully_adaptive_composition`, asked with real discrete
//! Gaussians. Charges and caps are whole multiples of 1/512, so that no rounding can decide: such a number is a
//! sum of 1/2, 1/8, 1/32, 1/128 and 1/512, the exact prices of sigma 1, 2, 4, 8 and 16; every sum here has far
//! fewer than 53 bits, so a float holds it; and it has 9 decimals, so the log's 12 hold it.

use epiledger_ledger::entry::{
    AuditEntry, ProtocolApprove, QueryIntent, QueryOutcome,
    query::{Bounds, Outcome},
};
use epiledger_privacy::{budget::Budget, loss::Rho};
use opendp::{
    combinators::{make_composition, make_fully_adaptive_composition, make_privacy_filter},
    core::Measurement,
    domains::AtomDomain,
    measurements::make_gaussian,
    measures::ZeroConcentratedDivergence,
    metrics::AbsoluteDistance,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::setup::rules;

/// Steps of the grid in rho 1.
const STEPS: u64 = 512;

/// A cap that never binds.
const WIDE: u64 = 1_000 * STEPS;

/// Id space, protocol, principal, rate window.
const LEVELS: usize = 4;

type Question<T> = Measurement<AtomDomain<i64>, AbsoluteDistance<i64>, ZeroConcentratedDivergence, T>;

fn as_float(steps: u64) -> f64 {
    f64::from(u32::try_from(steps).unwrap()) / f64::from(u32::try_from(STEPS).unwrap())
}

fn as_decimal(steps: u64) -> String {
    Rho::from_units(u128::from(steps) * 1_000_000_000_000 / u128::from(STEPS)).to_string()
}

/// Discrete Gaussians that cost exactly `steps` together: its digits to base 4.
fn question(steps: u64) -> Question<Vec<i64>> {
    let mut draws: Vec<Question<i64>> = Vec::new();
    let mut left = steps;
    for (price, sigma) in [(256, 1.0), (64, 2.0), (16, 4.0), (4, 8.0), (1, 16.0)] {
        while left >= price {
            draws.push(make_gaussian(AtomDomain::default(), AbsoluteDistance::default(), sigma, None).unwrap());
            left -= price;
        }
    }
    make_composition(draws).unwrap()
}

/// How many charges OpenDP's filter takes before it first refuses.
fn opendp_accepts(cap: u64, charges: &[u64]) -> usize {
    let composed = make_fully_adaptive_composition(
        AtomDomain::<i64>::default(),
        AbsoluteDistance::<i64>::default(),
        ZeroConcentratedDivergence,
    )
    .unwrap();
    let mut filter = make_privacy_filter(composed, 1, as_float(cap)).unwrap().invoke(&0).unwrap();
    let mut spent = 0;
    for (position, charge) in charges.iter().enumerate() {
        let question = question(*charge);
        assert_eq!(question.map(&1).unwrap().to_bits(), as_float(*charge).to_bits(), "OpenDP's price is exact");
        if filter.invoke(question).is_err() {
            return position;
        }
        spent += charge;
        assert_eq!(filter.privacy_loss(1).unwrap().to_bits(), as_float(spent).to_bits(), "OpenDP's sum is exact");
    }
    charges.len()
}

fn intent(budget: &Budget, query_id: &str, charge: u64) -> AuditEntry {
    let text = |t: &str| t.to_owned();
    AuditEntry::QueryIntent(QueryIntent {
        query_id: text(query_id),
        principal: text("ada"),
        key_id: text("k"),
        role: text("researcher"),
        protocol: text("p"),
        purpose: text("HMB"),
        id_space: text("world"),
        sql_commit: "0".repeat(64),
        plan_commit: "0".repeat(64),
        build: "0".repeat(64),
        snapshot: 1,
        timing: text("classes"),
        time: 0,
        finer: None,
        series: None,
        primitives: Vec::new(),
        rho: as_decimal(charge),
        delta: text("0"),
        state: budget.state(),
        bounds: Bounds { rows: 1, groups: 1, scan_rows: 1, k_min: None },
        policy: 1,
        idempotency: None,
        request_commit: None,
    })
}

/// A budget whose `level` (id space, protocol, principal, window) has `cap` while the others never bind.
fn budget(level: usize, cap: u64) -> Budget {
    let cap_of = |this: usize| as_decimal(if this == level { cap } else { WIDE });
    let caps = [0, 1, 2, 3].map(cap_of);
    let mut budget = Budget::default();
    for (index, entry) in (0..).zip(rules(caps.each_ref().map(String::as_str), "0")) {
        budget.apply(index, &entry).unwrap();
    }
    budget
}

/// The protocol approved again with the same cap.
fn approval(approval: &ProtocolApprove) -> AuditEntry {
    AuditEntry::ProtocolApprove(approval.clone())
}

/// How many charges the fold takes before it first refuses. How a question ends (`None`: not yet) changes nothing;
/// after three that did not end well the board approves the protocol again, which gives no new cap.
fn fold_accepts(level: usize, cap: u64, charges: &[u64], endings: &[Option<Outcome>]) -> usize {
    let mut budget = budget(level, cap);
    let (mut spent, mut index, mut open) = (0, 3, Vec::new());
    let end = |budget: &mut Budget, index: &mut u64, (query_id, intent): (String, u64), outcome| {
        let ended = QueryOutcome { query_id, intent, outcome, result_commit: None };
        budget.apply(*index, &AuditEntry::QueryOutcome(ended)).unwrap();
        *index += 1;
    };
    for (position, (charge, ending)) in charges.iter().zip(endings).enumerate() {
        let protocol = &budget.protocols()["p"];
        if protocol.full() {
            let again = approval(&protocol.approval);
            budget.apply(index, &again).unwrap();
            index += 1;
        }
        if open.len() == 2 {
            end(&mut budget, &mut index, open.remove(0), Outcome::Answered);
        }
        let query_id = format!("{position:032x}");
        if let Err(refused) = budget.apply(index, &intent(&budget, &query_id, *charge)) {
            assert_eq!((refused.index, refused.what), (index, "an intent past a cap"));
            assert_eq!(budget.state().rho, as_decimal(spent), "a refusal spends nothing");
            return position;
        }
        spent += charge;
        let asked = (query_id, index);
        index += 1;
        match *ending {
            Some(outcome) => end(&mut budget, &mut index, asked, outcome),
            None => open.push(asked),
        }
        assert_eq!(budget.state().rho, as_decimal(spent));
    }
    charges.len()
}

#[test]
fn the_accountant_refuses_exactly_where_opendps_filter_does() {
    let mut rng = StdRng::seed_from_u64(5);
    let (mut refused, mut reached) = (0, 0);
    for round in 0..1_000 {
        let charges: Vec<u64> = (0..rng.random_range(1..12)).map(|_| rng.random_range(1..1_024)).collect();
        let ending = |n: u32| match n {
            0 => None,
            1 => Some(Outcome::Answered),
            2 => Some(Outcome::Failed),
            _ => Some(Outcome::Abandoned),
        };
        let endings: Vec<Option<Outcome>> = charges.iter().map(|_| ending(rng.random_range(0..4))).collect();
        // Half of the caps lie within a step of a partial sum, where < and <= differ.
        let sum: u64 = charges.iter().take(rng.random_range(1..=charges.len())).sum();
        let cap = if rng.random() { sum + rng.random_range(0..3) - 1 } else { rng.random_range(1..6_000) };
        let cap = cap.max(1);
        let level = round % LEVELS;

        let opendp = opendp_accepts(cap, &charges);
        let ours = fold_accepts(level, cap, &charges, &endings);
        assert_eq!(ours, opendp, "level {level}, cap {cap}, charges {charges:?} (of {STEPS})");

        reached += usize::from(charges.iter().take(ours).sum::<u64>() == cap);
        // Broken on purpose: with a cap that is one charge larger the same comparison must fail.
        if let Some(charge) = charges.get(opendp) {
            refused += 1;
            let broken = fold_accepts(level, cap + charge, &charges, &endings);
            assert!(broken > opendp, "level {level}, cap {cap}, charges {charges:?}: the larger cap went unseen");
        }
    }
    println!("of 1,000 sequences {refused} were refused, {reached} spent their cap to the last step");
    assert!(refused > 250 && reached > 50, "too few hard cases: {refused} refused, {reached} to the last step");
}
