//! What clients say, and what they are answered. Pure.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::filter::Filter;

/// A client's message.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Frame {
    /// This is who I am.
    Auth {
        /// A key, a JWT, or a ticket.
        token: String,
        #[serde(rename = "ref")]
        reference: Option<String>,
    },
    /// Follow these rooms.
    Subscribe {
        /// Their names.
        rooms: Vec<String>,
        /// What of them.
        #[serde(default)]
        filter: Filter,
        /// Go on from here.
        position: Option<String>,
        /// Whether to say first how things stand.
        snapshot: Option<bool>,
        #[serde(rename = "ref")]
        reference: Option<String>,
    },
    /// Do not follow these rooms any more.
    Unsubscribe {
        /// Their names.
        rooms: Vec<String>,
        #[serde(rename = "ref")]
        reference: Option<String>,
    },
    /// Records show these statuses.
    StatusUpdate {
        /// As `POST /v1/status` takes them.
        statuses: Value,
        #[serde(rename = "ref")]
        reference: Option<String>,
    },
    /// Somebody has seen to an alert.
    Acknowledge {
        /// Its id.
        alert: String,
        #[serde(rename = "ref")]
        reference: Option<String>,
    },
    /// Is anybody there?
    Ping {
        #[serde(rename = "ref")]
        reference: Option<String>,
    },
}

/// The types of a client's messages.
const TYPES: [&str; 6] = ["auth", "subscribe", "unsubscribe", "status_update", "acknowledge", "ping"];
/// Types under which earlier systems knew ours, of one `room` or of several `rooms`.
const SYNONYMS: [(&str, &str); 2] = [("join_room", "subscribe"), ("leave_room", "unsubscribe")];
/// The members of a message whose own members stand apart, under `data`, as they did in earlier systems.
const ENVELOPE: [&str; 4] = ["type", "timestamp", "data", "ref"];
/// How long a `ref` may be, in characters.
const REFERENCE_MAX: usize = 64;

/// Why something was not done: a code for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// One word that never changes its meaning.
    pub code: &'static str,
    /// What is wrong, and what would be right.
    pub reason: String,
    /// The room it is about.
    pub room: Option<String>,
    /// What is wrong with each of several parts.
    pub errors: Option<Value>,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), room: None, errors: None }
    }

    /// A refusal of one room, by its whole name: clients know by it which room they are not in. What came in one message bounds it.
    pub fn room(code: &'static str, room: &str, reason: impl Into<String>) -> Self {
        Self { room: Some(room.to_owned()), ..Self::new(code, reason) }
    }

    /// As a message to the client.
    pub fn message(&self, reference: Option<&str>) -> Value {
        let mut message = json!({"type": "error", "code": self.code, "reason": self.reason});
        if let Some(room) = &self.room {
            message["room"] = json!(room);
        }
        if let Some(errors) = &self.errors {
            message["errors"] = errors.clone();
        }
        with_reference(message, reference)
    }
}

/// The same message with the reference that came with what it answers.
pub fn with_reference(mut message: Value, reference: Option<&str>) -> Value {
    if let Some(reference) = reference {
        message["ref"] = json!(reference);
    }
    message
}

/// What a text says, or why it cannot be read, with the reference if it has one.
pub fn read(text: &str) -> Result<Frame, (Refusal, Option<String>)> {
    let malformed = |reason: String| (Refusal::new("malformed", reason), None);
    let value: Value =
        serde_json::from_str(text).map_err(|error| malformed(format!("the message is not JSON: {error}")))?;
    let Value::Object(object) = value else {
        return Err(malformed("the message must be a JSON object with a type".into()));
    };
    let object = in_our_form(object);
    let reference = reference_of(&object).map_err(malformed)?;
    let refused = |code, reason: String| (Refusal::new(code, reason), reference.clone());
    let known = TYPES.join(", ");
    match object.get("type").and_then(Value::as_str) {
        Some(name) if TYPES.contains(&name) => serde_json::from_value(Value::Object(object))
            .map_err(|error| refused("malformed", format!("the message has the wrong members: {error}"))),
        Some(_) => Err(refused("unknown_type", format!("types are {known}"))),
        None => Err(refused("malformed", format!("the message must have a type: {known}"))),
    }
}

