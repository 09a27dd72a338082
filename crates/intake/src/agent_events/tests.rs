use model::Lifecycles;

use super::*;
use crate::Fault;

const NOW: i64 = 1_790_000_000_000;

fn all(list: Vec<Value>) -> Result<Vec<Ready>, Refused> {
    let lifecycles = Lifecycles::built_in().unwrap();
    ready(list, &Context { now_ms: NOW, request_key: None, lifecycles: &lifecycles, fresh_id: Uuid::now_v7 })
}

fn seen(event: Value) -> Result<Ready, String> {
    match all(vec![event]) {
        Ok(mut ready) => Ok(ready.remove(0)),
        Err(refused) => Err(refused.errors[0]["field"].as_str().unwrap().to_owned()),
    }
}

fn event() -> Value {
    json!({"agentId": "coder", "historyId": "h1", "eventName": "tool:start", "status": "tool_calling", "type": "tool",
        "additionalData": {"timestamp": "2026-09-21T14:13:20Z", "toolName": "grep", "deep": {"er": [1]}}})
}

fn with(more: &Value) -> Result<Ready, String> {
    let mut event = event();
    for (name, value) in more.as_object().unwrap() {
        event[name] = value.clone();
    }
    seen(event)
}

#[test]
fn an_event_is_what_a_session_of_the_agent_shows() {
    let observation = seen(event()).unwrap().observation;
    assert_eq!(
        (observation.record.to_string().as_str(), observation.native.as_str()),
        ("agent/session/coder", "tool_calling")
    );
    assert_eq!(observation.lifecycle.unwrap().as_str(), "agent");
    assert_eq!(observation.occurred_at.0, NOW);
    let actor = observation.actor.unwrap();
    assert!(actor.name == "coder" && actor.automation);
    let kept: Vec<_> = observation.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(kept, [("eventName", "tool:start"), ("historyId", "h1"), ("type", "tool")]);
}

#[test]
fn a_status_that_is_missing_is_told_by_what_happened_where_that_is_clear() {
    for (happened, status) in [
        ("agent:start", "working"),
        ("agent_started", "working"),
        ("agent:success", "completed"),
        ("agent_completed", "completed"),
        ("agent:error", "error"),
        ("tool:start", "tool_calling"),
        ("tool_execution", "tool_calling"),
        ("tool:success", "working"),
        ("tool_completed", "working"),
        ("tool_error", "error"),
        ("memory:error", "error"),
        ("resumed", "working"),
    ] {
        for missing in [Value::Null, json!("")] {
            let ready = with(&json!({"eventName": happened, "status": missing})).unwrap();
            assert_eq!(ready.observation.native.as_str(), status, "{happened}");
        }
        assert_eq!(
            with(&json!({"eventName": happened, "status": "busy"})).unwrap().observation.native.as_str(),
            "working"
        );
    }
    for unclear in ["", "memory:write", "system_update", "user_action", "timeout", "cancelled", "delegated", "start"] {
        assert_eq!(with(&json!({"eventName": unclear, "status": null})).unwrap_err(), "status", "{unclear}");
    }
}

#[test]
fn an_issue_named_beside_it_is_mentioned_if_it_looks_like_one() {
    let mentions = |data: Value| -> Vec<String> {
        let seen = with(&json!({"additionalData": data})).unwrap().observation;
        seen.mentions.iter().map(ToString::to_string).collect()
    };
    assert_eq!(mentions(json!({"linearIssueId": "ENG-1"})), ["ENG-1"]);
    assert_eq!(mentions(json!({"linear": {"issueId": "eng-2"}, "issueId": "ENG-2"})), ["ENG-2"]);
    assert_eq!(mentions(json!({"linearIssueId": "ENG-1", "issueId": "acme/web#7"})), ["ENG-1", "acme/web#7"]);
    for none in [
        json!({"linearIssueId": "0b4e8c1e-6b0f-4bfa-9b55-5d1f3a1a2b3c"}),
        json!({"issueId": 7, "linear": "ENG-1"}),
        json!({"issueId": "ENG-", "linear": {"issueId": {"deep": 1}}}),
        json!({"issueId": "a b/c#1"}),
        json!({"other": "ENG-1"}),
    ] {
        assert!(mentions(none.clone()).is_empty(), "{none}");
    }
}

#[test]
fn the_same_event_sent_again_is_the_same_message() {
    let id = |more: Value| with(&more).unwrap().observation.id;
    let first = id(json!({}));
    assert_eq!(first, id(json!({})));
    for other in [
        json!({"agentId": "other"}),
        json!({"historyId": "h2"}),
        json!({"eventName": "tool:end"}),
        json!({"type": "agent"}),
        json!({"status": "working"}),
        json!({"additionalData": {"timestamp": NOW}}),
    ] {
        assert_ne!(first, id(other.clone()), "{other}");
    }
    let timeless = || id(json!({"additionalData": {"toolName": "grep"}}));
    assert_ne!(timeless(), timeless(), "a tool may start twice");
    for odd in [json!("now"), json!(""), json!(7)] {
        let odd = || id(json!({"additionalData": {"timestamp": odd}}));
        assert_ne!(odd(), odd(), "what is no moment tells no two events apart");
    }
}

#[test]
fn what_is_wrong_is_named_by_field() {
    for (more, field) in [
        (json!({"agentId": ""}), "agentId"),
        (json!({"agentId": null}), "agentId"),
        (json!({"agentId": "a\nb"}), "agentId"),
        (json!({"agentId": "x".repeat(257)}), "agentId"),
        (json!({"historyId": "x".repeat(257)}), "historyId"),
        (json!({"eventName": 7}), "eventName"),
        (json!({"status": "sleeping"}), "status"),
        (json!({"additionalData": "none"}), "additionalData"),
        (json!({"agent": "a"}), "agent"),
    ] {
        assert_eq!(with(&more).unwrap_err(), field, "{more}");
    }
    assert_eq!(seen(json!({"status": "idle"})).unwrap_err(), "agentId");
    let refused = all(vec![event(), json!({"agentId": "a"})]).unwrap_err();
    assert_eq!((refused.fault, refused.code, &refused.errors[0]["index"]), (Fault::Content, "bad_events", &json!(1)));
    assert_eq!(seen(json!({"agentId": "a", "status": "idle"})).unwrap().observation.native.as_str(), "idle");
    for odd in [json!(null), json!({"timestamp": "yesterday"}), json!({"timestamp": {"a": 1}})] {
        assert_eq!(with(&json!({"additionalData": odd})).unwrap().observation.occurred_at.0, NOW, "its own affair");
    }
}

#[test]
fn a_time_may_be_a_day_ahead_and_no_more() {
    let at = |ms: i64| with(&json!({"additionalData": {"timestamp": ms}}));
    let ahead = NOW + 23 * 3_600_000;
    assert_eq!(at(ahead).unwrap().observation.occurred_at.0, ahead);
    assert_eq!(at(NOW + 25 * 3_600_000).unwrap_err(), "additionalData.timestamp");
    assert_eq!(
        with(&json!({"additionalData": {"timestamp": "9999-01-01T00:00:00Z"}})).unwrap_err(),
        "additionalData.timestamp"
    );
}
