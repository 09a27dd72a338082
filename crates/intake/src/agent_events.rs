//! Makes observations of the events that agents' runtimes send: of the form `{agentId, historyId, eventName, status,
//! additionalData, type}`. Each is about the record `agent/session/<agentId>`, in the words of the lifecycle `agent`.

mod derive;

use model::{Lane, LifecycleName, Status};
use proto::v1;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::list::Kind;
use crate::refused::Wrong;
use crate::{Context, Ready, Refused, moment, status};

/// How many events one request may bring.
pub const EVENTS_MAX: usize = 500;

const EVENTS: Kind =
    Kind { one: "an event", several: "events", max: EVENTS_MAX, too_many: "too_many_events", bad: "bad_events" };

/// The lifecycle whose statuses they tell.
const LIFECYCLE: &str = "agent";
/// How long a name may be, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// The space of the ids of events that say when they happened. Any constant will do.
const OCCURRENCES: Uuid = Uuid::from_u128(0x6c6f_636b_7374_6570_8000_6576_656e_7400);

/// An event as it is sent. What `additionalData` holds is the runtime's own affair.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Event {
    agent_id: String,
    #[serde(default)]
    history_id: Option<String>,
    #[serde(default, rename = "eventName")]
    happened: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    additional_data: Option<Map<String, Value>>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

/// The events of a body: one object, a list, or a list under `events`. At least one, at most [`EVENTS_MAX`].
pub fn events(body: Value) -> Result<Vec<Value>, Refused> {
    EVENTS.of(body)
}

/// What is to be stored of a list of events, in its order; nothing if one of them is wrong.
pub fn ready(list: Vec<Value>, context: &Context<'_>) -> Result<Vec<Ready>, Refused> {
    EVENTS.checked(list, |event, index| one(event, index, context).map_err(Wrong::shortened))
}

fn one(event: Value, index: usize, context: &Context<'_>) -> Result<Ready, Wrong> {
    let event: Event = serde_path_to_error::deserialize(event).map_err(Wrong::of)?;
    let metadata: Vec<(&str, &str)> =
        [("historyId", &event.history_id), ("eventName", &event.happened), ("type", &event.kind)]
            .into_iter()
            .filter_map(|(field, value)| Some((field, value.as_deref().filter(|value| !value.is_empty())?)))
            .collect();
    for (field, value) in metadata.iter().chain([&("agentId", event.agent_id.as_str())]) {
        name(field, value)?;
    }
    let status = status_of(&event, context)?;
    let data = event.additional_data.unwrap_or_default();
    // What is no moment is the sender's own affair.
    let when = data.get("timestamp").and_then(|when| Some((when, moment::read(when).ok()?)));
    let occurred_at = match when {
        Some((_, ms)) => {
            moment::not_ahead(ms, context.now_ms).map_err(|why| Wrong::new("additionalData.timestamp", why))?
        }
        None => context.now_ms,
    };
    let id = match when {
        // The same event sent again. Without a time a second start of a tool could not be told from the first one sent again,
        // and would be lost.
        Some((when, _)) => Uuid::new_v5(
            &OCCURRENCES,
            json!([event.agent_id, event.history_id, event.happened, event.kind, status.as_str(), when])
                .to_string()
                .as_bytes(),
        )
        .to_string(),
        None => context.id_at(index),
    };
    let record = format!("agent/session/{}", event.agent_id);
    let observation = status::observation(v1::Observation {
        id: format!("api:{record}:{id}"),
        record,
        native: status.to_string(),
        occurred_at,
        actor: Some(v1::Actor { name: event.agent_id.clone(), id: String::new(), automation: true }),
        source: "api".into(),
        lifecycle: LIFECYCLE.into(),
        title: event.agent_id.clone(),
        mentions: derive::mentions(&data),
        metadata: metadata.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        ..v1::Observation::default()
    })?;
    Ok(Ready { id, lane: Lane::default(), observation })
}

/// The status that an event tells: in its own word, or by what happened where that is clear.
fn status_of(event: &Event, context: &Context<'_>) -> Result<Status, Wrong> {
    let agent = LifecycleName::new(LIFECYCLE).ok().and_then(|name| context.lifecycles.get(&name));
    let agent = agent.ok_or_else(|| Wrong::new("status", "cannot be judged: there is no lifecycle agent"))?;
    let said = event.status.as_deref().filter(|said| !said.is_empty());
    let happened = event.happened.as_deref().unwrap_or_default();
    let word = said.or_else(|| derive::status(happened)).ok_or_else(|| {
        let happened: String = happened.chars().take(80).collect();
        Wrong::new("status", format!("is missing, and the eventName {happened:?} does not tell it; send one"))
    })?;
    agent.status(word).cloned().ok_or_else(|| {
        let known: Vec<&str> = agent.statuses().iter().map(Status::as_str).collect();
        Wrong::not_one_of("status", word, &known)
    })
}

fn name(field: &str, value: &str) -> Result<(), Wrong> {
    if value.trim().is_empty() || value.len() > NAME_BYTES_MAX || value.chars().any(char::is_control) {
        return Err(Wrong::new(field, format!("must be 1 to {NAME_BYTES_MAX} bytes without control characters")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
