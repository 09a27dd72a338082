//! An operation that several tasks work on: with the time, with whoever wants to hear of it, and published.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{Description, Operation, State, StepError, Summary, Transition};
use crate::{OperationStep, Publisher};

type OnRefused = dyn Fn(&str, &StepError) + Send + Sync;

/// Who wants to hear, and of what.
#[derive(Clone)]
enum Callback {
    /// Every update; of one state only, where there is one.
    Step(Option<State>, Arc<dyn Fn(&OperationStep) + Send + Sync>),
    Progress(Arc<dyn Fn(f64) + Send + Sync>),
    Refused(Arc<OnRefused>),
    Error(Arc<dyn Fn(&str) + Send + Sync>),
}

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
    disputed: AtomicU64,
    /// How many steps of each predefined kind there were.
    numbers: Mutex<BTreeMap<&'static str, u64>>,
}

/// What happened to a step.
struct Changed {
    to: State,
    update: OperationStep,
    /// Of the whole operation, if it is another one than before.
    progress: Option<f64>,
}

impl StepTracker {
    /// An operation of that name, of which nothing more is known.
    pub fn new(operation: impl Into<String>) -> Self {
        Self::of(Operation::new(operation))
    }

    /// An operation with a total, an agent, or another length of its history or number of steps.
    pub fn of(operation: Operation) -> Self {
        let operation = Mutex::new(operation);
        let (panics, disputed, numbers) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::default());
        let shared = Shared { operation, panics, disputed, numbers };
        Self { shared: Arc::new(shared), callbacks: Vec::new(), publisher: None }
    }

    /// Publishes every update as `operation_step` telemetry.
    #[must_use]
    pub fn publishing(mut self, publisher: &Publisher) -> Self {
        self.publisher = Some(publisher.clone());
        self
    }

    /// Calls this with every update that is made by this tracker and the clones that are made of it from now on, at once and in
    /// their own task. A callback that panics is counted, told to [`on_error`](Self::on_error), and breaks nothing.
    #[must_use]
    pub fn on_step(self, callback: impl Fn(&OperationStep) + Send + Sync + 'static) -> Self {
        self.with(Callback::Step(None, Arc::new(callback)))
    }

    /// The same for steps that begin.
    #[must_use]
    pub fn on_executing(self, callback: impl Fn(&OperationStep) + Send + Sync + 'static) -> Self {
        self.with(Callback::Step(Some(State::Executing), Arc::new(callback)))
    }

    /// The same for steps that are done.
    #[must_use]
    pub fn on_completed(self, callback: impl Fn(&OperationStep) + Send + Sync + 'static) -> Self {
        self.with(Callback::Step(Some(State::Completed), Arc::new(callback)))
    }

    /// The same for steps that failed.
    #[must_use]
    pub fn on_failed(self, callback: impl Fn(&OperationStep) + Send + Sync + 'static) -> Self {
        self.with(Callback::Step(Some(State::Failed), Arc::new(callback)))
    }

    /// Calls this when the progress of the whole operation is another one than before.
    #[must_use]
    pub fn on_progress(self, callback: impl Fn(f64) + Send + Sync + 'static) -> Self {
        self.with(Callback::Progress(Arc::new(callback)))
    }

    /// Calls this with the step of an update that was refused, and why.
    #[must_use]
    pub fn on_refused(self, callback: impl Fn(&str, &StepError) + Send + Sync + 'static) -> Self {
        self.with(Callback::Refused(Arc::new(callback)))
    }

    /// Calls this with what a callback that panicked said.
    #[must_use]
    pub fn on_error(self, callback: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.with(Callback::Error(Arc::new(callback)))
    }

    fn with(mut self, callback: Callback) -> Self {
        self.callbacks.push(callback);
        self
    }

    /// Names all steps before they begin, so that there is a progress.
    pub fn plan<S: Into<String>>(&self, steps: impl IntoIterator<Item = S>) {
        self.operation().plan(steps);
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

    /// Every step that is not pending is as if it had never begun.
    pub fn reset_all(&self) {
        let begun = self.operation().begun();
        for step in begun {
            // Somebody else may have reset it meanwhile, which is the same.
            let _ = self.reset(&step);
        }
    }

    /// Lets something happen to a step, with what the step knows.
    pub fn apply(&self, step: &str, transition: Transition, data: Option<Value>) -> Result<(), StepError> {
        let applied = self.change(&mut self.operation(), step, transition, data);
        self.tell(step, applied)
    }

    /// A step begins; one that ended begins anew, at one stroke: what somebody else begins in between is theirs.
    fn begin(&self, step: &str, description: Description) -> Result<(), StepError> {
        let (reset, begun) = {
            let mut operation = self.operation();
            let has_ended = matches!(operation.state(step), Some(State::Completed | State::Failed));
            let reset = has_ended.then(|| self.change(&mut operation, step, Transition::Reset, None));
            (reset, self.change(&mut operation, step, Transition::Execute(description), None))
        };
        if let Some(reset) = reset {
            self.tell(step, reset)?;
        }
        self.tell(step, begun)
    }

    fn change(
        &self,
        operation: &mut Operation,
        step: &str,
        transition: Transition,
        data: Option<Value>,
    ) -> Result<Changed, StepError> {
        let (to, before) = (transition.to(), operation.progress());
        let update = operation.apply(step, transition, data, now_ms())?;
        if let Some(publisher) = &self.publisher {
            // While it is locked, so that updates are published in their order. What is lost the publisher counts.
            publisher.publish(update.clone());
        }
        Ok(Changed { to, update, progress: operation.progress().filter(|now| Some(*now) != before) })
    }

    /// Tells the callbacks, which may use the tracker themselves: not while it is locked.
    fn tell(&self, step: &str, changed: Result<Changed, StepError>) -> Result<(), StepError> {
        match &changed {
            Ok(Changed { to, update, progress }) => self.tell_changed(*to, update, *progress),
            Err(error) => self.tell_refused(step, error),
        }
        changed.map(drop)
    }

    fn tell_changed(&self, to: State, update: &OperationStep, progress: Option<f64>) {
        for callback in &self.callbacks {
            match (callback, progress) {
                (Callback::Step(of, callback), _) if of.is_none_or(|of| of == to) => self.call(|| callback(update)),
                (Callback::Progress(callback), Some(progress)) => self.call(|| callback(progress)),
                _ => {}
            }
        }
    }

    fn tell_refused(&self, step: &str, error: &StepError) {
        for callback in &self.callbacks {
            if let Callback::Refused(callback) = callback {
                self.call(|| callback(step, error));
            }
        }
    }

    /// Calls somebody else's function: what it breaks is its own.
    fn call(&self, callback: impl Fn()) {
        let Err(panic) = catch_unwind(AssertUnwindSafe(callback)) else { return };
        self.shared.panics.fetch_add(1, Ordering::Relaxed);
        let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        for callback in &self.callbacks {
            if let Callback::Error(callback) = callback {
                // Who fails to hear of panics would fail to hear of this one.
                let _ = catch_unwind(AssertUnwindSafe(|| callback(said.unwrap_or("it says nothing"))));
            }
        }
    }

    /// Does a step: it begins now, and ends as the future does, whose result this is. A step that ended is begun anew. A future that is
    /// dropped or panics failed. Nothing that is refused keeps the future from running: who runs a step that somebody else has begun
    /// leaves its end to them.
    pub async fn run<T, E: fmt::Display>(
        &self,
        step: &str,
        description: impl Into<Description>,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let begun = self.begin(step, description.into());
        self.count(&begun);
        let mut end = End { tracker: self, step, known: begun.is_err() };
        let result = work.await;
        if !std::mem::replace(&mut end.known, true) {
            let told = match &result {
                Ok(_) => self.completed(step),
                Err(error) => self.failed(step, error),
            };
            self.count(&told);
        }
        result
    }

    /// Runs a question to something; the step is `query-1`, `query-2`, …
    pub async fn query<T, E: fmt::Display>(
        &self,
        query: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.run(&self.numbered("query"), Description::query(query), work).await
    }

    /// Runs a call of a language model; the step is `model_call-1`, …
    pub async fn model_call<T, E: fmt::Display>(
        &self,
        model: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.run(&self.numbered("model_call"), Description::model_call(model), work).await
    }

    /// Runs a tool; the step is `tool-1`, …
    pub async fn tool<T, E: fmt::Display>(&self, tool: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        self.run(&self.numbered("tool"), Description::tool(tool), work).await
    }

    /// Runs a search on the web; the step is `web_search-1`, …
    pub async fn web_search<T, E: fmt::Display>(
        &self,
        words: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.run(&self.numbered("web_search"), Description::web_search(words), work).await
    }

    /// Runs a call of an API; the step is `api_call-1`, …
    pub async fn api_call<T, E: fmt::Display>(
        &self,
        call: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.run(&self.numbered("api_call"), Description::api_call(call), work).await
    }

    /// Runs a look-up in a database; the step is `database_lookup-1`, …
    pub async fn database_lookup<T, E: fmt::Display>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.run(&self.numbered("database_lookup"), Description::database_lookup(what), work).await
    }

    fn numbered(&self, kind: &'static str) -> String {
        let mut numbers = self.shared.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let number = numbers.entry(kind).or_default();
        *number += 1;
        format!("{kind}-{number}")
    }

    /// What came of the steps; each counts once, however often it was updated.
    pub fn summary(&self) -> Summary {
        self.operation().summary()
    }

    /// Where a step is; `None` for one that nobody named, or that is only counted.
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

    /// How often [`run`](Self::run) could not begin or end its step, because somebody else had.
    pub fn disputed(&self) -> u64 {
        self.shared.disputed.load(Ordering::Relaxed)
    }

    fn count(&self, told: &Result<(), StepError>) {
        if told.is_err() {
            self.shared.disputed.fetch_add(1, Ordering::Relaxed);
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
