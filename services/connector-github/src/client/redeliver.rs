//! Asks GitHub for the webhooks that it could not deliver.

use std::sync::atomic::{AtomicBool, Ordering};

use connector::{Failure, Redelivered, Response};
use http::header::LINK;
use model::Timestamp;
use serde_json::Value;

use super::Github;
use super::api::json_of;
use crate::decode::malformed;
use crate::encode::{self, Call};
use crate::redelivery::{Asked, Delivery, next_cursor, not_delivered, ours};

/// How many pages of deliveries are read at most: of failed ones, and of all.
const PAGES_MAX: usize = 20;
/// The class of the calls that only look which there are.
const LOOK: &str = "deliveries";

impl Github {
    /// See [`connector::Connector::redeliver`].
    pub(super) async fn ask_again(&self, cursor: Option<Value>) -> Result<Redelivered, Failure> {
        // What cannot be read is forgotten: then some may be asked for once more, which does no harm.
        let mut asked: Asked = cursor.and_then(|cursor| serde_json::from_value(cursor).ok()).unwrap_or_default();
        let (before, mut count) = (asked.clone(), 0);
        for deliveries in self.logs().await? {
            if let Err(failure) = self.ask_again_from(&deliveries, &mut asked, &mut count).await {
                if asked == before {
                    return Err(failure);
                }
                // Whom it asked must be remembered, or it would ask them once more; the rest have the next turn.
                tracing::info!(%failure, asked = count, "the other webhooks that failed are asked for later");
                break;
            }
        }
        asked.forget(self.process.now_ms());
        Ok(Redelivered { asked: count, cursor: serde_json::to_value(asked).ok() })
    }

    /// The paths of the lists of deliveries of the hooks that are ours: the app's, or those of the repositories.
    async fn logs(&self) -> Result<Vec<String>, Failure> {
        static TOLD: AtomicBool = AtomicBool::new(false);
        if self.api.is_app() {
            return Ok(vec!["/app/hook/deliveries".to_owned()]);
        }
        let mut logs = Vec::new();
        for repository in &self.repositories {
            let hooks: Vec<Value> = match self.api.send(&encode::hooks(repository), None, LOOK).await {
                Ok(answered) => json_of(&answered.bytes)?,
                // Only those who administer a repository may see its hooks.
                Err(failure @ (Failure::Gone { .. } | Failure::Refused { .. })) => {
                    if !TOLD.swap(true, Ordering::Relaxed) {
                        tracing::warn!(repository, "webhooks that fail cannot be asked for again: {failure}");
                    }
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            logs.extend(ours(&hooks).into_iter().map(|hook| format!("/repos/{repository}/hooks/{hook}/deliveries")));
        }
        Ok(logs)
    }

    async fn ask_again_from(&self, log: &str, asked: &mut Asked, count: &mut u64) -> Result<(), Failure> {
        let now = self.process.now_ms();
        let due = asked.due(&self.deliveries(log, Some("failure"), Timestamp(0)).await?, now);
        let Some(oldest) = due.first() else { return Ok(()) };
        // Somebody may have asked for them before us.
        let attempts = self.deliveries(log, None, Timestamp(oldest.at_ms())).await?;
        for delivery in not_delivered(due, &attempts) {
            match self.as_owner(&encode::attempt(log, delivery.id), "redeliver").await {
                Ok(_) => *count += 1,
                // It has been forgotten, or may not be sent again: the sweep tells what it would have told.
                Err(failure @ (Failure::Gone { .. } | Failure::Refused { .. })) => {
                    tracing::warn!(delivery = delivery.id, "a webhook is not sent again: {failure}");
                }
                Err(failure) => return Err(failure),
            }
            asked.note(&delivery, now);
        }
        Ok(())
    }

    /// The deliveries of a list, newest first, back to a moment or the last page that is read.
    async fn deliveries(&self, log: &str, status: Option<&str>, since: Timestamp) -> Result<Vec<Delivery>, Failure> {
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..PAGES_MAX {
            let answered = self.as_owner(&encode::deliveries(log, status, cursor.as_deref()), LOOK).await?;
            let page: Vec<Delivery> = serde_json::from_slice(&answered.bytes).map_err(|error| malformed(&error))?;
            let is_past = page.last().is_some_and(|last| last.at_ms() < since.0);
            all.extend(page);
            cursor = answered.header(LINK.as_str()).and_then(next_cursor).map(str::to_owned);
            if is_past || cursor.is_none() {
                break;
            }
        }
        Ok(all)
    }

    /// Sends a call as the one who owns the hooks: the app itself, not its installation.
    async fn as_owner(&self, call: &Call, class: &'static str) -> Result<Response, Failure> {
        if self.api.is_app() { self.api.as_app(call, class).await } else { self.api.send(call, None, class).await }
    }
}
