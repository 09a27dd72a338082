use serde_json::{Value, json};

use super::*;

const ISSUE: &str = include_str!("../../fixtures/issues_closed.json");
const PULL: &str = include_str!("../../fixtures/pull_request_opened.json");
/// A second after both.
const SOON: i64 = 1_795_167_001_000;

fn body(text: &str, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut body: Value = serde_json::from_str(text).unwrap();
    change(&mut body);
    body.to_string().into_bytes()
}

fn decoded(event: &str, body: &[u8]) -> Decoded {
    let terms = Terms { repositories: vec!["Acme/Web".to_owned()], ..Terms::default() };
    webhook(event, body, &terms, Some("lockstep[bot]"), SOON).unwrap()
}

fn seen(event: &str, body: &[u8]) -> Observation {
    match decoded(event, body) {
        Decoded::Observations(mut all) => all.remove(0),
        other => panic!("{other:?}"),
    }
}

fn issue(change: impl FnOnce(&mut Value)) -> Observation {
    seen("issues", &body(ISSUE, |body| change(&mut body["issue"])))
}

fn pull(change: impl FnOnce(&mut Value)) -> Decoded {
    decoded("pull_request", &body(PULL, change))
}

#[test]
fn a_closed_issue_tells_how_it_was_closed_when_and_by_whom() {
    let seen = seen("issues", ISSUE.as_bytes());
    assert_eq!(seen.record.to_string(), "github/issue/acme/web#7");
    assert_eq!(seen.native.as_str(), "closed/not_planned");
    assert_eq!(seen.position, Some(Position(1_795_167_000_000)));
    assert_eq!(seen.occurred_at, Timestamp(1_795_167_000_000));
    assert_eq!(seen.keys, [Key::new("acme/web#7").unwrap()]);
    assert_eq!(seen.mentions, ["ENG-12", "OPS-3"].map(|key| Key::new(key).unwrap()));
    assert_eq!(seen.actor, Some(Actor { name: "ada".to_owned(), id: Some("1001".to_owned()), automation: false }));
    assert_eq!(seen.origin, Origin::Other);
}

#[test]
fn an_issue_that_is_not_there_any_more_says_so() {
    for action in ["deleted", "transferred"] {
        let gone = seen("issues", &body(ISSUE, |body| body["action"] = json!(action)));
        assert_eq!((gone.record.to_string().as_str(), &gone.native), ("github/issue/acme/web#7", &Native::deleted()));
        assert!(gone.id.ends_with("=(deleted)"), "{}", gone.id);
    }
}

#[test]
fn an_issue_shows_its_state_and_its_reason() {
    let shows = |state: &str, reason: Value| {
        issue(|issue| {
            issue["state"] = json!(state);
            issue["state_reason"] = reason;
        })
        .native
        .to_string()
    };
    assert_eq!(shows("closed", json!("completed")), "closed/completed");
    assert_eq!(shows("closed", Value::Null), "closed/completed", "as older servers say it");
    assert_eq!(shows("closed", json!("duplicate")), "closed/duplicate");
    assert_eq!(shows("closed", json!("a_new_reason")), "closed/a_new_reason", "unknown, and not guessed");
    assert_eq!(shows("open", Value::Null), "open");
    assert_eq!(shows("open", json!("reopened")), "open");
}

#[test]
fn a_sender_is_us_only_where_we_are_a_bot() {
    let by = |login: &str| body(ISSUE, |body| body["sender"] = json!({"login": login, "id": 5, "type": "Bot"}));
    let own = seen("issues", &by("lockstep[bot]"));
    assert_eq!((own.origin, own.actor.unwrap().automation), (Origin::Own(None), true));
    assert_eq!(seen("issues", &by("another[bot]")).origin, Origin::Other);
    let by_person = webhook("issues", &by("lockstep[bot]"), &Terms::default(), None, SOON).unwrap();
    assert!(matches!(by_person, Decoded::Observations(seen) if seen[0].origin == Origin::Unknown));
}

#[test]
fn who_edits_the_title_says_nothing_of_whose_the_status_is() {
    assert_eq!(seen("issues", &body(ISSUE, |body| body["action"] = json!("edited"))).origin, Origin::Unknown);
}

#[test]
fn a_new_pull_request_mentions_what_its_branch_title_and_body_do() {
    let Decoded::Observations(seen) = pull(|_| {}) else { panic!() };
    assert_eq!(seen[0].record.to_string(), "github/pull_request/acme/web#8");
    assert_eq!(seen[0].native.as_str(), "draft");
    assert_eq!(seen[0].mentions, ["ENG-12", "OPS-3", "acme/web#7"].map(|key| Key::new(key).unwrap()));
    assert_eq!(seen[0].keys, [Key::new("acme/web#8").unwrap()]);
}

