//! What the faces for webhooks have in common: each is read, judged, stored, and only then answered.

pub(crate) mod github;
pub(crate) mod linear;

use std::sync::PoisonError;

use axum::Json;
use axum::response::{IntoResponse, Response};
use bus::topology::WEBHOOKS_OF;
use bus::{Outgoing, Stream};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use model::System;
use runtime::{Problem, Secret};
use serde_json::json;
use tokio::sync::SemaphorePermit;
use tracing::Instrument;

use crate::body::Refusal;
use crate::recent::{Mark, mark};
use crate::{Ingest, RETRY_AFTER, signature};

/// So many webhooks in a row, over so long, are refused for their signature until somebody is told; those of long before do not count. A
/// quiet system sends one now and then, and a genuine one ends the row.
const FORGED_TOLD: u32 = 3;
const FORGED_FOR_MS: i64 = 60_000;
const FORGOTTEN_MS: i64 = 24 * 3_600_000;

/// Webhooks that were refused for their signature, one after another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forged {
    times: u32,
    first_ms: i64,
    last_ms: i64,
}

impl Forged {
    /// With one more.
    fn and(before: Option<Self>, now_ms: i64) -> Self {
        let before = before.filter(|before| now_ms - before.last_ms <= FORGOTTEN_MS);
        let Self { times, first_ms, .. } = before.unwrap_or(Self { times: 0, first_ms: now_ms, last_ms: now_ms });
        Self { times: times.saturating_add(1), first_ms, last_ms: now_ms }
    }

    fn is_told(self) -> bool {
        self.times >= FORGED_TOLD && self.last_ms - self.first_ms >= FORGED_FOR_MS
    }
}

/// A webhook that was judged to be real.
struct Genuine<'a> {
    /// The room that it takes until it is stored.
    _room: Option<SemaphorePermit<'a>>,
    /// The sender's id for it, which stays the same when it is sent again.
    id: String,
    /// What it says it is about.
    event: String,
    /// What else it says about itself that a decoder needs.
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    /// For how long the same body under another id may be another event. The id is not signed, the body is: after that it is
    /// a replay.
    twins_ms: i64,
}

impl Ingest {
    /// Answers a webhook, and counts what became of it.
    async fn answer(&self, system: &'static str, judged: Result<Genuine<'_>, Refusal>) -> Response {
        let (outcome, response) = match judged {
            Ok(webhook) => self.keep(system, webhook).await,
            Err((outcome, problem)) => {
                tracing::info!(system, outcome, reason = problem.code, "a webhook was refused");
                (outcome, problem.into_response())
            }
        };
        self.0.process.metrics().webhooks_total.with_label_values(&[system, outcome]).inc();
        self.tell_signatures(system, outcome);
        response
    }

