use proto::{JSON, PROTOBUF};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::Fault;

const NOW: i64 = 1_790_000_000_000;

fn lifecycles() -> Lifecycles {
    Lifecycles::built_in().unwrap()
}

fn all(list: Vec<Value>) -> Result<Vec<Ready>, Refused> {
    let lifecycles = lifecycles();
    ready(list, &Context { now_ms: NOW, request_key: None, lifecycles: &lifecycles, fresh_id: Uuid::now_v7 })
}

fn told(message: Value) -> Result<Telemetry, String> {
    match all(vec![message]) {
        Ok(mut ready) => Ok(ready.remove(0).telemetry),
        Err(refused) => Err(refused.errors[0]["field"].as_str().unwrap().to_owned()),
    }
}

/// One good message of each kind with every field that it has, by its JSON form.
fn good() -> Vec<Value> {
    vec![
        json!({"type": "agent_state", "agent": "a", "status": "working", "previous": "idle", "task": "ENG-1", "reason": "asked",
            "resources": {"cpu_percent": 12.5, "memory_bytes": 1, "tokens": 2}, "at": NOW, "metadata": {"k": "v"}}),
        json!({"type": "performance_metric", "name": "latency", "value": -2.5, "unit": "ms", "category": "c", "source": "s", "at": NOW,
            "tags": {"k": "v"}}),
        json!({"type": "workflow_execution", "workflow": "w", "execution": "1", "stage": "s", "status": "running", "previous": "pending", "progress": 0.5,
            "result": "", "error": "", "at": NOW, "metadata": {}}),
        json!({"type": "memory_timeline", "agent": "a", "action": "created", "memory": "m", "summary": "s", "importance": 1.0,
            "tags": ["t"], "at": NOW}),
        json!({"type": "system_alert", "id": "disk", "severity": "critical", "component": "db1", "message": "full", "action": "mend",
            "at": NOW, "acknowledged_by": "Ada", "acknowledged_at": NOW, "metadata": {}}),
        json!({"type": "health_changed", "target": "db1", "health": "degraded", "previous": "healthy", "reason": "slow", "at": NOW}),
        json!({"type": "operation_step", "operation": "o", "step": "s", "state": "executing", "description": "d", "progress": 0.0,
            "error": "", "at": NOW, "data": "{\"a\":1}", "agent": "a"}),
    ]
}

/// A good message of a kind, with this in place of what it says.
fn with(kind: &str, more: &Value) -> Result<Telemetry, String> {
    let mut message = good().into_iter().find(|message| message["type"] == kind).unwrap();
    for (name, value) in more.as_object().unwrap() {
        message[name] = value.clone();
    }
    told(message)
}

fn json_of(telemetry: &Telemetry) -> Value {
    let value = match telemetry {
        Telemetry::AgentState(message) => serde_json::to_value(message),
        Telemetry::PerformanceMetric(message) => serde_json::to_value(message),
        Telemetry::WorkflowExecution(message) => serde_json::to_value(message),
        Telemetry::MemoryTimeline(message) => serde_json::to_value(message),
        Telemetry::SystemAlert(message) => serde_json::to_value(message),
        Telemetry::HealthChanged(message) => serde_json::to_value(message),
        Telemetry::OperationStep(message) => serde_json::to_value(message),
    };
    value.unwrap()
}

#[test]
fn everything_that_a_message_may_say_arrives() {
    assert_eq!(good().len(), KINDS.len());
    for (ready, message) in all(good()).unwrap().into_iter().zip(good()) {
        let mut said = json_of(&ready.telemetry);
        said["type"] = ready.telemetry.kind().into();
        assert_eq!(said, message);
        assert!(Uuid::parse_str(&ready.id).is_ok(), "{}", ready.id);
    }
}

