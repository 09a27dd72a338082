//! Makes an observation of one status as people and scripts write it.
//!
//! Knows what may stand in it; which records and statuses there are is not known here.

use std::collections::BTreeMap;

use model::{Lane, Observation};
use proto::v1;
use serde::Deserialize;
use serde_json::Value;

use super::Ready;
use crate::refused::Wrong;
use crate::{Context, ID, is_id, metadata, moment};

/// What a status may say. Names that are not here are refused: a misspelt one would be lost in silence.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "must be an object")]
struct Entry {
    /// `system/kind/id`, or the three apart.
    record: Option<String>,
    system: Option<String>,
    kind: Option<String>,
    /// With `system` and `kind` the record's id; with `record` the status's own.
    id: Option<String>,
    /// The status's own id, in either form.
    idempotency_id: Option<String>,
    status: String,
    position: Option<u64>,
    occurred_at: Option<Value>,
    lane: Option<Value>,
    priority: Option<Value>,
    actor: Option<Actor>,
    title: Option<String>,
    url: Option<String>,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    mentions: Vec<String>,
    lifecycle: Option<String>,
    #[serde(default)]
    metadata: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "must be a name, or an object of name, id and automation")]
enum Actor {
    Name(String),
    Known(Known),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    name: String,
    id: Option<String>,
    #[serde(default)]
    automation: bool,
}

/// One status, checked. `index` is its place in the request.
pub(super) fn ready(status: Value, index: usize, context: &Context<'_>) -> Result<Ready, Wrong> {
    let entry: Entry = serde_path_to_error::deserialize(status).map_err(Wrong::of)?;
    let (record, own_id) = names(&entry)?;
    let id = match own_id {
        Some(id) if is_id(&id) => id,
        Some(_) => return Err(Wrong::new("id", ID)),
        None => context.id_at(index),
    };
    let occurred_at = match &entry.occurred_at {
        None | Some(Value::Null) => context.now_ms,
        Some(moment) => moment::read(moment)
            .and_then(|ms| moment::not_ahead(ms, context.now_ms))
            .map_err(|why| Wrong::new("occurred_at", why))?,
    };
    for (field, text) in [("title", &entry.title), ("url", &entry.url)] {
        if text.as_ref().is_some_and(|text| text.contains('\0')) {
            return Err(Wrong::new(field, metadata::NO_NUL));
        }
    }
    let lane = lane(&entry)?;
    let message = v1::Observation {
        // Two senders may count alike; the record keeps their ids apart on the bus.
        id: format!("api:{record}:{id}"),
        record,
        native: entry.status,
        position: match entry.position {
            Some(0) => return Err(Wrong::new("position", "must be above 0; leave it out where there is none")),
            Some(given) if i64::try_from(given).is_err() => {
                return Err(Wrong::new("position", "must be below 2^63"));
            }
            given => given.unwrap_or(0),
        },
        occurred_at,
        actor: entry.actor.map(actor).transpose()?,
        source: "api".into(),
        lifecycle: entry.lifecycle.unwrap_or_default(),
        title: entry.title.unwrap_or_default(),
        url: entry.url.unwrap_or_default(),
        keys: entry.keys,
        mentions: entry.mentions,
        metadata: metadata::read("metadata", entry.metadata)?,
        ..v1::Observation::default()
    };
    let observation = observation(message)?;
    if let Some(named) = observation.lifecycle.as_ref().filter(|named| context.lifecycles.get(named).is_none()) {
        let known: Vec<&str> = context.lifecycles.iter().map(|lifecycle| lifecycle.name().as_str()).collect();
        return Err(Wrong::new("lifecycle", format!("there is no lifecycle {named}; known are {}", known.join(", "))));
    }
    Ok(Ready { id, lane, observation })
}

/// The observation of the model, its faults in the words of a status.
pub(crate) fn observation(message: v1::Observation) -> Result<Observation, Wrong> {
    proto::observation_from(message).map_err(|error| {
        let field = if error.field == "native" { "status" } else { error.field };
        Wrong::new(field, error.why)
    })
}

/// The record, and the status's own id where it has one.
fn names(entry: &Entry) -> Result<(String, Option<String>), Wrong> {
    let own = entry.idempotency_id.clone();
    match (&entry.record, &entry.system, &entry.kind, &entry.id) {
        (Some(record), None, None, id) => match (id, own) {
            (Some(id), Some(own)) if *id != own => Err(Wrong::new("id", "and idempotency_id differ; give one")),
            (id, own) => Ok((record.clone(), own.or_else(|| id.clone()))),
        },
        (None, Some(system), Some(kind), Some(id)) => Ok((format!("{system}/{kind}/{id}"), own)),
        _ => Err(Wrong::new("record", "must be given as \"system/kind/id\", or apart as system, kind and id")),
    }
}

/// The lane: by name, or as a number from 0, which is the most urgent.
fn lane(entry: &Entry) -> Result<Lane, Wrong> {
    let read = |field: &str, value: &Option<Value>| match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => lane_of(value)
            .map(Some)
            .ok_or_else(|| Wrong::new(field, "must be critical, high, normal or low, or 0 (critical) to 3 (low)")),
    };
    match (read("lane", &entry.lane)?, read("priority", &entry.priority)?) {
        (Some(lane), Some(priority)) if lane != priority => {
            Err(Wrong::new("priority", "and lane say different things; give one"))
        }
        (lane, priority) => Ok(lane.or(priority).unwrap_or_default()),
    }
}

/// The words of trackers for a lane.
const SYNONYMS: [(&str, Lane); 2] = [("urgent", Lane::Critical), ("medium", Lane::Normal)];

fn lane_of(value: &Value) -> Option<Lane> {
    match value {
        Value::Number(number) => Lane::ALL.get(usize::try_from(number.as_u64()?).ok()?).copied(),
        Value::String(name) => {
            let name = name.to_ascii_lowercase();
            SYNONYMS.iter().find(|(theirs, _)| *theirs == name).map(|(_, lane)| *lane).or_else(|| Lane::named(&name))
        }
        _ => None,
    }
}

fn actor(actor: Actor) -> Result<v1::Actor, Wrong> {
    let (name, id, automation) = match actor {
        Actor::Name(name) => (name, None, false),
        Actor::Known(known) => (known.name, known.id, known.automation),
    };
    let id = id.unwrap_or_default();
    let good = |text: &str| text.len() <= 256 && !text.chars().any(char::is_control);
    if name.trim().is_empty() || !good(&name) || !good(&id) {
        return Err(Wrong::new("actor", "must have a name, and no more than 256 bytes without control characters"));
    }
    Ok(v1::Actor { name, id, automation })
}