    /// Tells with the signs of life where signatures keep failing: the secret is another one there. One may be anybody's.
    fn tell_signatures(&self, system: &'static str, outcome: &str) {
        let name = || format!("{WEBHOOKS_OF}{system}");
        let mut forged = self.0.forged.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            "forged" => {
                let all = Forged::and(forged.get(system).copied(), self.0.process.now_ms());
                forged.insert(system, all);
                if all.is_told() {
                    let why = format!(
                        "the signature does not match: the secret in ingest.{system}.secrets differs from the one there"
                    );
                    self.0.process.failed_since(&name(), why, all.first_ms);
                }
            }
            "stored" | "duplicate" => {
                forged.remove(system);
                self.0.process.succeeded(&name());
            }
            _ => {}
        }
    }

    /// Stores a webhook unless it was stored before.
    async fn keep(&self, system: &'static str, webhook: Genuine<'_>) -> (&'static str, Response) {
        let id = mark(&[system.as_bytes(), b"id", webhook.id.as_bytes()]);
        let body = mark(&[system.as_bytes(), &webhook.body]);
        if self.knows(&id, 0) || self.knows(&body, webhook.twins_ms) {
            return ("duplicate", Json(json!({"status": "duplicate", "id": webhook.id})).into_response());
        }
        let span = tracing::info_span!("store webhook", system, webhook.id = webhook.id, bytes = webhook.body.len());
        match self.store(system, &webhook).instrument(span).await {
            Ok(sequence) => {
                self.stored(&[id, body]);
                ("stored", Json(json!({"status": "stored", "id": webhook.id, "sequence": sequence})).into_response())
            }
            Err(problem) if problem.status == StatusCode::PAYLOAD_TOO_LARGE => ("too_large", problem.into_response()),
            Err(problem) => ("unavailable", problem.into_response()),
        }
    }

    async fn store(&self, system: &'static str, webhook: &Genuine<'_>) -> Result<u64, Problem> {
        let name = System::new(system).map_err(|error| Problem::internal("internal", error.to_string()))?;
        let (id, event, kept) = (&webhook.id, &webhook.event, webhook.headers.clone());
        self.within(
            Stream::Webhooks,
            self.0.config.publish_wait(),
            self.0.bus.publish(Outgoing::webhook(&name, id, event, kept, webhook.body.clone())),
        )
        .await
    }

    fn knows(&self, mark: &Mark, age_ms: i64) -> bool {
        self.recent().knows(mark, age_ms, self.0.process.now_ms())
    }

    fn stored(&self, marks: &[Mark]) {
        self.recent().stored(marks, self.0.process.now_ms());
    }
}

/// Refuses everything while nobody told us the secret: an unverified webhook is anybody's.
fn configured(system: &str, secrets: &[Secret]) -> Result<(), Refusal> {
    if !secrets.is_empty() {
        return Ok(());
    }
    let detail = format!("no secret is set for {system}'s webhooks; set ingest.{system}.secrets");
    Err(("unconfigured", Problem::unavailable("not_configured", detail).retry_after(RETRY_AFTER)))
}

/// A header that must be there, short and plain enough to be kept.
fn required(headers: &HeaderMap, name: &'static str) -> Result<String, Refusal> {
    optional(headers, name).ok_or_else(|| {
        let detail = format!("the header {name} must be there, 1 to 200 plain characters");
        ("malformed", Problem::bad_request("header_missing", detail))
    })
}

fn optional(headers: &HeaderMap, name: &'static str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    let plain = (1..=200).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    plain.then(|| value.to_owned())
}

/// What a header says that the signature is. One that is not signed is not read.
fn digest<'h>(headers: &'h HeaderMap, name: &str, scheme: &str) -> Result<&'h str, Refusal> {
    let digest = headers.get(name).and_then(|value| value.to_str().ok()?.strip_prefix(scheme));
    digest.ok_or_else(|| ("unsigned", Problem::unauthorized("signature_missing", "the webhook is not signed")))
}

/// Judges the signature over the raw bytes.
fn signed(secrets: &[Secret], body: &[u8], digest: &str) -> Result<(), Refusal> {
    if signature::is_signed(secrets, body, digest) {
        return Ok(());
    }
    Err(("forged", Problem::unauthorized("signature_wrong", "the signature does not fit the body and our secrets")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_told(at_ms: &[i64]) -> bool {
        let all = at_ms.iter().fold(None, |before, now| Some(Forged::and(before, *now)));
        all.is_some_and(Forged::is_told)
    }

    #[test]
    fn signatures_that_keep_failing_are_told_and_those_of_a_moment_or_of_long_ago_are_not() {
        assert!(is_told(&[0, 30_000, 60_000]));
        assert!(is_told(&[0, 300_000, 600_000]), "GitHub is quiet for minutes");
        assert!(!is_told(&[0, 60_000]));
        assert!(!is_told(&[0, 1, 2, 3]));
        assert!(is_told(&[0, 600_000, 1_200_000]), "an issue is edited every ten minutes");
        let day_ms = 24 * 3_600_000;
        assert!(is_told(&[0, day_ms, 2 * day_ms]));
        assert!(!is_told(&[0, day_ms + 1, 2 * day_ms + 2]));
    }
}
