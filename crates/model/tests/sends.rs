//! What records are told: never the same twice while it is on its way, never without end, and nothing that is not needed.

use model::CommandMode::{Show, Tell};
use model::DeliveryOutcome::{Applied, Failed, Overtaken, Rejected, Superseded, Unchanged};
use model::{
    Command, Intent, Link, Native, OLDER_COMMAND, Observation, Origin, Reason, RowKind, Source, Step, Verdict, Version,
};

use crate::scene::{Scene, policy, rejecting, reported, seen, status};

const ISSUE: &str = "linear/issue/a";
const PULL: &str = "github/pull_request/acme/web#2";
const TASK: &str = "postgres/task/1";

impl Scene {
    /// The one command that the last step sent.
    fn only(&self) -> Command {
        let commands = &self.last.as_ref().unwrap().commands;
        assert_eq!(commands.len(), 1, "{:?}", self.commands());
        commands[0].clone()
    }

    fn linked(&self, record: &str) -> &Link {
        self.group.link(&record.parse().unwrap()).unwrap()
    }

    fn step_of(&self, record: &str) -> Step {
        self.group.step(self.group.index_of(&record.parse().unwrap()).unwrap(), &self.policy)
    }

    /// Nobody knows whose write it is.
    fn echo(&mut self, record: &str, native: &str, at: u64) -> Verdict {
        self.see(&seen(record, native, at, Origin::Unknown, 0))
    }

    fn sweep(&mut self, record: &str, native: &str, at: u64) -> Verdict {
        self.see(&Observation { source: Source::Sweep, ..seen(record, native, at, Origin::Unknown, 0) })
    }

    /// Our app's webhook: our own write of a version.
    fn own(&mut self, record: &str, native: &str, at: u64, version: Version) -> Verdict {
        self.see(&seen(record, native, at, Origin::Own(Some(version)), 0))
    }
}

fn table_and_issue() -> Scene {
    Scene::new(policy(), &[(ISSUE, "Todo"), (TASK, "todo")])
}

fn table_and_pull() -> Scene {
    Scene::new(policy(), &[(TASK, "in_review"), (PULL, "open")])
}

#[test]
fn a_command_on_its_way_is_not_sent_twice() {
    let mut scene = table_and_issue();
    scene.edit(ISSUE, "Done", 10);
    assert_eq!(scene.commands(), [format!("{TASK} done")]);
    assert_eq!(scene.group.wanted(1, &scene.policy), Some(Native::new("done").unwrap()));
    assert_eq!(scene.echo(TASK, "todo", 11), Verdict::NoNews);
    assert!(scene.commands().is_empty());
    assert_eq!(scene.sweep(TASK, "todo", 12), Verdict::NoNews);
    assert!(scene.commands().is_empty());
}

#[test]
fn a_command_of_which_nobody_heard_for_long_is_sent_again_when_a_sweep_finds_the_record_as_it_was() {
    let mut scene = table_and_issue();
    scene.edit(ISSUE, "Done", 10);
    let first = scene.only();
    let at = |ms| seen(TASK, "todo", 11, Origin::Unknown, 10 + ms);
    let swept = |ms| Observation { source: Source::Sweep, ..at(ms) };
    scene.see(&swept(Link::LOST_MS));
    assert!(scene.commands().is_empty(), "it may be on its way");
    scene.see(&at(Link::LOST_MS + 1));
    assert!(scene.commands().is_empty(), "a webhook may be late, and tell of what was");
    scene.see(&swept(Link::LOST_MS + 1));
    let again = scene.only();
    assert_eq!((again.native.as_str(), again.version), ("done", first.version));
    assert_ne!(again.cause, first.cause, "or it would be taken for a copy");
    assert_eq!(scene.linked(TASK).sent.len(), 1, "it is the same");
    scene.see(&swept(Link::LOST_MS + 2));
    assert!(scene.commands().is_empty(), "it was sent just now");
    scene.carry_out(&again, 12);
    assert_eq!(scene.step_of(TASK), Step::InStep);
}