#[test]
fn a_closed_pull_request_was_merged_or_not() {
    let ended = |merged_at: Value| {
        let decoded = pull(|body| {
            body["action"] = json!("closed");
            body["pull_request"]["state"] = json!("closed");
            body["pull_request"]["draft"] = json!(false);
            body["pull_request"]["merged_at"] = merged_at;
        });
        match decoded {
            Decoded::Observations(seen) => seen[0].native.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ended(json!("2026-11-20T09:30:00Z")), "merged");
    assert_eq!(ended(Value::Null), "closed");
}

#[test]
fn an_open_pull_request_is_read_where_its_reviews_matter() {
    let ready = |action: &str| {
        pull(|body| {
            body["action"] = json!(action);
            body["pull_request"]["draft"] = json!(false);
        })
    };
    assert!(matches!(ready("synchronize"), Decoded::Incomplete(records) if records[0].id() == "acme/web#8"));
    assert!(matches!(ready("ready_for_review"), Decoded::Observations(seen) if seen[0].native.as_str() == "open"));
    assert!(matches!(ready("enqueued"), Decoded::Observations(seen) if seen[0].native.as_str() == "queued"));
    assert!(matches!(ready("dequeued"), Decoded::Incomplete(_)));
    assert!(matches!(ready("labeled"), Decoded::Ignored("no_status")));
    let review = decoded("pull_request_review", PULL.as_bytes());
    assert!(matches!(review, Decoded::Incomplete(records) if records[0].id() == "acme/web#8"));
}

#[test]
fn what_is_no_status_of_a_counted_record_is_ignored_by_name() {
    let ignored = |event: &str, body: &[u8]| match decoded(event, body) {
        Decoded::Ignored(reason) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(ignored("ping", b"{}"), "ping");
    assert_eq!(ignored("star", b"{}"), "other_event");
}

#[test]
fn a_record_of_a_repository_that_does_not_count_is_gone() {
    for (event, shown, record) in
        [("issues", ISSUE, "issue/acme/api#7"), ("pull_request", PULL, "pull_request/acme/api#8")]
    {
        let elsewhere = body(shown, |body| body["repository"]["full_name"] = json!("acme/api"));
        let Decoded::Observations(seen) = decoded(event, &elsewhere) else { panic!("{event}") };
        assert_eq!(seen[0].record.to_string(), format!("github/{record}"));
        assert!(seen[0].native.is_deleted() && seen[0].position.is_some() && seen[0].keys.is_empty());
    }
}

#[test]
fn a_body_that_cannot_be_read_is_refused_and_not_guessed() {
    for bad in [b"no".to_vec(), b"{}".to_vec(), body(ISSUE, |body| body["issue"]["updated_at"] = json!("yesterday"))] {
        let refused = webhook("issues", &bad, &Terms::default(), None, SOON);
        assert!(matches!(refused, Err(Failure::Refused { code: "malformed", .. })), "{refused:?}");
    }
}

#[test]
fn a_late_webhook_tells_who_edited_what_and_does_not_decide() {
    let late = |body: &[u8]| webhook("issues", body, &Terms::default(), Some("lockstep[bot]"), SOON + 10_000).unwrap();
    let Decoded::Late(seen) = late(ISSUE.as_bytes()) else { panic!() };
    assert_eq!((seen[0].record.id(), seen[0].native.as_str()), ("acme/web#7", "closed/not_planned"));
    assert_eq!(seen[0].occurred_at, Timestamp(1_795_167_000_000));
    assert_eq!((seen[0].actor.as_ref().unwrap().name.as_str(), seen[0].origin), ("ada", Origin::Other));
    for nobodys_edit in [
        body(ISSUE, |body| body["action"] = json!("labeled")),
        body(ISSUE, |body| body["sender"] = json!({"login": "lockstep[bot]", "type": "Bot"})),
    ] {
        let late = late(&nobodys_edit);
        assert!(matches!(late, Decoded::Incomplete(records) if records[0].id() == "acme/web#7"));
    }
}

#[test]
fn a_repository_that_was_renamed_counts_under_the_name_that_is_configured() {
    let mut terms = Terms { repositories: vec!["acme/old".to_owned()], ..Terms::default() };
    let decoded = |terms: &Terms, event, body: &[u8]| webhook(event, body, terms, None, SOON).unwrap();
    let elsewhere = decoded(&terms, "issues", ISSUE.as_bytes());
    assert!(matches!(elsewhere, Decoded::Observations(seen) if seen[0].native.is_deleted()));
    assert!(terms.learn_name("acme/old", "Acme/web"));
    assert!(!terms.learn_name("acme/old", "Acme/web"), "it is told once");
    let Decoded::Observations(seen) = decoded(&terms, "issues", ISSUE.as_bytes()) else { panic!() };
    assert_eq!(seen[0].record.to_string(), "github/issue/acme/old#7");
    assert_eq!(seen[0].keys, [Key::new("acme/old#7").unwrap()]);
    assert!(seen[0].id.contains("acme/old#7"), "{}", seen[0].id);
    let records = decoded(&terms, "pull_request_review", PULL.as_bytes());
    assert!(matches!(records, Decoded::Incomplete(records) if records[0].id() == "acme/old#8"));
    // Another repository took the old name: the one that was renamed has nothing to do with it any more.
    assert!(!terms.learn_name("acme/old", "acme/old"));
    let elsewhere = decoded(&terms, "issues", ISSUE.as_bytes());
    assert!(matches!(elsewhere, Decoded::Observations(seen) if seen[0].native.is_deleted()));
}

#[test]
fn a_push_says_what_the_head_was_before_and_is_looked_at() {
    let push = |action: &str, before: Value| {
        body(PULL, |body| {
            body["action"] = json!(action);
            body["before"] = before;
            body["pull_request"]["draft"] = json!(true);
        })
    };
    let told = |body: &[u8]| pushed("pull_request", body, &Terms::default());
    let (record, before) = told(&push("synchronize", json!("0aF9"))).unwrap();
    assert_eq!(before, "0aF9");
    assert_eq!(decoded("pull_request", &push("synchronize", json!("0aF9"))), Decoded::Incomplete(vec![record]));
    assert_eq!(told(&push("edited", json!("0aF9"))), None);
    for bad in [json!("../x"), json!("a".repeat(65)), Value::Null] {
        assert_eq!(told(&push("synchronize", bad)), None);
    }
    assert_eq!(pushed("issues", &push("synchronize", json!("0aF9")), &Terms::default()), None);
}
