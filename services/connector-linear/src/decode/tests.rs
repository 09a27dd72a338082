use model::Word;

use super::*;
use crate::scope::Named;
use crate::{answer, vocabulary};

const UPDATE: &str = include_str!("../../fixtures/issue_update.json");
const ADA: &str = "8d7f2b1c-0000-4000-8000-000000000001";
const APP: &str = "8d7f2b1c-0000-4000-8000-0000000000ff";

#[expect(clippy::unnecessary_wraps, reason = "a team whose words are known")]
fn words(_: &str, native: &Native) -> Option<Vocabulary> {
    Some(Vocabulary([Word { native: native.clone(), class: "started".into() }].into()))
}

fn body(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut body: Value = serde_json::from_str(UPDATE).unwrap();
    change(&mut body);
    body.to_string().into_bytes()
}

fn all() -> Scope {
    Scope::new(&[])
}

/// Of a workspace where the team of that key was found.
fn only(key: &str) -> Scope {
    let mut scope = Scope::new(&[key.to_owned()]);
    scope.found(&[Named { id: format!("the id of {key}"), key: key.to_owned() }], true);
    scope
}

fn app() -> Us {
    Us { ids: vec![APP.to_owned()], client_known: true }
}

fn seen(body: &[u8], us: &Us) -> Observation {
    match webhook(body, us, &all(), words).unwrap() {
        Decoded::Observations(mut all) => all.remove(0),
        other => panic!("{other:?}"),
    }
}

