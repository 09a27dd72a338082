//! What counts as drift, by example.

use model::{Native, Origin, Source, Strategy, is_drift};

use crate::scene::{Scene, policy, seen};

const ISSUE: &str = "linear/issue/a";
const BUG: &str = "github/issue/acme/web#1";
const TASK: &str = "postgres/task/1";

fn three() -> Scene {
    Scene::new(policy(), &[(ISSUE, "Todo"), (BUG, "open"), (TASK, "todo")])
}

/// Whether a sweep that sees this finds drift.
fn drifted(scene: &mut Scene, record: &str, native: &str, at: u64) -> bool {
    let mut swept = seen(record, native, at, Origin::Unknown, i64::try_from(at).unwrap());
    swept.source = Source::Sweep;
    let shadow: Native = scene.group.link(&swept.record).unwrap().native.clone();
    scene.see(&swept);
    is_drift(&shadow, &swept, scene.last.as_ref().unwrap())
}

#[test]
fn an_edit_that_only_a_sweep_saw_is_drift_and_counts_once() {
    let mut scene = three();
    assert!(drifted(&mut scene, ISSUE, "Done", 10));
    scene.carry_out_all(11);
    assert!(!drifted(&mut scene, ISSUE, "Done", 10), "the next sweep sees it again");
}

#[test]
fn what_was_told_before_is_no_drift() {
    let mut scene = three();
    scene.edit(ISSUE, "Done", 10);
    assert!(!drifted(&mut scene, ISSUE, "Done", 10), "a webhook was there first");
    assert!(!drifted(&mut scene, ISSUE, "Todo", 2), "an old page");
    scene.carry_out_all(11);
    for (record, native) in [(BUG, "closed/completed"), (TASK, "done")] {
        assert!(!drifted(&mut scene, record, native, 11), "our own write");
    }
}

#[test]
fn our_own_write_that_is_not_reported_yet_is_no_drift() {
    let mut scene = three();
    scene.edit(ISSUE, "Done", 10);
    assert!(!drifted(&mut scene, TASK, "done", 11));
    scene.edit(ISSUE, "Canceled", 12);
    assert!(!drifted(&mut scene, BUG, "closed/completed", 13), "and seen late");
}

#[test]
fn every_edit_that_does_not_simply_win_is_drift_all_the_same() {
    let mut scene = three();
    scene.edit(TASK, "done", 10);
    assert!(drifted(&mut scene, ISSUE, "Canceled", 10), "the losing side of a conflict");
    assert!(drifted(&mut scene, ISSUE, "Somewhere", 20), "a status that no mapping knows");
    assert!(!drifted(&mut scene, ISSUE, "Somewhere", 20), "and once");

    let mut policy = policy();
    policy.strategy = Strategy::Manual;
    let mut scene = Scene::new(policy, &[(ISSUE, "Todo"), (BUG, "open"), (TASK, "todo")]);
    scene.edit(TASK, "done", 10);
    assert!(drifted(&mut scene, ISSUE, "Canceled", 10), "a conflict that waits for a person");
    assert!(drifted(&mut scene, BUG, "closed/not_planned", 10), "a candidate more");
    assert!(!drifted(&mut scene, BUG, "closed/not_planned", 10), "and once");
}
