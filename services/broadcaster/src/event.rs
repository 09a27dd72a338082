//! One message for many clients: encoded once for each form, and shared by all who are sent it.

use std::fmt::Write as _;
use std::sync::OnceLock;

use bytes::Bytes;
use prost::Message as _;
use proto::v1;

use crate::message::Message;
use crate::position::{Feed, Place, Position};
use crate::wire::{self, opcode};

/// In which form a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A WebSocket's text frame.
    Json,
    /// The same compressed, where that pays.
    JsonDeflated,
    /// A WebSocket's binary frame.
    Protobuf,
    /// A server-sent event.
    Sse,
}

/// A message before it has its place among all.
#[derive(Debug)]
pub struct Draft {
    /// What it says.
    pub message: Message,
    /// What it was read from.
    pub feed: Feed,
    /// Where there.
    pub place: Place,
    /// The W3C trace context, where it brings one.
    pub trace: Option<String>,
    /// When the bus stored it, in milliseconds since 1970.
    pub at_ms: i64,
}

/// A message with its place.
#[derive(Debug)]
pub struct Event {
    /// Its number in this process; gapless.
    pub number: u64,
    /// What it was read from.
    pub feed: Feed,
    /// Where there.
    pub place: Place,
    /// Where a client is that has read it.
    pub position: Position,
    /// What it says.
    pub message: Message,
    /// What it is the newest state of, where it is a level.
    pub level: Option<Box<str>>,
    trace: Option<String>,
    json: OnceLock<Bytes>,
    deflated: OnceLock<Bytes>,
    protobuf: OnceLock<Bytes>,
    sse: OnceLock<Bytes>,
}

/// From how many bytes on a message is compressed by itself. Measured with changes of items: below, a tenth of a message is saved for
/// more than a microsecond of each client's.
const DEFLATE_MIN: usize = 512;

impl Event {
    /// A draft with its place.
    pub fn new(draft: Draft, number: u64, position: Position) -> Self {
        let Draft { message, feed, place, trace, .. } = draft;
        let level = message.level().map(Into::into);
        let (json, deflated, protobuf, sse) = Default::default();
        Self { number, feed, place, position, message, level, trace, json, deflated, protobuf, sse }
    }

    /// Its bytes in a form.
    pub fn bytes(&self, form: Form) -> &Bytes {
        match form {
            Form::Json => self.json.get_or_init(|| wire::frame(opcode::TEXT, self.text().as_bytes()).into()),
            Form::JsonDeflated => self.deflated.get_or_init(|| {
                let text = self.text();
                let small = (text.len() >= DEFLATE_MIN).then(|| wire::compressed(text.as_bytes())).flatten();
                small.map_or_else(
                    || self.bytes(Form::Json).clone(),
                    |small| wire::frame_compressed(opcode::TEXT, &small).into(),
                )
            }),
            Form::Protobuf => self.protobuf.get_or_init(|| {
                let told = v1::Told {
                    position: self.position.to_string(),
                    traceparent: self.trace.clone().unwrap_or_default(),
                    event: Some(self.message.told()),
                };
                wire::frame(opcode::BINARY, &told.encode_to_vec()).into()
            }),
            Form::Sse => self.sse.get_or_init(|| {
                Bytes::from(format!("id: {}\nevent: {}\ndata: {}\n\n", self.position, self.message.name(), self.text()))
            }),
        }
    }

    /// The JSON object: type, position and the trace before its own members.
    pub fn text(&self) -> String {
        // What was read from the bus can be written again; an empty object says at least what type it is.
        let body = self.message.json().unwrap_or_else(|error| {
            tracing::error!(%error, "a message cannot be written as JSON");
            "{}".into()
        });
        let mut text = String::with_capacity(body.len() + 160);
        // Writing to a string does not fail.
        let _ = write!(text, "{{\"type\":\"{}\",\"position\":\"{}\"", self.message.name(), self.position);
        // A trace context is plain words and digits; anything else is not passed on.
        let plain = |trace: &&String| trace.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if let Some(trace) = self.trace.as_ref().filter(plain) {
            let _ = write!(text, ",\"traceparent\":\"{trace}\"");
        }
        match body.strip_prefix('{') {
            Some("}") | None => text.push('}'),
            Some(members) => {
                text.push(',');
                text.push_str(members);
            }
        }
        text
    }

    /// The same for a client that is somewhere else when it has read it.
    pub fn at(&self, position: Position) -> Self {
        let (message, trace) = (self.message.clone(), self.trace.clone());
        let draft = Draft { message, feed: self.feed, place: self.place, trace, at_ms: 0 };
        Self::new(draft, self.number, position)
    }

    /// What of it a client does not know that has read up to a position: all, a part of a batch, or nothing.
    pub fn after(&self, known: &Position, now: &Position) -> After {
        if !known.is_before(self.feed, self.place, now) {
            return After::Nothing;
        }
        let Message::Metrics(category, metrics) = &self.message else { return After::Whole };
        let epoch = self.place.epoch;
        let new = |sequence: u64| known.is_before(self.feed, Place { epoch, sequence }, now);
        let rest: Vec<_> = metrics.iter().filter(|(sequence, _)| new(*sequence)).cloned().collect();
        if rest.len() == metrics.len() {
            return After::Whole;
        }
        let draft = Draft {
            message: Message::Metrics(category.clone(), rest),
            feed: self.feed,
            place: self.place,
            trace: self.trace.clone(),
            at_ms: 0,
        };
        After::Part(Box::new(Self::new(draft, self.number, self.position)))
    }

