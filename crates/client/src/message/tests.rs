use serde_json::json;

use super::*;

fn parsed(value: &Value) -> Message {
    Message::parse(&value.to_string()).unwrap()
}

#[test]
fn an_event_is_its_message_with_a_position_and_comes_out_as_it_came_in() {
    let change = json!({"type": "status_changed", "position": "1.a-2", "traceparent": "00-a", "kind": "status_changed",
        "item": "i", "version": 7, "from": "todo", "to": "done", "records": ["linear/issue/a"], "cause": 9, "newer": [1]});
    let message = parsed(&change);
    let Message::StatusChanged(told) = &message else { panic!("{message:?}") };
    assert_eq!((told.position.as_str(), told.version, told.to.as_str(), told.cause), ("1.a-2", 7, "done", 9));
    assert_eq!(told.traceparent.as_deref(), Some("00-a"));
    assert_eq!(message.position(), Some("1.a-2"));
    let out = serde_json::to_value(&message).unwrap();
    for member in ["type", "position", "traceparent", "item", "version", "from", "to", "records", "cause"] {
        assert_eq!(out[member], change[member], "{member}");
    }
}

#[test]
fn every_event_of_the_protocol_has_a_type_of_its_own() {
    let names = [
        "status_changed",
        "linked",
        "unlinked",
        "conflict_opened",
        "conflict_resolved",
        "delivery",
        "agent_state",
        "performance_metrics",
        "workflow_execution",
        "memory_timeline",
        "system_alert",
        "health_changed",
        "operation_step",
    ];
    for name in names {
        let message = parsed(&json!({"type": name, "position": "p"}));
        assert!(!matches!(message, Message::Other(_)), "{name}");
        assert_eq!(message.position(), Some("p"), "{name}");
        assert_eq!(serde_json::to_value(&message).unwrap()["type"], name);
    }
}

#[test]
fn what_a_newer_server_says_is_passed_on_whole() {
    let newer = json!({"type": "moon_phase", "position": "p", "phase": "full"});
    let message = parsed(&newer);
    assert_eq!(message, Message::Other(newer.clone()));
    assert_eq!(message.position(), Some("p"));
    assert_eq!(serde_json::to_value(&message).unwrap(), newer);
}

#[test]
fn a_snapshot_holds_items_and_telemetry() {
    let message = parsed(&json!({"type": "snapshot", "room": "agent_states", "position": "p", "items": [],
        "messages": [{"type": "agent_state", "agent": "a", "status": "idle"}, {"type": "moon_phase"}]}));
    let Message::Snapshot(snapshot) = &message else { panic!("{message:?}") };
    assert!(
        matches!(&snapshot.messages[0], Message::AgentState(told) if told.agent == "a" && told.position.is_empty())
    );
    assert!(matches!(&snapshot.messages[1], Message::Other(_)));
    assert!(!snapshot.more && !snapshot.truncated);
}

#[test]
fn a_known_type_with_a_member_of_another_kind_is_an_error() {
    assert!(Message::parse(r#"{"type":"delivery","version":"seven"}"#).is_err());
    assert!(Message::parse(r#"{"position":"p"}"#).is_err());
    assert!(Message::parse("[]").is_err());
}
