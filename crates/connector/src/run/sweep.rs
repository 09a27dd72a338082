//! Sweeps: asks the system what changed, for what its webhooks did not tell. One process at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use bus::{Stream, topology};
use model::{Observation, Timestamp};
use serde_json::Value;
use tokio::time::Instant;

use super::Loop;
use super::old_copy::Lookout;
use super::pace::{self, Found, Pace};
use super::place;
use crate::backfill::{Looks, buried, parcels, patiently};
use crate::{Connector, Page, Reading};

/// A sweep that never ends is a mistake of the connector or of the system.
const PAGES_MAX: usize = 100_000;
/// Of how many things the next sweep knows that it saw them before. Of a sweep that saw more it knows nothing.
const KNOWN_MAX: usize = 10_000;

pub(super) async fn run<C: Connector>(parts: Loop<C>) -> anyhow::Result<()> {
    parts.alone(&name::<C>(), over_and_over).await
}

/// Of the lease and of the cursor.
pub(super) fn name<C: Connector>() -> String {
    format!("{}{}", bus::SWEEPS, C::SYSTEM)
}

async fn over_and_over<C: Connector>(parts: Loop<C>) {
    let least = Duration::from_secs(parts.settings.sweep_least_s);
    let mut pace = Pace::new(least, parts.connector.sweep_every());
    let mut memory = Memory::default();
    loop {
        let began = Instant::now();
        let found = match sweep(&parts, &mut memory).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(system = C::SYSTEM, error = format!("{error:#}"), "sweep broken off");
                Found::Nothing
            }
        };
        let wait = pace.after(found);
        tracing::debug!(system = C::SYSTEM, ?found, wait_ms = wait.as_millis(), "sweep done");
        tokio::time::sleep(pace::rest(wait, began.elapsed(), runtime::jitter())).await;
    }
}

/// What the last sweep met: sweeps overlap, and see much of it again.
#[derive(Default)]
struct Memory {
    /// The ids of what it saw; none when there was no sweep, or it saw too much to be remembered.
    seen: Option<BTreeSet<String>>,
    /// What it could not read.
    unreadable: BTreeSet<String>,
}

/// One sweep, from the cursor of the last one that ended.
async fn sweep<C: Connector>(parts: &Loop<C>, memory: &mut Memory) -> anyhow::Result<Found> {
    begin_anew_in_another_scope(parts).await?;
    // A system without webhooks has a source of its own, which notices that itself.
    let mut lookout = if C::HAS_WEBHOOKS { Some(Lookout::begin(parts).await?) } else { None };
    let (cursor, began_from) = place::beginning(parts).await?;
    let looks = if cursor.is_none() { Looks::Again } else { Looks::On };
    let (mut next, mut now, mut newest) = (None, Memory { seen: Some(BTreeSet::new()), ..Memory::default() }, None);
    if let Some(place) = place::left(parts, began_from).await? {
        tracing::info!(system = C::SYSTEM, "going on with a sweep that was interrupted");
        // What its pages before this one showed is not known here.
        (next, lookout, now.seen) = (Some(place.next), place.lookout, None);
    }
    for _ in 0..PAGES_MAX {
        let ask = || parts.connector.sweep(cursor.clone(), next.clone());
        let page = match patiently(&parts.settings.backoff, ask).await {
            Err(failure) if next.is_some() && place::is_void(&failure) => {
                place::forget(parts).await?;
                return Err(failure.into());
            }
            page => page?,
        };
        newest = newest.max(news(&page.observations, memory));
        take(parts, &page, looks, memory, &mut now).await?;
        keep_shown(parts, &page.keeps).await;
        if let Some(lookout) = &mut lookout {
            lookout.saw(&page.observations);
        }
        let goes_on = next.is_some();
        next = page.next;
        if let Some(next) = &next {
            place::keep(parts, began_from, next, lookout.as_ref()).await?;
            continue;
        }
        // Only now: all of it is stored. Where somebody wants the sweeps to begin anew meanwhile, the next one does.
        if let Some(cursor) = page.cursor {
            place::reached(parts, began_from, &cursor).await?;
        }
        if goes_on {
            place::forget(parts).await?;
        }
        *memory = now;
        if let Some(lookout) = lookout
            && lookout.end(parts).await?
        {
            return Ok(Found::Untold);
        }
        return found(parts, newest).await;
    }
    place::forget(parts).await?;
    anyhow::bail!("the sweep had more than {PAGES_MAX} pages")
}

async fn begin_anew_in_another_scope<C: Connector>(parts: &Loop<C>) -> anyhow::Result<()> {
    let (name_of_scope, scope) = (format!("scope/{}", C::SYSTEM), Value::from(parts.connector.scope().to_vec()));
    let known = parts.cursor(&name_of_scope).await?.unwrap_or_else(|| Value::Array(vec![]));
    if known != scope {
        parts.store_cursor(&name::<C>(), &Value::Null).await?;
        parts.store_cursor(&name_of_scope, &scope).await?;
    }
    Ok(())
}

/// Stores what is on a page.
async fn take<C: Connector>(
    parts: &Loop<C>,
    page: &Page,
    looks: Looks,
    before: &Memory,
    now: &mut Memory,
) -> anyhow::Result<()> {
    let (messages, unreadable) = parcels(&parts.bus, page, looks);
    anyhow::ensure!(parts.publish(messages).await, "the bus did not take what was seen");
    for unreadable in &unreadable {
        let letter = buried(&parts.system, unreadable, parts.process.now_ms());
        // Sweep after sweep meets it again; one letter says it.
        let is_new = now.unreadable.insert(letter.subject.clone()) && !before.unreadable.contains(&letter.subject);
        anyhow::ensure!(!is_new || parts.bury(letter).await, "the bus did not take what cannot be read");
    }
    if let Some(seen) = &mut now.seen {
        seen.extend(page.observations.iter().map(|seen| seen.id.clone()));
        if seen.len() > KNOWN_MAX {
            now.seen = None;
        }
    }
    Ok(())
}

/// Only now that the page is stored: what it shows must not grow old while this takes its time.
async fn keep_shown<C: Connector>(parts: &Loop<C>, keeps: &[Reading]) {
    for reading in keeps {
        if let Err(failure) = parts.connector.keep_shown(reading).await {
            let record = &reading.observation.record;
            tracing::info!(%record, %failure, "it does not show yet what it did before; the next webhook or sweep tries again");
        }
    }
}

/// When the newest of what the last sweep did not see was made; `None` when there is none, or nothing is known of that.
fn news(seen: &[Observation], memory: &Memory) -> Option<Timestamp> {
    let known = memory.seen.as_ref()?;
    seen.iter().filter(|seen| !known.contains(&seen.id)).map(|seen| seen.occurred_at).max()
}

async fn found<C: Connector>(parts: &Loop<C>, newest: Option<Timestamp>) -> anyhow::Result<Found> {
    if newest.is_none() || !C::HAS_WEBHOOKS {
        // Without webhooks it has a source of its own, which tells of changes as they do.
        return Ok(if newest.is_none() { Found::Nothing } else { Found::Told });
    }
    let last = parts.bus.last_message(Stream::Webhooks, &topology::webhook(&parts.system)).await?;
    Ok(Found::of(newest, last.map(|last| last.published_at_ms)))
}
