//! What agentapi says: its event stream, its status, its messages.
//!
//! Pure. Sets of words are open: a status or an event that is not known here is kept or passed over, never an error.

use connector::moment::rfc3339_ms;
use model::{Key, Native};
use proto::v1::AgentState;
use serde::Deserialize;

/// The largest event that is taken, in bytes: a screen is a few kilobytes.
const EVENT_MAX: usize = 4 * 1024 * 1024;

/// One event of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The agent's status is this now.
    Status(Native),
    /// The agent reported an error, at this moment of its own clock.
    Error(Option<i64>),
    /// The conversation went on, at this moment of the agent's own clock.
    Message(Option<i64>),
    /// Something that says nothing of the status.
    Other,
}

#[derive(Deserialize)]
struct Status {
    status: String,
}

#[derive(Deserialize)]
struct Update {
    #[serde(default)]
    time: String,
}

#[derive(Deserialize)]
struct Trouble {
    level: String,
    #[serde(default)]
    time: String,
}

/// An agent's state for whoever watches, in the words of the lifecycle `agent`, by what is shown of it now and was before.
pub fn state(name: &str, task: Option<&Key>, shown: &Native, before: Option<&Native>, at: i64) -> AgentState {
    let word = |native: &Native| match native.as_str() {
        "running" => "working",
        "stable" | "idle" => "idle",
        "offline" => "offline",
        "error" => "error",
        _ => "unknown",
    };
    AgentState {
        agent: name.to_owned(),
        status: word(shown).to_owned(),
        previous: before.map(word).unwrap_or_default().to_owned(),
        task: task.map(ToString::to_string).unwrap_or_default(),
        at,
        ..AgentState::default()
    }
}

/// An event by its name and its data. `Err` says what is wrong with it, for the log.
pub fn event(name: &str, data: &str) -> Result<Event, String> {
    match name {
        "status_change" => status(data.as_bytes()).map(Event::Status),
        "message_update" => {
            let update: Update = serde_json::from_str(data).map_err(|error| error.to_string())?;
            Ok(Event::Message(moment(&update.time)))
        }
        "agent_error" => {
            let trouble: Trouble = serde_json::from_str(data).map_err(|error| error.to_string())?;
            Ok(if trouble.level == "error" { Event::Error(moment(&trouble.time)) } else { Event::Other })
        }
        _ => Ok(Event::Other),
    }
}

/// The status in the answer of `GET /status`, or in a `status_change`.
pub fn status(body: &[u8]) -> Result<Native, String> {
    let status: Status = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Native::new(status.status).map_err(|error| error.to_string())
}

/// A moment as agentapi writes it, in milliseconds since 1970.
pub fn moment(text: &str) -> Option<i64> {
    rfc3339_ms(text).ok()
}

/// One message of the conversation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Said {
    /// `agent` or `user`.
    pub role: String,
    /// The text, as the agent's terminal shows it.
    pub content: String,
    /// When.
    pub time: String,
}

/// The answer of `GET /messages`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Conversation {
    /// Its messages, oldest first.
    pub messages: Vec<Said>,
}

/// Reads server-sent events out of bytes, however they are cut.
#[derive(Debug, Default)]
pub struct Stream {
    line: Vec<u8>,
    name: String,
    data: String,
    has_data: bool,
    after_return: bool,
}

impl Stream {
    /// The events (name, data) that these bytes complete. `Err` when one is larger than any that agentapi sends.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
        let mut events = Vec::new();
        for &byte in bytes {
            let ends = byte == b'\r' || (byte == b'\n' && !self.after_return);
            let skipped = byte == b'\n' && self.after_return;
            self.after_return = byte == b'\r';
            if ends {
                let line = std::mem::take(&mut self.line);
                events.extend(self.take(&String::from_utf8_lossy(&line)));
            } else if !skipped {
                self.line.push(byte);
            }
            if self.line.len() + self.data.len() > EVENT_MAX {
                return Err(format!("an event is larger than {EVENT_MAX} bytes"));
            }
        }
        Ok(events)
    }

    fn take(&mut self, line: &str) -> Option<(String, String)> {
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            return std::mem::take(&mut self.has_data).then_some((name, data));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream as agentapi 0.12 sends it: messages replayed, the status, stored errors, then what is new.
    const RECORDED: &str = include_str!("../fixtures/events.txt");

    fn events(bytes: &[u8], cut: usize) -> Vec<Event> {
        let mut stream = Stream::default();
        let parts = bytes.chunks(cut).flat_map(|part| stream.push(part).unwrap());
        let events = parts.map(|(name, data)| event(&name, &data).unwrap());
        events.filter(|event| !matches!(event, Event::Message(_) | Event::Other)).collect()
    }

    #[test]
    fn a_stream_says_the_same_however_it_is_cut() {
        let running = Event::Status(Native::new("running").unwrap());
        let stable = Event::Status(Native::new("stable").unwrap());
        let error = Event::Error(Some(1_790_000_000_500));
        let expected = [stable.clone(), error, running, stable];
        for cut in [1, 2, 7, 64, RECORDED.len()] {
            assert_eq!(events(RECORDED.as_bytes(), cut), expected, "in parts of {cut}");
            assert_eq!(events(RECORDED.replace('\n', "\r\n").as_bytes(), cut), expected, "CRLF in parts of {cut}");
        }
    }

    #[test]
    fn a_status_that_nobody_knows_is_kept_in_its_own_word() {
        assert_eq!(status(br#"{"status":"initializing","transport":"acp"}"#).unwrap().as_str(), "initializing");
        assert!(status(b"{}").is_err());
        assert_eq!(event("weather", "not json"), Ok(Event::Other));
    }

    #[test]
    fn a_message_says_when_the_conversation_went_on() {
        let data = r#"{"id":2,"role":"agent","message":"Working","time":"2026-09-21T13:33:20Z"}"#;
        assert_eq!(event("message_update", data), Ok(Event::Message(Some(1_789_997_600_000))));
        assert_eq!(event("message_update", r#"{"id":2}"#), Ok(Event::Message(None)));
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut stream = Stream::default();
        assert!(stream.push(&vec![b'x'; EVENT_MAX + 1]).is_err());
    }
}
