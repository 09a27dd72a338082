//! Notices that the system was brought back from an old copy: a record then stands behind where it was told to stand.
//!
//! Who edits a record of the copy tells of it, but what nobody edits is not among what changed since the last sweep. So the sweeps
//! begin anew, at once and once more: only what was known for [`Link::OLD_COPY_MS`] does the model take for an old copy's.
//!
//! What is looked at: before a sweep, the records that earlier ones saw furthest along the system's time line; after it, what was told
//! since the one before and is not among what changed since.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
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
/// How many records are looked at before a sweep. One would do, were it not edited in the copy before the look.
const FURTHEST: usize = 4;
/// Of how many records it is kept where they were told to stand.
const TOLD: usize = 64;
/// How many of them are looked at after a sweep that did not see them.
const MISSED: usize = 16;
/// How often what was told is kept where other processes and later ones find it. For so long, and at most twice so long, a system may
/// show in one place what it does not yet show in another.
const KEPT_EVERY: Duration = Duration::from_secs(5);

/// Where records stand on the system's time line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Places(BTreeMap<String, u64>);

impl Places {
    fn stands(&mut self, record: String, position: u64) {
        let known = self.0.entry(record).or_insert(position);
        *known = position.max(*known);
    }

    fn add(&mut self, others: Self) {
        others.0.into_iter().for_each(|(record, position)| self.stands(record, position));
    }

    /// Those that are furthest along come first.
    fn furthest(&self) -> Vec<(&String, u64)> {
        let mut places: Vec<_> = self.0.iter().map(|(record, position)| (record, *position)).collect();
        places.sort_by_key(|(_, position)| Reverse(*position));
        places
    }

    fn keep_furthest(&mut self, count: usize) {
        let furthest: BTreeMap<_, _> =
            self.furthest().into_iter().take(count).map(|(record, position)| (record.clone(), position)).collect();
        self.0 = furthest;
    }

    /// Keeps every second of too many: some of each stretch of time stay, whatever was told since.
    fn thin_out(&mut self, count: usize) {
        while self.0.len() > count {
            let half: BTreeMap<_, _> =
                self.furthest().into_iter().step_by(2).map(|(record, position)| (record.clone(), position)).collect();
            self.0 = half;
        }
    }
}

/// What this process was told of where records stand, and has not kept yet: lately, and before that.
#[derive(Default)]
pub(super) struct Told(Mutex<[Places; 2]>);

impl Told {
    /// Takes note of what a webhook told.
    pub(super) fn saw(&self, seen: &[Observation]) {
        // What was deleted stands nowhere.
        for seen in seen.iter().filter(|seen| !seen.native.is_deleted()) {
            self.stands(&seen.record, seen.position);
        }
    }

    /// Takes note of where a record stands after a write of ours.
    pub(super) fn stands(&self, record: &RecordRef, position: Option<Position>) {
        let Some(Position(position)) = position else { return };
        let [lately, _] = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lately.stands(record.to_string(), position);
        lately.thin_out(TOLD);
    }

    /// What was told before the last time this was asked.
    fn ripe(&self) -> Places {
        let [lately, before] = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(before, std::mem::take(lately))
    }
}

/// Keeps what this process was told, until it ends.
pub(super) async fn keep<C: Connector>(parts: Loop<C>) -> anyhow::Result<()> {
    let (mut kept, mut goes_on) = (Places::default(), true);
    while goes_on {
        goes_on = parts.pause(KEPT_EVERY).await;
        kept.add(parts.told.ripe());
        if !goes_on {
            kept.add(parts.told.ripe());
        }
        if kept == Places::default() {
            continue;
        }
        let amended = amend(&parts, |stand| {
            stand.told.add(kept.clone());
            stand.told.thin_out(TOLD);
        });
        match amended.await {
            Ok(()) => kept = Places::default(),
            Err(error) => tracing::debug!(error = format!("{error:#}"), "where records stand is kept later"),
        }
    }
    Ok(())
}

/// What is known of where the system stood.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Stand {
    /// Of what sweeps saw.
    furthest: Places,
    /// By webhooks and our own writes, since the last sweep.
    told: Places,
    /// When all is to be read once more, in milliseconds since 1970: as often as an old copy was noticed.
    again_at_ms: Vec<i64>,
}

impl Stand {
    fn of(stored: Option<&Bytes>) -> anyhow::Result<Self> {
        stored.map_or_else(|| Ok(Self::default()), |stored| serde_json::from_slice(stored)).context("the stored stand")
    }
}

/// A sweep, as one that looks out for old copies sees it.
#[derive(Default)]
pub(super) struct Lookout {
    /// What was told before it began.
    told: Places,
    /// What of that it has not seen.
    missed: Places,
    /// What it saw furthest along.
    furthest: Places,
}