#[test]
fn what_was_given_up_is_tried_again_by_a_sweep_that_comes_long_after() {
    let mut scene = table_and_issue();
    scene.edit(ISSUE, "Done", 10);
    let given_up = scene.only();
    scene.fail(&given_up, Failed, "it answered with 500");
    let swept = |ms| Observation { source: Source::Sweep, ..seen(TASK, "todo", 11, Origin::Unknown, 10 + ms) };
    scene.see(&swept(Link::LOST_MS));
    assert_eq!((scene.step_of(TASK), scene.commands().len()), (Step::Failed, 0));
    scene.see(&swept(Link::LOST_MS + 1));
    assert_eq!((scene.step_of(TASK), scene.commands()), (Step::Pending, vec![format!("{TASK} done")]));
    let refused = scene.only();
    scene.fail(&refused, Rejected, "the table does not take it");
    scene.see(&swept(3 * Link::LOST_MS));
    assert_eq!((scene.step_of(TASK), scene.commands().len()), (Step::Failed, 0), "no attempt will do better");
}

#[test]
fn what_was_given_up_is_tried_again_where_our_own_write_is_seen_after_all() {
    let mut scene = table_and_issue();
    scene.edit(ISSUE, "Done", 10);
    let first = scene.only();
    scene.edit(TASK, "todo", 21);
    scene.fail(&first, Failed, "it answered with 500");
    assert_eq!(scene.own(TASK, "done", 20, first.version), Verdict::Stale);
    assert_eq!((scene.step_of(TASK), scene.commands().len()), (Step::Pending, 0), "its report is to come");
    scene.carry_out(&first, 20);
    assert_eq!(scene.commands(), [format!("{TASK} done")]);
}

#[test]
fn what_was_sent_for_no_version_that_counts_keeps_no_sweep_from_sending() {
    let mut scene = table_and_issue();
    scene.edit(ISSUE, "Done", 10);
    for sent in scene.group.links.iter_mut().flat_map(|link| &mut link.sent) {
        sent.version = Version(0);
    }
    scene
        .see(&Observation { source: Source::Sweep, ..seen(TASK, "todo", 11, Origin::Unknown, 10 + 2 * Link::LOST_MS) });
    assert_eq!(scene.commands(), [format!("{TASK} done")]);
}

#[test]
fn a_command_says_all_that_the_record_may_show_by_then_and_each_once() {
    let mut scene = table_and_issue();
    for (at, native) in (10..).zip(["In Progress", "In Review", "Todo", "In Review", "Done"]) {
        scene.edit(ISSUE, native, at);
    }
    let command = scene.only();
    assert_eq!(command.expects, [Native::new("todo").unwrap()], "the shadow");
    let earlier: Vec<_> = command.earlier.iter().map(|one| (one.native.as_str(), one.version.0, one.since)).collect();
    let sent = |place: usize| &scene.linked(TASK).sent[place];
    let told = |place: usize, native| (native, sent(place).version.0, sent(place).cause);
    // What it showed at first is what it was told once more since.
    let wanted = [told(0, "in_progress"), told(1, "in_review"), told(2, "todo"), told(3, "in_review")];
    assert_eq!(earlier, wanted, "what was told since, each with when");
}

#[test]
fn an_older_command_that_came_last_is_answered_with_the_newest_once_more() {
    let mut scene = table_and_issue();
    scene.edit(ISSUE, "In Progress", 10);
    let older = scene.only();
    scene.edit(ISSUE, "Done", 11);
    let newest = scene.only();
    scene.fail(&older, Overtaken, "newer_command");
    assert!(scene.commands().is_empty(), "the newer one is there");
    scene.fail(&older, Overtaken, OLDER_COMMAND);
    let again = scene.only();
    assert_eq!((again.version, again.native.as_str()), (newest.version, "done"));
    assert!(again.cause > newest.cause, "or it would vanish as a copy");
    // The answer may have been lost with the process, before it was published.
    let told = model::Report { reason: Some(OLDER_COMMAND.to_owned()), ..reported(&older, 0, Overtaken) };
    let receipt = crate::scene::receipt(again.cause, 0);
    let redelivered = model::report(scene.group.clone(), &told, receipt, &scene.policy);
    assert_eq!((redelivered.verdict, &redelivered.commands), (Verdict::Redelivered, &vec![again]));
    scene.fail(&newest, Overtaken, "newer_command");
    assert!(scene.commands().is_empty());
}

