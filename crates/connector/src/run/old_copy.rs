//! Notices that the system was brought back from an old copy: what was furthest along its time line then stands behind where it stood,
//! or is not there.
//!
//! Who edits a record of the copy tells of it, but what nobody edits is not among what changed since the last sweep. So the sweeps
//! begin anew, at once and once more: only what was known for [`Link::OLD_COPY_MS`] does the model take for an old copy's.

use std::cmp::{Ordering, Reverse};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use model::{Link, Observation, Position, RecordRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Loop, sweep};
use crate::backfill::patiently;
use crate::{Connector, Failure};

/// So long after an old copy was noticed all that was known before is known for long enough.
const AGAIN_MS: i64 = Link::OLD_COPY_MS + 60_000;
/// How many records are looked at. One would do, were it not edited in the copy before the look.
const LOOKED_AT: usize = 4;
/// How often what was told is kept where other processes and later ones find it. For so long, and at most twice so long, a system may
/// show in one place what it does not yet show in another.
const KEPT_EVERY: Duration = Duration::from_secs(5);

/// The records that are known furthest along the system's time line, and where that was. The furthest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Furthest(Vec<(String, u64)>);

impl Furthest {
    fn saw(&mut self, record: String, position: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == record) {
            Some((_, known)) => *known = position.max(*known),
            None => self.0.push((record, position)),
        }
        self.0.sort_by_key(|(_, position)| Reverse(*position));
        self.0.truncate(LOOKED_AT);
    }

    fn with(mut self, others: Self) -> Self {
        for (record, position) in others.0 {
            self.saw(record, position);
        }
        self
    }
}

/// What this process was told of where the system stands, and has not kept yet.
#[derive(Default)]
pub(super) struct Told(Mutex<[Furthest; 2]>);

impl Told {
    /// Takes note of what a webhook or a sweep told.
    pub(super) fn saw(&self, seen: &[Observation]) {
        // What was deleted stands nowhere.
        for seen in seen.iter().filter(|seen| !seen.native.is_deleted()) {
            self.stands(&seen.record, seen.position);
        }
    }

    /// Takes note of where a record stands.
    pub(super) fn stands(&self, record: &RecordRef, position: Option<Position>) {
        let [fresh, _] = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(position) = position {
            fresh.saw(record.to_string(), position.0);
        }
    }

    /// What was told before the last time this was asked.
    fn ripe(&self) -> Furthest {
        let [fresh, ripe] = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(ripe, std::mem::take(fresh))
    }
}

/// Keeps what this process was told, until it ends.
pub(super) async fn keep<C: Connector>(parts: Loop<C>) -> anyhow::Result<()> {
    let (mut kept, mut goes_on) = (Furthest::default(), true);
    while goes_on {
        goes_on = parts.pause(KEPT_EVERY).await;
        kept = kept.with(parts.told.ripe());
        if !goes_on {
            kept = kept.with(parts.told.ripe());
        }
        if kept == Furthest::default() {
            continue;
        }
        match amend(&parts, |stand| stand.furthest = std::mem::take(&mut stand.furthest).with(kept.clone())).await {
            Ok(()) => kept = Furthest::default(),
            Err(error) => tracing::debug!(error = format!("{error:#}"), "where the system stands is kept later"),
        }
    }
    Ok(())
}

/// What is known of where the system stood.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Stand {
    furthest: Furthest,
    /// When all is to be read once more, in milliseconds since 1970: as often as an old copy was noticed.
    again_at_ms: Vec<i64>,
}

impl Stand {
    fn of(stored: Option<&Bytes>) -> anyhow::Result<Self> {
        stored.map_or_else(|| Ok(Self::default()), |stored| serde_json::from_slice(stored)).context("the stored stand")
    }
}

/// Lets this sweep begin anew where the system went back since the last one, or did so a while ago.
pub(super) async fn look<C: Connector>(parts: &Loop<C>) -> anyhow::Result<()> {
    let stand = Stand::of(parts.bus.cursor(&name::<C>()).await?.as_ref())?;
    let now_ms = parts.process.now_ms();
    let found = look_at(parts, &stand.furthest).await?;
    let is_due = stand.again_at_ms.iter().any(|at_ms| *at_ms <= now_ms);
    if found.went_back.is_some() || is_due {
        // First of all: what is noted then keeps this from being done again.
        parts.store_cursor(&sweep::name::<C>(), &Value::Null).await?;
    }
    if let Some(why) = found.went_back {
        tracing::warn!(
            system = C::SYSTEM,
            why,
            "it seems to have been brought back from an old copy; all of it is read now, and again in a few minutes"
        );
        return amend(parts, |stand| {
            stand.furthest = Furthest::default();
            stand.again_at_ms.retain(|at_ms| *at_ms > now_ms);
            stand.again_at_ms.push(now_ms + AGAIN_MS);
        })
        .await;
    }
    if is_due || !found.useless.is_empty() {
        amend(parts, |stand| {
            stand.furthest.0.retain(|known| !found.useless.contains(known));
            stand.again_at_ms.retain(|at_ms| *at_ms > now_ms);
        })
        .await?;
    }
    Ok(())
}

#[derive(Default)]
struct Found {
    /// Why it seems that the system went back.
    went_back: Option<String>,
    /// What says nothing of that any more.
    useless: Vec<(String, u64)>,
}

/// How the system's records stand to where they stood.
async fn look_at<C: Connector>(parts: &Loop<C>, furthest: &Furthest) -> anyhow::Result<Found> {
    let (mut gone, mut useless, mut unchanged) = (Vec::new(), Vec::new(), false);
    for known @ (record, stood) in &furthest.0 {
        let read: RecordRef = record.parse().context("the stored stand")?;
        match patiently(&parts.settings.backoff, || parts.connector.read(&read)).await {
            Ok(reading) => {
                let Some(stands) = reading.observation.position else { continue };
                match stands.0.cmp(stood) {
                    Ordering::Less => {
                        let why = format!("{record} stood at {stood} and stands at {}", stands.0);
                        return Ok(Found { went_back: Some(why), ..Found::default() });
                    }
                    Ordering::Equal => unchanged = true,
                    // It may have been edited since, in a copy as well.
                    Ordering::Greater => {}
                }
            }
            Err(Failure::Gone { .. }) => gone.push(known.clone()),
            // Who may not see it, or cannot read it, learns nothing from it.
            Err(Failure::Refused { .. }) => useless.push(known.clone()),
            Err(failure) => return Err(failure.into()),
        }
    }
    // One that is as it was vouches for all that came before it: then the others were deleted, or were all that the copy lacks.
    let went_back = (!gone.is_empty() && !unchanged).then(|| {
        let gone: Vec<&str> = gone.iter().map(|(record, _)| record.as_str()).collect();
        format!("what changed last is not there any more: {}", gone.join(", "))
    });
    useless.append(&mut gone);
    Ok(Found { went_back, useless })
}

/// Changes what is stored, whoever else does so meanwhile.
async fn amend<C: Connector>(parts: &Loop<C>, mut change: impl FnMut(&mut Stand)) -> anyhow::Result<()> {
    let amended = |stored: Option<Bytes>| -> anyhow::Result<Option<Bytes>> {
        let stood = Stand::of(stored.as_ref())?;
        let mut stand = stood.clone();
        change(&mut stand);
        Ok((stand != stood).then(|| serde_json::to_vec(&stand)).transpose()?.map(Bytes::from))
    };
    parts.bus.amend_cursor(&name::<C>(), amended).await
}

fn name<C: Connector>() -> String {
    format!("stand/{}", C::SYSTEM)
}
