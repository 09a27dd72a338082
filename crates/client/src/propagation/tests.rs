use super::*;
use crate::{Record, Told};

const ORIGIN: &str = "acme/job/1";

fn accepted() -> Propagation {
    Propagation::of(Accepted { id: "id".into(), record: ORIGIN.into(), sequence: 9 })
}

fn changed(cause: u64, version: u64, others: &[&str]) -> Message {
    let records = others.iter().chain(&[ORIGIN]).map(|record| (*record).to_owned()).collect();
    told(Change { cause, version, item: "i".into(), records, ..Change::default() })
}

fn told(change: Change) -> Message {
    Message::StatusChanged(Told { event: Box::new(change), ..Told::default() })
}

fn delivery(record: &str, version: u64, outcome: &str, reason: &str) -> Message {
    let event = Delivery {
        record: record.into(),
        item: "i".into(),
        version,
        outcome: outcome.into(),
        reason: reason.into(),
        ..Delivery::default()
    };
    Message::Delivery(Told { event: Box::new(event), ..Told::default() })
}

fn item(version: u64, records: &[(&str, &str, &str)]) -> Item {
    let record = |(record, step, native): &(&str, &str, &str)| Record {
        record: (*record).into(),
        step: (*step).into(),
        native: (*native).into(),
        want: None,
        url: None,
        agreed: 0,
        last_error: None,
    };
    Item {
        id: "i".into(),
        key: None,
        title: None,
        lifecycle: "work".into(),
        status: "done".into(),
        status_since: 0,
        version,
        held: None,
        in_step: false,
        records: records.iter().map(record).collect(),
    }
}

fn outcomes(propagation: &Propagation) -> Vec<(&str, Outcome)> {
    propagation.report().records.iter().map(|record| (record.record.as_str(), record.outcome)).collect()
}

#[test]
fn each_record_is_reported_by_what_its_own_write_came_to() {
    let mut propagation = accepted();
    propagation.hear(&changed(8, 1, &["other/record/1"]));
    assert_eq!(propagation.report().version, None, "it is the change of another status");
    propagation.hear(&changed(9, 2, &["a/a/a", "b/b/b", "c/c/c", "d/d/d"]));
    propagation.hear(&delivery("a/a/a", 2, "applied", ""));
    propagation.hear(&delivery("b/b/b", 2, "rejected", "not_allowed"));
    propagation.hear(&delivery("c/c/c", 2, "superseded", "edited"));
    assert!(!propagation.report().is_done());
    assert_eq!(
        outcomes(&propagation),
        [
            ("a/a/a", Outcome::Applied),
            ("b/b/b", Outcome::Rejected),
            ("c/c/c", Outcome::Superseded),
            ("d/d/d", Outcome::Pending)
        ]
    );
    assert_eq!(propagation.report().records[1].reason, "not_allowed");
    propagation.hear(&delivery("d/d/d", 2, "a_newer_word", ""));
    assert!(propagation.report().is_done() && !propagation.report().is_propagated());
    assert_eq!(outcomes(&propagation)[3].1, Outcome::Failed);
}

#[test]
fn a_delivery_that_is_heard_before_its_change_counts() {
    let mut propagation = accepted();
    propagation.hear(&delivery("a/a/a", 1, "failed", "of an earlier version"));
    propagation.hear(&delivery("a/a/a", 2, "applied", ""));
    propagation.hear(&changed(9, 2, &["a/a/a"]));
    assert_eq!(outcomes(&propagation), [("a/a/a", Outcome::Applied)]);
    assert!(propagation.report().is_propagated());
}

#[test]
fn a_record_that_is_told_of_a_later_version_first_was_overtaken() {
    let mut propagation = accepted();
    propagation.hear(&changed(9, 2, &["a/a/a", "b/b/b"]));
    propagation.hear(&delivery("b/b/b", 2, "applied", ""));
    propagation.hear(&delivery("a/a/a", 3, "applied", ""));
    propagation.hear(&delivery("b/b/b", 3, "applied", ""));
    assert_eq!(outcomes(&propagation), [("a/a/a", Outcome::Overtaken), ("b/b/b", Outcome::Applied)]);
    assert!(!propagation.report().is_propagated());
}