#[test]
fn a_record_that_comes_back_is_taken_at_its_word_where_its_item_has_not_changed() {
    let mut scene = Scene::new(policy(), &[(ISSUE, "Todo"), (TASK, "todo")]);
    scene.edit(TASK, "(deleted)", 10);
    assert_eq!(scene.edit(TASK, "done", 11), Verdict::FastForward, "deleted and inserted anew");
    assert_eq!(scene.commands(), [format!("{ISSUE} Done")]);
    scene.carry_out_all(12);
    scene.edit(TASK, "(deleted)", 20);
    scene.edit(ISSUE, "In Review", 30);
    assert_eq!(scene.edit(TASK, "done", 31), Verdict::Ignored, "what it shows may be what it showed long ago");
    assert_eq!(scene.commands(), [format!("{TASK} in_review")]);
}

#[test]
fn a_record_that_was_deleted_speaks_for_nothing_and_is_told_nothing_until_it_is_back() {
    let mut scene = Scene::new(policy(), &[(ISSUE, "Todo"), (TASK, "todo")]);
    assert_eq!(scene.echo(TASK, "(deleted)", 10), Verdict::Unmapped);
    assert_eq!((scene.step_of(TASK), scene.status()), (Step::Deleted, "todo"));
    let row = scene.last.as_ref().unwrap().rows.last().unwrap();
    assert_eq!((row.kind, row.reason), (RowKind::Unmapped, Reason::Deleted));
    scene.edit(ISSUE, "Done", 20);
    assert_eq!(scene.commands(), Vec::<String>::new());
    // What it shows when it is back has not seen what the item became.
    assert_eq!(scene.echo(TASK, "todo", 30), Verdict::Ignored);
    assert_eq!(scene.commands(), [format!("{TASK} done")]);
    assert!(scene.linked(TASK).native == Native::new("todo").unwrap() && !scene.linked(TASK).unmapped);
    assert_eq!((scene.step_of(TASK), scene.status()), (Step::Pending, "done"));
    scene.carry_out_all(31);
    assert_eq!(scene.step_of(TASK), Step::InStep);
    scene.edit(TASK, "(deleted)", 40);
    scene.edit(TASK, "done", 50);
    assert_eq!((scene.step_of(TASK), scene.commands()), (Step::InStep, vec![]));
}

#[test]
fn a_link_remembers_the_newest_commands_and_no_more() {
    let mut scene = table_and_issue();
    for at in 10..60 {
        scene.edit(ISSUE, if at % 2 == 0 { "In Progress" } else { "Todo" }, at);
    }
    let versions: Vec<u64> = scene.linked(TASK).sent.iter().map(|sent| sent.version.0).collect();
    let newest = scene.group.item.version.0;
    assert_eq!(versions, (newest + 1 - Link::SENT_MAX as u64..=newest).collect::<Vec<_>>());
}

#[test]
fn our_own_write_is_done_whoever_tells_of_it_first() {
    for by_report in [true, false] {
        let mut scene = table_and_issue();
        scene.edit(ISSUE, "Done", 10);
        let command = scene.only();
        let verdict =
            if by_report { scene.carry_out(&command, 11) } else { scene.own(TASK, "done", 11, command.version) };
        assert_eq!(verdict, Verdict::OwnWrite);
        assert!(scene.linked(TASK).sent.is_empty() && scene.commands().is_empty());
        assert_eq!((scene.step_of(TASK), scene.linked(TASK).agreed), (Step::InStep, command.version));
    }
}

#[test]
fn what_a_record_was_told_is_known_as_ours_in_whatever_word_it_shows_that() {
    let mut scene = Scene::new(policy(), &[(TASK, "in_progress"), (PULL, "draft")]);
    scene.edit(TASK, "in_review", 10);
    assert_eq!(scene.only().native.as_str(), "open");
    scene.edit(TASK, "in_progress", 11);
    let earlier: Vec<String> = scene.only().earlier.iter().map(|earlier| earlier.native.to_string()).collect();
    assert!(earlier.contains(&"approved".to_owned()) && earlier.contains(&"open".to_owned()), "{earlier:?}");
    // It was approved before it became a draft, and shows that again once it is ready for review.
    assert_eq!(scene.echo(PULL, "approved", 12), Verdict::LateEcho);
    assert_eq!(scene.status(), "in_progress");
}

