//! Where a sweep under way has come to: stored after each page, so that one that was interrupted is gone on with.
//!
//! It belongs to the stored cursor that the sweep began from. Whoever stores another one, because that sweep has ended or all is to be
//! read anew, thereby makes the place void.

use anyhow::Context;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::old_copy::Lookout;
use super::{Loop, sweep};
use crate::{Connector, Failure};

/// After so long a sweep that was interrupted begins at its first page.
const AGE_MS_MAX: i64 = 6 * 60 * 60 * 1_000;
/// Of a sweep that looks out for more records than this no place is stored: what it looks out for is part of it.
const MISSED_MAX: usize = 1_000;

/// A place within a sweep, between two pages.
#[derive(Serialize, Deserialize)]
pub(super) struct Place {
    /// The revision of the cursor that the sweep began from.
    began_from: u64,
    /// When the last page was read, in milliseconds since 1970.
    at_ms: i64,
    /// Where the next page begins.
    pub(super) next: Value,
    /// What the pages before it showed of an old copy.
    pub(super) lookout: Option<Lookout>,
}

/// The stored cursor and its revision. There is one from the first sweep on, so that whoever wants all to be read anew can void a place.
pub(super) async fn beginning<C: Connector>(parts: &Loop<C>) -> anyhow::Result<(Option<Value>, u64)> {
    let name = sweep::name::<C>();
    parts.bus.amend_cursor(&name, |known| Ok(known.is_none().then(|| Bytes::from_static(b"null")))).await?;
    let (stored, revision) = parts.bus.cursor_at(&name).await?.context("the cursor was taken away")?;
    let cursor: Value = serde_json::from_slice(&stored).context("the stored cursor is not JSON")?;
    Ok((Some(cursor).filter(|cursor| !cursor.is_null()), revision))
}

/// Stores the cursor that a sweep ended with, unless somebody stored another since it began.
pub(super) async fn reached<C: Connector>(parts: &Loop<C>, began_from: u64, cursor: &Value) -> anyhow::Result<()> {
    let value = serde_json::to_vec(cursor)?.into();
    if !parts.bus.replace_cursor(&sweep::name::<C>(), value, began_from).await? {
        tracing::info!(system = C::SYSTEM, "another cursor was stored meanwhile; the next sweep goes by that");
    }
    Ok(())
}

/// Where an interrupted sweep from this cursor is to be gone on with.
pub(super) async fn left<C: Connector>(parts: &Loop<C>, began_from: u64) -> anyhow::Result<Option<Place>> {
    if !C::GOES_ON {
        return Ok(None);
    }
    let stored = parts.bus.cursor(&name::<C>()).await?;
    // One that cannot be read was stored by another version.
    let place = stored.and_then(|stored| serde_json::from_slice::<Place>(&stored).ok());
    let oldest_ms = parts.process.now_ms() - AGE_MS_MAX;
    Ok(place.filter(|place| place.began_from == began_from && place.at_ms >= oldest_ms))
}

/// Stores where the sweep has come to.
pub(super) async fn keep<C: Connector>(
    parts: &Loop<C>,
    began_from: u64,
    next: &Value,
    lookout: Option<&Lookout>,
) -> anyhow::Result<()> {
    if !C::GOES_ON || lookout.is_some_and(|lookout| lookout.missed() > MISSED_MAX) {
        return Ok(());
    }
    let place = Place { began_from, at_ms: parts.process.now_ms(), next: next.clone(), lookout: lookout.cloned() };
    parts.bus.store_cursor(&name::<C>(), serde_json::to_vec(&place)?.into()).await
}

/// Whether the system does not take the place any more: then the next sweep begins at its first page. A credential that has ended says
/// nothing of the place.
pub(super) fn is_void(failure: &Failure) -> bool {
    match failure {
        Failure::Gone { .. } => true,
        Failure::Refused { code, .. } => *code != "unauthorized",
        Failure::Unavailable { .. } | Failure::Busy { .. } | Failure::Limited { .. } => false,
    }
}

/// Nothing is left to go on with.
pub(super) async fn forget<C: Connector>(parts: &Loop<C>) -> anyhow::Result<()> {
    if C::GOES_ON { parts.bus.store_cursor(&name::<C>(), Bytes::new()).await } else { Ok(()) }
}

fn name<C: Connector>() -> String {
    format!("place/{}", C::SYSTEM)
}