#[test]
fn records_that_get_no_write_are_told_by_how_the_item_stands() {
    let mut propagation = accepted();
    let before = [("same/a/a", "in_step", "open"), ("moved/a/a", "in_step", "todo")];
    let snapshot = Snapshot { items: vec![item(1, &before)], ..Snapshot::default() };
    propagation.hear(&Message::Snapshot(snapshot));
    propagation.hear(&changed(9, 2, &["same/a/a", "moved/a/a", "agent/a/a", "late/a/a"]));
    let now = [
        ("same/a/a", "in_step", "open"),
        ("moved/a/a", "in_step", "done"),
        ("agent/a/a", "read_only", "stable"),
        ("late/a/a", "pending", "todo"),
    ];
    propagation.stands(&item(1, &now), false);
    assert!(
        outcomes(&propagation).iter().all(|(_, outcome)| *outcome == Outcome::Pending),
        "it is how it stood before"
    );
    propagation.stands(&item(2, &now), false);
    assert_eq!(
        outcomes(&propagation).into_iter().map(|(_, outcome)| outcome).collect::<Vec<_>>(),
        [Outcome::Unchanged, Outcome::Applied, Outcome::NotTold, Outcome::Pending]
    );
    assert_eq!(propagation.report().records[2].reason, "read_only");
    propagation.hear(&delivery("late/a/a", 2, "applied", ""));
    assert!(propagation.report().is_propagated() && propagation.report().is_done());
}

#[test]
fn a_write_that_failed_waits_for_its_delivery_which_says_how() {
    let mut propagation = accepted();
    propagation.hear(&changed(9, 2, &["a/a/a", "b/b/b"]));
    let now = item(2, &[("a/a/a", "failed", "todo"), ("b/b/b", "failed", "todo")]);
    propagation.stands(&now, false);
    propagation.hear(&delivery("a/a/a", 2, "rejected", "not_allowed"));
    assert_eq!(outcomes(&propagation), [("a/a/a", Outcome::Rejected), ("b/b/b", Outcome::Pending)]);
    propagation.stands(&now, true);
    assert_eq!(outcomes(&propagation), [("a/a/a", Outcome::Rejected), ("b/b/b", Outcome::Failed)]);
}

#[test]
fn a_status_that_changes_nothing_is_done_and_not_propagated() {
    let mut propagation = accepted();
    propagation.changed_nothing("stale");
    assert!(propagation.report().is_done() && !propagation.report().is_propagated());
    assert_eq!(propagation.report().no_change.as_deref(), Some("stale"));
}

#[test]
fn a_record_that_was_asked_for_it_is_told_like_the_others() {
    let mut propagation = accepted();
    let records = vec![ORIGIN.to_owned(), "a/a/a".into()];
    let asked = Change { cause: 9, version: 2, item: "i".into(), records, reason: ASKED.into(), ..Change::default() };
    propagation.hear(&told(asked));
    propagation.hear(&delivery("a/a/a", 2, "applied", ""));
    assert!(!propagation.report().is_done(), "its own system has not confirmed");
    propagation.hear(&delivery(ORIGIN, 2, "applied", ""));
    assert!(propagation.report().is_propagated());
}

#[test]
fn a_first_status_that_no_mapping_knows_is_not_propagated() {
    for (step, is_known) in [("in_step", true), (UNMAPPED, false)] {
        let mut propagation = accepted();
        let (records, reason) = (vec![ORIGIN.to_owned()], FIRST_SEEN.to_owned());
        propagation.hear(&told(Change {
            cause: 9,
            version: 1,
            item: "i".into(),
            records,
            reason,
            ..Change::default()
        }));
        propagation.stands(&item(1, &[(ORIGIN, step, "flying")]), false);
        assert_eq!((propagation.report().is_propagated(), propagation.report().is_done()), (is_known, true));
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_waited_for_until_the_deadline() {
    // Connections are taken by the system, and nobody answers on them.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let (status, deadline) = (Status::new("ci/build/1", "done"), Duration::from_millis(100));
    let told = tokio::time::timeout(Duration::from_secs(5), client.propagate(&status, deadline)).await;
    let error = told.expect("it went on after its deadline").unwrap_err();
    assert!(error.to_string().contains("the status was not sent"), "{error}");
}
