//! The faults of the earlier implementations that belong to the model, each as the fact that replaces it; and the rules
//! by example.

use model::{
    Intent, Lane, Origin, Receipt, RowKind, Status, Step, Strategy, System, Timestamp, Verdict, Version, resolve,
};

use crate::scene::{Scene, policy, seen, status};

const ISSUE: &str = "linear/issue/a";
const BUG: &str = "github/issue/acme/web#1";
const TASK: &str = "postgres/task/1";
const AGENT: &str = "agentapi/agent/x";
const PULLS: [&str; 3] = ["github/pull_request/w#1", "github/pull_request/w#2", "github/pull_request/w#3"];

fn three() -> Scene {
    Scene::new(policy(), &[(ISSUE, "Todo"), (BUG, "open"), (TASK, "todo")])
}

#[test]
fn the_priority_zero_is_the_highest_and_not_unset() {
    let policy = policy();
    let number = |name| policy.priority(&System::new(name).unwrap());
    assert!(number("postgres") < number("linear"));
    assert!(number("linear") < number("github") && number("github") < number("agentapi"));
    assert!(number("agentapi") < number("somebody-else"), "a system that is not named comes last");
}

#[test]
fn a_then_b_then_a_ends_at_a() {
    let mut scene = three();
    assert_eq!(scene.edit(ISSUE, "In Progress", 10), Verdict::FastForward);
    assert_eq!(scene.edit(ISSUE, "Todo", 11), Verdict::FastForward);
    assert_eq!(scene.status(), "todo");
    // The write of the first one is still on its way, so the table is told again although it shows the right thing.
    assert!(scene.commands().contains(&format!("{TASK} todo")));
}

#[test]
fn two_systems_at_once_are_a_conflict_and_the_lower_priority_loses() {
    let mut scene = three();
    scene.edit(ISSUE, "Done", 10);
    assert_eq!(scene.edit(BUG, "closed/not_planned", 10), Verdict::Conflict);
    assert_eq!(scene.status(), "done", "the incoming one does not always win");
    let last = scene.last.as_ref().unwrap();
    assert_eq!(last.rows[0].kind, RowKind::Lost);
    assert_eq!(last.conflicts[0].winner, Some(0));
    assert_eq!(scene.commands(), [format!("{BUG} closed/completed")]);

    let mut scene = three();
    scene.edit(ISSUE, "In Progress", 10);
    assert_eq!(scene.edit(TASK, "done", 10), Verdict::Conflict);
    assert_eq!(scene.status(), "done");
}

#[test]
fn manual_means_manual_and_a_hold_collects_until_a_pick_ends_it() {
    let mut policy = policy();
    policy.strategy = Strategy::Manual;
    let mut scene = Scene::new(policy, &[(ISSUE, "Todo"), (BUG, "open"), (TASK, "todo")]);
    scene.edit(ISSUE, "In Progress", 10);
    assert_eq!(scene.edit(TASK, "done", 10), Verdict::Conflict);
    assert_eq!(scene.status(), "in_progress");
    assert_eq!(scene.edit(BUG, "closed/not_planned", 11), Verdict::JoinedHold);
    assert_eq!(scene.status(), "in_progress");
    let conflict = scene.group.conflict.clone().unwrap();
    assert_eq!(conflict.candidates.len(), 3);
    assert_eq!(scene.say(ISSUE, Intent::Pick(conflict.id, 9)), Verdict::Invalid);
    assert_eq!(scene.say(ISSUE, Intent::Pick(conflict.id, 2)), Verdict::Forced);
    assert_eq!(scene.status(), "canceled");
    assert!(scene.group.item.held.is_none() && scene.group.conflict.is_none());
}