#[test]
fn our_writes_of_one_second_are_put_in_order_by_their_reports_and_not_by_webhooks() {
    let issue = "github/issue/acme/web#5";
    let mut scene = Scene::new(policy(), &[(ISSUE, "Todo"), (issue, "open")]);
    for native in ["Done", "Canceled"] {
        scene.edit(ISSUE, native, 10);
        let command = scene.only();
        scene.carry_out(&command, 100);
    }
    // They tell of both writes and of what GitHub shows on the way from one reason to the other, in any order.
    for native in ["closed/completed", "open", "closed/not_planned", "closed/completed", "open"] {
        assert_eq!(scene.see(&seen(issue, native, 100, Origin::Own(None), 0)), Verdict::OwnWrite);
        assert!(scene.commands().is_empty(), "{native}: {:?}", scene.commands());
        assert_eq!((scene.linked(issue).native.as_str(), scene.step_of(issue)), ("closed/not_planned", Step::InStep));
    }
    scene.edit(ISSUE, "In Review", 11);
    assert_eq!(scene.only().expects, [Native::new("closed/not_planned").unwrap()]);
}

#[test]
fn an_own_write_of_a_version_that_the_item_has_not_reached_is_another_items() {
    let mut scene = table_and_issue();
    scene.edit(ISSUE, "Done", 10);
    assert_eq!(scene.own(TASK, "blocked", 11, Version(9)), Verdict::OwnWrite);
    assert_eq!(scene.linked(TASK).sent.len(), 1, "this item's command is still on its way");
    assert_eq!(scene.status(), "done");
}

#[test]
fn an_own_write_that_is_not_what_the_item_is_agrees_with_no_current_version() {
    // The record's former item had a version of that number, too; its command was carried out late.
    let mut scene = table_and_issue();
    scene.edit(ISSUE, "Done", 10);
    let version = scene.only().version;
    assert_eq!(scene.own(TASK, "blocked", 11, version), Verdict::OwnWrite);
    assert_eq!(
        scene.edit(TASK, "in_review", 12),
        Verdict::Conflict,
        "whoever edits it has not seen that the item is done"
    );
}

#[test]
fn what_the_record_does_not_keep_is_sent_a_few_times_more_and_then_once_a_sweep() {
    let mut scene = table_and_issue();
    scene.edit(ISSUE, "Done", 10);
    let version = scene.only().version;
    let mut at = 11;
    let mut sends = 1;
    while !scene.commands().is_empty() && sends < 100 {
        // What was written is gone again before anybody reads it.
        assert_eq!(scene.own(TASK, "todo", at, version), Verdict::OwnWrite);
        at += 1;
        sends += scene.commands().len();
    }
    assert_eq!(sends, 1 + Link::RESENT_MAX as usize);
    assert_eq!(scene.step_of(TASK), Step::Failed);
    assert!(scene.linked(TASK).last_error.as_ref().unwrap().contains("did not keep"), "an operator is told why");
    assert_eq!(scene.echo(TASK, "todo", at), Verdict::NoNews);
    assert!(scene.commands().is_empty(), "news that is none changes nothing");

    // What did not take in a crowd of edits may take now.
    for _ in 0..3 {
        at += 1;
        assert_eq!(scene.sweep(TASK, "todo", at), Verdict::NoNews);
        assert_eq!(scene.commands(), [format!("{TASK} done")], "once");
        scene.own(TASK, "todo", at, version);
        assert!(scene.commands().is_empty() && scene.step_of(TASK) == Step::Failed);
    }
    scene.sweep(TASK, "todo", at + 1);
    scene.carry_out_all(at + 2);
    assert_eq!(scene.step_of(TASK), Step::InStep);
}