#[test]
fn what_is_left_out_is_now_or_nothing() {
    for missing in [
        json!({"type": "agent_state", "agent": "a", "status": "idle"}),
        json!({"type": "agent_state", "agent": "a", "status": "idle", "at": 0}),
        json!({"type": "agent_state", "agent": "a", "status": "idle", "at": null, "task": null, "resources": null}),
    ] {
        let Telemetry::AgentState(state) = told(missing).unwrap() else { panic!("another kind") };
        assert_eq!((state.at, state.task.as_str(), state.resources), (NOW, "", None));
    }
    let at = |at: Value| with("health_changed", &json!({"at": at})).map(|told| json_of(&told)["at"].clone());
    assert_eq!(at(json!("2026-09-21T14:13:20.001Z")).unwrap(), NOW + 1);
    for wrong in [json!("today"), json!(1_790_000_000), json!(-1), json!(1.5), json!(i64::MAX), json!([])] {
        assert_eq!(at(wrong.clone()).unwrap_err(), "at", "{wrong}");
    }
}

#[test]
fn a_synonym_becomes_the_word_that_it_stands_for() {
    let said = |kind, more: &Value, field: &str| json_of(&with(kind, more).unwrap())[field].clone();
    assert_eq!(said("agent_state", &json!({"status": "busy"}), "status"), "working");
    assert_eq!(said("agent_state", &json!({"previous": "active"}), "previous"), "working");
    assert_eq!(said("workflow_execution", &json!({"status": "canceled"}), "status"), "cancelled");
}

#[test]
fn older_names_are_taken_where_the_message_has_the_field() {
    let older = json!({"type": "workflow_execution", "workflowId": "w", "executionId": "1", "status": "pending", "timestamp": NOW});
    let Telemetry::WorkflowExecution(told) = told(older).unwrap() else { panic!("another kind") };
    assert_eq!((told.workflow.as_str(), told.execution.as_str(), told.at), ("w", "1", NOW));
    assert_eq!(with("agent_state", &json!({"agentId": "b"})).unwrap_err(), "agentId", "two names for one thing");
    assert_eq!(with("health_changed", &json!({"agentId": "b"})).unwrap_err(), "agentId", "it has no agent");
}

#[test]
fn what_is_wrong_is_named_by_field() {
    let long = "x".repeat(257);
    let text = "x".repeat(4 * 1024 + 1);
    let content = "x".repeat(16 * 1024 + 1);
    let many: serde_json::Map<String, Value> = (0..101).map(|at| (at.to_string(), json!("v"))).collect();
    let cases = [
        ("agent_state", json!({"agent": ""}), "agent"),
        ("agent_state", json!({"agent": " "}), "agent"),
        ("agent_state", json!({"agent": "a\nb"}), "agent"),
        ("agent_state", json!({"agent": long}), "agent"),
        ("agent_state", json!({"agent": 7}), "agent"),
        ("agent_state", json!({"status": "sleeping"}), "status"),
        ("agent_state", json!({"status": ""}), "status"),
        ("agent_state", json!({"previous": "sleeping"}), "previous"),
        ("agent_state", json!({"task": text}), "task"),
        ("agent_state", json!({"resources": {"cpu": 1}}), "resources.cpu"),
        ("agent_state", json!({"resources": {"memory_bytes": -1}}), "resources.memory_bytes"),
        ("agent_state", json!({"metadata": {"a": {"b": 1}}}), "metadata.a"),
        ("agent_state", json!({"metadata": many}), "metadata"),
        ("agent_state", json!({"stauts": "idle"}), "stauts"),
        ("performance_metric", json!({"name": ""}), "name"),
        ("performance_metric", json!({"value": "high"}), "value"),
        ("performance_metric", json!({"tags": ["t"]}), "tags"),
        ("workflow_execution", json!({"workflow": ""}), "workflow"),
        ("workflow_execution", json!({"status": "idle"}), "status"),
        ("workflow_execution", json!({"progress": 1.01}), "progress"),
        ("workflow_execution", json!({"progress": -0.1}), "progress"),
        ("workflow_execution", json!({"result": content}), "result"),
        ("workflow_execution", json!({"error": text}), "error"),
        ("memory_timeline", json!({"action": "lost"}), "action"),
        ("memory_timeline", json!({"importance": 2}), "importance"),
        ("memory_timeline", json!({"tags": [""]}), "tags"),
        ("memory_timeline", json!({"tags": {"t": "u"}}), "tags"),
        ("system_alert", json!({"severity": "fatal"}), "severity"),
        ("system_alert", json!({"message": ""}), "message"),
        ("system_alert", json!({"id": "a\tb"}), "id"),
        ("system_alert", json!({"acknowledged_by": ""}), "acknowledged_by"),
        ("health_changed", json!({"health": "good"}), "health"),
        ("health_changed", json!({"previous": "good"}), "previous"),
        ("operation_step", json!({"operation": ""}), "operation"),
        ("operation_step", json!({"state": "pending"}), "state"),
        ("operation_step", json!({"data": content}), "data"),
    ];
    for (kind, case, expected) in cases {
        assert_eq!(
            with(kind, &case).unwrap_err(),
            expected,
            "{kind} with {}",
            case.to_string().chars().take(80).collect::<String>()
        );
    }
    for (message, expected) in
        [(json!({}), "type"), (json!({"type": "weather"}), "type"), (json!({"type": 7}), "type"), (json!(7), "")]
    {
        assert_eq!(told(message.clone()).unwrap_err(), expected, "{message}");
    }
}

