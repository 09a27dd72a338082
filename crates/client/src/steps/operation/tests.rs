use proptest::prelude::*;
use serde_json::json;

use super::*;

fn execute() -> Transition {
    Transition::Execute("Doing it".into())
}

fn fail() -> Transition {
    Transition::Fail("broke".into())
}

#[test]
fn a_step_goes_only_where_it_may() {
    let mut operation = Operation::new("o");
    let refused = |operation: &mut Operation, transition| operation.apply("s", transition, None, 0).is_err();
    assert!(refused(&mut operation, Transition::Complete), "pending → completed");
    assert!(refused(&mut operation, Transition::Reset), "nobody named it");
    assert_eq!(operation.state("s"), None, "what is refused leaves nothing behind");
    assert!(!refused(&mut operation, execute()), "pending → executing");
    assert!(refused(&mut operation, execute()), "executing → executing");
    assert!(!refused(&mut operation, Transition::Complete), "executing → completed");
    for transition in [execute(), Transition::Complete, fail()] {
        assert!(refused(&mut operation, transition), "completed → anything but reset");
    }
    assert!(!refused(&mut operation, Transition::Reset), "completed → reset");
    assert!(!refused(&mut operation, fail()), "pending → failed");
    for transition in [execute(), Transition::Complete, fail()] {
        assert!(refused(&mut operation, transition), "failed → anything but reset");
    }
    assert!(!refused(&mut operation, Transition::Reset), "failed → reset");
    assert!(!refused(&mut operation, execute()) && !refused(&mut operation, fail()), "executing → failed");
}

#[test]
fn a_refusal_says_where_the_step_is_and_where_it_would_go() {
    let mut operation = Operation::new("o");
    let error = operation.apply("fetch", Transition::Complete, None, 0).unwrap_err();
    assert_eq!(error.to_string(), "the step \"fetch\" is pending and cannot be completed; reset it first, or begin it");
}

#[test]
fn an_update_tells_the_step_with_its_own_sentence_its_data_and_the_progress() {
    let mut operation = Operation::new("import").with_agent("a");
    operation.plan(["fetch", "store"]);
    let description = Transition::Execute(Description::api_call("GET /things"));
    let began = operation.apply("fetch", description, Some(json!({"page": 1})), 5).unwrap();
    assert_eq!((began.operation.as_str(), began.agent.as_str(), began.at), ("import", "a", 5));
    assert_eq!((began.state.as_str(), began.description.as_str()), ("executing", "Calling GET /things"));
    assert_eq!((began.data.as_str(), began.progress), ("{\"page\":1}", 0.0));
    let done = operation.apply("fetch", Transition::Complete, None, 6).unwrap();
    assert_eq!((done.state.as_str(), done.description.as_str()), ("completed", "Called GET /things"));
    assert_eq!((done.data.as_str(), done.progress), ("{\"page\":1}", 0.5));
    let failed = operation.apply("store", fail(), None, 7).unwrap();
    assert_eq!((failed.state.as_str(), failed.error.as_str(), failed.progress), ("failed", "broke", 0.5));
    let reset = operation.apply("fetch", Transition::Reset, None, 8).unwrap();
    assert_eq!((reset.state.as_str(), reset.data.as_str(), reset.progress), ("reset", "", 0.0));
}

#[test]
fn progress_is_known_only_where_the_total_is() {
    let mut operation = Operation::new("o");
    operation.apply("a", execute(), None, 0).unwrap();
    assert_eq!(operation.progress(), None);
    let mut operation = Operation::new("o").with_total(4);
    for step in ["a", "b"] {
        operation.apply(step, execute(), None, 0).unwrap();
        operation.apply(step, Transition::Complete, None, 0).unwrap();
    }
    assert_eq!(operation.progress(), Some(0.5));
    operation.plan(["a", "b", "c", "d", "e"]);
    assert_eq!(operation.progress(), Some(0.4), "there are more than were announced");
}

#[test]
fn the_history_keeps_the_newest_updates_and_no_more() {
    let mut operation = Operation::new("o");
    for number in 0..150 {
        operation.apply(&number.to_string(), execute(), None, number).unwrap();
    }
    let kept: Vec<i64> = operation.history().map(|update| update.at).collect();
    assert_eq!(kept, (50..150).collect::<Vec<_>>());
    let mut short = Operation::new("o").with_history_limit(0);
    short.apply("a", execute(), None, 0).unwrap();
    assert_eq!(short.history().count(), 0);
    let mut long = Operation::new("o").with_history_limit(120);
    for number in 0..150 {
        long.apply(&number.to_string(), execute(), None, number).unwrap();
    }
    assert_eq!((long.history().count(), long.history().next().unwrap().at), (120, 30));
}

#[test]
fn a_summary_has_the_steps_that_were_announced_and_not_named() {
    let mut operation = Operation::new("o").with_total(4);
    operation.apply("a", execute(), None, 0).unwrap();
    let summary = operation.summary();
    assert_eq!((summary.total, summary.pending, summary.executing), (4, 3, 1));
    operation.plan(["a", "b", "c", "d", "e"]);
    let summary = operation.summary();
    assert_eq!((summary.total, summary.pending, summary.executing), (5, 4, 1), "there are more than were announced");
}

