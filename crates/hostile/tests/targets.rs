//! Every target, for a moment each: what a longer run of cargo-fuzz would go on with.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use hostile::{TARGETS, corpus, mutate};

fn number_in(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// `LOCKSTEP_FUZZ_MS` says for how long each target is tried, `LOCKSTEP_FUZZ_FROM` with which input it begins.
fn driven(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of that name");
    let seeds = corpus::of(name).expect("a corpus");
    assert!(!seeds.is_empty(), "{name} has no corpus");
    let budget = Duration::from_millis(number_in("LOCKSTEP_FUZZ_MS").unwrap_or(1_500));
    let from = number_in("LOCKSTEP_FUZZ_FROM").unwrap_or(0);
    let (began, mut slowest) = (Instant::now(), Duration::ZERO);
    let mut number = from;
    while began.elapsed() < budget || number < from + seeds.len() as u64 {
        let input = mutate::input(&seeds, number);
        let started = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
            let shown = String::from_utf8_lossy(&input[..input.len().min(2_000)]).into_owned();
            panic!("{name}: LOCKSTEP_FUZZ_FROM={number} shows it again, with {} bytes: {shown:?}", input.len());
        }
        slowest = slowest.max(started.elapsed());
        number += 1;
    }
    eprintln!("{name}: {} inputs, the slowest took {slowest:?}", number - from);
    // Of at most 64 KiB; a parser that needs longer can be made to need very long. Other work may hold this thread up.
    assert!(slowest < Duration::from_secs(10), "{name}: one input took {slowest:?}");
}

macro_rules! targets {
    ($($test:ident = $name:literal;)*) => {
        $(#[test]
        fn $test() {
            driven($name);
        })*

        #[test]
        fn every_target_is_driven() {
            let driven = [$($name),*];
            assert!(TARGETS.iter().map(|target| target.name).eq(driven));
        }
    };
}

mod fuzzed {
    use super::*;

    targets! {
        any_event_of_an_agent_is_taken_or_refused = "agent_events";
        any_configuration_is_taken_or_refused = "configuration";
        any_body_from_github_is_taken_or_refused = "github_webhook";
        any_body_from_linear_is_taken_or_refused = "linear_webhook";
        any_mapping_is_lawful_or_refused = "mappings";
        any_message_of_the_bus_is_taken_or_refused = "protobuf";
        no_header_is_a_signature = "signature";
        any_stream_of_an_agent_is_the_same_however_it_is_cut = "sse";
        any_status_is_taken_or_refused = "status";
        any_telemetry_is_taken_or_refused = "telemetry";
    }
}
