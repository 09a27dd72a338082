use super::*;
use crate::Told;

const OWN: &str = "linear/issue/a";
const OTHER: &str = "github/issue/acme/web#7";
const AGENT: &str = "agentapi/agent/a";

fn spread() -> Spread {
    let (record, id, status, lane) = (OWN.into(), "id".into(), "Done".into(), "normal".into());
    Spread::new(Stored { record, id, status, lane, sequence: 7, from: None })
}

fn change() -> Change {
    let records = vec![OWN.into(), OTHER.into()];
    Change {
        cause: 7,
        version: 2,
        item: "i1".into(),
        record: OWN.into(),
        records,
        reason: "edited".into(),
        ..Change::default()
    }
}

fn told<T>(event: T) -> Told<T> {
    Told { position: "p".into(), traceparent: None, event: Box::new(event) }
}

fn changed(change: Change) -> Message {
    Message::StatusChanged(told(change))
}

fn delivery(record: &str, version: u64, outcome: &str, reason: &str) -> Message {
    let (record, item, outcome, reason) = (record.into(), "i1".into(), outcome.into(), reason.into());
    Message::Delivery(told(Delivery { record, item, version, outcome, reason, ..Delivery::default() }))
}

fn item(version: u64, taken: u64, steps: &[(&str, &str)]) -> Item {
    let record = |(record, step): &(&str, &str)| Record {
        record: (*record).into(),
        keys: Vec::new(),
        step: (*step).into(),
        native: if *record == OWN { "Done".into() } else { "closed".into() },
        want: Some("closed".into()),
        url: None,
        agreed: 0,
        last_error: Some("no rights".into()),
        taken: [("normal".to_owned(), taken)].into(),
    };
    Item {
        id: "i1".into(),
        key: None,
        title: None,
        lifecycle: "work".into(),
        status: "done".into(),
        status_since: 0,
        version,
        held: None,
        in_step: false,
        records: steps.iter().map(record).collect(),
    }
}

/// What became of the status, and of each record.
fn outcomes(spread: &Spread) -> Vec<Outcome> {
    let told = spread.outcome();
    [told.outcome].into_iter().chain(told.records.iter().map(|record| record.outcome)).collect()
}

use Outcome::{Applied, Failed, NotTold, Overtaken, Pending, Rejected, Superseded, Unchanged};

#[test]
fn a_status_is_propagated_when_every_other_records_system_has_confirmed() {
    let mut one = spread();
    one.hear(&changed(Change { cause: 6, ..change() }));
    assert_eq!(outcomes(&one), [Pending]);
    one.hear(&changed(change()));
    assert_eq!((outcomes(&one), one.is_settled()), (vec![Applied, Pending], false));
    one.hear(&delivery(OTHER, 1, "applied", ""));
    assert!(!one.is_settled(), "it is of an earlier version");
    one.hear(&delivery(OTHER, 2, "applied", ""));
    assert_eq!((outcomes(&one), one.is_settled(), one.outcome().is_complete()), (vec![Applied, Applied], true, true));
}

#[test]
fn each_record_has_its_own_outcome_and_says_why() {
    let all = [("unchanged", Unchanged), ("superseded", Superseded), ("rejected", Rejected), ("failed", Failed)];
    for (word, outcome) in all {
        let mut one = spread();
        one.hear(&changed(change()));
        one.hear(&delivery(OTHER, 2, word, "why"));
        let RecordOutcome { outcome: said, reason, .. } = &one.outcome().records[0];
        assert_eq!((*said, reason.as_str(), one.outcome().is_complete()), (outcome, "why", outcome == Unchanged));
        assert_eq!(outcome.to_string(), word);
    }
}

#[test]
fn an_overtaken_command_is_no_outcome_until_a_newer_version_comes() {
    let mut one = spread();
    one.hear(&changed(change()));
    one.hear(&delivery(OTHER, 2, "overtaken", "newer_command"));
    assert!(!one.is_settled(), "a newer command of the same version may follow");
    one.hear(&delivery(OTHER, 3, "overtaken", "newer_command"));
    assert!(!one.is_settled(), "nothing came yet");
    one.hear(&delivery(OTHER, 4, "applied", ""));
    assert_eq!(outcomes(&one), [Applied, Overtaken]);
    assert_eq!(one.outcome().records[0].reason, "version 4 of the item, which is newer, came first");
    assert!(one.is_settled() && !one.outcome().is_complete());
}

