//! Random histories of whole worlds, each on a seed, judged by an oracle.
//!
//! `LOCKSTEP_HISTORIES=<n>` runs more of them, `LOCKSTEP_SEED=<seed>` one again with its whole trace.

use std::collections::HashSet;
use std::time::Instant;

mod bus;
mod connector;
mod oracle;
mod remote;
mod rng;
mod settings;
mod store;
mod table;
mod world;

use settings::Wanted;
use world::World;

/// The histories of a normal run.
const HISTORIES: u64 = 10_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs one history; the edits in it, or what did not hold.
fn history(seed: u64, wanted: Wanted) -> Result<World, Box<(World, String)>> {
    let mut world = World::new(seed, wanted);
    match world.run() {
        Ok(()) => Ok(world),
        Err(broken) => Err(Box::new((world, broken))),
    }
}

fn fail(test: &str, seed: u64, wanted: Wanted, broken: &str) -> ! {
    let again = history(seed, Wanted { trace: true, ..wanted });
    let world = again.unwrap_or_else(|failed| failed.0);
    let shown = if number("LOCKSTEP_SEED").is_some() { world.trace.len() } else { 60 };
    let last = world.trace.len().saturating_sub(shown);
    for line in &world.trace[last..] {
        println!("{line}");
    }
    panic!(
        "{broken}\nseed {seed}; again: LOCKSTEP_SEED={seed} cargo nextest run -p model --test all {test} --no-capture"
    );
}

fn run(test: &str, wanted: Wanted) {
    let start = Instant::now();
    let seeds = match number("LOCKSTEP_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LOCKSTEP_HISTORIES").unwrap_or(HISTORIES),
    };
    let (mut edits, mut messages, mut conflicts, mut absorbed, mut mistaken) = (0, 0, 0, 0, 0);
    let histories = seeds.end - seeds.start;
    for seed in seeds {
        match history(seed, wanted) {
            Ok(world) => {
                edits += world.edits;
                messages += world.committed.len();
                conflicts += world.store.conflicts.len();
                absorbed += world.oracle.absorbed;
                mistaken += world.oracle.mistaken;
            }
            Err(failed) => fail(test, seed, wanted, &failed.1),
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{histories} histories, {edits} edits, {messages} messages, {conflicts} conflicts, {absorbed} absorbed, {mistaken} mistaken, {seconds:.1} s"
    );
}

/// Each rule left out in turn: the oracle must notice, or the rule is not tested.
#[test]
fn leaving_any_rule_out_is_noticed() {
    let limit = number("LOCKSTEP_HISTORIES").unwrap_or(HISTORIES);
    let mut unnoticed = vec![];
    let rules: Vec<_> = model::rule_names().collect();
    assert_eq!(
        (rules.first(), rules.last()),
        (Some(&"redelivered"), Some(&"conflict")),
        "none is left out of the test"
    );
    for rule in rules {
        // Calm and wild histories in turn: some rules are only missed where nothing else happens.
        let noticed = (0..limit).find_map(|seed| {
            let wanted = Wanted { calm: seed % 4 == 3, left_out: Some(rule), ..Wanted::default() };
            history(seed, wanted).err().map(|failed| (seed + 1, failed.1))
        });
        match noticed {
            Some((histories, broken)) => println!("without {rule}: noticed after {histories} histories: {broken}"),
            None => unnoticed.push(rule),
        }
    }
    assert!(unnoticed.is_empty(), "nothing in {limit} histories depends on {unnoticed:?}");
}

#[test]
fn random_histories_keep_what_must_hold() {
    run("random_histories_keep_what_must_hold", Wanted::default());
}

#[test]
fn edits_that_do_not_overlap_never_conflict() {
    run("edits_that_do_not_overlap_never_conflict", Wanted { calm: true, ..Wanted::default() });
}

/// What failed by its seed can be looked into only if the seed leads to the same again.
#[test]
fn a_seed_replays_its_history() {
    let told = |seed: u64| {
        let wanted = Wanted { calm: seed % 4 == 3, trace: true, ..Wanted::default() };
        let (world, broken) = match history(seed, wanted) {
            Ok(world) => (world, None),
            Err(failed) => (failed.0, Some(failed.1)),
        };
        (world.trace, broken)
    };
    let all: Vec<_> = (0..20).map(|seed| (seed, told(seed))).collect();
    for (seed, first) in &all {
        assert!(first.0.len() > 10, "seed {seed} tells nothing");
        assert_eq!(told(*seed), *first, "seed {seed}");
    }
    let different: HashSet<_> = all.iter().map(|(_, first)| &first.0).collect();
    assert_eq!(different.len(), all.len(), "each seed has a history of its own");
}
