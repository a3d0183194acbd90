//! What linked patients lose together: with unknown keys, delta is that of all of them in all of their groups, past a
//! threshold that they lower by all of them but one.

use epiledger_privacy::loss::{DELTA_ONE, Delta};

use crate::{statistics::world_plan, world};

/// P[noise > t] of a continuous Gaussian, summed in small steps: what a discrete one stays below.
fn tail(sigma: f64, t: u64) -> f64 {
    let (from, step) = (t as f64 / sigma, 1e-4);
    let density = |x: f64| (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    (0..100_000).map(|at| step * density(from + step * (f64::from(at) + 0.5))).sum()
}

#[test]
fn a_households_delta_is_that_of_its_members_together() {
    let dir = tempfile::tempdir().unwrap();
    let patients = world::patients(&mut world::rng(5), 20, 5);
    let plan = world_plan(dir.path(), "SELECT kind, COUNT(*) AS n FROM visit GROUP BY kind", &patients, "0.2");
    let (rule, groups) = (plan.threshold().unwrap(), plan.bounds().groups);
    let (t, sigma) = (rule.over - rule.k_min, plan.draws()[0].sigma());
    assert_eq!(groups, 2, "each member may be in two");
    assert_eq!(plan.group_delta(1), Some(plan.loss().delta), "one patient's is what is charged");
    for people in 1..=t {
        let told = plan.group_delta(people).unwrap().units() as f64 / DELTA_ONE as f64;
        let summed = ((people * groups) as f64 * tail(sigma, t + 1 - people)).min(1.0);
        assert!(told >= summed * (1.0 - 1e-6) && told <= summed * 1.001 + 1e-17, "{people}: {told:e} for {summed:e}");
    }
    // So many fill a key above the threshold by themselves.
    assert_eq!(plan.group_delta(t + 1), Some(Delta::from_units(DELTA_ONE)));
    assert_eq!(plan.group_delta(u64::MAX), Some(Delta::from_units(DELTA_ONE)));
    let public = world_plan(dir.path(), "SELECT county, COUNT(*) AS n FROM person GROUP BY county", &patients, "0.2");
    assert_eq!(public.group_delta(4), Some(Delta::ZERO), "no key depends on anyone");
}
