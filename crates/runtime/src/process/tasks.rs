//! The tasks of a process: counted, and never failing unseen.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[derive(Debug, Default)]
pub(super) struct Tasks {
    tracker: TaskTracker,
    failed: Arc<Mutex<Option<anyhow::Error>>>,
    #[cfg(feature = "simulation")]
    simulated: crate::simulation::Tasks,
}

impl Tasks {
    pub(super) fn spawn<F>(&self, name: &'static str, service: Arc<str>, shutdown: CancellationToken, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let failed = Arc::clone(&self.failed);
        let inner = tokio::spawn(task);
        #[cfg(feature = "simulation")]
        self.simulated.note(inner.abort_handle());
        self.tracker.spawn(async move {
            let ended = match inner.await {
                Ok(ended) => ended,
                Err(error) if error.is_panic() => Err(anyhow!("panicked: {}", message(&*error.into_panic()))),
                // Only the runtime's own end cancels it.
                Err(_) => Ok(()),
            };
            if let Err(error) = ended {
                tracing::error!(
                    service = &*service,
                    task = name,
                    error = format!("{error:#}"),
                    "a task failed; the process ends"
                );
                let mut first = failed.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert_with(|| error.context(format!("{service}: {name}")));
                drop(first);
                shutdown.cancel();
            }
        });
    }

    #[cfg(feature = "simulation")]
    pub(super) fn abort(&self) {
        self.simulated.abort();
    }

    #[cfg(feature = "simulation")]
    pub(super) fn skew(&self, milliseconds: i64) {
        self.simulated.skew(milliseconds);
    }

    #[cfg(feature = "simulation")]
    pub(super) fn skew_ms(&self) -> i64 {
        self.simulated.skew_ms()
    }

    pub(super) fn have_failed(&self) -> bool {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) async fn finished(&self, deadline: Duration) -> anyhow::Result<()> {
        self.tracker.close();
        let ended = tokio::time::timeout(deadline, self.tracker.wait()).await;
        if let Some(error) = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        ended.with_context(|| {
            format!("{} tasks did not end within {} s of the shutdown", self.tracker.len(), deadline.as_secs())
        })
    }
}

/// What a panic said.
pub(super) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".into())
}

/// Runs what may panic on a wrong program, such as merging routers, as an error.
pub(super) fn caught<T>(run: impl FnOnce() -> T) -> anyhow::Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(run)).map_err(|panic| anyhow!("{}", message(&*panic)))
}