#[test]
fn a_hold_forgets_what_a_record_wanted_once_it_shows_what_the_item_is() {
    let mut policy = policy();
    policy.strategy = Strategy::Manual;
    let mut scene = Scene::new(policy, &[(ISSUE, "Todo"), (BUG, "open"), (TASK, "todo")]);
    scene.edit(ISSUE, "Done", 10);
    assert_eq!(scene.edit(TASK, "in_review", 10), Verdict::Conflict);
    assert_eq!(scene.edit(TASK, "done", 11), Verdict::JoinedHold);
    let conflict = scene.group.conflict.clone().unwrap();
    let wanted: Vec<_> =
        conflict.candidates.iter().map(|one| (one.record.to_string(), one.status.to_string())).collect();
    assert_eq!(wanted, [(ISSUE.to_owned(), "done".to_owned()), (TASK.to_owned(), "done".to_owned())]);
    assert_eq!(scene.last.as_ref().unwrap().rows[0].kind, RowKind::Candidate, "the edit is in the history");
    assert_eq!(scene.edit(BUG, "closed/completed", 12), Verdict::Agreed, "who has no say there agrees as ever");
    assert!(scene.group.item.held.is_some());
}

#[test]
fn a_force_ends_a_hold() {
    let mut policy = policy();
    policy.strategy = Strategy::Manual;
    let mut scene = Scene::new(policy, &[(ISSUE, "Todo"), (TASK, "todo")]);
    scene.edit(ISSUE, "In Progress", 10);
    scene.edit(TASK, "done", 10);
    assert_eq!(scene.say(TASK, Intent::Force(status("in_review"))), Verdict::Forced);
    assert_eq!(scene.status(), "in_review");
    assert!(scene.group.item.held.is_none());
    let row = scene.last.as_ref().unwrap().rows.last().unwrap();
    assert_eq!(row.record.system.as_str(), "lockstep", "nobody touched the record by way of which it was said");
    assert_eq!(scene.say(TASK, Intent::Force(status("no_such"))), Verdict::Invalid);
}

#[test]
fn the_third_conflict_within_the_window_holds_the_item() {
    let mut scene = Scene::new(policy(), &[(ISSUE, "Todo"), (TASK, "todo")]);
    let mut verdicts = vec![];
    for round in 0..3 {
        let at = 100 + round * 10;
        let (one, other) = if round % 2 == 0 { ("In Progress", "done") } else { ("Todo", "backlog") };
        scene.edit(ISSUE, one, at);
        verdicts.push(scene.edit(TASK, other, at));
        scene.carry_out_all(at + 1);
    }
    assert_eq!(verdicts, [Verdict::Conflict, Verdict::Conflict, Verdict::FlipFlop]);
    assert!(scene.group.conflict.as_ref().unwrap().escalated);
}

#[test]
fn an_unmapped_status_changes_nothing_and_is_told() {
    let mut scene = three();
    assert_eq!(scene.edit(BUG, "frobnicated", 10), Verdict::Unmapped);
    assert_eq!(scene.status(), "todo");
    assert_eq!(scene.last.as_ref().unwrap().rows[0].kind, RowKind::Unmapped);
    let place = scene.group.index_of(&BUG.parse().unwrap()).unwrap();
    assert_eq!(scene.group.step(place, &scene.policy), Step::Unmapped);
    assert!(scene.commands().is_empty());
}

#[test]
fn failed_stays_apart_from_canceled_through_systems_that_know_only_one_of_them() {
    let mut scene = Scene::new(policy(), &[(TASK, "in_progress"), (ISSUE, "In Progress"), (BUG, "open")]);
    scene.edit(TASK, "failed", 10);
    assert_eq!(scene.status(), "failed");
    scene.carry_out_all(11);
    assert_eq!(scene.edit(ISSUE, "Canceled", 12), Verdict::Agreed);
    assert_eq!(scene.edit(BUG, "closed/duplicate", 12), Verdict::Agreed);
    assert_eq!(scene.edit(BUG, "closed/not_planned", 13), Verdict::Agreed);
    assert_eq!(scene.status(), "failed");

    let mut scene = Scene::new(policy(), &[(TASK, "in_progress"), (BUG, "open")]);
    scene.edit(BUG, "closed/not_planned", 10);
    assert_eq!(scene.status(), "canceled");
}

