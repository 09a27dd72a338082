//! What nobody could handle, with all that a person needs to handle it.

mod letter;
mod reasons;
mod replay;

use anyhow::Context;
use async_nats::HeaderName;
use bytes::Bytes;
use runtime::Process;

use crate::{Bus, Outgoing, Received, headers, topology};

pub use letter::{Content, Filter, Letter};
pub use reasons::{REASONS, Reason, reason};
pub use replay::Replayed;

/// A message that is given up, and why.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// One of [`REASONS`]: it is part of the subject and a metric's label.
    pub reason: &'static str,
    /// Why, as a sentence that says what to do.
    pub detail: String,
    /// The subject that the message was published on.
    pub subject: String,
    /// Its sequence there; with the subject, what makes a second copy of the letter the same letter.
    pub sequence: u64,
    /// How often it was tried.
    pub attempts: u64,
    /// How often it was tried before it was replayed.
    pub earlier: u64,
    /// When it was published for the first time, in milliseconds since 1970.
    pub first_at_ms: i64,
    /// Its headers, kept for whoever replays it.
    pub headers: Vec<(String, String)>,
    /// Its bytes.
    pub payload: Bytes,
}

/// How long a detail may be, in characters.
const DETAIL_MAX: usize = 2_000;
/// How many of the message's own headers are kept, and how many bytes of them.
const HEADERS_MAX: (usize, usize) = (50, 16 * 1_024);
/// What a message takes on the wire beside its headers' names and values and its payload.
const FRAME: usize = 1_024;

