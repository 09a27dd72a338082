//! What watchers are told, typed. Members and types that a newer server adds are passed on or over, never an error.

mod change;
mod live;

pub use change::{Actor, Change, Delivery};
pub use live::{
    AgentState, HealthChanged, MemoryTimeline, OperationStep, PerformanceMetric, PerformanceMetrics, Resources,
    SystemAlert, WorkflowExecution,
};

use std::ops::Deref;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{Error, Item};

/// What a watcher is told. Its JSON form is the one that came.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Message {
    /// How a room stands.
    Snapshot(Snapshot),
    /// What was missed of these rooms cannot be told any more; a snapshot of each follows.
    Reset(Reset),
    /// An item took another status, or is new.
    StatusChanged(Told<Change>),
    /// A record was tied to an item.
    Linked(Told<Change>),
    /// A record was untied from an item.
    Unlinked(Told<Change>),
    /// An item is held until a person decides.
    ConflictOpened(Told<Change>),
    /// It is not any more.
    ConflictResolved(Told<Change>),
    /// What became of a write to a record.
    Delivery(Told<Delivery>),
    /// What an agent does now.
    AgentState(Told<AgentState>),
    /// Measurements.
    PerformanceMetrics(Told<PerformanceMetrics>),
    /// How far a workflow is.
    WorkflowExecution(Told<WorkflowExecution>),
    /// Something happened to an agent's memory.
    MemoryTimeline(Told<MemoryTimeline>),
    /// Something that a person should know.
    SystemAlert(Told<SystemAlert>),
    /// The health of something went from one level to another.
    HealthChanged(Told<HealthChanged>),
    /// One step of a long operation.
    OperationStep(Told<OperationStep>),
    /// A message of a type that this client does not know: of a newer server, or an error that answers nothing it asked.
    #[serde(untagged)]
    Other(Value),
}

/// An event with its place: derefs to the event itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Told<T> {
    /// Where the watcher is when it has read this; opaque. Empty in a snapshot.
    #[serde(default)]
    pub position: String,
    /// The W3C trace context, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The event.
    #[serde(flatten)]
    pub event: Box<T>,
}

impl<T> Deref for Told<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.event
    }
}

/// How a room stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// The room.
    pub room: String,
    /// Where the watcher is when it has read this; opaque.
    pub position: String,
    /// Its items.
    pub items: Vec<Item>,
    /// Its telemetry and alerts, as they were told.
    #[serde(deserialize_with = "messages")]
    pub messages: Vec<Message>,
    /// Another page of it follows.
    pub more: bool,
    /// There is more than a snapshot holds.
    pub truncated: bool,
}

/// What was missed cannot be told any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reset {
    /// The rooms.
    pub rooms: Vec<String>,
    /// `too_old`, `other_epoch` or `ahead`.
    pub reason: String,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    name: String,
}

/// The `type` of a message.
pub(crate) fn name(text: &str) -> Result<String, Error> {
    Ok(read::<Head>(text)?.name)
}

/// A JSON text as what it should be.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Unexpected { why: error.to_string() })
}

impl Message {
    /// The message of a text whose `type` is `name`.
    pub(crate) fn named(name: &str, text: &str) -> Result<Self, Error> {
        Ok(match name {
            "snapshot" => Self::Snapshot(read(text)?),
            "reset" => Self::Reset(read(text)?),
            "status_changed" => Self::StatusChanged(read(text)?),
            "linked" => Self::Linked(read(text)?),
            "unlinked" => Self::Unlinked(read(text)?),
            "conflict_opened" => Self::ConflictOpened(read(text)?),
            "conflict_resolved" => Self::ConflictResolved(read(text)?),
            "delivery" => Self::Delivery(read(text)?),
            "agent_state" => Self::AgentState(read(text)?),
            "performance_metrics" => Self::PerformanceMetrics(read(text)?),
            "workflow_execution" => Self::WorkflowExecution(read(text)?),
            "memory_timeline" => Self::MemoryTimeline(read(text)?),
            "system_alert" => Self::SystemAlert(read(text)?),
            "health_changed" => Self::HealthChanged(read(text)?),
            "operation_step" => Self::OperationStep(read(text)?),
            _ => Self::Other(read(text)?),
        })
    }

    /// The message of a JSON text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::named(&name(text)?, text)
    }

    /// Where the watcher is when it has read this event; `None` for what has no place of its own.
    pub fn position(&self) -> Option<&str> {
        let position = match self {
            Self::Snapshot(_) | Self::Reset(_) => return None,
            Self::StatusChanged(told)
            | Self::Linked(told)
            | Self::Unlinked(told)
            | Self::ConflictOpened(told)
            | Self::ConflictResolved(told) => &told.position,
            Self::Delivery(told) => &told.position,
            Self::AgentState(told) => &told.position,
            Self::PerformanceMetrics(told) => &told.position,
            Self::WorkflowExecution(told) => &told.position,
            Self::MemoryTimeline(told) => &told.position,
            Self::SystemAlert(told) => &told.position,
            Self::HealthChanged(told) => &told.position,
            Self::OperationStep(told) => &told.position,
            Self::Other(value) => value.get("position")?.as_str()?,
        };
        (!position.is_empty()).then_some(position)
    }

    /// The change of an item that it tells of, whatever happened to the item.
    pub fn change(&self) -> Option<&Change> {
        match self {
            Self::StatusChanged(told)
            | Self::Linked(told)
            | Self::Unlinked(told)
            | Self::ConflictOpened(told)
            | Self::ConflictResolved(told) => Some(told),
            _ => None,
        }
    }
}

fn messages<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Message>, D::Error> {
    let values = Vec::<Value>::deserialize(from)?;
    let message = |value: Value| Message::parse(&value.to_string()).map_err(serde::de::Error::custom);
    values.into_iter().map(message).collect()
}

#[cfg(test)]
mod tests;
