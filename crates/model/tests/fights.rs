//! Automations that fight, and what tells them from people at work.

use model::Verdict::{FastForward, FlipFlop};
use model::{Actor, Candidate, Conflict, Intent, Native, Origin, Verdict};

use crate::scene::{Scene, policy, rejecting, seen, status};

const ISSUE: &str = "linear/issue/a";
const TASK: &str = "postgres/task/1";

fn program(name: &str) -> Actor {
    Actor { name: name.to_owned(), id: None, automation: true }
}

fn person(name: &str) -> Actor {
    Actor { name: name.to_owned(), id: None, automation: false }
}

fn scene() -> Scene {
    Scene::new(policy(), &[(ISSUE, "In Review"), (TASK, "in_review")])
}

/// One edit by somebody, after which every system follows.
fn edit(scene: &mut Scene, record: &str, native: &str, at: u64, by: Option<&Actor>) -> Verdict {
    let mut edit = seen(record, native, at, Origin::Other, i64::try_from(at).unwrap());
    edit.actor = by.cloned();
    let verdict = scene.see(&edit);
    scene.carry_out_all(at + 1);
    verdict
}

/// Linear's automation and the table's in turn, each having seen what the other did.
fn in_turn(scene: &mut Scene, rounds: u64, linear: Option<&Actor>, table: Option<&Actor>) -> Vec<Verdict> {
    let mut verdicts = vec![];
    for round in 0..rounds {
        let at = 100 + round * 20;
        verdicts.push(edit(scene, ISSUE, "In Progress", at, linear));
        verdicts.push(edit(scene, TASK, "in_review", at + 10, table));
    }
    verdicts
}

#[test]
fn two_automations_that_take_each_other_back_in_turn_hold_the_item_and_both_are_named() {
    for (linear, table) in [(program("github"), Some(program("nightly"))), (program("github"), None)] {
        let mut scene = scene();
        let verdicts = in_turn(&mut scene, 2, Some(&linear), table.as_ref());
        assert_eq!(verdicts, [FastForward, FastForward, FastForward, FlipFlop], "no edit was a conflict");
        let conflict = scene.group.conflict.clone().unwrap();
        assert!(conflict.escalated && scene.group.item.held == Some(conflict.id));
        let sides: Vec<_> =
            conflict.candidates.iter().map(|side| (side.record.to_string(), side.actor.clone())).collect();
        assert_eq!(sides, [(ISSUE.to_owned(), Some(linear)), (TASK.to_owned(), table)]);
    }
}

#[test]
fn a_program_that_sets_what_is_refused_again_and_again_is_stopped_and_a_person_is_only_refused() {
    for (by, ends) in [(Some(program("nightly")), true), (None, true), (Some(person("Ada")), false)] {
        let mut scene = Scene::new(rejecting(), &[(ISSUE, "Done"), (TASK, "done")]);
        let verdicts: Vec<Verdict> =
            (0..4).map(|round| edit(&mut scene, ISSUE, "In Progress", 100 + round * 10, by.as_ref())).collect();
        let last = if ends { [FlipFlop, Verdict::NoNews] } else { [Verdict::Refused; 2] };
        assert_eq!(verdicts[..2], [Verdict::Refused; 2], "{by:?}");
        assert_eq!(verdicts[2], last[0], "{by:?}");
        assert_eq!(scene.group.item.held.is_some(), ends, "{by:?}");
        assert_eq!(scene.status(), "done");

        // Whoever asks through the API is refused, and nothing is written that could be set once more.
        let mut scene = Scene::new(scene.policy, &[(ISSUE, "Done"), (TASK, "done")]);
        for round in 0..4 {
            let mut ask = seen(ISSUE, "In Progress", 0, Origin::Unknown, 100 + round);
            (ask.position, ask.source, ask.actor) = (None, model::Source::Api, by.clone());
            ask.id = format!("ask {round}");
            assert_eq!(scene.see(&ask), Verdict::Refused, "{by:?}");
        }
        assert!(scene.group.item.held.is_none(), "{by:?}");
    }
}

#[test]
fn a_person_who_changes_an_automations_mind_is_no_fight() {
    let (ada, github) = (person("Ada"), program("github"));
    for (linear, table) in [(Some(&ada), Some(&github)), (Some(&github), Some(&ada)), (None, None)] {
        let verdicts = in_turn(&mut scene(), 6, linear, table);
        assert!(verdicts.iter().all(|verdict| *verdict == Verdict::FastForward), "{linear:?} {table:?}: {verdicts:?}");
    }
}

