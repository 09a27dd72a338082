//! The schemas are those of the messages: of the `.proto` files, and of the JSON that `crates/proto` reads and writes.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::collections::BTreeSet;

use proto::v1;
use serde::Serialize;
use serde_json::Value;

#[test]
fn the_file_says_what_the_messages_do() {
    let text = std::fs::read_to_string(schemas::path()).unwrap_or_default();
    let written: Value = serde_json::from_str(&text).unwrap_or_default();
    assert!(written == schemas::document().unwrap(), "docs/schemas/lockstep.v1.json is old: cargo xtask schemas");
}

/// Whether a value is what a schema with the few words that ours use says.
fn fits(value: &Value, schema: &Value, all: &Value) -> Result<(), String> {
    let say = |why: &str| Err(format!("{value} {why} {schema}"));
    if let Some(name) = schema["$ref"].as_str() {
        return fits(value, all.pointer(&name[1..]).ok_or("nowhere")?, all);
    }
    for choices in ["anyOf", "oneOf"] {
        if let Some(any) = schema[choices].as_array() {
            let fitting = any.iter().filter(|one| fits(value, one, all).is_ok()).count();
            return if fitting == 1 { Ok(()) } else { say(&format!("fits {fitting} of")) };
        }
    }
    if let Some(constant) = schema.get("const") {
        return if constant == value { Ok(()) } else { say("is not") };
    }
    let right = match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("number") => value.is_number(),
        Some("integer") if schema["minimum"] == 0 => value.is_u64(),
        Some("integer") => value.is_i64(),
        Some("null") => value.is_null(),
        Some("array") => {
            return value.as_array().ok_or("no list")?.iter().try_for_each(|one| fits(one, &schema["items"], all));
        }
        Some("object") => {
            let object = value.as_object().ok_or("no object")?;
            for name in schema["required"].as_array().into_iter().flatten() {
                if !object.contains_key(name.as_str().unwrap()) {
                    return say(&format!("lacks {name} of"));
                }
            }
            for (name, value) in object {
                match (schema["properties"].get(name), &schema["additionalProperties"]) {
                    (Some(property), _) => fits(value, property, all)?,
                    (None, Value::Bool(false)) => return say(&format!("has {name}, unlike")),
                    (None, more @ Value::Object(_)) => fits(value, more, all)?,
                    (None, _) => {}
                }
            }
            true
        }
        _ => return say("cannot be judged by"),
    };
    if right { Ok(()) } else { say("is not") }
}

/// Its JSON form fits the definition of that name, and has each of its fields.
fn is_defined(name: &str, message: impl Serialize) {
    let all = schemas::document().unwrap();
    let json = serde_json::to_value(message).unwrap();
    fits(&json, &all["$defs"][name], &all).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&json), names(&all["$defs"][name]["properties"]));
}

#[test]
fn the_json_of_each_message_is_as_its_schema_says() {
    let actor = Some(v1::Actor { name: "Ada".into(), id: "u1".into(), automation: false });
    let map = || [("a".to_owned(), "b".to_owned())].into();
    is_defined(
        "Observation",
        v1::Observation {
            position: u64::MAX,
            occurred_at: -1,
            actor: actor.clone(),
            keys: vec!["ENG-1".into()],
            vocabulary: vec![v1::Word::default()],
            metadata: map(),
            ..v1::Observation::default()
        },
    );
    is_defined("Observation", v1::Observation::default());
    is_defined("Word", v1::Word::default());
    is_defined("Actor", actor);
    is_defined("Command", v1::Command { expects: vec!["open".into()], ..v1::Command::default() });
    is_defined("Delivery", v1::Delivery { attempts: 2, ..v1::Delivery::default() });
    is_defined("Change", v1::Change { records: vec!["a/b/c".into()], ..v1::Change::default() });
    is_defined(
        "Heartbeat",
        v1::Heartbeat { last_success: [("linear".to_owned(), 5)].into(), ..v1::Heartbeat::default() },
    );
    let resources = Some(v1::Resources { cpu_percent: 0.5, memory_bytes: 1, tokens: 2 });
    is_defined("AgentState", v1::AgentState { resources, metadata: map(), ..v1::AgentState::default() });
    is_defined("AgentState", v1::AgentState::default());
    is_defined("Resources", resources);
    is_defined(
        "PerformanceMetric",
        v1::PerformanceMetric { value: 1.0, tags: map(), ..v1::PerformanceMetric::default() },
    );
    let metrics = vec![v1::PerformanceMetric::default()];
    is_defined("PerformanceMetrics", v1::PerformanceMetrics { metrics, ..v1::PerformanceMetrics::default() });
    is_defined("WorkflowExecution", v1::WorkflowExecution { progress: 0.5, ..v1::WorkflowExecution::default() });
    is_defined("MemoryTimeline", v1::MemoryTimeline { tags: vec!["t".into()], ..v1::MemoryTimeline::default() });
    is_defined("SystemAlert", v1::SystemAlert { metadata: map(), ..v1::SystemAlert::default() });
    is_defined("HealthChanged", v1::HealthChanged::default());
    is_defined("OperationStep", v1::OperationStep::default());
}

#[test]
fn an_event_is_one_of_the_types_and_what_is_wrong_is_none() {
    let all = schemas::document().unwrap();
    let event = |kind: &str, message: Value| {
        let mut event = message;
        event["type"] = kind.into();
        event["position"] = "p".into();
        event
    };
    let told = |event: &Value| fits(event, &all, &all);
    let change = serde_json::to_value(v1::Change::default()).unwrap();
    for kind in ["status_changed", "linked", "unlinked", "conflict_opened", "conflict_resolved"] {
        told(&event(kind, change.clone())).unwrap();
        let kinds = v1_comment(&all, "Change", "kind");
        assert!(kinds.contains(kind), "{kind} is not among {kinds}");
    }
    let mut delivery = event("delivery", serde_json::to_value(v1::Delivery::default()).unwrap());
    assert!(told(&delivery).is_err(), "where the watcher is and where the record is are two things");
    delivery["record_position"] = 7.into();
    told(&delivery).unwrap();
    let alert = serde_json::to_value(v1::SystemAlert::default()).unwrap();
    let mut alert = event("system_alert", alert);
    alert["traceparent"] = "00-1-2-01".into();
    alert["something"] = "new".into();
    told(&alert).unwrap();
    alert["at"] = "today".into();
    assert!(told(&alert).is_err());
    assert!(told(&event("weather", change.clone())).is_err());
    let mut nowhere = event("linked", change);
    nowhere.as_object_mut().unwrap().remove("position");
    assert!(told(&nowhere).is_err());
}

#[test]
fn the_comments_are_the_descriptions() {
    let all = schemas::document().unwrap();
    assert!(v1_comment(&all, "AgentState", "status").starts_with("A status of the lifecycle \"agent\""));
    assert_eq!(all["$defs"]["Word"]["description"], "One status that a record can show.");
}

fn v1_comment(all: &Value, message: &str, field: &str) -> String {
    all["$defs"][message]["properties"][field]["description"].as_str().unwrap_or_default().to_owned()
}
