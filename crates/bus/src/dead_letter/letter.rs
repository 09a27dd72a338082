//! Dead letters as operators see them: what each was, why it is here, and which of them are meant.

use model::{RecordRef, System};
use proto::v1;
use serde_json::{Value, json};

use crate::{Received, headers, topology};

/// A dead letter, read.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Its place in `DEAD_LETTERS`: what it is called by.
    pub sequence: u64,
    /// The service that gave the message up.
    pub service: String,
    /// Why: a code of [`REASONS`](crate::REASONS), unless another version wrote it.
    pub reason: String,
    /// Why, as a sentence.
    pub detail: String,
    /// The subject that the message is stored under.
    pub subject: String,
    /// Its sequence there.
    pub original_sequence: u64,
    /// The id under which it was published for the first time; empty where it had none.
    pub original_id: String,
    /// How often it was tried.
    pub attempts: u64,
    /// When it was published for the first time, in milliseconds since 1970.
    pub first_at_ms: i64,
    /// When it was given up.
    pub last_at_ms: i64,
    /// Its own headers.
    pub headers: Vec<(String, String)>,
    /// How long the message was, where the letter does not hold all of it.
    pub cut: Option<usize>,
    /// Its bytes.
    pub payload: bytes::Bytes,
}

/// What a message says, as far as it can be told.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A message of the bus, or a webhook, as JSON.
    Json(Value),
    /// Text that is no JSON.
    Text(String),
    /// Neither.
    Bytes,
}

impl Letter {
    /// The letter that a message of `DEAD_LETTERS` is. What it does not say stays empty: it must be possible to look at it.
    pub(crate) fn of(message: Received) -> Self {
        let text = |name: &str| message.header(name).unwrap_or_default().to_owned();
        let number = |name: &str| message.header(name).and_then(|value| value.parse().ok());
        let time = |name: &str| message.header(name).and_then(|value| value.parse().ok()).unwrap_or_default();
        let mut tokens = message.subject.split('.').skip(2).map(|token| topology::untoken(token).unwrap_or_default());
        let (service, reason) = (tokens.next().unwrap_or_default(), tokens.next().unwrap_or_default());
        let own =
            |(name, value): (&str, &str)| Some((name.strip_prefix(headers::ORIGINAL)?.to_owned(), value.to_owned()));
        let (id, own): (Vec<_>, Vec<_>) =
            message.headers().filter_map(own).partition(|(name, _)| name.as_str() == headers::ID);
        Self {
            sequence: message.sequence,
            service,
            reason,
            detail: text(headers::DETAIL),
            subject: text(headers::SUBJECT),
            original_sequence: number(headers::SEQUENCE).unwrap_or(0),
            original_id: id.into_iter().next().map(|(_, id)| id).unwrap_or_default(),
            attempts: number(headers::ATTEMPTS).unwrap_or(0),
            first_at_ms: time(headers::FIRST_AT),
            last_at_ms: time(headers::LAST_AT),
            headers: own,
            cut: number(headers::CUT).and_then(|length| usize::try_from(length).ok()),
            payload: message.payload,
        }
    }

    /// The record that it is about, where its subject says.
    pub fn record(&self) -> Option<RecordRef> {
        topology::record_of(&self.subject)
    }

    /// The system that it is about, where its subject says.
    pub fn system(&self) -> Option<System> {
        topology::system_of(&self.subject)
    }

    /// What the message says.
    pub fn content(&self) -> Content {
        let kind = self.subject.split('.').nth(1).unwrap_or_default();
        let decoded = match kind {
            "observe" => self.decoded::<v1::Observation>(),
            "delivery" => self.decoded::<v1::Delivery>(),
            "command" => self.decoded::<v1::Command>(),
            "change" => self.decoded::<v1::Change>(),
            _ => None,
        };
        if let Some(decoded) = decoded.or_else(|| serde_json::from_slice(&self.payload).ok()) {
            return Content::Json(decoded);
        }
        match std::str::from_utf8(&self.payload) {
            Ok(text) if !text.chars().any(|c| c.is_control() && !c.is_whitespace()) => Content::Text(text.to_owned()),
            _ => Content::Bytes,
        }
    }

    fn decoded<M: prost::Message + Default + serde::Serialize + serde::de::DeserializeOwned>(&self) -> Option<Value> {
        serde_json::to_value(self.decode::<M>().ok()?).ok()
    }

    /// What the message says, in the form that its content type names.
    pub(super) fn decode<M: prost::Message + Default + serde::de::DeserializeOwned>(
        &self,
    ) -> Result<M, proto::DecodeError> {
        let content_type = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(headers::CONTENT_TYPE));
        proto::decode(content_type.map(|(_, value)| value.as_str()), &self.payload)
    }

    /// All that is said of the message, without what it says.
    pub fn facts(&self) -> Value {
        json!({
            "sequence": self.sequence,
            "service": self.service,
            "reason": self.reason,
            "detail": self.detail,
            "system": self.system(),
            "record": self.record(),
            "subject": self.subject,
            "original_sequence": self.original_sequence,
            "original_id": self.original_id,
            "attempts": self.attempts,
            "first_at": self.first_at_ms,
            "last_at": self.last_at_ms,
            "headers": self.headers.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        })
    }
}

/// Which letters are meant: those that fit all that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The service that gave up.
    pub service: Option<String>,
    /// The reason's code.
    pub reason: Option<String>,
    /// The system that the message is about.
    pub system: Option<String>,
    /// The record that it is about.
    pub record: Option<String>,
    /// Given up at or after this moment, in milliseconds since 1970.
    pub since_ms: Option<i64>,
}

impl Filter {
    /// Whether it means every letter there is.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a letter is meant.
    pub fn takes(&self, letter: &Letter) -> bool {
        let fits = |wanted: &Option<String>, is: Option<String>| wanted.is_none() || *wanted == is;
        fits(&self.service, Some(letter.service.clone()))
            && fits(&self.reason, Some(letter.reason.clone()))
            && fits(&self.system, letter.system().map(|system| system.to_string()))
            && fits(&self.record, letter.record().map(|record| record.to_string()))
            && self.since_ms.is_none_or(|since| letter.last_at_ms >= since)
    }

    /// The subjects on which the letters that are meant can be.
    pub(crate) fn subject(&self) -> String {
        let token = |word: &Option<String>| word.as_deref().map_or_else(|| "*".to_owned(), topology::token);
        format!("lockstep.dead.{}.{}", token(&self.service), token(&self.reason))
    }
}