#[test]
fn one_automation_that_goes_to_and_fro_by_itself_is_no_fight() {
    let mut scene = scene();
    for round in 0..8 {
        let native = if round % 2 == 0 { "in_progress" } else { "in_review" };
        assert_eq!(edit(&mut scene, TASK, native, 100 + round * 10, Some(&program("ci"))), Verdict::FastForward);
    }
}

#[test]
fn two_automations_fight_over_one_record_and_one_automation_over_two() {
    let mut one_record = scene();
    let turns = [("in_progress", "ci"), ("in_review", "nightly"), ("in_progress", "ci"), ("in_review", "nightly")];
    let verdicts = (100..)
        .step_by(10)
        .zip(turns)
        .map(|(at, (native, by))| edit(&mut one_record, TASK, native, at, Some(&program(by))));
    assert_eq!(verdicts.collect::<Vec<_>>(), [FastForward, FastForward, FastForward, FlipFlop]);
    let sync = program("sync");
    let verdicts = in_turn(&mut scene(), 2, Some(&sync), Some(&sync));
    assert_eq!(verdicts, [FastForward, FastForward, FastForward, FlipFlop]);
}

#[test]
fn changes_that_lead_on_are_no_fight_however_many_automations_make_them() {
    let mut scene = Scene::new(policy(), &[(ISSUE, "Backlog"), (TASK, "pending")]);
    let steps = [(ISSUE, "Todo"), (TASK, "in_progress"), (ISSUE, "In Review"), (TASK, "done")];
    for (at, (record, native)) in (10..).step_by(10).zip(steps) {
        assert_eq!(edit(&mut scene, record, native, at, Some(&program(record))), Verdict::FastForward, "{native}");
    }
}

#[test]
fn a_fight_that_is_slow_is_none() {
    let mut calm = policy();
    calm.escalation_window_ms = 5;
    let mut scene = Scene::new(calm, &[(ISSUE, "In Review"), (TASK, "in_review")]);
    let verdicts = in_turn(&mut scene, 6, Some(&program("github")), Some(&program("nightly")));
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::FastForward), "{verdicts:?}");
}

#[test]
fn whoever_ends_a_fight_is_followed_by_all_and_the_count_begins_anew() {
    let mut scene = scene();
    in_turn(&mut scene, 2, Some(&program("github")), Some(&program("nightly")));
    let held = scene.group.item.held.unwrap();
    assert_eq!(scene.say(ISSUE, Intent::Pick(held, 0)), Verdict::Forced);
    assert_eq!(scene.commands(), [format!("{TASK} in_progress")]);
    scene.carry_out_all(900);
    assert_eq!((scene.status(), scene.group.item.held), ("in_progress", None));
    assert_eq!(edit(&mut scene, TASK, "in_review", 1_000, Some(&program("nightly"))), Verdict::FastForward);
}

#[test]
fn a_hold_keeps_the_newest_edit_of_each_record_and_no_more_records_than_its_bound() {
    let side = |record: usize, native: &str| Candidate {
        record: format!("ci/build/{record}").parse().unwrap(),
        native: Native::new(native).unwrap(),
        status: status("done"),
        position: None,
        actor: None,
        at: model::Timestamp(0),
    };
    let mut manual = policy();
    manual.strategy = model::Strategy::Manual;
    let mut scene = Scene::new(manual, &[(ISSUE, "Todo"), (TASK, "todo")]);
    scene.edit(ISSUE, "In Progress", 10);
    scene.edit(TASK, "done", 10);
    let mut conflict = scene.group.conflict.clone().unwrap();
    let (ours, theirs) = (conflict.candidates[0].clone(), conflict.candidates[1].clone());
    for record in 0..200 {
        conflict.join(side(record, "one"));
        conflict.join(side(record, "two"));
    }
    assert_eq!(conflict.candidates.len(), Conflict::CANDIDATES_MAX);
    assert_eq!(conflict.candidates[..2], [ours, theirs]);
    assert!(conflict.candidates[2..].iter().all(|side| side.native.as_str() == "two"));
}

#[test]
fn two_automations_that_ask_for_opposite_things_in_turn_fight() {
    let mut scene = scene();
    let verdicts: Vec<Verdict> = ["In Progress", "In Review", "In Progress", "In Review"]
        .into_iter()
        .zip(["ci", "nightly"].into_iter().cycle())
        .map(|(native, by)| {
            let mut ask = seen(ISSUE, native, 0, Origin::Unknown, 100);
            (ask.position, ask.source, ask.actor) = (None, model::Source::Api, Some(program(by)));
            let verdict = scene.see(&ask);
            scene.carry_out_all(200);
            verdict
        })
        .collect();
    assert_eq!(verdicts, [Verdict::Asked, Verdict::Asked, Verdict::Asked, FlipFlop]);
}
