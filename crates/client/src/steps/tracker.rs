//! An operation that several tasks work on: with the time, with whoever wants to hear of it, and published.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{Description, Operation, State, StepError, Summary, Transition};
use crate::{OperationStep, Publisher};

type Callback = Arc<dyn Fn(&OperationStep) + Send + Sync>;

/// An [`Operation`] whose clones are the same.
#[derive(Clone)]
pub struct StepTracker {
    shared: Arc<Shared>,
    callbacks: Vec<Callback>,
    publisher: Option<Publisher>,
}

struct Shared {
    operation: Mutex<Operation>,
    panics: AtomicU64,
    refused: AtomicU64,
}

impl StepTracker {
    /// An operation of that name, of which nothing more is known.
    pub fn new(operation: impl Into<String>) -> Self {
        Self::of(Operation::new(operation))
    }

    /// An operation with a total, an agent or a history of another length.
    pub fn of(operation: Operation) -> Self {
        let operation = Mutex::new(operation);
        let shared = Shared { operation, panics: AtomicU64::new(0), refused: AtomicU64::new(0) };
        Self { shared: Arc::new(shared), callbacks: Vec::new(), publisher: None }
    }

    /// Publishes every update as `operation_step` telemetry.
    #[must_use]
    pub fn publishing(mut self, publisher: &Publisher) -> Self {
        self.publisher = Some(publisher.clone());
        self
    }

    /// Calls this with every update that is made by this tracker and the clones that are made of it from now on, at once and in
    /// their own task. One that panics is counted, and breaks nothing.
    #[must_use]
    pub fn on_update(mut self, callback: impl Fn(&OperationStep) + Send + Sync + 'static) -> Self {
        self.callbacks.push(Arc::new(callback));
        self
    }

    /// Names all steps before they begin, so that there is a progress.
    pub fn plan<S: Into<String>>(&self, steps: impl IntoIterator<Item = S>) -> Result<(), StepError> {
        self.operation().plan(steps)
    }

    /// A step begins.
    pub fn executing(&self, step: &str, description: impl Into<Description>) -> Result<(), StepError> {
        self.apply(step, Transition::Execute(description.into()), None)
    }

    /// A step is done.
    pub fn completed(&self, step: &str) -> Result<(), StepError> {
        self.apply(step, Transition::Complete, None)
    }

    /// A step failed.
    pub fn failed(&self, step: &str, error: impl fmt::Display) -> Result<(), StepError> {
        self.apply(step, Transition::Fail(error.to_string()), None)
    }

    /// A step is as if it had never begun.
    pub fn reset(&self, step: &str) -> Result<(), StepError> {
        self.apply(step, Transition::Reset, None)
    }

    /// Lets something happen to a step, with what the step knows.
    pub fn apply(&self, step: &str, transition: Transition, data: Option<Value>) -> Result<(), StepError> {
        let update = {
            let mut operation = self.operation();
            let update = operation.apply(step, transition, data, now_ms())?;
            if let Some(publisher) = &self.publisher {
                // While it is locked, so that updates are published in their order. What is lost the publisher counts.
                publisher.publish(update.clone());
            }
            update
        };
        for callback in &self.callbacks {
            if catch_unwind(AssertUnwindSafe(|| callback(&update))).is_err() {
                self.shared.panics.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Does a step: it begins now, and ends as the future does. The inner result is the future's own; the outer one says that the
    /// step may not begin, and then the future is not run. A future that is dropped or panics failed.
    pub async fn run<T, E: fmt::Display>(
        &self,
        step: &str,
        description: impl Into<Description>,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<Result<T, E>, StepError> {
        self.executing(step, description)?;
        let mut end = End { tracker: self, step, known: false };
        let result = work.await;
        end.known = true;
        let told = match &result {
            Ok(_) => self.completed(step),
            Err(error) => self.failed(step, error),
        };
        self.count(&told);
        Ok(result)
    }

    /// What came of the steps; each counts once, however often it was updated.
    pub fn summary(&self) -> Summary {
        self.operation().summary()
    }

    /// Where a step is; `None` for one that nobody named.
    pub fn state(&self, step: &str) -> Option<State> {
        self.operation().state(step)
    }

    /// Completed steps of all, from 0 to 1; `None` while it is not known how many there are.
    pub fn progress(&self) -> Option<f64> {
        self.operation().progress()
    }

    /// The newest updates, oldest first.
    pub fn history(&self) -> Vec<OperationStep> {
        self.operation().history().cloned().collect()
    }

    /// How often a callback panicked.
    pub fn callback_panics(&self) -> u64 {
        self.shared.panics.load(Ordering::Relaxed)
    }

    /// How often a step that [`run`](Self::run) did had been ended or reset by somebody else when it came back.
    pub fn disputed(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    fn count(&self, told: &Result<(), StepError>) {
        if told.is_err() {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn operation(&self) -> MutexGuard<'_, Operation> {
        // An operation is changed whole or not at all: what a panic elsewhere left is good.
        self.shared.operation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a step whose future never came to an end of its own.
struct End<'a> {
    tracker: &'a StepTracker,
    step: &'a str,
    known: bool,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        if !self.known {
            let told = self.tracker.failed(self.step, "it was cancelled before it came to an end");
            self.tracker.count(&told);
        }
    }
}

impl fmt::Debug for StepTracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepTracker").field("operation", &*self.operation()).finish_non_exhaustive()
    }
}

/// The time, in milliseconds since 1970.
fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
