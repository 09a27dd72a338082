//! What a server says, by what it means for the connection.

use serde::Deserialize;
use serde_json::Value;

use crate::message::{Message, name, read};
use crate::status::Accepted;
use crate::{Error, Reset, Snapshot, Wrong};

/// One message of the server.
#[derive(Debug)]
pub(crate) enum Said {
    Welcome(Welcome),
    AuthSuccess,
    Subscribed(Subscribed),
    Unsubscribed(Answer),
    Snapshot(Snapshot),
    Reset(Reset),
    StatusAccepted(StatusAccepted),
    Acknowledged(Answer),
    Pong(Pong),
    TokenExpiring,
    GoingAway { in_ms: u64 },
    Refusal(Refusal),
    Event(Message),
}

/// The first message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Welcome {
    /// The time between two signs of life of the server, in milliseconds.
    pub ping_ms: u64,
    /// How large a message to it may be; 0 where it does not say.
    pub message_max_bytes: usize,
    /// Where the client is: what is done from now on comes after it.
    pub position: String,
}

/// What is in effect.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Subscribed {
    pub position: String,
    #[serde(rename = "ref")]
    pub reference: Option<String>,
}

/// An answer of which only the `ref` counts.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    #[serde(rename = "ref")]
    pub reference: Option<String>,
}

/// A sign of life, which was asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Pong {
    /// Where the client is, when all that happened so far is told.
    pub position: Option<String>,
    #[serde(rename = "ref")]
    pub reference: Option<String>,
}

/// Statuses that are stored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StatusAccepted {
    pub accepted: Vec<Accepted>,
    #[serde(rename = "ref")]
    pub reference: Option<String>,
}

/// Why something was not done.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Refusal {
    pub code: String,
    pub reason: String,
    pub room: Option<String>,
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    pub errors: Option<Value>,
}

#[derive(Deserialize)]
struct Away {
    #[serde(default)]
    in_ms: u64,
}

impl Said {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let name = name(text)?;
        Ok(match name.as_str() {
            "welcome" => Self::Welcome(read(text)?),
            "auth_success" => Self::AuthSuccess,
            "subscribed" => Self::Subscribed(read(text)?),
            "unsubscribed" => Self::Unsubscribed(read(text)?),
            "snapshot" => Self::Snapshot(read(text)?),
            "reset" => Self::Reset(read(text)?),
            "status_accepted" => Self::StatusAccepted(read(text)?),
            "acknowledged" => Self::Acknowledged(read(text)?),
            "pong" => Self::Pong(read(text)?),
            "token_expiring" => Self::TokenExpiring,
            "going_away" => Self::GoingAway { in_ms: read::<Away>(text)?.in_ms },
            "error" => Self::Refusal(read(text)?),
            name => Self::Event(Message::named(name, text)?),
        })
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let mut detail = refusal.reason;
        if let Some(room) = refusal.room {
            detail = format!("{room}: {detail}");
        }
        // What names them in another way is told by the sentence alone.
        let errors: Vec<Wrong> =
            refusal.errors.and_then(|errors| serde_json::from_value(errors).ok()).unwrap_or_default();
        for wrong in &errors {
            detail = format!("{detail}; {} {}: {}", wrong.index, wrong.field, wrong.detail);
        }
        Self::Refused { status: 0, code: refusal.code, detail, errors }
    }
}