impl DeadLetter {
    /// The letter for a message that was read.
    pub fn of(message: &Received, reason: &'static str, detail: impl Into<String>) -> Self {
        let kept = message.headers().filter(|(name, _)| is_worth_keeping(name));
        let mut headers: Vec<(String, String)> = Vec::new();
        let mut size = 0;
        for (name, value) in kept.take(HEADERS_MAX.0) {
            size += name.len() + value.len();
            if size <= HEADERS_MAX.1 {
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
        if !message.id().is_empty() {
            headers.push((headers::ID.to_owned(), message.id().chars().take(1_000).collect()));
        }
        Self {
            reason,
            detail: detail.into(),
            subject: message.published_on(),
            sequence: message.sequence,
            attempts: message.delivered,
            earlier: message.earlier_attempts(),
            first_at_ms: message.first_at_ms(),
            headers,
            payload: message.payload.clone(),
        }
    }

    /// The letter for a message that the bus would not take.
    pub fn unsent(message: &Outgoing, reason: &'static str, detail: impl Into<String>, now_ms: i64) -> Self {
        let headers = message.headers.iter().filter(|(name, _)| is_worth_keeping(name)).take(HEADERS_MAX.0);
        let headers = headers.map(|(name, value)| (name.to_string(), value.chars().take(1_000).collect()));
        let id = (headers::ID.to_owned(), message.id.chars().take(1_000).collect());
        Self {
            reason,
            detail: detail.into(),
            subject: message.subject.clone(),
            sequence: 0,
            attempts: 1,
            earlier: 0,
            first_at_ms: now_ms,
            headers: headers.chain([id]).collect(),
            payload: message.payload.clone(),
        }
    }

    /// The same after so many attempts.
    #[must_use]
    pub fn after(mut self, attempts: u64) -> Self {
        self.attempts = attempts;
        self
    }

    /// The letter as a message of at most `room` bytes.
    fn message(self, service: &str, now_ms: i64, room: usize) -> Outgoing {
        // One that was never stored has no sequence; its own id tells it from others.
        let unsent = self.headers.iter().find(|(name, _)| self.sequence == 0 && name == headers::ID);
        let unsent = unsent.map(|(_, id)| id.as_str()).unwrap_or_default();
        let id = format!("dead:{service}:{}:{}{unsent}", self.subject, self.sequence);
        let mut message = Outgoing::new(topology::dead(service, self.reason), id, self.payload);
        let facts = [
            (headers::SERVICE, service.to_owned()),
            (headers::REASON, self.reason.to_owned()),
            (headers::DETAIL, self.detail.chars().take(DETAIL_MAX).collect()),
            (headers::SUBJECT, self.subject),
            (headers::SEQUENCE, self.sequence.to_string()),
            (headers::ATTEMPTS, self.earlier.saturating_add(self.attempts).to_string()),
            (headers::FIRST_AT, self.first_at_ms.to_string()),
            (headers::LAST_AT, now_ms.to_string()),
        ];
        message.headers.extend(facts.map(|(name, value)| (name.into(), value)));
        for (name, value) in self.headers {
            let name = format!("{}{name}", headers::ORIGINAL);
            // One that came from a foreign client may be none that we could send.
            if name.parse::<HeaderName>().is_ok() {
                message.headers.push((name.into(), value));
            }
        }
        let headers = message.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>();
        let taken = headers + headers::ID.len() + message.id.len() + FRAME;
        // A message that just fits on the bus leaves no room for what is said of it. The stream that it came from still has it.
        if taken + message.payload.len() > room {
            message.headers.push((headers::CUT.into(), message.payload.len().to_string()));
            message.payload.truncate(room.saturating_sub(taken));
        }
        message
    }
}

/// Whether a header says something that a second reader needs: JetStream's own do not, nor do ours of an earlier replay, and
/// what may be a credential is never kept.
fn is_worth_keeping(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ours = name.starts_with("nats-") || (name.starts_with("lockstep-") && name != "lockstep-event");
    let secret = ["authorization", "cookie", "token", "secret", "password", "signature", "api-key", "apikey"];
    !ours && !secret.iter().any(|word| name.contains(word))
}

impl Bus {
    /// Stores a dead letter and counts it. The message itself is still to be acknowledged.
    pub async fn dead_letter(&self, process: &Process, letter: DeadLetter) -> anyhow::Result<()> {
        let (service, reason, detail) = (process.service(), letter.reason, letter.detail.clone());
        let (subject, sequence) = (letter.subject.clone(), letter.sequence);
        let message = letter.message(service, process.now_ms(), self.client.payload_max());
        self.publish(message).await.context("a dead letter could not be stored")?;
        process.metrics().dead_letters_total.with_label_values(&[service, reason]).inc();
        tracing::warn!(service, reason, detail, subject, sequence, "dead letter");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(payload: usize) -> DeadLetter {
        DeadLetter {
            reason: "malformed",
            detail: "x".repeat(5_000),
            subject: "lockstep.webhook.github".into(),
            sequence: 7,
            attempts: 1,
            earlier: 2,
            first_at_ms: 1,
            headers: vec![("X-Any".into(), "1".into()), ("bad name:".into(), "2".into())],
            payload: vec![b'x'; payload].into(),
        }
    }

    fn value<'a>(message: &'a Outgoing, wanted: &str) -> Option<&'a str> {
        message.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_letter_always_fits_on_the_bus_and_says_when_it_was_cut() {
        let whole = letter(100).message("test", 5, 10_000);
        assert_eq!((whole.payload.len(), value(&whole, headers::CUT)), (100, None));
        assert_eq!(value(&whole, headers::ATTEMPTS), Some("3"));
        assert_eq!(value(&whole, "Lockstep-Original-X-Any"), Some("1"));
        let cut = letter(9_000).message("test", 5, 10_000);
        assert_eq!(value(&cut, headers::CUT), Some("9000"));
        let size: usize = cut.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        assert!(cut.payload.len() > 4_000 && cut.payload.len() + size < 10_000);
        assert!(letter(9_000).message("test", 5, 100).payload.is_empty());
        // Each byte of an id that is no plain letter takes three in a subject.
        let long =
            DeadLetter { subject: format!("lockstep.observe.high.ci.build.{}", "=C3".repeat(512)), ..letter(9_000) };
        let cut = long.message("test", 5, 10_000);
        let size: usize = cut.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let rest = 10_000 - (cut.payload.len() + size + cut.id.len());
        assert!(rest > 512, "there is room for the trace: {rest}");
    }

    #[test]
    fn credentials_are_no_part_of_a_letter() {
        for kept in ["X-GitHub-Event", "Content-Type", "Lockstep-Event", "traceparent"] {
            assert!(is_worth_keeping(kept), "{kept}");
        }
        for dropped in ["Authorization", "X-Hub-Signature-256", "X-Api-Key", "Nats-Msg-Id", "Lockstep-Replay-Of"] {
            assert!(!is_worth_keeping(dropped), "{dropped}");
        }
    }
}