#[test]
fn what_lockstep_alone_tells_is_refused_with_what_to_do_instead() {
    for (kind, instead) in [
        ("status_changed", "POST /v1/status"),
        ("linked", "/links"),
        ("unlinked", "DELETE"),
        ("conflict_opened", "/pick"),
        ("conflict_resolved", "/pick"),
        ("delivery", "connectors"),
        ("performance_metrics", "performance_metric"),
    ] {
        let refused = all(vec![json!({"type": kind})]).unwrap_err();
        let detail = refused.errors[0]["detail"].as_str().unwrap();
        assert!(detail.contains("by Lockstep alone") && detail.contains(instead), "{kind}: {detail}");
    }
}

#[test]
fn one_wrong_message_keeps_all_out_and_each_is_named() {
    let mut list = good();
    list[1]["value"] = json!("high");
    list[4]["severity"] = json!("fatal");
    let refused = all(list).unwrap_err();
    assert_eq!((refused.fault, refused.code), (Fault::Content, "bad_messages"));
    let named: Vec<_> =
        refused.errors.iter().map(|one| (one["index"].as_u64().unwrap(), one["field"].as_str().unwrap())).collect();
    assert_eq!(named, [(1, "value"), (4, "severity")]);
}

#[test]
fn the_same_alert_told_again_is_the_same_alert() {
    let alert = |component: &str, message: &str| {
        let alert = json!({"type": "system_alert", "severity": "error", "component": component, "message": message});
        told(alert).unwrap().key().to_owned()
    };
    assert_eq!(alert("db1", "the disk is full"), alert("db1", "the disk is full"));
    assert_ne!(alert("db1", "the disk is full"), alert("db2", "the disk is full"));
    assert_ne!(alert("db1", "the disk is full"), alert("db1", "the disk is slow"));
    assert!(Uuid::parse_str(&alert("", "the disk is full")).is_ok());
}