#[test]
fn a_new_version_is_told_however_often_the_last_one_did_not_take() {
    let mut scene = table_and_issue();
    scene.edit(ISSUE, "Done", 10);
    for at in 11..30 {
        scene.own(TASK, "todo", at, Version(2));
    }
    scene.edit(ISSUE, "Canceled", 30);
    assert_eq!(scene.commands(), [format!("{TASK} canceled")]);
    scene.own(TASK, "todo", 31, Version(3));
    assert_eq!(scene.commands(), [format!("{TASK} canceled")], "and counted anew");
}

#[test]
fn what_failed_for_good_is_not_sent_again_by_its_own_report() {
    for outcome in [Failed, Rejected] {
        let mut scene = table_and_issue();
        scene.edit(ISSUE, "Done", 10);
        let command = scene.only();
        scene.fail(&command, outcome, "it is down");
        assert!(scene.commands().is_empty(), "{outcome:?}");
        assert_eq!(scene.step_of(TASK), Step::Failed);
        assert_eq!(scene.linked(TASK).last_error.as_deref(), Some("it is down"));
    }
}

#[test]
fn what_is_said_of_a_command_says_nothing_of_the_next_versions() {
    let mut scene = table_and_issue();
    scene.edit(ISSUE, "Done", 10);
    let command = scene.only();
    scene.fail(&command, Rejected, "refused by a trigger");
    assert_eq!(scene.step_of(TASK), Step::Failed);
    scene.edit(ISSUE, "In Review", 20);
    assert_eq!(scene.commands(), [format!("{TASK} in_review")]);
    assert_eq!((scene.step_of(TASK), &scene.linked(TASK).last_error), (Step::Pending, &None), "it may take this one");
    let command = scene.only();
    scene.fail(&command, Rejected, "refused by a trigger");
    scene.edit(ISSUE, "Todo", 30);
    assert_eq!(
        (scene.step_of(TASK), &scene.linked(TASK).last_error),
        (Step::InStep, &None),
        "nothing is owed any more"
    );
}

#[test]
fn a_failure_says_nothing_of_the_newer_command_that_is_on_its_way() {
    for outcome in [Failed, Rejected] {
        let mut scene = table_and_issue();
        scene.edit(ISSUE, "In Progress", 10);
        let older = scene.only();
        scene.edit(ISSUE, "Done", 11);
        scene.fail(&older, outcome, "it is down");
        assert_eq!((scene.step_of(TASK), scene.linked(TASK).last_error.as_deref()), (Step::Pending, None));
        // It may have taken the newer one's place on the bus.
        assert_eq!((scene.only().native.as_str(), scene.only().version), ("done", scene.group.item.version));
    }
}

#[test]
fn what_cannot_be_told_is_shown_beside_the_record_once() {
    let mut scene = table_and_pull();
    scene.edit(TASK, "done", 10);
    let shown = scene.only();
    assert_eq!((shown.mode, shown.status.as_str()), (Show, "done"));
    scene.carry_out(&shown, 11);
    assert!(scene.linked(PULL).sent.is_empty() && scene.commands().is_empty());
    assert_eq!(scene.step_of(PULL), Step::AsClose);
    scene.sweep(PULL, "open", 12);
    assert!(scene.commands().is_empty());
    scene.say(TASK, Intent::Force(status("done")));
    assert!(!scene.commands().iter().any(|command| command.starts_with(PULL)), "it is there already");
}

#[test]
fn a_record_that_can_be_told_is_shown_nothing_beside_it() {
    let mut scene = table_and_pull();
    for (at, word, native) in [(10, "in_progress", "draft"), (20, "in_review", "open")] {
        scene.edit(TASK, word, at);
        let told = scene.only();
        assert_eq!((told.mode, told.native.as_str()), (Tell, native));
        scene.carry_out(&told, at + 1);
        assert!(scene.commands().is_empty());
    }
    // Its own people's edit neither.
    assert_eq!(scene.edit(PULL, "draft", 30), Verdict::FastForward);
    assert_eq!(scene.commands(), [format!("{TASK} in_progress")]);
    assert_eq!(scene.sweep(PULL, "draft", 31), Verdict::Agreed);
    assert!(scene.commands().is_empty());
}

