//! The tests: many worlds, one world twice, and worlds in which something is done wrongly on purpose.
//!
//! `cargo xtask simulate` sets `LOCKSTEP_WORLDS` (how many), `LOCKSTEP_FIRST` (from which seed), `LOCKSTEP_KEEP_GOING`, or
//! `LOCKSTEP_SEED` (one again, with its whole trace).

use std::time::Instant;

use crate::settings::{Broken, Wanted};
use crate::world::run;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How much of a trace is shown.
const SHOWN: usize = 60;

fn fail(seed: u64, broken: &str) -> ! {
    let again = run(seed, Wanted::default(), true);
    let shown = if number("LOCKSTEP_SEED").is_some() { again.trace.len() } else { SHOWN };
    for line in &again.trace[again.trace.len().saturating_sub(shown)..] {
        println!("{line}");
    }
    panic!("{broken}\nseed {seed}; again, with the whole trace: cargo xtask simulate --seed {seed}");
}

/// A quarter of the worlds: four tests run side by side.
fn worlds(quarter: u64) {
    let began = Instant::now();
    let first = number("LOCKSTEP_FIRST").unwrap_or(0);
    let several = first..first + number("LOCKSTEP_WORLDS").unwrap_or(1_000);
    let seeds = number("LOCKSTEP_SEED").map_or(several, |seed| seed..seed + 1);
    let mut failed = vec![];
    let mut lived = 0.0;
    let keep_going = number("LOCKSTEP_KEEP_GOING").is_some();
    let worlds = seeds.clone().filter(|seed| seed % 4 == quarter).count();
    for seed in seeds.filter(|seed| seed % 4 == quarter) {
        let run = run(seed, Wanted::default(), false);
        lived += run.virtual_s;
        match run.verdict {
            Err(broken) if keep_going => {
                println!("{seed}: {broken}");
                failed.push(seed);
            }
            Err(broken) => fail(seed, &broken),
            Ok(()) => {}
        }
    }
    println!("{worlds} worlds, {:.0} h lived in {:.1} s", lived / 3_600.0, began.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "{} worlds failed: {failed:?}", failed.len());
}

#[test]
fn worlds_keep_what_must_hold_in_the_first_quarter() {
    worlds(0);
}

#[test]
fn worlds_keep_what_must_hold_in_the_second_quarter() {
    worlds(1);
}

#[test]
fn worlds_keep_what_must_hold_in_the_third_quarter() {
    worlds(2);
}

#[test]
fn worlds_keep_what_must_hold_in_the_last_quarter() {
    worlds(3);
}

/// How many worlds it takes at most until something that is done wrongly is noticed.
const NOTICED_WITHIN: u64 = 1_000;

/// Runs worlds until the oracle notices. How many that took, and what it said.
fn noticed(wanted: Wanted) -> Option<(u64, String)> {
    (0..NOTICED_WITHIN).find_map(|seed| run(seed, wanted, false).verdict.err().map(|broken| (seed + 1, broken)))
}

fn all_noticed<T: std::fmt::Debug>(all: impl IntoIterator<Item = (T, Wanted)>) {
    let mut unnoticed = vec![];
    for (what, wanted) in all {
        match noticed(wanted) {
            Some((worlds, broken)) => println!("{what:?}: noticed after {worlds} worlds: {broken}"),
            None => unnoticed.push(what),
        }
    }
    assert!(unnoticed.is_empty(), "nobody misses {unnoticed:?}");
}

#[test]
fn what_is_done_wrongly_is_noticed() {
    use {bus::simulation::Duty as Bus, store::simulation::Duty as Database};
    // Not among them: `Bus::Leases`. What two holders lead to the model mends, so it is not missed.
    let broken = [
        Broken::Bus(Bus::Copies),
        Broken::Bus(Bus::Redelivery),
        Broken::Bus(Bus::NewestCommand),
        Broken::Database(Database::Locks),
        Broken::Database(Database::Durability),
        Broken::Database(Database::Stamps),
        Broken::BlindSweep,
        Broken::CachedRead,
        Broken::OneIdForAll,
        Broken::UnwrittenWrite,
    ];
    all_noticed(broken.map(|broken| (broken, Wanted { broken: Some(broken), ..Wanted::default() })));
}

/// Without these an item takes another status than it should, and says why: the model's random histories judge that.
const EXPLAINED: [&str; 5] = ["late_echo", "held", "read_only_reopen", "irregular", "fast_forward"];

#[test]
#[ignore = "takes minutes; the model's random histories ask the same in seconds"]
fn leaving_a_rule_out_is_noticed() {
    let rules = model::rule_names().filter(|rule| !EXPLAINED.contains(rule));
    all_noticed(rules.map(|rule| (rule, Wanted { left_out: Some(rule), ..Wanted::default() })));
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..20 {
        let (one, other) = (run(seed, Wanted::default(), true), run(seed, Wanted::default(), true));
        let differs = one.trace.iter().zip(&other.trace).position(|(one, other)| one != other);
        if let Some(place) = differs {
            panic!("seed {seed}, line {place}:\n{}\n{}", one.trace[place], other.trace[place]);
        }
        assert_eq!((one.trace.len(), one.fingerprint), (other.trace.len(), other.fingerprint), "seed {seed}");
    }
}
