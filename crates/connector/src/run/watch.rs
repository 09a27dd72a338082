//! A connector's own source, begun again whenever it ends; by one process at a time where the connector wants that.

use model::{Backoff, Lane};
use std::time::Duration;
use tokio::time::Instant;

use super::{BUS_PAUSE, Loop, Sink};
use crate::{Action, Connector, Failure};

/// A source that held for this long was not failing.
const HELD: Duration = Duration::from_secs(30);

pub(super) async fn run<C: Connector>(parts: Loop<C>) -> anyhow::Result<()> {
    if !C::WATCHES_ALONE {
        over_and_over(parts).await;
        return Ok(());
    }
    parts.alone(&format!("watch/{}", C::SYSTEM), over_and_over).await
}

/// Returns when the process ends.
async fn over_and_over<C: Connector>(parts: Loop<C>) {
    let shutdown = parts.process.shutdown();
    let sink = Sink::new(parts.bus.clone(), Lane::High);
    // There is no last attempt: without its source a connector is of no use, and readiness says so.
    let backoff = Backoff { attempts: u32::MAX, ..parts.settings.backoff };
    let mut attempt = 1;
    loop {
        let began = Instant::now();
        let ended = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            ended = parts.connector.watch(sink.clone()) => ended,
        };
        if began.elapsed() > HELD {
            attempt = 1;
        }
        let failure = ended.err().unwrap_or_else(|| Failure::unavailable("the source ended"));
        if sink.has_failed() {
            // The source does not recover from anything: it goes on as soon as the bus is back. What was published has waited already.
            tracing::warn!(system = C::SYSTEM, %failure, "the source begins again");
            if !parts.pause(BUS_PAUSE + BUS_PAUSE.mul_f64(runtime::jitter())).await {
                return;
            }
            continue;
        }
        let wait = match failure.action(&backoff, attempt, runtime::jitter()) {
            Action::Wait { wait, .. } => wait,
            Action::GiveUp { .. } => Duration::from_millis(backoff.max_ms),
        };
        attempt += 1;
        tracing::warn!(system = C::SYSTEM, %failure, wait_ms = wait.as_millis(), "the source broke; it begins again");
        if !parts.pause(wait).await {
            return;
        }
    }
}