impl Lookout {
    /// Lets the sweep that follows begin anew where the system went back since the last one, or did so a while ago.
    pub(super) async fn begin<C: Connector>(parts: &Loop<C>) -> anyhow::Result<Self> {
        let stand = Stand::of(parts.bus.cursor(&name::<C>()).await?.as_ref())?;
        let now_ms = parts.process.now_ms();
        let found = look_at(parts, &stand.furthest.furthest()).await?;
        // One that is as it was vouches for all that came before it: then the others were deleted, or were all that the copy lacks.
        let gone = !found.gone.is_empty() && !found.unchanged;
        if let Some(why) =
            found.behind.or_else(|| gone.then(|| format!("{} is not there any more", found.gone.join(", "))))
        {
            begin_anew(parts, &why).await?;
            return Ok(Self::default());
        }
        let is_due = stand.again_at_ms.iter().any(|at_ms| *at_ms <= now_ms);
        if is_due {
            parts.store_cursor(&sweep::name::<C>(), &Value::Null).await?;
        }
        let useless: Vec<String> = found.gone.into_iter().chain(found.hidden).collect();
        if is_due || !useless.is_empty() {
            amend(parts, |stand| {
                stand.furthest.0.retain(|record, _| !useless.contains(record));
                stand.again_at_ms.retain(|at_ms| *at_ms > now_ms);
            })
            .await?;
        }
        Ok(Self { missed: stand.told.clone(), told: stand.told, furthest: Places::default() })
    }

    /// Takes note of what the sweep saw.
    pub(super) fn saw(&mut self, seen: &[Observation]) {
        for seen in seen {
            let Some(Position(position)) = seen.position else { continue };
            let record = seen.record.to_string();
            if self.missed.0.get(&record).is_some_and(|told| position >= *told) {
                self.missed.0.remove(&record);
            }
            self.furthest.stands(record, position);
        }
        self.furthest.keep_furthest(FURTHEST);
    }

    /// Whether the sweep did not see what it must have seen, had the system not gone back. Then the next one begins anew.
    pub(super) async fn end<C: Connector>(self, parts: &Loop<C>) -> anyhow::Result<bool> {
        let missed: Vec<_> = self.missed.furthest().into_iter().take(MISSED).collect();
        if let Some(why) = look_at(parts, &missed).await?.behind {
            begin_anew(parts, &why).await?;
            return Ok(true);
        }
        amend(parts, |stand| {
            stand.furthest.add(self.furthest.clone());
            stand.furthest.keep_furthest(FURTHEST);
            stand.told.0.retain(|record, told| self.told.0.get(record).is_none_or(|before| before < told));
        })
        .await?;
        Ok(false)
    }
}

/// Lets the next sweep begin anew, and one a while after it.
async fn begin_anew<C: Connector>(parts: &Loop<C>, why: &str) -> anyhow::Result<()> {
    tracing::warn!(
        system = C::SYSTEM,
        why,
        "it seems to have been brought back from an old copy; all of it is read now, and again in a few minutes"
    );
    // First of all: what is noted then keeps this from being done again.
    parts.store_cursor(&sweep::name::<C>(), &Value::Null).await?;
    let now_ms = parts.process.now_ms();
    amend(parts, |stand| {
        (stand.furthest, stand.told) = Default::default();
        stand.again_at_ms.retain(|at_ms| *at_ms > now_ms);
        stand.again_at_ms.push(now_ms + AGAIN_MS);
    })
    .await
}

/// How records stand to where they stood.
#[derive(Default)]
struct Found {
    /// One that is behind, and how far.
    behind: Option<String>,
    /// Those that are not there any more.
    gone: Vec<String>,
    /// Those that we may not see any more, which tells nothing.
    hidden: Vec<String>,
    /// Whether one is exactly where it was.
    unchanged: bool,
}

async fn look_at<C: Connector>(parts: &Loop<C>, places: &[(&String, u64)]) -> anyhow::Result<Found> {
    let mut found = Found::default();
    for &(record, stood) in places {
        let read: RecordRef = record.parse().context("the stored stand")?;
        match patiently(&parts.settings.backoff, || parts.connector.read(&read)).await {
            Ok(reading) => {
                let Some(stands) = reading.observation.position else { continue };
                match stands.0.cmp(&stood) {
                    Ordering::Less => {
                        found.behind = Some(format!("{record} stood at {stood} and stands at {}", stands.0));
                        break;
                    }
                    Ordering::Equal => found.unchanged = true,
                    // It may have been edited since, in a copy as well.
                    Ordering::Greater => {}
                }
            }
            Err(Failure::Gone { .. }) => found.gone.push(record.clone()),
            Err(Failure::Refused { .. }) => found.hidden.push(record.clone()),
            Err(failure) => return Err(failure.into()),
        }
    }
    Ok(found)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn places(count: u64) -> Places {
        Places((1..=count).map(|position| (format!("t/r/{position}"), position)).collect())
    }

    #[test]
    fn of_too_many_places_some_of_each_stretch_stay() {
        let mut told = places(3 * TOLD as u64);
        told.thin_out(TOLD);
        let left: Vec<u64> = told.furthest().into_iter().map(|(_, position)| position).collect();
        assert_eq!(left.len(), 48);
        assert!(left.is_sorted_by(|one, next| one - next == 4), "{left:?}");
        let mut few = places(TOLD as u64);
        few.thin_out(TOLD);
        assert_eq!(few, places(TOLD as u64));
    }

    #[test]
    fn a_record_stands_as_far_as_it_was_seen() {
        let mut known = places(6);
        known.stands("t/r/1".to_owned(), 9);
        known.stands("t/r/6".to_owned(), 3);
        known.keep_furthest(2);
        assert_eq!(known.furthest(), [(&"t/r/1".to_owned(), 9), (&"t/r/6".to_owned(), 6)]);
    }
}
