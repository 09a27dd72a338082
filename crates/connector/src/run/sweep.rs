//! Sweeps: asks the system what changed, for what its webhooks did not tell. One process at a time.

use std::time::Duration;

use anyhow::Context;
use bus::Outgoing;
use model::Lane;
use serde_json::Value;
use tokio::time::Instant;

use super::Loop;
use crate::{Action, Connector, Failure, Page};

/// A sweep that never ends is a mistake of the connector or of the system.
const PAGES_MAX: usize = 100_000;

pub(super) async fn run<C: Connector>(parts: Loop<C>) -> anyhow::Result<()> {
    let shutdown = parts.process.shutdown().clone();
    let name = format!("sweep/{}", C::SYSTEM);
    while !shutdown.is_cancelled() {
        let lease = match parts.bus.lease(&name, &parts.process).await {
            Ok(lease) => lease,
            Err(_) if shutdown.is_cancelled() => break,
            Err(error) => return Err(error),
        };
        tokio::select! {
            () = lease.lost().cancelled() => {}
            () = shutdown.cancelled() => {}
            () = over_and_over(&parts) => {}
        }
    }
    Ok(())
}

async fn over_and_over<C: Connector>(parts: &Loop<C>) {
    loop {
        let began = Instant::now();
        match sweep(parts).await {
            Ok(seen) => tracing::debug!(system = C::SYSTEM, seen, "sweep done"),
            Err(error) => tracing::warn!(system = C::SYSTEM, error = format!("{error:#}"), "sweep broken off"),
        }
        let every = parts.connector.sweep_every();
        // Processes that started together should not ask together.
        let every = every + every.mul_f64(runtime::jitter() / 10.0);
        tokio::time::sleep(every.saturating_sub(began.elapsed()).max(Duration::from_millis(10))).await;
    }
}

/// One sweep, from the cursor of the last one that ended. How many observations it published.
async fn sweep<C: Connector>(parts: &Loop<C>) -> anyhow::Result<usize> {
    let name = format!("sweep/{}", C::SYSTEM);
    let cursor = match parts.bus.cursor(&name).await? {
        Some(stored) => serde_json::from_slice::<Value>(&stored).context("the stored cursor is not JSON")?,
        None => Value::Null,
    };
    let cursor = Some(cursor).filter(|cursor| !cursor.is_null());
    let (mut next, mut seen) = (None, 0);
    for _ in 0..PAGES_MAX {
        let page = page(parts, cursor.as_ref(), next.as_ref()).await?;
        seen += page.observations.len();
        let messages: Vec<_> = page.observations.iter().map(|seen| Outgoing::observation(Lane::Low, seen)).collect();
        if !parts.publish(messages).await {
            anyhow::bail!("the bus did not take what was seen");
        }
        next = page.next;
        if next.is_none() {
            // Only now: all of it is stored.
            if let Some(cursor) = page.cursor {
                parts.bus.store_cursor(&name, serde_json::to_vec(&cursor)?.into()).await?;
            }
            return Ok(seen);
        }
    }
    anyhow::bail!("the sweep had more than {PAGES_MAX} pages")
}

async fn page<C: Connector>(parts: &Loop<C>, cursor: Option<&Value>, next: Option<&Value>) -> Result<Page, Failure> {
    let mut attempt = 1;
    loop {
        let failure = match parts.connector.sweep(cursor.cloned(), next.cloned()).await {
            Ok(page) => return Ok(page),
            Err(failure) => failure,
        };
        let Action::Wait { wait, counts } = failure.action(&parts.settings.backoff, attempt, runtime::jitter()) else {
            return Err(failure);
        };
        attempt += u32::from(counts);
        tokio::time::sleep(wait).await;
    }
}
