//! What nobody could handle, with all that a person needs to handle it.

use anyhow::Context;
use bytes::Bytes;
use runtime::Process;

use crate::{Bus, Outgoing, Received, headers, topology};

/// A message that is given up, and why.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// A word that stands for why: it is part of the subject and a metric's label, so the set of them is small.
    pub reason: &'static str,
    /// Why, as a sentence that says what to do.
    pub detail: String,
    /// The subject that the message was on.
    pub subject: String,
    /// Its sequence there; with the subject, what makes a second copy of the letter the same letter.
    pub sequence: u64,
    /// How often it was tried.
    pub attempts: u64,
    /// When it was published, in milliseconds since 1970.
    pub first_at_ms: i64,
    /// Its headers, kept for whoever replays it.
    pub headers: Vec<(String, String)>,
    /// Its bytes.
    pub payload: Bytes,
}

impl DeadLetter {
    /// The letter for a message that was read.
    pub fn of(message: &Received, reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            subject: message.subject.clone(),
            sequence: message.sequence,
            attempts: message.delivered,
            first_at_ms: message.published_at_ms,
            headers: message.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            payload: message.payload.clone(),
        }
    }

    /// The same after so many attempts.
    #[must_use]
    pub fn after(mut self, attempts: u64) -> Self {
        self.attempts = attempts;
        self
    }
}

impl Bus {
    /// Stores a dead letter and counts it. The message itself is still to be acknowledged.
    pub async fn dead_letter(&self, process: &Process, letter: DeadLetter) -> anyhow::Result<()> {
        let (service, reason) = (process.service(), letter.reason);
        let mut message = Outgoing::new(
            topology::dead(service, reason),
            format!("dead:{service}:{}:{}", letter.subject, letter.sequence),
            letter.payload,
        );
        message.headers = vec![
            (headers::SERVICE, service.to_owned()),
            (headers::REASON, reason.to_owned()),
            (headers::DETAIL, letter.detail.chars().take(2_000).collect()),
            (headers::SUBJECT, letter.subject),
            (headers::SEQUENCE, letter.sequence.to_string()),
            (headers::ATTEMPTS, letter.attempts.to_string()),
            (headers::FIRST_AT, letter.first_at_ms.to_string()),
            (headers::LAST_AT, process.now_ms().to_string()),
        ];
        for (name, value) in letter.headers {
            // What the decoder needed; the letter has an id of its own.
            match name.to_ascii_lowercase().as_str() {
                "content-type" => message.headers.push((headers::CONTENT_TYPE, value)),
                "lockstep-event" => message.headers.push((headers::EVENT, value)),
                "nats-msg-id" => message.headers.push((ORIGINAL_ID, value)),
                _ => {}
            }
        }
        self.publish(message).await.context("a dead letter could not be stored")?;
        process.metrics().dead_letters_total.with_label_values(&[service, reason]).inc();
        tracing::warn!(service, reason, detail = letter.detail, "dead letter");
        Ok(())
    }
}

/// The id under which the message itself was published.
const ORIGINAL_ID: &str = "Lockstep-Original-Id";