#[test]
fn a_reopened_issue_returns_to_what_it_was() {
    let mut scene = Scene::new(policy(), &[(TASK, "in_review"), (BUG, "open")]);
    scene.edit(BUG, "closed/completed", 10);
    assert_eq!(scene.status(), "done");
    scene.carry_out_all(11);
    scene.edit(BUG, "open", 12);
    assert_eq!(scene.status(), "in_review");
}

#[test]
fn an_echo_of_open_never_moves_the_item() {
    for word in ["backlog", "todo", "in_progress", "blocked", "in_review"] {
        let mut scene = Scene::new(policy(), &[(TASK, word), (BUG, "open")]);
        for (at, origin) in [(10, Origin::Unknown), (11, Origin::Other), (12, Origin::Own(None))] {
            scene.see(&seen(BUG, "open", at, origin, 0));
            assert_eq!((scene.status(), scene.group.item.version), (word, Version(1)));
        }
    }
}

#[test]
fn a_later_time_wins_unless_the_clocks_may_differ_by_as_much() {
    for (apart, winner) in [(1_500, "done"), (2_500, "canceled")] {
        let mut policy = policy();
        policy.strategy = Strategy::TimestampBased;
        let mut scene = Scene::new(policy, &[(ISSUE, "Todo"), (BUG, "open")]);
        scene.edit(ISSUE, "Done", 10_000);
        assert_eq!(scene.edit(BUG, "closed/not_planned", 10_000 + apart), Verdict::Conflict);
        assert_eq!(scene.status(), winner, "{apart} ms apart");
    }
}

#[test]
fn a_merge_takes_the_further_along_and_leaves_two_ends_to_a_person() {
    let merge = || {
        let mut policy = policy();
        policy.strategy = Strategy::Merge;
        Scene::new(policy, &[(TASK, "todo"), (ISSUE, "Todo"), (BUG, "open")])
    };
    let mut scene = merge();
    scene.edit(TASK, "in_progress", 10);
    scene.edit(ISSUE, "In Review", 10);
    assert_eq!(scene.status(), "in_review");

    let mut scene = merge();
    scene.edit(TASK, "done", 10);
    assert_eq!(scene.edit(BUG, "closed/not_planned", 10), Verdict::Conflict);
    assert_eq!(scene.status(), "done");
    assert!(scene.group.item.held.is_some());
}

#[test]
fn three_pull_requests_are_done_when_all_are() {
    let records = [(TASK, "in_review"), (PULLS[0], "open"), (PULLS[1], "open"), (PULLS[2], "open")];
    let mut scene = Scene::new(policy(), &records);
    assert_eq!(scene.edit(PULLS[0], "merged", 10), Verdict::Agreed);
    assert_eq!(scene.last.as_ref().unwrap().rows[0].kind, RowKind::Folded);
    scene.edit(PULLS[1], "merged", 11);
    assert_eq!(scene.status(), "in_review");
    scene.edit(PULLS[2], "merged", 12);
    assert_eq!(scene.status(), "done");
}

#[test]
fn an_agent_that_starts_typing_does_not_reopen_a_canceled_issue() {
    let mut scene = Scene::new(policy(), &[(ISSUE, "In Progress"), (AGENT, "running")]);
    scene.edit(ISSUE, "Canceled", 10);
    assert!(scene.commands().is_empty(), "an agent is told nothing");
    scene.edit(AGENT, "stable", 11);
    assert_eq!(scene.edit(AGENT, "running", 12), Verdict::Ignored);
    assert_eq!(scene.status(), "canceled");
}

#[test]
fn what_a_pull_request_cannot_be_told_is_shown_beside_it() {
    let mut scene = Scene::new(policy(), &[(TASK, "in_review"), (PULLS[0], "open")]);
    scene.edit(TASK, "done", 10);
    let command = scene.last.as_ref().unwrap().commands[0].clone();
    assert_eq!((command.mode, command.native.as_str()), (model::CommandMode::Show, "merged"));
    scene.carry_out(&command, 11);
    assert_eq!(scene.group.step(1, &scene.policy), Step::AsClose);
}

