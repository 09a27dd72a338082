//! A system is brought back from an old copy: what its records show then is nobody's edit.

use model::{
    Lane, Link, Observation, Origin, Position, Reason, Receipt, RowKind, Source, Step, Timestamp, Verdict, resolve,
};

use crate::scene::{Scene, policy, seen};

const ISSUE: &str = "linear/issue/a";
const TASK: &str = "postgres/task/1";
/// So long after the last edit an older position means an old copy.
const LATE: i64 = 10 + Link::OLD_COPY_MS + 1;

/// The issue was set to done at 10, and the row with it.
fn done() -> Scene {
    let mut scene = Scene::new(policy(), &[(ISSUE, "Todo"), (TASK, "todo")]);
    scene.edit(ISSUE, "Done", 10);
    scene.carry_out_all(12);
    scene
}

/// The issue as it was at 5, looked at by the bus's clock then.
fn was(native: &str, source: Source, at: i64) -> Observation {
    Observation { source, ..seen(ISSUE, native, 5, Origin::Unknown, at) }
}

fn issue(scene: &Scene) -> &Link {
    scene.group.link(&ISSUE.parse().unwrap()).unwrap()
}

fn step(scene: &Scene) -> Step {
    scene.group.step(scene.group.index_of(&ISSUE.parse().unwrap()).unwrap(), &scene.policy)
}

#[test]
fn a_record_of_an_old_copy_is_told_again_what_its_item_has_become() {
    for source in [Source::Sweep, Source::Poll] {
        let mut scene = done();
        assert_eq!(scene.see(&was("Todo", source, LATE)), Verdict::WentBack);
        assert_eq!((scene.status(), step(&scene)), ("done", Step::Pending));
        let row = &scene.last.as_ref().unwrap().rows[0];
        assert_eq!((row.kind, row.reason, row.native.as_str()), (RowKind::Ignored, Reason::WentBack, "Todo"));
        assert_eq!(scene.commands(), [format!("{ISSUE} Done")]);
        scene.carry_out_all(6);
        assert_eq!(step(&scene), Step::InStep);
        assert_eq!(issue(&scene).position, Some(Position(6)), "what comes after the copy is new");
    }
}

#[test]
fn what_was_known_a_moment_ago_was_edited_after_the_look() {
    let mut scene = done();
    assert_eq!(scene.see(&was("Todo", Source::Sweep, LATE - 1)), Verdict::Stale);
    assert_eq!((step(&scene), scene.commands().len()), (Step::InStep, 0));
    // Seen again where it was, it is not known since then only.
    scene.see(&Observation { position: Some(Position(10)), ..was("Done", Source::Sweep, LATE - 1) });
    assert_eq!(scene.see(&was("Todo", Source::Sweep, LATE)), Verdict::WentBack);
}

#[test]
fn what_nobody_looked_at_just_now_may_be_late() {
    let mut scene = done();
    for source in [Source::Webhook, Source::Stream, Source::Api] {
        assert_eq!(scene.see(&was("Todo", source, LATE)), Verdict::Stale, "{source:?}");
    }
    let receipt = Receipt { first_sequence: Some(1), ..Receipt::new(Lane::Low, 1_000, Timestamp(LATE)) };
    let replayed = resolve(scene.group.clone(), &was("Todo", Source::Sweep, LATE), receipt, &scene.policy);
    assert_eq!(replayed.verdict, Verdict::Stale, "a dead letter of long ago");
}

#[test]
fn an_old_copy_that_shows_the_same_changes_nothing_and_later_edits_count() {
    let mut scene = done();
    assert_eq!(scene.see(&was("Done", Source::Sweep, LATE)), Verdict::WentBack);
    let last = scene.last.as_ref().unwrap();
    assert!(last.rows.is_empty() && last.commands.is_empty());
    let edit = Observation { position: Some(Position(7)), origin: Origin::Other, ..was("Todo", Source::Webhook, LATE) };
    assert_eq!(scene.see(&edit), Verdict::FastForward);
}

#[test]
fn an_older_release_did_not_say_since_when_a_position_is_known() {
    let mut scene = done();
    scene.group.links.iter_mut().for_each(|link| link.position_at = None);
    assert_eq!(scene.see(&was("Todo", Source::Sweep, LATE)), Verdict::Stale);
}

#[test]
fn attempts_that_an_old_copy_used_up_do_not_count() {
    let mut scene = done();
    let link = &mut scene.group.links[0];
    (link.resent, link.last_error) = (Link::RESENT_MAX, Some("it did not keep what was written".to_owned()));
    scene.see(&was("Todo", Source::Sweep, LATE));
    assert_eq!((scene.commands(), step(&scene)), (vec![format!("{ISSUE} Done")], Step::Pending));
}

#[test]
fn what_an_old_copy_shows_after_a_change_is_told_to_it_alone() {
    let mut scene = done();
    scene.edit(TASK, "in_review", 20);
    let told = scene.last.as_ref().unwrap().commands[0].clone();
    assert_eq!(scene.see(&was("Backlog", Source::Poll, LATE)), Verdict::WentBack, "by whoever came to carry it out");
    assert!(scene.commands().is_empty(), "the command has not been reported yet");
    scene.fail(&told, model::DeliveryOutcome::Superseded, "edited_meanwhile");
    assert_eq!(scene.commands(), [format!("{ISSUE} In Review")]);
    assert_eq!(scene.status(), "in_review");
}