#[test]
fn what_was_shown_beside_a_record_is_put_right_once_it_shows_what_it_should() {
    let mut scene = table_and_pull();
    scene.edit(TASK, "done", 10);
    scene.carry_out_all(11);
    scene.edit(TASK, "todo", 12);
    let told = scene.only();
    assert_eq!((told.mode, told.native.as_str()), (Tell, "draft"));
    scene.carry_out(&told, 13);
    let shown = scene.only();
    assert_eq!((shown.mode, shown.status.as_str()), (Show, "todo"), "done stands beside it until then");
    scene.carry_out(&shown, 14);
    assert!(scene.commands().is_empty() && scene.linked(PULL).sent.is_empty());
    scene.sweep(PULL, "draft", 15);
    assert!(scene.commands().is_empty());
}

#[test]
fn what_may_have_been_overtaken_before_it_was_shown_is_shown_again() {
    let mut scene = table_and_pull();
    scene.edit(TASK, "done", 10);
    scene.carry_out_all(11);
    scene.edit(TASK, "in_review", 12);
    let shown = scene.only();
    assert_eq!((shown.mode, shown.status.as_str()), (Show, "in_review"));
    // Before that is done a write of ours lands late, and the command that mends it takes the other's place on the bus.
    scene.see(&seen(PULL, "draft", 20, Origin::Own(None), 0));
    let told = scene.only();
    assert_eq!((told.mode, told.native.as_str(), told.version), (Tell, "open", shown.version));
    scene.carry_out(&told, 21);
    let again = scene.only();
    assert_eq!((again.mode, again.status.as_str()), (Show, "in_review"));
    scene.carry_out(&again, 22);
    assert!(scene.commands().is_empty() && scene.linked(PULL).sent.is_empty());
}

#[test]
fn a_report_on_what_was_shown_tells_nothing_of_a_write_that_may_land_yet() {
    let mut scene = table_and_pull();
    scene.edit(TASK, "in_progress", 10);
    assert_eq!(scene.only().mode, Tell);
    scene.edit(TASK, "done", 11);
    let shown = scene.only();
    assert_eq!(shown.mode, Show);
    scene.carry_out(&shown, 12);
    assert_eq!(scene.linked(PULL).sent.len(), 1, "the write was not reported");
    assert_eq!(scene.echo(PULL, "draft", 13), Verdict::LateEcho, "nobody's edit");
    assert_eq!(scene.status(), "done");
}

#[test]
fn a_report_brings_out_again_what_it_may_have_overtaken() {
    // Of one version the record was shown something and then told something.
    let mut scene = table_and_pull();
    scene.edit(TASK, "done", 10);
    scene.carry_out_all(11);
    scene.edit(TASK, "in_review", 12);
    let shown = scene.only();
    scene.own(PULL, "draft", 20, Version(1));
    let told = scene.only();
    scene.carry_out(&shown, 21);
    let again = scene.only();
    assert_eq!((again.mode, &again.native, again.version), (Tell, &told.native, told.version));
    assert_ne!(again.cause, told.cause, "a message of its own, or the bus would drop it as a copy");

    // An older status was shown over the current one: by a connector that came late.
    let mut scene = table_and_pull();
    scene.edit(TASK, "done", 10);
    let older = scene.only();
    scene.edit(TASK, "canceled", 11);
    let newer = scene.only();
    scene.carry_out(&newer, 12);
    assert!(scene.commands().is_empty());
    scene.carry_out(&older, 13);
    assert_eq!((scene.only().mode, scene.only().status.as_str()), (Show, "canceled"));
}

#[test]
fn an_echo_of_the_last_write_there_will_be_is_its_report() {
    // A newer write is on its way: its report will tell, and until then both are known as ours.
    let mut scene = table_and_issue();
    scene.edit(ISSUE, "In Progress", 10);
    scene.edit(ISSUE, "In Review", 11);
    assert_eq!(scene.echo(TASK, "in_progress", 12), Verdict::LateEcho);
    assert_eq!(scene.linked(TASK).sent.len(), 2);
    // The record can be told nothing newer.
    let mut scene = table_and_pull();
    scene.edit(TASK, "in_progress", 10);
    scene.edit(TASK, "done", 11);
    assert_eq!(scene.echo(PULL, "draft", 12), Verdict::LateEcho);
    let left: Vec<_> = scene.linked(PULL).sent.iter().map(|sent| sent.mode).collect();
    assert_eq!(left, [Show]);
}