/// The same message in our form, where it has that of clients which were written for earlier systems.
fn in_our_form(mut object: Map<String, Value>) -> Map<String, Value> {
    let is_envelope = |object: &Map<String, Value>| {
        let data = object.get("data").and_then(Value::as_object);
        data.is_some_and(|data| !data.contains_key("type"))
            && object.keys().all(|name| ENVELOPE.contains(&name.as_str()))
    };
    if is_envelope(&object)
        && let Some(Value::Object(data)) = object.remove("data")
    {
        object.remove("timestamp");
        object.extend(data);
    }
    let name = object.get("type").and_then(Value::as_str);
    if let Some((_, ours)) = SYNONYMS.iter().find(|(theirs, _)| name == Some(theirs)) {
        object.insert("type".into(), json!(ours));
        if !object.contains_key("rooms")
            && let Some(room) = object.remove("room")
        {
            object.insert("rooms".into(), json!([room]));
        }
    }
    object
}

fn reference_of(object: &Map<String, Value>) -> Result<Option<String>, String> {
    match object.get("ref") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(reference)) if reference.chars().count() <= REFERENCE_MAX => Ok(Some(reference.clone())),
        Some(_) => Err(format!("ref must be a text of at most {REFERENCE_MAX} characters")),
    }
}

/// The answer to `ping`: where the client is, when it has been told all that happened so far.
pub fn pong(now_ms: i64, position: Option<String>) -> Value {
    let mut message = json!({"type": "pong", "at": now_ms});
    if let Some(position) = position {
        message["position"] = json!(position);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_by_their_type() {
        let text = r#"{"rooms":["all"],"type":"subscribe","filter":{"on":["recovery"]},"ref":"1"}"#;
        let Ok(Frame::Subscribe { rooms, filter, position: None, snapshot: None, reference }) = read(text) else {
            panic!("{:?}", read(text))
        };
        assert_eq!((rooms, filter.on.len(), reference.as_deref()), (vec!["all".to_owned()], 1, Some("1")));
        assert_eq!(read(r#"{"type":"ping"}"#), Ok(Frame::Ping { reference: None }));
        let text = r#"{"type":"acknowledge","alert":"a"}"#;
        assert_eq!(read(text), Ok(Frame::Acknowledge { alert: "a".into(), reference: None }));
    }

    #[test]
    fn what_clients_of_earlier_systems_say_means_the_same() {
        let pairs = [
            (r#"{"type":"join_room","room":"all"}"#, r#"{"type":"subscribe","rooms":["all"]}"#),
            (
                r#"{"type":"join_room","rooms":["all","health"],"ref":"r"}"#,
                r#"{"type":"subscribe","rooms":["all","health"],"ref":"r"}"#,
            ),
            (
                r#"{"type":"leave_room","timestamp":1,"data":{"room":"all"}}"#,
                r#"{"type":"unsubscribe","rooms":["all"]}"#,
            ),
            (
                r#"{"type":"auth","timestamp":"2026-01-01T00:00:00Z","data":{"token":"t"}}"#,
                r#"{"type":"auth","token":"t"}"#,
            ),
            (r#"{"type":"ping","timestamp":1,"data":{},"ref":"r"}"#, r#"{"type":"ping","ref":"r"}"#),
        ];
        for (theirs, ours) in pairs {
            assert!(read(ours).is_ok() && read(theirs) == read(ours), "{theirs}: {:?}", read(theirs));
        }
    }

    #[test]
    fn a_refusal_names_its_room_whole() {
        let room = format!("record:acme/job/{}", "x".repeat(1_000));
        let message = Refusal::room("unavailable", &room, "later").message(Some("r"));
        assert_eq!((&message["room"], &message["ref"]), (&json!(room), &json!("r")));
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
            ("{\"type\":\"subscribe\",\"rooms\":[],\"filter\":{\"x\":[]}}", "malformed"),
            ("{\"type\":\"ping\",\"ref\":7}", "malformed"),
            ("{\"type\":\"ping\",\"data\":7}", "malformed"),
            ("{\"type\":\"ping\",\"data\":{\"type\":\"auth\",\"token\":\"t\"}}", "malformed"),
            ("{\"type\":\"auth\",\"token\":\"t\",\"data\":{\"token\":\"u\"}}", "malformed"),
            ("{\"type\":\"join_room\",\"room\":\"all\",\"rooms\":[]}", "malformed"),
            ("{\"type\":\"join_room\"}", "malformed"),
            ("{\"type\":\"join\"}", "unknown_type"),
        ];
        for (frame, code) in cases {
            assert_eq!(read(frame).unwrap_err().0.code, code, "{frame}");
        }
        let reference = read(r#"{"type":"join","ref":"r"}"#).unwrap_err().1;
        assert_eq!(reference.as_deref(), Some("r"), "a refusal says what it is about");
    }
}
