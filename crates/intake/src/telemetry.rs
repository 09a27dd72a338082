//! Telemetry: what agents, workflows and servers tell of themselves, over HTTP or straight onto the bus. One judgement for both.

mod check;
mod json;
mod wire;

use model::Lifecycles;
use proto::v1;
use serde_json::{Map, Value};

use crate::list::Kind;
use crate::refused::Wrong;
use crate::{Context, Refused};

pub use check::{HEALTH, NAME_BYTES_MAX};
pub use wire::from_bus;

/// How many messages one request may bring.
pub const MESSAGES_MAX: usize = 500;

const MESSAGES: Kind = Kind {
    one: "a message",
    several: "messages",
    max: MESSAGES_MAX,
    too_many: "too_many_messages",
    bad: "bad_messages",
};

/// A message that can be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Ready {
    /// The id to publish it under.
    pub id: String,
    /// The message.
    pub telemetry: Telemetry,
}

/// What a message is judged by beside itself.
#[derive(Clone, Copy)]
struct Terms<'a> {
    now_ms: i64,
    lifecycles: &'a Lifecycles,
}

macro_rules! kinds {
    ($($kind:literal = $message:ident by $key:ident;)*) => {
        /// One message of telemetry, which is known to be good.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Telemetry {
            $(
                #[doc = concat!("`", $kind, "`.")]
                $message(v1::$message),
            )*
        }

        /// The kinds of telemetry: the words of `type` and of the subjects.
        pub const KINDS: &[&str] = &[$($kind),*];

        impl Telemetry {
            /// Its kind.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$message(_) => $kind),* }
            }

            /// What it is about: an agent, a metric, a workflow, a target, an operation by name, or the alert's id. With the
            /// kind it makes the subject.
            pub fn key(&self) -> &str {
                match self { $(Self::$message(message) => &message.$key),* }
            }

            /// Its bytes on the bus: protobuf.
            pub fn encode(&self) -> Vec<u8> {
                match self { $(Self::$message(message) => proto::encode(message)),* }
            }

            /// The field that [`key`](Self::key) is.
            fn key_field(&mut self) -> (&'static str, &mut String) {
                match self { $(Self::$message(message) => (stringify!($key), &mut message.$key)),* }
            }

            fn check(&mut self, terms: Terms<'_>) -> Result<(), Wrong> {
                match self { $(Self::$message(message) => check::Check::check(message, terms)),* }
            }

            fn from_json(kind: &str, object: Map<String, Value>) -> Result<Self, Wrong> {
                match kind {
                    $($kind => json::read(object).map(Self::$message),)*
                    _ => Err(unknown(kind)),
                }
            }

            fn from_protobuf(kind: &str, bytes: &[u8]) -> Result<Self, Wrong> {
                match kind {
                    $($kind => match proto::decode(None, bytes) {
                        Ok(message) => Ok(Self::$message(message)),
                        Err(error) => Err(Wrong::new("", error.to_string())),
                    },)*
                    _ => Err(unknown(kind)),
                }
            }
        }
    };
}

kinds! {
    "agent_state" = AgentState by agent;
    "performance_metric" = PerformanceMetric by name;
    "workflow_execution" = WorkflowExecution by workflow;
    "memory_timeline" = MemoryTimeline by agent;
    "system_alert" = SystemAlert by id;
    "health_changed" = HealthChanged by target;
    "operation_step" = OperationStep by operation;
}

/// The messages of a body: one object, a list, or a list under `messages`. At least one, at most [`MESSAGES_MAX`].
pub fn messages(body: Value) -> Result<Vec<Value>, Refused> {
    MESSAGES.of(body)
}

/// What is to be published of a list of messages, in its order; nothing if one of them is wrong.
pub fn ready(list: Vec<Value>, context: &Context<'_>) -> Result<Vec<Ready>, Refused> {
    let terms = Terms { now_ms: context.now_ms, lifecycles: context.lifecycles };
    MESSAGES.checked(list, |message, index| {
        let telemetry = one(message, terms).map_err(Wrong::shortened)?;
        Ok(Ready { id: context.id_at(index), telemetry })
    })
}

fn one(message: Value, terms: Terms<'_>) -> Result<Telemetry, Wrong> {
    let Value::Object(mut object) = message else {
        return Err(Wrong::new("", "must be an object"));
    };
    let kind = match object.remove("type") {
        Some(Value::String(kind)) => kind,
        Some(_) => return Err(Wrong::new("type", "must be a text")),
        None => return Err(Wrong::new("type", format!("is missing; it is one of {}", KINDS.join(", ")))),
    };
    let mut telemetry = Telemetry::from_json(&kind, object)?;
    telemetry.check(terms)?;
    Ok(telemetry)
}

fn unknown(kind: &str) -> Wrong {
    match OURS.iter().find(|(kinds, _)| kinds.contains(&kind)) {
        Some((_, instead)) => Wrong::new("type", format!("{kind:?} is told by Lockstep alone; {instead}")),
        None => Wrong::not_one_of("type", kind, KINDS),
    }
}

/// What watchers are told and nobody may tell, because it says what Lockstep decided or did; and what to do instead.
const OURS: [(&[&str], &str); 5] = [
    (&["status_changed"], "say what a record shows with POST /v1/status, and its item follows"),
    (&["linked", "unlinked"], "tie records with POST /v1/items/{item}/links, and untie them with DELETE"),
    (&["conflict_opened", "conflict_resolved"], "decide one with POST /v1/conflicts/{id}/pick"),
    (&["delivery"], "connectors report what they did"),
    (&["performance_metrics"], "send each measurement as a performance_metric"),
];

#[cfg(test)]
mod tests;
