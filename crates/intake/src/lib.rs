//! Makes messages of what people and scripts send.
//!
//! Pure: time and randomness are arguments. Knows the form of what comes and nothing of the way by which it came: ingest and the
//! broadcaster take the same words.

pub mod agent_events;
mod list;
mod metadata;
mod moment;
mod refused;
mod status;
pub mod telemetry;

use model::Lifecycles;
use uuid::Uuid;

pub use refused::{Fault, Refused, Wrong};
pub use status::{Ready, STATUSES_MAX, ready, statuses};

/// What a request is judged by beside itself.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// Now, in milliseconds since 1970: when a thing happened of which nobody says when.
    pub now_ms: i64,
    /// The request's `Idempotency-Key`, from which what has no id of its own gets one; see [`is_id`].
    pub request_key: Option<String>,
    /// Which lifecycles there are.
    pub lifecycles: &'a Lifecycles,
    /// Draws an id for what has none, where there is no request key either: time and chance are the caller's.
    pub fresh_id: fn() -> Uuid,
}

impl Context<'_> {
    /// The id of what stands at `index` in the request and has none of its own.
    fn id_at(&self, index: usize) -> String {
        match &self.request_key {
            Some(key) => format!("{key}:{index}"),
            None => (self.fresh_id)().to_string(),
        }
    }
}

/// What an id must be, for a sentence that says so.
pub const ID: &str = "must be 1 to 128 plain characters without spaces";

/// Whether a text can be an id.
pub fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