fn ignored(change: impl FnOnce(&mut Value)) -> &'static str {
    match webhook(&body(change), &app(), &only("ENG"), words).unwrap() {
        Decoded::Ignored(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_webhook_tells_what_the_issue_shows_since_when_and_by_whom() {
    let seen = seen(UPDATE.as_bytes(), &app());
    assert_eq!(seen.record.to_string(), "linear/issue/8d7f2b1c-0000-4000-8000-00000000000c");
    assert_eq!(seen.native.as_str(), "In Review");
    assert_eq!(seen.occurred_at, Timestamp(1_795_167_000_125));
    assert_eq!(seen.position, Some(Position(1_795_167_000_125)));
    assert_eq!(seen.keys, ["ENG-12", "OPS-3"].map(|key| Key::new(key).unwrap()));
    assert_eq!(seen.title.as_deref(), Some("Sign in with a passkey"));
    assert_eq!(seen.actor, Some(Actor { name: "Ada".to_owned(), id: Some(ADA.to_owned()), automation: false }));
    assert_eq!(seen.source, Source::Webhook);
    assert!(seen.vocabulary.is_some());
}

#[test]
fn an_issue_that_was_moved_to_the_trash_says_so_without_its_teams_words() {
    let removed = body(|body| body["action"] = json!("remove"));
    let Decoded::Observations(seen) = webhook(&removed, &app(), &all(), |_, _| None).unwrap() else { panic!() };
    assert_eq!((seen[0].native.clone(), seen[0].position), (Native::deleted(), Some(Position(1_795_167_000_125))));
    assert_eq!(seen[0].actor.as_ref().unwrap().name, "Ada");
}

#[test]
fn of_an_issue_that_was_removed_only_its_id_and_a_time_are_needed() {
    let position = |rest: Value| {
        let mut removed = json!({"action": "remove", "type": "Issue", "data": {"id": "an-id"}});
        removed.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let seen = seen(removed.to_string().as_bytes(), &app());
        assert_eq!((seen.record.id(), seen.native), ("an-id", Native::deleted()));
        seen.position.unwrap().0
    };
    let (sent, done) = (json!(1_795_167_000_999_u64), json!("2026-11-20T09:30:00.500Z"));
    assert_eq!(position(json!({"webhookTimestamp": sent})), 1_795_167_000_999);
    assert_eq!(position(json!({"webhookTimestamp": sent, "createdAt": done})), 1_795_167_000_500);
    let data = json!({"id": "an-id", "updatedAt": "2026-11-20T09:30:00.125Z", "team": null, "state": null});
    assert_eq!(position(json!({"webhookTimestamp": sent, "createdAt": done, "data": data})), 1_795_167_000_125);
    let timeless = br#"{"action": "remove", "type": "Issue", "data": {"id": "an-id"}}"#;
    assert!(matches!(webhook(timeless, &app(), &all(), words), Err(Failure::Refused { code: "malformed", .. })));
}

#[test]
fn a_team_that_is_told_of_by_its_id_alone_counts_by_the_identifier() {
    let without = body(|body| body["data"]["team"] = Value::Null);
    let told = |team: &str| match webhook(&without, &app(), &only(team), words).unwrap() {
        Decoded::Observations(mut all) => all.remove(0),
        other => panic!("{other:?}"),
    };
    assert_eq!(told("eng").native.as_str(), "In Review");
    assert!(told("OPS").native.is_deleted());
}

#[test]
fn an_issue_of_another_team_is_not_gone_while_it_may_be_of_one_that_counts() {
    let mut scope = Scope::new(&["CORE".to_owned()]);
    let decoded = webhook(UPDATE.as_bytes(), &app(), &scope, words).unwrap();
    assert!(
        matches!(decoded, Decoded::Incomplete(records) if records.len() == 1),
        "whoever reads it asks for the teams"
    );
    scope.found(&[], true);
    let decoded = webhook(UPDATE.as_bytes(), &app(), &scope, words).unwrap();
    assert!(matches!(decoded, Decoded::Ignored("team_missing")), "{decoded:?}");
}

#[test]
fn an_issue_of_a_team_that_does_not_count_is_gone_until_it_is_moved_back() {
    let teams = only("ENG");
    let told = |body: &[u8]| match webhook(body, &app(), &teams, words).unwrap() {
        Decoded::Observations(mut all) => all.remove(0),
        other => panic!("{other:?}"),
    };
    let elsewhere = told(&body(|body| body["data"]["team"]["key"] = json!("OPS")));
    assert_eq!((elsewhere.native, elsewhere.position), (Native::deleted(), Some(Position(1_795_167_000_125))));
    assert_eq!((elsewhere.origin, elsewhere.vocabulary), (Origin::Unknown, None));
    assert_eq!(elsewhere.actor.unwrap().name, "Ada");
    assert_eq!(told(UPDATE.as_bytes()).native.as_str(), "In Review");
}

#[test]
fn the_same_edit_has_the_same_id_by_webhook_and_by_question() {
    let answered = include_bytes!("../../fixtures/issue.json");
    let data = answer::data(http::StatusCode::OK, answered).unwrap();
    let issue: Issue = serde_json::from_value(data["issue"].clone()).unwrap();
    let states = vocabulary::ordered(issue.team.states.clone().unwrap().nodes);
    let read = observation(&issue, vocabulary::vocabulary(&states), Source::Poll).unwrap();
    assert_eq!(read.id, seen(UPDATE.as_bytes(), &app()).id);
    assert_eq!(read.vocabulary.unwrap().0[0].native.as_str(), "Todo", "in the team's order");
}

#[test]
fn an_apps_own_edit_is_known_and_so_is_anothers() {
    let by = |kind: &str, id: &str| body(|body| body["actor"] = json!({"id": id, "type": kind, "name": "x"}));
    assert_eq!(seen(&by("oauthClient", APP), &app()).origin, Origin::Own(None));
    assert_eq!(seen(&by("user", APP), &app()).origin, Origin::Own(None), "an app's user");
    assert_eq!(seen(&by("oauthClient", "another"), &app()).origin, Origin::Other);
    assert_eq!(seen(UPDATE.as_bytes(), &app()).origin, Origin::Other);
}

#[test]
fn who_edits_the_title_says_nothing_of_whose_the_status_is() {
    let retitled = body(|body| body["updatedFrom"] = json!({"title": "Old", "updatedAt": "2026-11-20T09:00:00.000Z"}));
    assert_eq!(seen(&retitled, &app()).origin, Origin::Unknown);
}

#[test]
fn a_client_of_unknown_id_may_be_ours() {
    let us = Us { client_known: false, ..app() };
    let by_client = body(|body| body["actor"] = json!({"id": "a-client", "type": "oauthClient", "name": "x"}));
    assert_eq!(seen(&by_client, &us).origin, Origin::Unknown);
    let of_another_kind = body(|body| body["actor"] = json!({"id": "a-client", "type": "application", "name": "x"}));
    assert_eq!(seen(&of_another_kind, &us).origin, Origin::Unknown, "what Linear calls an app's actor is an open set");
    let asked = Us { ids: vec![APP.to_owned(), "a-client".to_owned()], ..us.clone() };
    assert_eq!(seen(&by_client, &asked).origin, Origin::Own(None));
    assert_eq!(seen(UPDATE.as_bytes(), &us).origin, Origin::Other);
}

#[test]
fn under_a_personal_key_nothing_is_known_of_the_origin() {
    assert_eq!(seen(UPDATE.as_bytes(), &Us::default()).origin, Origin::Unknown);
    assert_eq!(seen(&body(|body| body["actor"] = Value::Null), &app()).origin, Origin::Unknown);
}

#[test]
fn an_integration_is_named_by_its_service_and_is_no_person() {
    let by_github = body(|body| body["actor"] = json!({"id": "i", "type": "integration", "service": "github"}));
    let actor = seen(&by_github, &app()).actor.unwrap();
    assert_eq!((actor.name.as_str(), actor.automation), ("github", true));
}

#[test]
fn the_words_of_a_team_that_are_unknown_must_be_learned() {
    let decoded = webhook(UPDATE.as_bytes(), &app(), &all(), |_, _| None).unwrap();
    let Decoded::Unlearned { what, records } = decoded else { panic!("{decoded:?}") };
    let body: Value = serde_json::from_str(UPDATE).unwrap();
    assert_eq!(body["data"]["team"]["id"], what);
    assert!(records[0].id().ends_with("00000c"));
}

#[test]
fn what_is_no_news_of_a_counted_issue_is_ignored_by_name() {
    assert_eq!(ignored(|body| body["type"] = json!("Comment")), "other_type");
    assert_eq!(ignored(|body| body["action"] = json!("frobnicate")), "other_action");
}

#[test]
fn a_body_that_cannot_be_read_is_refused_and_not_guessed() {
    for bad in [b"{}".to_vec(), b"no".to_vec(), body(|body| body["data"]["updatedAt"] = json!("yesterday"))] {
        let refused = webhook(&bad, &app(), &all(), words);
        assert!(matches!(refused, Err(Failure::Refused { code: "malformed", .. })), "{refused:?}");
    }
}