#[test]
fn a_quick_second_change_is_no_conflict_with_the_echo_of_the_first() {
    let mut scene = Scene::new(policy(), &[(ISSUE, "Todo"), (TASK, "todo")]);
    scene.edit(ISSUE, "In Progress", 10);
    scene.edit(ISSUE, "In Review", 11);
    assert_eq!(scene.see(&seen(TASK, "in_progress", 12, Origin::Unknown, 12)), Verdict::LateEcho);
    assert_eq!(scene.status(), "in_review");
}

#[test]
fn a_write_that_lands_late_does_not_throw_the_item_back() {
    let mut scene = Scene::new(policy(), &[(ISSUE, "Todo"), (TASK, "todo")]);
    scene.edit(ISSUE, "In Progress", 10);
    let first = scene.last.as_ref().unwrap().commands[0].clone();
    scene.edit(ISSUE, "In Review", 11);
    let second = scene.last.as_ref().unwrap().commands[0].clone();
    scene.carry_out(&second, 12);
    assert_eq!(scene.carry_out(&first, 13), Verdict::OwnWrite);
    assert_eq!(scene.status(), "in_review");
    assert_eq!(scene.commands(), [format!("{TASK} in_review")]);
}

#[test]
fn an_edit_back_to_the_old_status_right_after_our_write_is_not_left_standing() {
    let mut scene = Scene::new(policy(), &[(ISSUE, "Todo"), (TASK, "todo")]);
    scene.edit(ISSUE, "In Progress", 10);
    let command = scene.last.as_ref().unwrap().commands[0].clone();
    // Its webhook overtakes the connector's report.
    assert_eq!(scene.edit(TASK, "todo", 12), Verdict::NoNews);
    assert_eq!(scene.carry_out(&command, 11), Verdict::Stale);
    assert_eq!(scene.commands(), [format!("{TASK} in_progress")], "nothing else would bring the table in step");
}

#[test]
fn a_write_on_its_way_is_known_as_ours_when_the_record_can_no_longer_be_told() {
    let mut scene = Scene::new(policy(), &[(TASK, "in_progress"), (PULLS[0], "draft")]);
    scene.edit(TASK, "in_review", 10);
    scene.edit(TASK, "done", 11);
    assert_eq!(scene.see(&seen(PULLS[0], "open", 12, Origin::Unknown, 12)), Verdict::LateEcho);
    assert_eq!(scene.status(), "done");
}

#[test]
fn an_overtaken_command_is_not_answered_with_another() {
    let mut scene = Scene::new(policy(), &[("linear/issue/1", "Todo"), ("postgres/task/1", "todo")]);
    scene.edit("linear/issue/1", "In Progress", 10);
    let older = scene.last.clone().unwrap().commands.remove(0);
    scene.edit("linear/issue/1", "Done", 11);
    let newer = scene.last.clone().unwrap().commands.remove(0);
    scene.report(&older, 2, model::DeliveryOutcome::Overtaken);
    assert_eq!(scene.commands(), Vec::<String>::new(), "the newer one is on its way");
    scene.carry_out(&newer, 3);
    assert_eq!(scene.commands(), Vec::<String>::new());
    assert_eq!(scene.group.links[1].native.as_str(), "done");
}

#[test]
fn a_merged_pull_request_of_reopened_work_is_as_close_as_it_can_be() {
    let pull = "github/pull_request/acme/web#3";
    let mut scene = Scene::new(policy(), &[("linear/issue/1", "In Review"), (pull, "open")]);
    scene.edit(pull, "merged", 10);
    assert_eq!(scene.status(), "done");
    scene.carry_out_all(11);
    scene.edit("linear/issue/1", "In Progress", 12);
    let place = scene.group.links.iter().position(|link| link.record.to_string() == pull).unwrap();
    assert_eq!(scene.group.step(place, &scene.policy), model::Step::AsClose);
    let told = scene.last.as_ref().unwrap().commands.iter().filter(|command| command.mode == model::CommandMode::Tell);
    assert_eq!(told.count(), 0, "a merge cannot be taken back");
}

