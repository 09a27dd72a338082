//! Notices that the system was brought back from an old copy: a record then stands behind where it was told to stand.
//!
//! Who edits a record of the copy tells of it, but what nobody edits is not among what changed since the last sweep. So the sweeps
//! begin anew, at once and once more: only what was known for [`Link::OLD_COPY_MS`] does the model take for an old copy's.
//!
//! What is looked at: before a sweep, the records that earlier ones saw furthest along the system's time line; after it, what was told
//! since the one before and is not among what changed since.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use bus::{Stream, Tail, topology};
use bytes::Bytes;
use model::{Link, Native, Observation, Position, RecordRef, Source};
use proto::v1;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Loop, sweep};
use crate::backfill::patiently;
use crate::{Connector, Failure};

/// So long after an old copy was noticed all that was known before is known for long enough.
const AGAIN_MS: i64 = Link::OLD_COPY_MS + 60_000;
/// How many records are looked at before a sweep. One would do, were it not edited in the copy before the look.
const FURTHEST: usize = 4;
/// How many records are looked at after a sweep that did not see what was told of them.
const MISSED: usize = 16;
/// How many of the bus's messages are read for what was told since the last sweep.
const TOLD: u64 = 10_000;
/// For so long a system may show in one place what it does not yet show in another.
const RIPE_MS: i64 = 5_000;
/// The wait for a message that is there.
const WAIT: Duration = Duration::from_secs(10);

/// Where records stand on the system's time line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Places(BTreeMap<String, u64>);

impl Places {
    fn stands(&mut self, record: String, position: u64) {
        let known = self.0.entry(record).or_insert(position);
        *known = position.max(*known);
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
}

/// What is known of where the system stood.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Stand {
    /// Of what sweeps saw.
    furthest: Places,
    /// The last message on the bus of which it is known whether it told the truth.
    told_upto: u64,
    /// When all is to be read once more, in milliseconds since 1970: as often as an old copy was noticed.
    again_at_ms: Vec<i64>,
}

impl Stand {
    fn of(stored: Option<&Bytes>) -> anyhow::Result<Self> {
        stored.map_or_else(|| Ok(Self::default()), |stored| serde_json::from_slice(stored)).context("the stored stand")
    }
}

/// A sweep, as one that looks out for old copies sees it.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Lookout {
    /// Where webhooks, streams and our own writes told records to stand since the last sweep, as far as this one has not seen them there.
    missed: Places,
    /// The last message on the bus that was read for that.
    told_upto: u64,
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
            return Ok(Self { told_upto: begin_anew(parts, &why).await?, ..Self::default() });
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
        let (missed, told_upto) = told_since(parts, stand.told_upto).await?;
        Ok(Self { missed, told_upto, furthest: Places::default() })
    }

    /// How many records it has yet to see.
    pub(super) fn missed(&self) -> usize {
        self.missed.0.len()
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
            let saw = self.furthest.0.iter();
            saw.for_each(|(record, position)| stand.furthest.stands(record.clone(), *position));
            stand.furthest.keep_furthest(FURTHEST);
            stand.told_upto = self.told_upto;
        })
        .await?;
        Ok(false)
    }
}

/// Lets the next sweep begin anew, and one a while after it. What was told up to the message that it answers with is known to be untrue.
async fn begin_anew<C: Connector>(parts: &Loop<C>, why: &str) -> anyhow::Result<u64> {
    tracing::warn!(
        system = C::SYSTEM,
        why,
        "it seems to have been brought back from an old copy; all of it is read now, and again in a few minutes"
    );
    // First of all: what is noted then keeps this from being done again.
    parts.store_cursor(&sweep::name::<C>(), &Value::Null).await?;
    let now_ms = parts.process.now_ms();
    let last = parts.bus.last_message(Stream::Observations, &topology::seen_of(&parts.system)).await?;
    let told_upto = last.map_or(0, |last| last.sequence);
    amend(parts, |stand| {
        (stand.furthest, stand.told_upto) = (Places::default(), told_upto);
        stand.again_at_ms.retain(|at_ms| *at_ms > now_ms);
        stand.again_at_ms.push(now_ms + AGAIN_MS);
    })
    .await?;
    Ok(told_upto)
}

/// Where records were told to stand after a message on the bus, and which message is the last that was read for that.
async fn told_since<C: Connector>(parts: &Loop<C>, after: u64) -> anyhow::Result<(Places, u64)> {
    let (mut places, mut upto) = (Places::default(), after);
    let subject = topology::seen_of(&parts.system);
    let Some(last) = parts.bus.last_message(Stream::Observations, &subject).await? else { return Ok((places, 0)) };
    if last.sequence <= after {
        // A stream that was made anew counts from the beginning, and what was told by the old one is not there any more.
        return Ok((places, last.sequence));
    }
    let first = (after + 1).max(last.sequence.saturating_sub(TOLD));
    let mut feed = parts.bus.tail(Stream::Observations, &[subject], Tail::Sequence(first)).await?;
    let ripe_ms = parts.process.now_ms() - RIPE_MS;
    while upto < last.sequence {
        // The last one may have had to make room meanwhile.
        let Ok(message) = tokio::time::timeout(WAIT, feed.next()).await else { break };
        let message = message?;
        if message.published_at_ms > ripe_ms {
            break;
        }
        upto = message.sequence;
        if let Some((record, position)) = place(&message) {
            places.stands(record, position);
        }
    }
    Ok((places, upto))
}

/// Where a message tells a record to stand.
fn place(message: &bus::Received) -> Option<(String, u64)> {
    let (record, native, position) = if message.subject.starts_with("lockstep.delivery.") {
        let told: v1::Delivery = message.decode().ok()?;
        (told.record, told.native, told.position)
    } else {
        let told: v1::Observation = message.decode().ok()?;
        // What sweeps saw need not be among what changed since, and what is asked for is nowhere.
        let looked = told.source == Source::Sweep.code() || told.source.is_empty() || told.source == Source::Api.code();
        (told.record, told.native, if looked { 0 } else { told.position })
    };
    // What was deleted stands nowhere.
    let stands = position > 0 && !Native::new(&native).ok()?.is_deleted();
    stands.then_some((record, position))
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
            // A credential that has ended says nothing of the record.
            Err(failure @ Failure::Refused { code: "unauthorized", .. }) => return Err(failure.into()),
            Err(Failure::Refused { .. }) => found.hidden.push(record.clone()),
            // The others tell as much, and so does the next look. Where it is the system that is away, the sweep notices that.
            Err(failure) => tracing::info!(record, %failure, "it is not known where it stands"),
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
    fn a_record_stands_as_far_as_it_was_seen() {
        let mut known = places(6);
        known.stands("t/r/1".to_owned(), 9);
        known.stands("t/r/6".to_owned(), 3);
        known.keep_furthest(2);
        assert_eq!(known.furthest(), [(&"t/r/1".to_owned(), 9), (&"t/r/6".to_owned(), 6)]);
    }
}
