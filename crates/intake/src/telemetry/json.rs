//! Reads a message of telemetry from JSON: the form of `crates/proto`, and what people and older programs write instead.

use proto::v1;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::refused::Wrong;
use crate::{metadata, moment};

/// Other names for fields, where a message has the field.
const ALIASES: [(&str, &str); 10] = [
    ("agentId", "agent"),
    ("workflowId", "workflow"),
    ("executionId", "execution"),
    ("memoryId", "memory"),
    ("operationId", "operation"),
    ("stepId", "step"),
    ("currentTask", "task"),
    ("taskId", "task"),
    ("previousStatus", "previous"),
    ("timestamp", "at"),
];

/// A message of telemetry as far as JSON is concerned.
pub(super) trait Form: Default + Serialize + DeserializeOwned {
    /// The field that holds any JSON as a text.
    const ANY: Option<&'static str> = None;
}

impl Form for v1::AgentState {}
impl Form for v1::PerformanceMetric {}
impl Form for v1::WorkflowExecution {}
impl Form for v1::MemoryTimeline {}
impl Form for v1::SystemAlert {}
impl Form for v1::HealthChanged {}
impl Form for v1::OperationStep {
    const ANY: Option<&'static str> = Some("data");
}

/// A message from its members. A member that is no field is refused: a misspelt one would be lost in silence.
pub(super) fn read<M: Form>(mut object: Map<String, Value>) -> Result<M, Wrong> {
    let fields = match serde_json::to_value(M::default()) {
        Ok(Value::Object(fields)) => fields,
        // A message is an object; were it none, nothing could be said in it.
        _ => Map::new(),
    };
    for (alias, field) in ALIASES {
        if fields.contains_key(field)
            && let Some(value) = object.remove(alias)
            && object.insert(field.to_owned(), value).is_some()
        {
            return Err(Wrong::new(alias, format!("is another name for {field}; give one")));
        }
    }
    object.retain(|name, value| !value.is_null() || !fields.contains_key(name));
    for (name, value) in &mut object {
        match (name.as_str(), value.take()) {
            (name @ ("at" | "acknowledged_at"), text @ Value::String(_)) => {
                *value = moment::read(&text).map_err(|why| Wrong::new(name, why))?.into();
            }
            (name @ ("metadata" | "tags"), Value::Object(given)) => {
                let kept = metadata::read(name, given)?;
                *value = kept.into_iter().map(|(name, text)| (name, Value::String(text))).collect();
            }
            (name, any) if M::ANY == Some(name) => *value = Value::String(text_of(any)),
            (_, other) => *value = other,
        }
    }
    serde_path_to_error::deserialize(Value::Object(object)).map_err(Wrong::of)
}

/// Any JSON as a text of it. What is such a text already stays as it is.
fn text_of(any: Value) -> String {
    match any {
        Value::String(text) if text.is_empty() || is_json(&text) => text,
        other => other.to_string(),
    }
}

/// Whether a text is JSON.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
