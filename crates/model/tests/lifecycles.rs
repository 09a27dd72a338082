//! Lifecycles, names and backoff: what is taken, and what is refused with which word.

use std::time::Duration;

use model::{
    Backoff, Irregular, Key, Lane, LifecycleError, LifecycleName, Lifecycles, Native, RecordRef, Status, System,
    Timestamp, Version,
};
use proptest::prelude::*;

fn work() -> model::Lifecycle {
    Lifecycles::built_in().unwrap().get(&LifecycleName::new("work").unwrap()).unwrap().clone()
}

fn refused(text: &str) -> LifecycleError {
    Lifecycles::built_in().unwrap().add_toml(text).unwrap_err()
}

#[test]
fn the_built_in_lifecycles_are_there() {
    let all = Lifecycles::built_in().unwrap();
    let names: Vec<&str> = all.iter().map(|lifecycle| lifecycle.name().as_str()).collect();
    assert_eq!(names, ["agent", "operation", "server", "work", "workflow"]);
    let work = work();
    assert_eq!(work.status("completed").map(Status::as_str), Some("done"));
    assert!(work.status("nonsense").is_none());
    let synonyms: Vec<_> = work.synonyms().map(|(word, status)| (word.as_str(), status.as_str())).collect();
    assert_eq!(synonyms, [("cancelled", "canceled"), ("completed", "done"), ("pending", "backlog")]);
    let status = |word| Status::new(word).unwrap();
    assert!(
        work.allows(&status("todo"), &status("in_progress")) && !work.allows(&status("done"), &status("in_review"))
    );
    assert!(work.reaches(&status("done"), &status("in_review")));
    assert!(work.rank(&status("todo")) < work.rank(&status("in_review")));
}

#[test]
fn a_wrong_lifecycle_is_refused_with_its_word() {
    assert!(matches!(refused("[lifecycle.x]\nstatuses = []"), LifecycleError::Empty(_)));
    assert!(
        matches!(refused("[lifecycle.x]\nstatuses = [\"a\", \"a\"]"), LifecycleError::Twice { word, .. } if word == "a")
    );
    let synonym = "[lifecycle.x]\nstatuses = [\"a\"]\nsynonyms = { a = \"a\" }";
    assert!(matches!(refused(synonym), LifecycleError::Twice { .. }));
    for (line, wanted) in [
        ("terminal = [\"z\"]", "terminal"),
        ("initial = \"z\"", "initial"),
        ("synonyms = { y = \"z\" }", "a synonym"),
        ("transitions = { z = [\"a\"] }", "a transition's start"),
        ("transitions = { a = [\"z\"] }", "a transition's end"),
    ] {
        let error = refused(&format!("[lifecycle.x]\nstatuses = [\"a\"]\n{line}"));
        let LifecycleError::Unknown { place, word, known, .. } = error else { panic!("{error}") };
        assert_eq!((place, word.as_str(), known.as_str()), (wanted, "z", "a"));
    }
    assert!(
        matches!(refused("[lifecycle.x]\nstatuses = [\"a\"]\nfrob = 1"), LifecycleError::Shape(why) if why.contains("frob"))
    );
    assert!(matches!(refused("[lifecycle.x]\nstatuses = [\"Not A Word\"]"), LifecycleError::Shape(_)));
}

#[test]
fn irregular_steps_are_said_by_system_then_by_default() {
    let mut all = Lifecycles::built_in().unwrap();
    all.add_toml("[lifecycle.x]\nstatuses = [\"a\"]\nirregular = { default = \"hold\", github = \"reject\" }").unwrap();
    let x = all.get(&LifecycleName::new("x").unwrap()).unwrap();
    assert_eq!(x.irregular(&System::new("github").unwrap()), Irregular::Reject);
    assert_eq!(x.irregular(&System::new("linear").unwrap()), Irregular::Hold);
    assert_eq!(work().irregular(&System::new("linear").unwrap()), Irregular::Accept);
}

#[test]
fn a_bad_name_is_refused_with_the_reason() {
    for bad in ["", "Has Capital", "dot.ted", "x".repeat(41).as_str()] {
        assert!(System::new(bad).is_err(), "{bad:?}");
    }
    for bad in ["", "  ", "tab\there", "x".repeat(129).as_str()] {
        assert!(Native::new(bad).is_err(), "{bad:?}");
    }
    assert!(System::new("x".repeat(40)).is_ok() && Native::new("x".repeat(128)).is_ok(), "the longest there may be");
    assert!(Key::new("ENG-123").is_ok() && Native::new("完了").is_ok());
    for bad in ["", "github", "github/issue", "github/issue/", "Git Hub/issue/1"] {
        assert!(bad.parse::<RecordRef>().is_err(), "{bad:?}");
    }
    let error = "github/issue".parse::<RecordRef>().unwrap_err();
    assert!(error.to_string().contains("system/kind/id"), "{error}");
}

