//! One message for many clients: encoded once, and shared by all who are sent it.

use std::fmt::Write as _;
use std::sync::OnceLock;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use proto::v1;
use serde::Serialize;
use uuid::Uuid;

/// A message to the clients of the rooms that it names.
#[derive(Debug)]
pub struct Event {
    /// The JSON, as a WebSocket client gets it.
    pub text: Utf8Bytes,
    /// The same as a server-sent event, made when the first client of that kind needs it.
    sse: OnceLock<Bytes>,
    /// What kind of message, and where on its stream.
    name: &'static str,
    position: u64,
    /// The item that it is about, and the version it brings; `None` when a snapshot cannot contain it.
    pub brings: Option<(Uuid, u64)>,
    /// Whether it goes to room `all`.
    pub to_all: bool,
    /// The item's names: its id, and its key where it has one.
    pub items: Vec<String>,
    /// The records concerned.
    pub records: Vec<String>,
}

/// A serialized object with `type`, `position` and the trace before its own members.
fn text(name: &str, position: u64, trace: Option<&str>, body: &impl Serialize) -> Result<Utf8Bytes, serde_json::Error> {
    let body = serde_json::to_string(body)?;
    let mut text = String::with_capacity(body.len() + 128);
    // Writing to a string does not fail.
    let _ = write!(text, "{{\"type\":\"{name}\",\"position\":{position},");
    // A trace context is plain words and digits; anything else is not passed on.
    if let Some(trace) = trace.filter(|trace| trace.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')) {
        let _ = write!(text, "\"traceparent\":\"{trace}\",");
    }
    text.push_str(body.get(1..).unwrap_or("}"));
    Ok(Utf8Bytes::from(text))
}

impl Event {
    /// A change of an item.
    pub fn change(change: v1::Change, position: u64, trace: Option<&str>) -> Result<Self, serde_json::Error> {
        let moves = change.kind == "status_changed";
        Ok(Self {
            text: text("change", position, trace, &change)?,
            sse: OnceLock::new(),
            name: "change",
            position,
            brings: Uuid::parse_str(&change.item).ok().filter(|_| moves).map(|item| (item, change.version)),
            to_all: true,
            items: [change.item, change.key].into_iter().filter(|name| !name.is_empty()).collect(),
            records: if change.records.contains(&change.record) {
                change.records
            } else {
                change.records.into_iter().chain([change.record]).collect()
            },
        })
    }

    /// What became of a command. Only the rooms of the item and the record hear of it.
    pub fn delivery(delivery: v1::Delivery, position: u64, trace: Option<&str>) -> Result<Self, serde_json::Error> {
        Ok(Self {
            text: text("delivery", position, trace, &delivery)?,
            sse: OnceLock::new(),
            name: "delivery",
            position,
            brings: None,
            to_all: false,
            items: vec![delivery.item],
            records: vec![delivery.record],
        })
    }

    /// The message as a server-sent event.
    pub fn sse(&self) -> &Bytes {
        self.sse.get_or_init(|| sse(Some(self.position), self.name, &self.text))
    }
}

/// A server-sent event; JSON has no line ends, so one line of data holds it.
pub fn sse(id: Option<u64>, name: &str, text: &str) -> Bytes {
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    Bytes::from(format!("{id}event: {name}\ndata: {text}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: &str) -> v1::Change {
        v1::Change {
            kind: kind.into(),
            item: "6c6f636b-7374-6570-8000-6974656d7300".into(),
            version: 7,
            key: "ENG-1".into(),
            title: "line\nend".into(),
            to: "done".into(),
            record: "linear/issue/a".into(),
            records: vec!["linear/issue/a".into(), "github/issue/acme/web#1".into()],
            ..v1::Change::default()
        }
    }

    #[test]
    fn a_change_is_one_json_object_with_its_position_and_trace() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let event = Event::change(change("status_changed"), 42, Some(trace)).unwrap();
        let json: serde_json::Value = serde_json::from_str(&event.text).unwrap();
        assert_eq!((json["type"].as_str(), json["position"].as_u64()), (Some("change"), Some(42)));
        assert_eq!((json["to"].as_str(), json["version"].as_u64()), (Some("done"), Some(7)));
        assert_eq!(json["traceparent"], trace);
        assert_eq!(event.records.len(), 2);
        let odd = Event::change(change("status_changed"), 1, Some("\",\"to\":\"x")).unwrap();
        assert!(!odd.text.contains("traceparent"));
    }

    #[test]
    fn only_a_new_version_can_be_in_a_snapshot_already() {
        assert!(Event::change(change("status_changed"), 1, None).unwrap().brings.is_some());
        assert!(Event::change(change("linked"), 1, None).unwrap().brings.is_none());
    }

    #[test]
    fn a_server_sent_event_has_its_id_and_stays_on_one_line() {
        let event = Event::change(change("status_changed"), 42, None).unwrap();
        let text = String::from_utf8(event.sse().to_vec()).unwrap();
        assert!(text.starts_with("id: 42\nevent: change\ndata: {"));
        assert_eq!(text.matches('\n').count(), 4);
    }
}