    /// About how much memory it takes, in bytes.
    pub fn weight(&self) -> usize {
        // The struct, its texts, and one form of it.
        600 + 3 * self.message.size()
    }
}

/// What of an event is new to a client.
#[derive(Debug)]
pub enum After {
    /// Nothing of it.
    Nothing,
    /// All of it.
    Whole,
    /// Some of a batch.
    Part(Box<Event>),
}

impl After {
    /// How much it is: of a batch how many, `usize::MAX` for all.
    pub fn count(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Whole => usize::MAX,
            Self::Part(part) => match &part.message {
                Message::Metrics(_, metrics) => metrics.len(),
                _ => 1,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn event(message: Message, trace: &str) -> Event {
        let place = Place { epoch: 1, sequence: 42 };
        let draft = Draft { message, feed: Feed::Changes, place, trace: Some(trace.into()), at_ms: 0 };
        Event::new(draft, 7, Position::default().with(Feed::Changes, place))
    }

    fn change() -> Message {
        Message::Change(v1::Change {
            kind: "status_changed".into(),
            item: "6c6f636b-7374-6570-8000-6974656d7300".into(),
            version: 7,
            title: "line\nend".into(),
            to: "done".into(),
            ..v1::Change::default()
        })
    }

    #[test]
    fn a_message_is_one_json_object_with_its_type_position_and_trace() {
        let event_ = event(change(), TRACE);
        let json: serde_json::Value = serde_json::from_str(&event_.text()).unwrap();
        assert_eq!((json["type"].as_str(), json["to"].as_str()), (Some("status_changed"), Some("done")));
        assert_eq!(json["position"].as_str().and_then(|text| text.parse().ok()), Some(event_.position));
        assert_eq!((json["version"].as_u64(), json["traceparent"].as_str()), (Some(7), Some(TRACE)));
        assert!(!event(change(), "\",\"to\":\"x").text().contains("traceparent"));
    }

    #[test]
    fn each_form_carries_the_same() {
        let event = event(change(), TRACE);
        let frame = event.bytes(Form::Json);
        assert_eq!(&frame[4..], event.text().as_bytes());
        assert_eq!(event.bytes(Form::JsonDeflated), frame, "it is too small to be compressed");
        let told = v1::Told::decode(&event.bytes(Form::Protobuf)[4..]).unwrap();
        assert_eq!((told.event, told.position), (Some(event.message.told()), event.position.to_string()));
        let sse = String::from_utf8(event.bytes(Form::Sse).to_vec()).unwrap();
        assert!(sse.starts_with(&format!("id: {}\nevent: status_changed\ndata: {{", event.position)));
        assert_eq!(sse.matches('\n').count(), 4);
    }

    /// An event whose text has so many bytes.
    fn of_size(size: usize) -> Event {
        let titled = |length| {
            let Message::Change(change) = change() else { unreachable!() };
            event(Message::Change(v1::Change { title: "x".repeat(length), ..change }), TRACE)
        };
        let fixed = titled(1).text().len() - 1;
        titled(size - fixed)
    }

    #[test]
    fn what_is_large_enough_is_compressed_and_says_the_same() {
        let small = of_size(DEFLATE_MIN - 1);
        assert_eq!(small.bytes(Form::JsonDeflated), small.bytes(Form::Json));
        let large = of_size(DEFLATE_MIN);
        assert_eq!(large.text().len(), 512);
        let frame = large.bytes(Form::JsonDeflated);
        let head = if frame[1] < 126 { 2 } else { 4 };
        assert_eq!((frame[0], frame.len() < 512), (0xc1, true), "RSV1 says so");
        assert_eq!(wire::Deflate::decompressed(&frame[head..], 512).unwrap(), large.text().as_bytes());
    }

    #[test]
    fn each_form_is_made_once_for_all_who_are_told() {
        let large = of_size(1_000);
        for form in [Form::Json, Form::JsonDeflated, Form::Protobuf, Form::Sse] {
            assert_eq!(large.bytes(form).as_ptr(), large.bytes(form).as_ptr(), "{form:?}");
        }
        let small = of_size(DEFLATE_MIN - 1);
        assert_eq!(small.bytes(Form::JsonDeflated).as_ptr(), small.bytes(Form::Json).as_ptr());
    }

    #[test]
    fn of_a_batch_only_what_is_new_is_told_again() {
        let place = |sequence| Place { epoch: 1, sequence };
        let metric =
            |sequence: u64| (sequence, v1::PerformanceMetric { name: sequence.to_string(), ..Default::default() });
        let draft = Draft {
            message: Message::Metrics("c".into(), (1..=5).map(metric).collect()),
            feed: Feed::Metrics,
            place: place(5),
            trace: None,
            at_ms: 0,
        };
        let now = Position::default().with(Feed::Metrics, place(5));
        let event = Event::new(draft, 1, now);
        let known = |sequence| Position::default().with(Feed::Metrics, place(sequence));
        assert!(matches!(event.after(&known(0), &now), After::Whole));
        assert!(matches!(event.after(&known(5), &now), After::Nothing));
        let After::Part(part) = event.after(&known(3), &now) else { panic!("a part") };
        let Message::Metrics(_, metrics) = &part.message else { panic!("a batch") };
        assert_eq!(metrics.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [4, 5]);
    }
}
