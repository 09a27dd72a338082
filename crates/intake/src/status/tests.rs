use model::Lane;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::Fault;

const NOW: i64 = 1_790_000_000_000;

fn one(status: Value) -> Result<Ready, (String, String)> {
    let lifecycles = model::Lifecycles::built_in().unwrap();
    let context = Context { now_ms: NOW, request_key: None, lifecycles: &lifecycles, fresh_id: Uuid::now_v7 };
    entry::ready(status, 0, &context).map_err(|wrong| (wrong.field, wrong.why))
}

fn with(more: &Value) -> Result<Ready, (String, String)> {
    let mut status = json!({"record": "ci/build/7", "status": "running"});
    for (key, value) in more.as_object().unwrap() {
        status[key] = value.clone();
    }
    one(status)
}

fn field(status: Result<Ready, (String, String)>) -> String {
    status.unwrap_err().0
}

#[test]
fn a_record_is_named_in_one_or_in_three() {
    let whole = one(json!({"record": "github/issue/acme/web#7", "status": "open", "id": "e-1"})).unwrap();
    let parts =
        json!({"system": "github", "kind": "issue", "id": "acme/web#7", "idempotency_id": "e-1", "status": "open"});
    let parts = one(parts).unwrap();
    assert_eq!(whole.observation, parts.observation);
    assert_eq!((whole.id.as_str(), parts.id.as_str()), ("e-1", "e-1"));
    assert_eq!(whole.observation.id, "api:github/issue/acme/web#7:e-1");
    for wrong in [
        json!({"status": "open"}),
        json!({"record": "github/issue", "status": "open"}),
        json!({"record": "GitHub/issue/1", "status": "open"}),
        json!({"system": "github", "kind": "issue", "status": "open"}),
        json!({"record": "github/issue/1", "system": "github", "status": "open"}),
    ] {
        assert_eq!(field(one(wrong.clone())), "record", "{wrong}");
    }
}

#[test]
fn zero_is_the_most_urgent_and_not_unset() {
    for name in ["lane", "priority"] {
        for (index, lane) in Lane::ALL.into_iter().enumerate() {
            assert_eq!(with(&json!({name: index})).unwrap().lane, lane);
            assert_eq!(with(&json!({name: lane.as_str()})).unwrap().lane, lane);
        }
        let words = [
            ("Urgent", Lane::Critical),
            ("HIGH", Lane::High),
            ("Medium", Lane::Normal),
            ("medium", Lane::Normal),
            ("Low", Lane::Low),
        ];
        for (word, lane) in words {
            assert_eq!(with(&json!({name: word})).unwrap().lane, lane, "{word}");
        }
        assert_eq!(with(&json!({name: null})).unwrap().lane, Lane::Normal);
        for wrong in [json!(4), json!(-1), json!(0.5), json!("hot"), json!("Kritical"), json!(true), json!("")] {
            assert_eq!(field(with(&json!({name: wrong}))), name, "{wrong}");
        }
    }
    assert_eq!(with(&json!({})).unwrap().lane, Lane::Normal);
    assert_eq!(with(&json!({"lane": "critical", "priority": 0})).unwrap().lane, Lane::Critical);
    assert_eq!(field(with(&json!({"lane": "low", "priority": 0}))), "priority");
}

#[test]
fn a_moment_is_rfc_3339_or_milliseconds() {
    let at = |value: Value| with(&json!({"occurred_at": value})).map(|ready| ready.observation.occurred_at.0);
    assert_eq!(at(json!("2026-09-21T14:13:20Z")).unwrap(), 1_790_000_000_000);
    assert_eq!(at(json!("2026-09-21T16:13:20.125+02:00")).unwrap(), 1_790_000_000_125);
    assert_eq!(at(json!(1_790_000_000_001_i64)).unwrap(), 1_790_000_000_001);
    assert_eq!(at(Value::Null).unwrap(), NOW);
    for wrong in [json!(1_790_000_000), json!(-5), json!("yesterday"), json!(1.5), json!([1]), json!(i64::MAX)] {
        assert_eq!(at(wrong.clone()).unwrap_err().0, "occurred_at", "{wrong}");
    }
}

#[test]
fn nothing_happened_tomorrow_and_no_position_is_beyond_what_is_stored() {
    let at = |ms: i64| with(&json!({"occurred_at": ms}));
    assert!(at(NOW + 3_600_000).is_ok(), "clocks differ");
    assert_eq!(field(at(NOW + 25 * 3_600_000)), "occurred_at");
    assert!(with(&json!({"position": i64::MAX})).is_ok());
    assert_eq!(field(with(&json!({"position": u64::MAX}))), "position");
}

