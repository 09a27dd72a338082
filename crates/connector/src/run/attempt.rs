//! Tries something until it works or the failure table gives up, keeping the message that asks for it from coming again.

use std::time::Duration;

use bus::Received;
use model::{Backoff, DeliveryOutcome};
use tokio_util::sync::CancellationToken;

use crate::{Action, Failure};

/// Well within the time after which an unacknowledged message comes again.
const PROGRESS: Duration = Duration::from_secs(3);

/// How trying ended, when it did not succeed.
#[derive(Debug)]
pub(super) enum End {
    /// The table gave up.
    GivenUp { outcome: DeliveryOutcome, reason: &'static str, failure: Failure },
    /// The token was cancelled during a wait.
    Dropped,
}

/// Tries `act`. Returns what it came to, and after how many attempts. `drop_it` ends the waits between attempts, never an
/// attempt.
pub(super) async fn attempts<T, F, Fut>(
    backoff: &Backoff,
    message: &Received,
    drop_it: &CancellationToken,
    mut act: F,
) -> (Result<T, End>, u32)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Failure>>,
{
    let mut attempt = 1;
    loop {
        let failure = match in_progress(message, act()).await {
            Ok(done) => return (Ok(done), attempt),
            Err(failure) => failure,
        };
        match failure.action(backoff, attempt, runtime::jitter()) {
            Action::GiveUp { outcome, reason } => return (Err(End::GivenUp { outcome, reason, failure }), attempt),
            Action::Wait { wait, counts } => {
                tracing::debug!(%failure, attempt, wait_ms = wait.as_millis(), "trying again");
                let dropped = async {
                    tokio::select! {
                        biased;
                        () = drop_it.cancelled() => true,
                        () = tokio::time::sleep(wait) => false,
                    }
                };
                if in_progress(message, dropped).await {
                    return (Err(End::Dropped), attempt);
                }
                attempt += u32::from(counts);
            }
        }
    }
}

/// Does something that may take long, saying from time to time that the message is being worked on.
pub(super) async fn in_progress<T>(message: &Received, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(PROGRESS) => {
                // If this is lost the message comes again, which does no harm.
                let _ = message.ack_progress().await;
            }
        }
    }
}