#[test]
fn a_replayed_status_without_a_position_keeps_its_first_place() {
    // Given up at sequence 5 and replayed at 9: as good as the first time where nothing came meanwhile …
    let without = |native: &str| model::Observation { position: None, ..seen(TASK, native, 1, Origin::Other, 0) };
    let replayed = |group: model::Group, policy: &model::Policy| {
        let receipt = model::Receipt { first_sequence: Some(5), ..crate::scene::receipt(9, 0) };
        model::resolve(group, &without("in_progress"), receipt, policy)
    };
    let policy = policy();
    let start = |native| model::begin(&without(native), crate::scene::receipt(1, 0), &policy).unwrap().group;
    let alone = replayed(start("todo"), &policy);
    assert_eq!((alone.verdict, alone.group.item.status.as_str()), (Verdict::FastForward, "in_progress"));
    // … and overtaken where the record has shown something since.
    let since = model::resolve(start("todo"), &without("done"), crate::scene::receipt(7, 0), &policy).group;
    let late = replayed(since, &policy);
    assert_eq!((late.verdict, late.group.item.status.as_str()), (Verdict::Stale, "done"));
    assert_eq!(late.rows[0].kind, RowKind::Stale, "it is in the history");
}

/// A batch hands out the urgent first; of what has no position the later counts all the same.
#[test]
fn what_was_said_before_does_not_count_when_a_more_urgent_lane_brought_what_was_said_later() {
    let without = |native: &str| model::Observation { position: None, ..seen(TASK, native, 1, Origin::Other, 0) };
    let normal = |sequence| model::Receipt::new(model::Lane::Normal, sequence, model::Timestamp(0));
    let policy = policy();
    let start = || model::begin(&without("todo"), crate::scene::receipt(1, 0), &policy).unwrap().group;
    let done = model::resolve(start(), &without("done"), crate::scene::receipt(7, 0), &policy).group;
    let overtaken = model::resolve(done.clone(), &without("in_progress"), normal(6), &policy);
    assert_eq!((overtaken.verdict, overtaken.group.item.status.as_str()), (Verdict::Stale, "done"));
    assert_eq!(overtaken.rows[0].kind, RowKind::Stale, "it is in the history");
    let later = model::resolve(overtaken.group, &without("in_progress"), normal(8), &policy);
    assert_eq!(later.verdict, Verdict::FastForward);
    let given_again = model::Receipt { received_at: model::Timestamp(3_000), ..normal(6) };
    let again = model::resolve(done, &without("in_progress"), given_again, &policy);
    assert_eq!(again.verdict, Verdict::FastForward, "a stream that lost its end gives sequences once more");
    let unknown = model::resolve(start(), &without("gibberish"), crate::scene::receipt(7, 0), &policy);
    assert_eq!(unknown.verdict, Verdict::Unmapped);
    let honest = model::resolve(unknown.group, &without("in_progress"), normal(6), &policy);
    assert_eq!(honest.verdict, Verdict::FastForward, "what nothing came of voids nothing");
    let unknown = model::begin(&without("gibberish"), crate::scene::receipt(7, 0), &policy).unwrap();
    let honest = model::resolve(unknown.group, &without("in_progress"), normal(6), &policy);
    assert_eq!(honest.verdict, Verdict::FastForward, "nor where it was the first word");

    let mut scene = Scene::new(policy, &[(ISSUE, "Todo"), (TASK, "todo")]);
    // Long after the table's row was heard of.
    let force = model::Intent::Force(model::Status::new("canceled").unwrap());
    let word = model::Observation {
        intent: force,
        ..model::Observation { position: None, ..seen(ISSUE, "-", 1, Origin::Other, 600_000) }
    };
    scene.see(&word);
    let last = scene.group.links.iter().map(|link| link.said).max().unwrap();
    let just_before = model::Receipt { received_at: model::Timestamp(599_000), ..normal(last - 1) };
    let before = model::resolve(scene.group.clone(), &without("in_review"), just_before, &scene.policy);
    assert_eq!(
        (before.verdict, before.group.item.status.as_str()),
        (Verdict::Stale, "canceled"),
        "an operator's word, too"
    );
}

