//! Waits for a fact, with a deadline and a name for the failure.

use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::time::MissedTickBehavior;

/// Long enough for a machine that is busy with something else; what is fast is measured and printed, not asserted.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(5);

/// Looks until `probe` answers `Ok(Some(…))`. A probe that answers otherwise is asked again until the deadline; its last
/// error, if any, says what was missing.
pub async fn eventually<T>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let until = Instant::now() + deadline;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let late = Instant::now() >= until;
        match probe().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if late => bail!("not within {deadline:?}: {what}"),
            Err(error) if late => bail!("not within {deadline:?}: {what}: {error:#}"),
            Ok(None) | Err(_) => {}
        }
    }
}

/// [`eventually`] for a probe that only says yes or no.
pub async fn holds(deadline: Duration, what: &str, mut probe: impl FnMut() -> bool) -> anyhow::Result<()> {
    eventually(deadline, what, async || Ok(probe().then_some(()))).await
}