#[test]
fn everything_that_may_be_said_arrives() {
    let ready = with(&json!({
        "position": 12, "actor": {"name": "Ada", "id": "u1", "automation": true}, "title": "Build", "url": "https://ci/7",
        "keys": ["BUILD-7"], "mentions": ["ENG-1"], "lifecycle": "operation", "metadata": {"branch": "main", "tries": 2, "dry": false}
    }));
    let seen = ready.unwrap().observation;
    assert_eq!(seen.native.as_str(), "running");
    assert_eq!(seen.position, Some(model::Position(12)));
    let actor = seen.actor.unwrap();
    assert_eq!((actor.name.as_str(), actor.id.as_deref(), actor.automation), ("Ada", Some("u1"), true));
    assert_eq!((seen.title.as_deref(), seen.url.as_deref()), (Some("Build"), Some("https://ci/7")));
    assert_eq!((seen.keys[0].as_str(), seen.mentions[0].as_str()), ("BUILD-7", "ENG-1"));
    assert_eq!(seen.lifecycle.unwrap().as_str(), "operation");
    assert_eq!(seen.metadata["tries"], "2");
    assert_eq!(seen.source, model::Source::Api);
    assert_eq!(with(&json!({"actor": "Ada"})).unwrap().observation.actor.unwrap().name, "Ada");
}

#[test]
fn what_is_wrong_is_named_by_field() {
    let cases = [
        (json!({"status": ""}), "status"),
        (json!({"status": 3}), "status"),
        (json!({"status": "a\u{0}b"}), "status"),
        (json!({"position": 0}), "position"),
        (json!({"position": -1}), "position"),
        (json!({"keys": [""]}), "keys"),
        (json!({"keys": vec!["k"; 51]}), "keys"),
        (json!({"lifecycle": "My Own"}), "lifecycle"),
        (json!({"metadata": {"a": {"b": 1}}}), "metadata.a"),
        (json!({"actor": {"name": ""}}), "actor"),
        (json!({"id": "two words"}), "id"),
        (json!({"id": "x".repeat(129)}), "id"),
        (json!({"stauts": "running"}), "stauts"),
        (json!({"title": "a\u{0}b"}), "title"),
        (json!({"url": "a\u{0}b"}), "url"),
        (json!({"title": "x".repeat(501)}), "title"),
        (json!({"url": "javascript:alert(1)"}), "url"),
        (json!({"metadata": {"a": "\u{0}"}}), "metadata"),
        (json!({"actor": {"id": "7"}}), "actor"),
    ];
    for (case, expected) in cases {
        assert_eq!(field(with(&case)), expected, "{case}");
    }
}

#[test]
fn a_body_is_one_status_or_some() {
    let count = |body: &str| {
        statuses(serde_json::from_str(body).unwrap()).map(|list| list.len()).map_err(|refused| refused.fault)
    };
    assert_eq!(count(r#"{"record": "a/b/c"}"#), Ok(1));
    assert_eq!(count(r"[{}, {}]"), Ok(2));
    assert_eq!(count(r#"{"statuses": [{}]}"#), Ok(1));
    for wrong in ["null", "7", "[]", r#"{"statuses": []}"#, r#"{"statuses": {}}"#, r#"{"statuses": [], "x": 1}"#] {
        assert_eq!(count(wrong), Err(Fault::Form), "{wrong}");
    }
    assert_eq!(count(&format!("[{}]", vec!["{}"; 500].join(","))), Ok(500));
    assert_eq!(count(&format!("[{}]", vec!["{}"; 501].join(","))), Err(Fault::Count));
}

#[test]
fn one_wrong_status_keeps_the_whole_request_out() {
    let lifecycles = model::Lifecycles::built_in().unwrap();
    let context =
        Context { now_ms: NOW, request_key: Some("k".into()), lifecycles: &lifecycles, fresh_id: Uuid::now_v7 };
    let good = json!({"record": "a/b/c", "status": "open"});
    let refused = ready(vec![good.clone(), json!({"record": "a/b/c"}), good.clone()], &context).unwrap_err();
    assert_eq!((refused.fault, refused.code), (Fault::Content, "bad_statuses"));
    assert_eq!((refused.errors.len(), &refused.errors[0]["index"]), (1, &json!(1)));
    let taken = ready(vec![good.clone(), good.clone()], &context).unwrap();
    assert_eq!(taken.iter().map(|ready| ready.id.as_str()).collect::<Vec<_>>(), ["k:0", "k:1"]);
    let mut same = good;
    same["id"] = json!("once");
    assert!(ready(vec![same.clone(), same], &context).is_err());
}

#[test]
fn what_is_missing_is_named() {
    let (field, why) = one(json!({"record": "a/b/c"})).unwrap_err();
    assert_eq!((field.as_str(), why.as_str()), ("status", "missing field `status`"));
    let (_, why) = one(json!([])).unwrap_err();
    assert!(why.contains("must be an object"), "{why}");
}

#[test]
fn a_lifecycle_that_nobody_knows_is_refused_with_those_that_are() {
    let told = |lifecycle: &str| one(json!({"record": "a/b/c", "status": "open", "lifecycle": lifecycle}));
    assert!(told("workflow").is_ok());
    let (field, why) = told("cooking").unwrap_err();
    assert!(field == "lifecycle" && why.contains("cooking") && why.contains("workflow"), "{field}: {why}");
}