#[test]
fn where_a_newer_version_did_not_come_either_its_outcome_counts() {
    for (word, outcome) in [("superseded", Superseded), ("rejected", Rejected), ("failed", Failed)] {
        let mut one = spread();
        one.hear(&changed(change()));
        one.hear(&delivery(OTHER, 3, word, "no rights"));
        assert_eq!((outcomes(&one), one.is_settled()), (vec![Applied, outcome], true));
        let reason = "version 3 of the item, which is newer, was to be told instead: no rights";
        assert_eq!(one.outcome().records[0].reason, reason);
        one.hear(&delivery(OTHER, 2, "applied", ""));
        assert_eq!(outcomes(&one), [Applied, Applied], "its own system's word comes first");
    }
    let mut one = spread();
    one.hear(&changed(change()));
    one.stands(&item(2, 7, &[(OWN, "in_step"), (OTHER, "as_close")]), &[]);
    one.hear(&delivery(OTHER, 3, "failed", "no rights"));
    assert_eq!(outcomes(&one), [Applied, NotTold], "that was not of ours");
}

#[test]
fn what_came_of_a_write_stays_whatever_comes_of_later_ones() {
    for (word, outcome) in [("applied", Applied), ("rejected", Rejected), ("failed", Failed)] {
        let mut one = spread();
        one.hear(&changed(change()));
        one.hear(&delivery(OTHER, 2, word, ""));
        one.hear(&delivery(OTHER, 3, "applied", ""));
        assert_eq!(outcomes(&one), [Applied, outcome]);
    }
}

#[test]
fn a_delivery_that_comes_before_the_change_counts() {
    let mut one = spread();
    one.hear(&delivery(OTHER, 1, "failed", "of an earlier version"));
    one.hear(&delivery(OTHER, 2, "applied", ""));
    one.hear(&changed(change()));
    assert_eq!(outcomes(&one), [Applied, Applied]);
}

#[test]
fn a_status_whose_turn_has_not_come_is_pending_whatever_the_item_shows() {
    let mut one = spread();
    one.stands(&item(2, 6, &[(OWN, "in_step"), (OTHER, "in_step")]), &[]);
    assert_eq!(outcomes(&one), [Pending]);
}

#[test]
fn a_status_that_changes_nothing_is_settled_by_the_item_after_a_look_for_deliveries_on_their_way() {
    let mut one = spread();
    let stands = item(2, 7, &[(OWN, "in_step"), (OTHER, "in_step"), (AGENT, "read_only")]);
    one.stands(&stands, &[]);
    assert_eq!(outcomes(&one), [Unchanged, Pending, NotTold]);
    one.stands(&stands, &[]);
    assert_eq!((outcomes(&one), one.outcome().is_complete()), (vec![Unchanged, Unchanged, NotTold], true));
}

#[test]
fn a_record_that_shows_a_newer_version_and_of_which_no_delivery_told_was_overtaken() {
    let mut one = spread();
    one.hear(&changed(change()));
    let stands = item(3, 7, &[(OWN, "in_step"), (OTHER, "in_step")]);
    one.stands(&stands, &[]);
    assert_eq!(outcomes(&one), [Applied, Pending], "its delivery may be on its way");
    one.stands(&stands, &[]);
    assert_eq!(outcomes(&one), [Applied, Overtaken]);
}

#[test]
fn the_item_tells_of_records_that_can_be_told_nothing_and_of_those_that_failed() {
    let mut one = spread();
    one.hear(&changed(change()));
    one.stands(&item(2, 7, &[(OWN, "in_step"), (OTHER, "failed"), (AGENT, "unmapped")]), &[]);
    let records = one.outcome().records;
    let said: Vec<_> = records.iter().map(|record| (record.outcome, record.reason.as_str())).collect();
    assert_eq!(said, [(Failed, "no rights"), (NotTold, "unmapped")]);
}