#[test]
fn a_summary_counts_steps_and_not_updates() {
    let mut operation = Operation::new("o");
    for (step, took) in [("a", 10), ("b", 20), ("c", 60)] {
        for _ in 0..3 {
            operation.apply(step, execute(), None, 100).unwrap();
            operation.apply(step, Transition::Complete, None, 100 + took).unwrap();
            operation.apply(step, Transition::Reset, None, 200).unwrap();
        }
        operation.apply(step, execute(), None, 100).unwrap();
        operation.apply(step, Transition::Complete, None, 100 + took).unwrap();
    }
    operation.apply("d", fail(), None, 0).unwrap();
    operation.apply("e", execute(), None, 0).unwrap();
    operation.plan(["f"]);
    let summary = operation.summary();
    assert_eq!((summary.total, summary.pending, summary.executing), (6, 1, 1));
    assert_eq!((summary.completed, summary.failed), (3, 1));
    assert_eq!((summary.success_rate, summary.failure_rate, summary.progress), (0.75, 0.25, Some(0.5)));
    let durations = summary.durations.unwrap();
    assert_eq!((durations.min_ms, durations.max_ms, durations.p95_ms), (10, 60, 60));
    assert!((durations.mean_ms - 30.0).abs() < 1e-9);
}

#[test]
fn a_clock_that_is_set_back_makes_no_time_negative() {
    let mut operation = Operation::new("o");
    operation.apply("a", execute(), None, 1_000).unwrap();
    operation.apply("a", Transition::Complete, None, 400).unwrap();
    assert_eq!(operation.summary().durations.unwrap().max_ms, 0);
}

#[test]
fn an_operation_of_endless_steps_keeps_its_counts_and_forgets_the_steps() {
    let mut operation = Operation::new("o").with_total(100).with_steps_max(10);
    operation.apply("goes on", execute(), None, 0).unwrap();
    for number in 0..100 {
        let step = number.to_string();
        operation.apply(&step, execute(), None, 0).unwrap();
        let end = if number % 4 == 0 { fail() } else { Transition::Complete };
        operation.apply(&step, end, None, 1).unwrap();
    }
    let Summary { total, pending, executing, completed, failed, progress, .. } = operation.summary();
    assert_eq!((total, pending, executing, completed, failed), (101, 0, 1, 75, 25));
    assert_eq!((progress, operation.progress()), (Some(75.0 / 101.0), Some(75.0 / 101.0)));
    let remembered = |step: &str| operation.state(step).is_some();
    assert_eq!(["goes on", "0", "90", "91", "99"].map(remembered), [true, false, false, true, true]);
}

#[test]
fn what_was_planned_is_not_forgotten_before_it_ends() {
    let mut operation = Operation::new("o").with_steps_max(2);
    operation.plan(["a", "b", "c"]);
    operation.apply("c", execute(), None, 0).unwrap();
    assert_eq!(operation.summary().total, 3);
    let ended = operation.apply("c", Transition::Complete, None, 1).unwrap();
    assert_eq!((ended.state.as_str(), ended.progress, operation.state("c")), ("completed", 1.0 / 3.0, None));
    assert_eq!((operation.summary().total, operation.summary().pending), (3, 2));
}

#[test]
fn what_is_too_long_to_be_told_is_cut_and_what_is_too_large_is_told_by_its_size() {
    let mut operation = Operation::new("o");
    let failed = operation.apply("a", Transition::Fail("é".repeat(TEXT_MAX)), None, 0).unwrap();
    assert!(failed.error.len() <= TEXT_MAX && failed.error.ends_with("é…"), "{}", failed.error.len());
    let begun = operation.apply("b", execute(), Some(json!({ "rows": "r".repeat(20_000) })), 0).unwrap();
    assert_eq!(begun.data, r#"{"tooLarge":20011}"#, "as the page's tracker says it");
    let whole = Value::String("x".repeat(DATA_MAX - 2));
    assert_eq!(operation.apply("c", execute(), Some(whole.clone()), 0).unwrap().data, whole.to_string());
}

fn transition() -> impl Strategy<Value = Transition> {
    prop_oneof![Just(execute()), Just(Transition::Complete), Just(fail()), Just(Transition::Reset)]
}

proptest! {
    /// Against the table written down a second time.
    #[test]
    fn whatever_happens_every_step_is_where_the_table_says(
        happens in prop::collection::vec((0..3_usize, transition()), 0..60),
    ) {
        let mut operation = Operation::new("o").with_total(3);
        let mut reference: [Option<State>; 3] = [None; 3];
        for (at, (step, transition)) in (0..).zip(happens) {
            let to = match (reference[step], &transition) {
                (None | Some(State::Pending), Transition::Execute(_)) => Some(State::Executing),
                (Some(State::Executing), Transition::Complete) => Some(State::Completed),
                (None | Some(State::Pending | State::Executing), Transition::Fail(_)) => Some(State::Failed),
                (Some(_), Transition::Reset) => Some(State::Pending),
                _ => None,
            };
            let applied = operation.apply(&step.to_string(), transition, None, at);
            prop_assert_eq!(applied.is_ok(), to.is_some());
            reference[step] = to.or(reference[step]);
        }
        for (step, state) in reference.iter().enumerate() {
            prop_assert_eq!(operation.state(&step.to_string()), *state);
        }
        let completed = reference.iter().filter(|state| **state == Some(State::Completed)).count();
        prop_assert_eq!(operation.summary().completed, completed);
    }
}
