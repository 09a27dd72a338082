//! Notices that the system was brought back from an old copy: what a sweep saw last then stands behind where it stood, or is not there.
//!
//! Who edits a record of the copy tells of it, but what nobody edits is not among what changed since the last sweep. So the sweeps
//! begin anew, at once and once more: only what was known for [`Link::OLD_COPY_MS`] does the model take for an old copy's.

use anyhow::Context;
use model::{Link, Observation, Position, RecordRef};
use serde::{Deserialize, Serialize};

use super::Loop;
use crate::backfill::patiently;
use crate::{Connector, Failure};

/// So long after an old copy was noticed all that was known before is known for long enough.
const AGAIN_MS: i64 = Link::OLD_COPY_MS + 60_000;

/// What is known of where the system stood.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stand {
    /// The record that sweeps saw furthest along the system's time line, and where that was.
    newest: Option<(String, u64)>,
    /// When all is to be read once more, in milliseconds since 1970.
    again_at_ms: Option<i64>,
}

impl Stand {
    /// As the last sweep left it.
    pub(super) async fn stored<C: Connector>(parts: &Loop<C>) -> anyhow::Result<Self> {
        let stored = parts.cursor(&name::<C>()).await?;
        stored.map(serde_json::from_value).transpose().map(Option::unwrap_or_default).context("the stored stand")
    }

    /// Whether all must be read, because the system went back since or did so a while ago. Notes that it will be.
    pub(super) async fn begins_anew<C: Connector>(&mut self, parts: &Loop<C>) -> anyhow::Result<bool> {
        let now_ms = parts.process.now_ms();
        if let Some(why) = self.went_back(parts).await? {
            tracing::warn!(
                system = C::SYSTEM,
                why,
                "it seems to have been brought back from an old copy; all of it is read now, and again in a few minutes"
            );
            *self = Self { newest: None, again_at_ms: Some(now_ms + AGAIN_MS) };
            return Ok(true);
        }
        let is_due = self.again_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        if is_due {
            self.again_at_ms = None;
        }
        Ok(is_due)
    }

    /// Why it seems that the system went back.
    async fn went_back<C: Connector>(&self, parts: &Loop<C>) -> anyhow::Result<Option<String>> {
        let Some((record, stood)) = &self.newest else { return Ok(None) };
        let record: RecordRef = record.parse().context("the stored stand")?;
        match patiently(&parts.settings.backoff, || parts.connector.read(&record)).await {
            Ok(reading) => {
                let stands = reading.observation.position;
                let behind = stands.filter(|stands| *stands < Position(*stood));
                Ok(behind.map(|stands| format!("{record} stood at {stood} and stands at {}", stands.0)))
            }
            Err(Failure::Gone { .. }) => Ok(Some(format!("{record}, the last that changed, is not there any more"))),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Takes note of what a sweep saw.
    pub(super) fn saw(&mut self, seen: &[Observation]) {
        let placed = seen.iter().filter_map(|seen| Some((seen.position?, seen)));
        let Some((position, seen)) = placed.max_by_key(|(position, _)| *position) else { return };
        if self.newest.as_ref().is_none_or(|(_, newest)| *newest < position.0) {
            self.newest = Some((seen.record.to_string(), position.0));
        }
    }

    /// Leaves it to the next sweep.
    pub(super) async fn store<C: Connector>(&self, parts: &Loop<C>) -> anyhow::Result<()> {
        parts.store_cursor(&name::<C>(), &serde_json::to_value(self)?).await
    }
}

fn name<C: Connector>() -> String {
    format!("stand/{}", C::SYSTEM)
}