#[test]
fn whoever_looked_before_a_write_of_ours_landed_late_looks_again() {
    let told_twice = || {
        let mut scene = Scene::new(policy(), &[(ISSUE, "In Review"), (TASK, "in_review")]);
        scene.edit(TASK, "in_progress", 10);
        scene.edit(TASK, "in_review", 11);
        let newest = scene.only();
        // The first write, whose answer nobody had, lands after somebody looked for the second, and found what it asks for. A sweep is
        // heard before the report on that.
        assert_eq!(scene.sweep(ISSUE, "In Progress", 30), Verdict::LateEcho);
        assert!(scene.commands().is_empty(), "who carries out the newer one looks");
        (scene, newest)
    };
    let (mut scene, newest) = told_twice();
    assert_eq!(scene.report(&newest, 20, Unchanged), Verdict::Stale);
    let again = scene.only();
    assert_eq!((&again.record, &again.native, again.version), (&newest.record, &newest.native, newest.version));
    assert_ne!(again.cause, newest.cause, "a message of its own, or the bus would drop it as a copy");
    assert_eq!(scene.report(&again, 31, Applied), Verdict::OwnWrite);
    assert!(scene.commands().is_empty());
    assert_eq!((scene.step_of(ISSUE), scene.linked(ISSUE).sent.len()), (Step::InStep, 0));

    let (mut scene, newest) = told_twice();
    assert_eq!(scene.report(&newest, 31, Applied), Verdict::OwnWrite);
    assert!(scene.commands().is_empty(), "who looked afterwards need not");

    // One who sees the record ever too early is not asked without end.
    let (mut scene, newest) = told_twice();
    let mut asked = newest;
    for _ in 0..Link::RESENT_MAX {
        scene.report(&asked, 20, Unchanged);
        asked = scene.only();
    }
    scene.report(&asked, 20, Unchanged);
    assert!(scene.commands().is_empty());
}

#[test]
fn another_word_for_the_same_is_no_news_and_the_command_learns_of_it() {
    let mut scene = table_and_pull();
    scene.edit(TASK, "in_progress", 10);
    assert_eq!(scene.only().expects, [Native::new("open").unwrap()]);
    assert_eq!(scene.edit(PULL, "approved", 11), Verdict::NoNews, "a review is no edit of the status");
    assert_eq!(scene.only().native.as_str(), "draft");
    assert!(scene.only().expects.contains(&Native::new("approved").unwrap()), "or it would count as overtaken");
    assert_eq!(scene.status(), "in_progress");
}

/// A person sets a record twice to what the lifecycle does not allow, and it is told twice what it should show. The first command finds the
/// second edit there, and reports so; what the second one writes is still ours.
#[test]
fn a_report_on_one_command_says_nothing_of_the_next_of_its_version() {
    for first in [Superseded, Applied] {
        let mut scene = Scene::new(rejecting(), &[(ISSUE, "Done"), (TASK, "done")]);
        assert_eq!(scene.edit(ISSUE, "In Progress", 10), Verdict::Refused);
        let one = scene.only();
        assert_eq!(scene.edit(ISSUE, "In Review", 11), Verdict::Refused);
        let other = scene.only();
        assert_eq!((one.version, &one.native), (other.version, &other.native));
        assert_eq!(scene.edit(TASK, "todo", 12), Verdict::FastForward);
        scene.report(&one, 11, first);
        let echo = scene.echo(ISSUE, "Done", 13);
        assert!(
            matches!(echo, Verdict::LateEcho | Verdict::NoNews),
            "{first:?}: the second command's write is {echo:?}"
        );
        scene.report(&other, 13, Applied);
        assert_eq!((scene.status(), scene.linked(ISSUE).native.as_str()), ("todo", "Done"));
        let current = scene.group.item.version;
        assert!(scene.linked(ISSUE).sent.iter().all(|sent| sent.version == current), "both are done");
    }
}
