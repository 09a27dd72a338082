//! What clients say, and what they are answered. Pure.

use axum::extract::ws::Utf8Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

/// A client's frame.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Frame {
    /// Follow these rooms.
    Subscribe {
        /// Their names.
        rooms: Vec<String>,
    },
    /// Do not follow these rooms any more.
    Unsubscribe {
        /// Their names.
        rooms: Vec<String>,
    },
    /// Is anybody there?
    Ping {},
}

/// Why a frame or a room was refused: a code for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// One word that never changes its meaning.
    pub code: &'static str,
    /// What is wrong, and what would be right.
    pub reason: String,
    /// The room it is about.
    pub room: Option<String>,
}

impl Refusal {
    /// A refusal of a frame.
    pub fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), room: None }
    }

    /// A refusal of one room.
    pub fn room(code: &'static str, room: &str, reason: impl Into<String>) -> Self {
        Self { room: Some(room.chars().take(100).collect()), ..Self::new(code, reason) }
    }

    /// As a message to the client.
    pub fn message(&self) -> Utf8Bytes {
        let mut message = json!({"type": "error", "code": self.code, "reason": self.reason});
        if let Some(room) = &self.room {
            message["room"] = json!(room);
        }
        text(&message)
    }
}

/// What a text frame says.
pub fn read(text: &str) -> Result<Frame, Refusal> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Refusal::new("malformed", format!("the frame is not JSON: {error}")))?;
    if !value.is_object() {
        return Err(Refusal::new("malformed", "the frame must be a JSON object with a type"));
    }
    match value.get("type").and_then(Value::as_str) {
        Some("subscribe" | "unsubscribe" | "ping") => serde_json::from_value(value)
            .map_err(|error| Refusal::new("malformed", format!("the frame has the wrong members: {error}"))),
        Some(_) => Err(Refusal::new("unknown_type", "types are subscribe, unsubscribe and ping")),
        None => Err(Refusal::new("malformed", "the frame must have a type: subscribe, unsubscribe or ping")),
    }
}

/// The answer to `subscribe` or `unsubscribe`, with the rooms it was done for.
pub fn done(kind: &str, rooms: &[String]) -> Utf8Bytes {
    text(&json!({"type": kind, "rooms": rooms}))
}

/// The answer to `ping`.
pub fn pong(now_ms: i64) -> Utf8Bytes {
    text(&json!({"type": "pong", "at": now_ms}))
}

pub(crate) fn text(message: &Value) -> Utf8Bytes {
    Utf8Bytes::from(message.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_by_their_type() {
        let rooms = vec!["all".to_owned()];
        assert_eq!(read(r#"{"type":"subscribe","rooms":["all"]}"#), Ok(Frame::Subscribe { rooms: rooms.clone() }));
        assert_eq!(read(r#"{"rooms":["all"],"type":"unsubscribe"}"#), Ok(Frame::Unsubscribe { rooms }));
        assert_eq!(read(r#"{"type":"ping"}"#), Ok(Frame::Ping {}));
    }

    #[test]
    fn whatever_else_comes_is_refused_with_a_code() {
        let cases = [
            ("", "malformed"),
            ("null", "malformed"),
            ("[]", "malformed"),
            ("{}", "malformed"),
            ("{\"type\":null}", "malformed"),
            ("{\"type\":\"subscribe\"}", "malformed"),
            ("{\"type\":\"subscribe\",\"rooms\":null}", "malformed"),
            ("{\"type\":\"subscribe\",\"rooms\":[1]}", "malformed"),
            ("{\"type\":\"subscribe\",\"rooms\":[],\"room\":\"all\"}", "malformed"),
            ("{\"type\":\"auth\"}", "unknown_type"),
        ];
        for (frame, code) in cases {
            assert_eq!(read(frame).unwrap_err().code, code, "{frame}");
        }
    }
}