#[test]
fn what_a_step_knows_is_any_json_as_a_text() {
    let data = |data: Value| {
        json_of(&with("operation_step", &json!({"data": data})).unwrap())["data"].as_str().unwrap().to_owned()
    };
    assert_eq!(data(json!({"rows": [1, 2]})), r#"{"rows":[1,2]}"#);
    assert_eq!(data(json!(r#"{"rows": [1]}"#)), r#"{"rows": [1]}"#, "it is a JSON text already");
    assert_eq!(data(json!("half a page")), r#""half a page""#);
    assert_eq!(data(json!(7)), "7");
    assert_eq!((data(Value::Null), data(json!(""))), (String::new(), String::new()));
}

#[test]
fn an_idempotency_key_names_each_message_by_its_place() {
    let lifecycles = lifecycles();
    let context =
        Context { now_ms: NOW, request_key: Some("k".into()), lifecycles: &lifecycles, fresh_id: Uuid::now_v7 };
    let ids: Vec<String> = ready(good(), &context).unwrap().into_iter().map(|ready| ready.id).collect();
    assert_eq!(ids[..2], ["k:0", "k:1"]);
}

fn subject_of(telemetry: &Telemetry) -> String {
    match telemetry {
        Telemetry::SystemAlert(alert) => format!("lockstep.alert.{}.{}", alert.severity, proto::token(&alert.id)),
        other => format!("lockstep.live.{}.{}", other.kind(), proto::token(other.key())),
    }
}

#[test]
fn what_was_published_is_read_back_in_both_forms() {
    for Ready { telemetry, .. } in all(good()).unwrap() {
        let subject = subject_of(&telemetry);
        let read = |kind, bytes: &[u8]| from_bus(&subject, kind, bytes, NOW, &lifecycles());
        assert_eq!(read(None, &telemetry.encode()), Ok(telemetry.clone()));
        assert_eq!(read(Some(PROTOBUF), &telemetry.encode()), Ok(telemetry.clone()));
        assert_eq!(read(Some(JSON), json_of(&telemetry).to_string().as_bytes()), Ok(telemetry.clone()));
        assert!(read(Some("text/plain"), b"").is_err());
        assert!(read(None, b"\xff").is_err() && read(Some(JSON), b"[]").is_err());
    }
}

#[test]
fn nothing_on_the_bus_is_believed_that_was_not_checked() {
    let read = |subject: &str, message: Value| {
        from_bus(subject, Some(JSON), message.to_string().as_bytes(), NOW, &lifecycles()).map_err(|wrong| wrong.field)
    };
    let state = read("lockstep.live.agent_state.a=2Eb", json!({"status": "busy"})).unwrap();
    assert_eq!(
        state,
        Telemetry::AgentState(v1::AgentState {
            agent: "a.b".into(),
            status: "working".into(),
            at: NOW,
            ..Default::default()
        })
    );
    let alert = read("lockstep.alert.info.disk", json!({"message": "full"})).unwrap();
    assert_eq!((alert.kind(), alert.key()), ("system_alert", "disk"));
    for (subject, message, field) in [
        ("lockstep.live.agent_state.a", json!({"status": "sleeping"}), "status"),
        ("lockstep.live.agent_state.a", json!({"agent": "b", "status": "idle"}), "agent"),
        ("lockstep.live.agent_state.a", json!({"type": "health_changed", "status": "idle"}), "type"),
        ("lockstep.live.agent_state.=", json!({"status": "idle"}), "agent"),
        ("lockstep.live.weather.a", json!({}), "type"),
        ("lockstep.live.system_alert.a", json!({"message": "m", "severity": "info"}), "subject"),
        ("lockstep.alert.fatal.a", json!({"message": "m"}), "severity"),
        ("lockstep.alert.info.a", json!({"message": "m", "severity": "critical"}), "severity"),
        ("lockstep.change.work.a", json!({}), "subject"),
        ("lockstep.live.a", json!({}), "subject"),
    ] {
        assert_eq!(read(subject, message.clone()).unwrap_err(), field, "{subject} {message}");
    }
    // What JSON cannot say.
    for value in [f64::NAN, f64::INFINITY] {
        let bytes = proto::encode(&v1::PerformanceMetric { value, ..Default::default() });
        let wrong = from_bus("lockstep.live.performance_metric.m", None, &bytes, NOW, &lifecycles()).unwrap_err();
        assert_eq!(wrong.field, "value");
    }
}

#[test]
fn the_answer_to_a_long_message_is_short() {
    let one = |name: &str, value: Value| {
        let mut message = good().remove(0);
        message[name] = value;
        message
    };
    for wrong in [
        one(&"x".repeat(100_000), json!(1)),
        one("metadata", json!({"y".repeat(100_000): "v"})),
        one("resources", json!("z".repeat(100_000))),
        json!({"type": "z".repeat(100_000)}),
    ] {
        let refused = all(vec![wrong]).unwrap_err();
        assert!(refused.errors[0].to_string().len() < 2_000);
    }
}

#[test]
fn a_time_may_be_a_day_ahead_and_no_more() {
    let (near, far) = (NOW + 23 * 3_600_000, NOW + 25 * 3_600_000);
    for message in good() {
        let kind = message["type"].as_str().unwrap();
        assert!(with(kind, &json!({"at": near})).is_ok(), "{kind}");
        assert_eq!(with(kind, &json!({"at": far})).unwrap_err(), "at", "{kind}");
    }
    assert_eq!(with("system_alert", &json!({"acknowledged_at": far})).unwrap_err(), "acknowledged_at");
}
