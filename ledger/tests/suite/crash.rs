//! Power fails, or the process is killed, after every single change of a log's life and again while it recovers.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    disk::{Disk, Op, State, Survival},
    folder::grant,
    workload::{Told, fault, live, start, with_blob},
};

/// Rounds of all five kinds of stop at each point, for a night; without, each point has two of the kinds in turn.
fn rounds() -> Option<u64> {
    std::env::var("EPILEDGER_CRASH_ROUNDS").ok().map(|rounds| rounds.parse().unwrap())
}

#[derive(Default)]
struct Tally {
    crashes: u64,
    acknowledged: u64,
}

/// The states after each number of changes.
fn states<'a>(mut state: State, trace: &'a [Op]) -> impl Iterator<Item = State> + 'a {
    let first = state.clone();
    std::iter::once(first).chain(trace.iter().map(move |op| {
        state.apply(op).unwrap();
        state.clone()
    }))
}

/// Starts from what a stop left, checks, goes on, and audits; gives what everybody knows afterwards.
fn recover(disk: &Disk, told: &Told, tally: &mut Tally) -> Told {
    if told.created.is_some() {
        assert_eq!(fault(&disk.state()), None, "what a stop leaves is no fault");
    }
    let mut told = told.clone().at_start();
    tally.crashes += 1;
    tally.acknowledged += told.acknowledged() as u64;
    let log = start(disk, &told);
    told.check(&log);
    told.opened(disk, &log);
    told.append(disk, &log, vec![grant("p", 3), with_blob(77, 90)]).unwrap();
    told.flush(disk, &log).unwrap();
    told.check(&log);
    drop(log);
    assert_eq!(fault(&disk.state()), None);
    told
}

#[test]
fn after_a_crash_at_any_point_nothing_acknowledged_is_lost_and_no_head_is_contradicted() {
    let disk = Disk::default();
    let mut told = Told::default();
    live(&disk, &mut told).unwrap();
    let trace = disk.trace();
    assert!(trace.len() > 250, "{} changes", trace.len());
    let mut tally = Tally::default();
    let mut again = 0;
    for (point, state) in states(State::default(), &trace).enumerate() {
        let told = told.until(point);
        for round in 0..rounds().unwrap_or(1) {
            let mut random = StdRng::seed_from_u64(point as u64 + round * 1_000_003);
            let survivals = [Survival::All, Survival::Nothing, Survival::Sectors, Survival::Prefix];
            let mut stopped: Vec<State> =
                survivals.iter().map(|survival| state.crash(*survival, &mut random)).collect();
            // A kill keeps what is seen, and of that some is still not durable.
            stopped.push(state.clone());
            if rounds().is_none() {
                stopped.rotate_left(point * 2 % 5);
                stopped.truncate(2);
            }
            for state in stopped {
                let disk = Disk::of(state.clone());
                let recovered = recover(&disk, &told, &mut tally);
                // The power fails while it recovers, or soon after.
                let trace = disk.trace();
                let second = random.random_range(0..=trace.len());
                let state = states(state, &trace).nth(second).unwrap();
                let survival = survivals[random.random_range(0..survivals.len())];
                let disk = Disk::of(state.crash(survival, &mut random));
                recover(&disk, &recovered.until(second), &mut tally);
                again += 1;
            }
        }
    }
    println!(
        "shown: crash points tried {}, crashes {} ({again} of them during or after a recovery), acknowledged entries lost: 0 of {}",
        trace.len() + 1,
        tally.crashes,
        tally.acknowledged
    );
}