#[test]
fn a_sequence_that_a_stream_gives_once_more_is_news_and_not_a_redelivery() {
    let mut scene = three();
    let of_lane = |lane, sequence, at| Receipt::new(lane, sequence, Timestamp(at));
    let came = |sequence, at| of_lane(Lane::High, sequence, at);
    let mut take = |native: &str, position, receipt| {
        let seen = seen(ISSUE, native, position, Origin::Other, 10);
        let resolved = resolve(scene.group.clone(), &seen, receipt, &scene.policy);
        scene.group = resolved.group;
        resolved.verdict
    };
    assert_eq!(take("In Progress", 10, came(90, 50_000)), Verdict::FastForward);
    assert_eq!(take("Todo", 11, came(80, 52_000)), Verdict::Redelivered, "clocks differ by as much");
    assert_eq!(take("In Progress", 11, of_lane(Lane::Low, 95, 50_001)), Verdict::Agreed);
    // The server lost what had the sequences from 61 on, and was away for a while.
    assert_eq!(take("In Review", 12, came(61, 60_000)), Verdict::FastForward);
    assert_eq!(take("In Review", 12, came(61, 60_000)), Verdict::Redelivered, "it counts from there");
    assert_eq!(take("Done", 13, of_lane(Lane::Low, 62, 60_001)), Verdict::FastForward, "in each lane");
    assert_eq!(take("Todo", 14, came(63, 60_002)), Verdict::FastForward);
}

/// Its status was taken out of the lifecycle meanwhile.
#[test]
fn an_item_whose_status_its_lifecycle_knows_no_more_says_so_and_can_be_forced_out_of_it() {
    let mut scene = three();
    scene.edit(TASK, "in_review", 10);
    scene.group.item.status = Status::new("rolling_out").unwrap();
    scene.group.item.last_open = Some(Status::new("queued").unwrap());
    assert!((0..3).all(|place| scene.group.step(place, &scene.policy) == Step::Unmapped));
    assert_eq!(scene.group.wanted(0, &scene.policy), None);
    assert_eq!(scene.edit(TASK, "done", 11), Verdict::Invalid);
    assert_eq!(scene.status(), "rolling_out");
    assert_eq!(scene.say(TASK, Intent::Force(status("done"))), Verdict::Forced);
    assert_eq!((scene.status(), scene.commands().len()), ("done", 3));
    scene.carry_out_all(12);
    assert_eq!(scene.edit(BUG, "open", 13), Verdict::FastForward);
    assert_eq!(scene.status(), "todo", "what it was before it ended is no status any more");
}

#[test]
fn in_strict_mode_a_record_that_shows_what_no_mapping_knows_is_not_told_again_and_again() {
    let mut policy = policy();
    policy.strict = true;
    let mut scene = Scene::new(policy, &[(ISSUE, "Todo"), (TASK, "todo")]);
    scene.edit(TASK, "in_progress", 10);
    let told = scene.last.as_ref().unwrap().commands[0].clone();
    // What it shows came as a dead letter, and changed nothing.
    let superseded = crate::scene::reported(&told, 12, model::DeliveryOutcome::Superseded);
    let met = model::Report { native: model::Native::new("Parked").ok(), ..superseded };
    let resolved = model::report(scene.group.clone(), &met, crate::scene::receipt(99, 0), &scene.policy);
    assert_eq!(resolved.commands, []);
    let error = resolved.group.links[0].last_error.as_deref();
    assert_eq!(error, Some("it shows \"Parked\", which no mapping knows"));
    assert_eq!(resolved.group.step(0, &scene.policy), model::Step::Failed);
}