#[test]
fn a_status_that_lost_is_superseded_and_one_that_waits_for_a_person_is_pending() {
    let mut lost = spread();
    lost.hear(&changed(Change { record: OTHER.into(), reason: "priority".into(), ..change() }));
    assert_eq!(
        (lost.outcome().outcome, lost.outcome().reason.as_str()),
        (Superseded, "github/issue/acme/web#7 wins: priority")
    );
    let mut held = spread();
    held.hear(&Message::ConflictOpened(told(Change { conflict: "c1".into(), ..change() })));
    assert_eq!((held.outcome().outcome, held.outcome().reason.as_str()), (Pending, "held: conflict c1"));
    let mut unmapped = spread();
    unmapped.stands(&item(2, 7, &[(OWN, "unmapped")]), &[]);
    assert_eq!(
        (unmapped.outcome().outcome, unmapped.outcome().reason.as_str()),
        (Rejected, "no mapping knows \"Done\"")
    );
    let mut tied = spread();
    tied.stands(&item(2, 7, &[(OWN, "read_only")]), &[]);
    let told = tied.outcome();
    assert_eq!(
        (told.outcome, told.reason.as_str(), told.is_complete()),
        (Superseded, "its item stays what it is, which would be \"closed\" here", false)
    );
}

fn line(kind: &str, reason: &str) -> HistoryLine {
    let (kind, reason, record, native) = (kind.into(), reason.into(), OWN.into(), "Dome".into());
    HistoryLine { kind, reason, record, native, version: 1, conflict: Some("c1".into()), cause: Cause { sequence: 7 } }
}

#[test]
fn what_changed_nothing_is_explained_by_the_line_that_it_left_in_the_history() {
    let explained = |own: HistoryLine| {
        let mut one = spread();
        let stands = item(2, 7, &[(OWN, "in_step")]);
        assert!(one.is_unexplained(&stands));
        one.stands(&stands, &[line("linked", ""), HistoryLine { record: OTHER.into(), ..line("lost", "") }, own]);
        let told = one.outcome();
        (told.outcome, told.reason, told.version.unwrap())
    };
    let said = |outcome, reason: &str, version| (outcome, reason.to_owned(), version);
    assert_eq!(explained(line("unmapped", "unmapped_status")), said(Rejected, "no mapping knows \"Dome\"", 2));
    assert_eq!(explained(line("refused", "irregular_transition")), said(Rejected, "irregular_transition", 2));
    assert_eq!(explained(line("stale", "older_position")), said(Superseded, "older_position", 2));
    assert_eq!(explained(line("ignored", "already_there")), said(Unchanged, "already_there", 2));
    assert_eq!(explained(line("candidate", "")), said(Pending, "held: conflict c1", 2));
    assert_eq!(explained(line("changed", "edited")), said(Applied, "", 1));
    let other = HistoryLine { cause: Cause { sequence: 6 }, ..line("changed", "edited") };
    assert_eq!(explained(other), said(Unchanged, "", 2), "a line of something else explains nothing");
}

#[test]
fn a_record_that_was_asked_for_it_is_told_like_the_others() {
    let mut one = spread();
    one.hear(&changed(Change { reason: "asked".into(), ..change() }));
    one.hear(&delivery(OTHER, 2, "applied", ""));
    assert_eq!(
        (outcomes(&one), one.is_settled()),
        (vec![Applied, Pending, Applied], false),
        "its own system has not confirmed"
    );
    one.hear(&delivery(OWN, 2, "rejected", "no rights"));
    assert_eq!((outcomes(&one), one.is_settled()), (vec![Applied, Rejected, Applied], true));
    let mut missed = spread();
    missed.stands(&item(2, 7, &[(OWN, "pending")]), &[line("changed", "asked")]);
    assert_eq!(outcomes(&missed), [Applied, Pending]);
}

#[test]
fn a_first_status_that_no_mapping_knows_makes_an_item_and_is_refused_all_the_same() {
    for (step, outcome) in [("in_step", Applied), ("unmapped", Rejected)] {
        let mut one = spread();
        one.hear(&changed(Change { reason: "first_seen".into(), records: vec![OWN.into()], ..change() }));
        assert!(!one.is_settled());
        one.stands(&item(2, 7, &[(OWN, step)]), &[line("changed", "first_seen")]);
        assert_eq!((outcomes(&one), one.is_settled()), (vec![outcome], true));
    }
}

#[test]
fn a_record_that_nobody_has_seen_is_said_to_be_that() {
    let mut one = spread();
    one.unseen();
    assert!(one.outcome().reason.contains("no record of this name") && one.outcome().outcome == Pending);
}