#[test]
fn names_are_written_as_they_are_read() {
    let text = "github/issue/acme/web#7";
    let record: RecordRef = text.parse().unwrap();
    assert_eq!([format!("{record}"), format!("{record:?}"), String::from(record.clone())], [text; 3]);
    assert_eq!(serde_json::to_string(&record).unwrap(), format!("{text:?}"));
    let item = record.own_item();
    assert_eq!([format!("{item}"), format!("{item:?}")], [item.0.to_string(), item.0.to_string()]);
    let conflict = model::ConflictId(item.0);
    assert_eq!([format!("{conflict}"), format!("{conflict:?}")], [item.0.to_string(), item.0.to_string()]);
    assert_eq!(Version(7).to_string(), "7");
    assert_eq!(Lane::ALL.map(Lane::as_str), ["critical", "high", "normal", "low"]);
    assert_eq!(Lane::ALL.map(|lane| Lane::named(lane.as_str())), Lane::ALL.map(Some));
    assert_eq!(Lane::named("urgent"), None);
    assert_eq!(Timestamp(5).apart_ms(Timestamp(-7)), 12);
}

#[test]
fn a_record_has_the_same_item_each_time_and_no_other_record_has_it() {
    let record = |text: &str| text.parse::<RecordRef>().unwrap();
    assert_eq!(record("github/issue/a#1").own_item(), record("github/issue/a#1").own_item());
    assert_ne!(record("github/issue/a#1").own_item(), record("github/pull_request/a#1").own_item());
}

const WORDS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Transition tables of five statuses.
fn steps() -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::vec((0..WORDS.len(), 0..WORDS.len()), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// One status reaches another exactly where a chain of steps leads there: from each status to itself, along every
    /// step, and across whatever lies between.
    #[test]
    fn a_status_reaches_what_a_chain_of_steps_leads_to(steps in steps()) {
        let next = |from: usize| {
            let to: Vec<&str> = steps.iter().filter(|(one, _)| *one == from).map(|(_, to)| WORDS[*to]).collect();
            format!("{} = {to:?}\n", WORDS[from])
        };
        let table: String = (0..WORDS.len()).map(next).collect();
        let mut all = Lifecycles::built_in().unwrap();
        all.add_toml(&format!("[lifecycle.x]\nstatuses = {WORDS:?}\n[lifecycle.x.transitions]\n{table}")).unwrap();
        let x = all.get(&LifecycleName::new("x").unwrap()).unwrap();

        let mut leads = [[false; WORDS.len()]; WORDS.len()];
        for (at, row) in leads.iter_mut().enumerate() {
            row[at] = true;
        }
        for (from, to) in &steps {
            leads[*from][*to] = true;
        }
        for (between, from, to) in (0..125).map(|number| (number / 25, number / 5 % 5, number % 5)) {
            leads[from][to] |= leads[from][between] && leads[between][to];
        }
        for (from, to) in (0..25).map(|number| (number / 5, number % 5)) {
            let reaches = x.reaches(&Status::new(WORDS[from]).unwrap(), &Status::new(WORDS[to]).unwrap());
            prop_assert_eq!(reaches, leads[from][to], "{} to {} by {:?}", WORDS[from], WORDS[to], steps);
        }
    }

    #[test]
    fn a_record_reads_back_as_it_was_written(id in "[a-zA-Z0-9/#. :=%é-]{1,60}") {
        prop_assume!(!id.trim().is_empty());
        let record: RecordRef = format!("github/issue/{id}").parse().unwrap();
        prop_assert_eq!(record.id(), id.as_str());
        prop_assert_eq!(record.to_string().parse::<RecordRef>().unwrap(), record);
    }

    #[test]
    fn a_wait_grows_is_bounded_and_never_undercuts_the_server(
        attempt in 1_u32..100, jitter in 0.0_f64..1.0, asked in prop::option::of(0_u64..200_000)
    ) {
        let backoff = Backoff::default();
        let asked = asked.map(Duration::from_millis);
        let wait = backoff.wait(attempt, asked, jitter);
        let least = backoff.wait(attempt, asked, 0.0);
        prop_assert!(wait >= asked.unwrap_or_default());
        prop_assert!(wait >= least && wait <= least.mul_f64(1.5));
        prop_assert!(backoff.wait(attempt, None, 0.0) <= Duration::from_millis(backoff.max_ms));
        prop_assert!(backoff.wait(attempt + 1, None, 0.0) >= backoff.wait(attempt, None, 0.0));
    }
}

#[test]
fn the_last_attempt_is_the_last() {
    let backoff = Backoff { attempts: 3, ..Backoff::default() };
    assert_eq!([1, 2, 3, 4].map(|attempt| backoff.is_last(attempt)), [false, false, true, true]);
}
