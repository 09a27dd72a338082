//! Has the system send again the webhooks that it could not deliver. One process at a time.

use std::time::Duration;

use super::Loop;
use crate::Connector;
use crate::backfill::patiently;

/// How long after a start it is first asked: what receives webhooks starts too.
const FIRST: Duration = Duration::from_secs(5);

pub(super) async fn run<C: Connector>(parts: Loop<C>) -> anyhow::Result<()> {
    parts.alone(&name::<C>(), over_and_over).await
}

/// Of the lease and of the cursor.
fn name<C: Connector>() -> String {
    format!("redeliver/{}", C::SYSTEM)
}

async fn over_and_over<C: Connector>(parts: Loop<C>) {
    let every = parts.connector.redeliver_every();
    let mut wait = every.min(FIRST);
    loop {
        tokio::time::sleep(wait + wait.mul_f64(runtime::jitter() / 10.0)).await;
        wait = every;
        match once(&parts).await {
            Ok(0) => {}
            Ok(asked) => tracing::info!(system = C::SYSTEM, asked, "webhooks that failed were asked for again"),
            // The sweep finds what they would have told.
            Err(error) => {
                tracing::warn!(system = C::SYSTEM, error = format!("{error:#}"), "failed webhooks were not asked for");
            }
        }
    }
}

/// Asks once; how many were asked for.
async fn once<C: Connector>(parts: &Loop<C>) -> anyhow::Result<u64> {
    let cursor = parts.cursor(&name::<C>()).await?;
    let redelivered = patiently(&parts.settings.backoff, || parts.connector.redeliver(cursor.clone())).await?;
    if let Some(cursor) = redelivered.cursor.filter(|new| cursor.as_ref() != Some(new)) {
        parts.store_cursor(&name::<C>(), &cursor).await?;
    }
    let counted = parts.process.metrics().webhooks_total.with_label_values(&[C::SYSTEM, "asked_again"]);
    counted.inc_by(redelivered.asked);
    Ok(redelivered.asked)
}
