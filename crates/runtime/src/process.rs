//! What every service shares in one process: its clock, its shutdown, its metrics, its tasks and its listeners.

mod gateway;
mod host;
mod layers;
mod listener;
mod refusals;
mod tasks;

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::{HttpConfig, Metrics};

/// For how long it is told that calls fail that have failed for longer than a moment: the next may be minutes away.
const FAILING_MS: i64 = 300_000;
/// For how long it is told that one failed, or some in one moment.
const FAILED_MS: i64 = 45_000;
const MOMENT_MS: i64 = 30_000;
/// Calls that fail further apart are no row of failures, though none succeeded between them. The sweeps of a quiet system are minutes apart.
const APART_MS: i64 = 900_000;

/// Calls that did not succeed, with none between them that did.
#[derive(Debug)]
struct Failing {
    /// Why the last one did not.
    why: String,
    first_ms: i64,
    last_ms: i64,
}

impl Failing {
    /// With one more, of calls that are known to have failed since `since_ms`.
    fn and(before: Option<Self>, why: String, since_ms: i64, now_ms: i64) -> Self {
        let before = before.filter(|before| now_ms - before.last_ms <= APART_MS);
        let first_ms = before.map_or(since_ms, |before| before.first_ms.min(since_ms));
        Self { why, first_ms, last_ms: now_ms }
    }

    fn is_told(&self, now_ms: i64) -> bool {
        if self.last_ms - self.first_ms >= MOMENT_MS {
            now_ms - self.last_ms <= FAILING_MS
        } else {
            now_ms - self.first_ms <= FAILED_MS
        }
    }
}

/// A process as one of its services sees it. A clone is the same process.
#[derive(Clone, Debug)]
pub struct Process {
    service: Arc<str>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The service that the process was made for; what it reports counts for all the others too.
    root: Arc<str>,
    instance: String,
    shutdown: CancellationToken,
    metrics: Metrics,
    tasks: tasks::Tasks,
    gateway: gateway::Gateway,
    http: OnceLock<HttpConfig>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By service, then by part.
    ready: BTreeMap<Arc<str>, BTreeMap<String, Result<(), String>>>,
    /// By system; 0 before the first time.
    succeeded: BTreeMap<String, i64>,
    /// By system.
    failing: BTreeMap<String, Failing>,
    /// By service: why it has nothing to do.
    idle: BTreeMap<Arc<str>, String>,
    addresses: BTreeMap<String, SocketAddr>,
    shared: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl Process {
    /// A process for `service`. With a gateway, every router that is served is served on that one address too.
    pub fn new(service: &str, gateway: Option<SocketAddr>) -> Self {
        let root: Arc<str> = Arc::from(service);
        Self {
            service: Arc::clone(&root),
            shared: Arc::new(Shared {
                root,
                instance: host::instance(),
                shutdown: CancellationToken::new(),
                metrics: Metrics::new(),
                tasks: tasks::Tasks::default(),
                gateway: gateway::Gateway::new(gateway),
                http: OnceLock::new(),
                state: Mutex::default(),
            }),
        }
    }

    /// The same process, as another service sees it.
    #[must_use]
    pub fn of(&self, service: &str) -> Self {
        Self { service: Arc::from(service), shared: Arc::clone(&self.shared) }
    }

    /// The same process, whose listeners treat browsers so. Says it once, before anything is served.
    #[must_use]
    pub fn with_http(self, http: HttpConfig) -> Self {
        if self.shared.http.set(http).is_err() {
            tracing::error!("how browsers are treated was said already; the first counts");
        }
        self
    }

    /// How browsers are treated.
    pub fn http(&self) -> &HttpConfig {
        self.shared.http.get_or_init(HttpConfig::default)
    }

    /// The service whose view this is: its name in logs, metrics and readiness.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// This process among all: `<host>-<pid>-<random>`, of letters, digits, `_` and `-`.
    pub fn instance(&self) -> &str {
        &self.shared.instance
    }

    /// Cancelled when the process should end: by a signal, or because a task failed.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.shared.shutdown
    }

    /// Cancels `shutdown` on the first SIGINT or SIGTERM, and ends the process at once on the second.
    pub fn watch_signals(&self) -> anyhow::Result<()> {
        host::watch_signals(self.shared.shutdown.clone()).context("cannot listen for signals")
    }

    /// Now, in milliseconds since 1970, UTC.
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds fit for 292 million years")]
    pub fn now_ms(&self) -> i64 {
        #[cfg(feature = "simulation")]
        if let Some(now) = crate::simulation::now_ms() {
            return now + self.shared.tasks.skew_ms();
        }
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_millis() as i64,
            Err(before) => -(before.duration().as_millis() as i64),
        }
    }

    /// What the process counts.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Says whether a part of this service can work, or what stands in its way.
    pub fn ready(&self, part: &str, state: Result<(), String>) {
        let mut all = self.state();
        let parts = all.ready.entry(Arc::clone(&self.service)).or_default();
        match (parts.get(part), &state) {
            (Some(Err(_)), Ok(())) => tracing::info!(service = self.service(), part, "ready again"),
            (Some(Ok(())), Err(reason)) => tracing::warn!(service = self.service(), part, reason, "not ready"),
            _ => {}
        }
        parts.insert(part.to_owned(), state);
    }

    /// The readiness by part: of this service, and of the process as a whole. The process's first service sees the parts of all,
    /// the others' as `<service>/<part>`.
    pub fn readiness(&self) -> BTreeMap<String, Result<(), String>> {
        let root = &self.shared.root;
        let mut seen = BTreeMap::new();
        for (service, parts) in &self.state().ready {
            for (part, state) in parts {
                if service == root || *service == self.service {
                    seen.insert(part.clone(), state.clone());
                } else if self.service == *root {
                    seen.insert(format!("{service}/{part}"), state.clone());
                }
            }
        }
        seen
    }

    /// Says that this service has nothing to do, and why. It is ready all the same.
    pub fn idle(&self, why: impl Into<String>) {
        let why = why.into();
        tracing::warn!(service = self.service(), why, "nothing to do");
        self.state().idle.insert(Arc::clone(&self.service), why);
    }

    /// Why this service has nothing to do, where it has not.
    pub fn is_idle(&self) -> Option<String> {
        self.state().idle.get(&self.service).cloned()
    }

    /// Says that this process works with a system, before any call to it succeeded.
    pub fn works_with(&self, system: &str) {
        self.state().succeeded.entry(system.to_owned()).or_default();
    }

    /// Says that a call to a system succeeded now.
    pub fn succeeded(&self, system: &str) {
        let now = self.now_ms();
        let mut state = self.state();
        // The name is only copied the first time: this is called for every call.
        match state.succeeded.get_mut(system) {
            Some(last) => *last = now,
            None => drop(state.succeeded.insert(system.to_owned(), now)),
        }
        state.failing.remove(system);
    }

    /// Says why a call to a system did not succeed: words for a person, without addresses or secrets. Who calls a system works with it.
    pub fn failed(&self, system: &str, why: impl Into<String>) {
        self.failed_since(system, why, self.now_ms());
    }

    /// The same of calls of which it is known that they have failed since then: what was no failure before may be one together with others.
    pub fn failed_since(&self, system: &str, why: impl Into<String>, since_ms: i64) {
        let now = self.now_ms();
        let mut state = self.state();
        state.succeeded.entry(system.to_owned()).or_default();
        let failing = Failing::and(state.failing.remove(system), why.into(), since_ms, now);
        state.failing.insert(system.to_owned(), failing);
    }

    /// When a call to each system last succeeded, in milliseconds since 1970; 0 where none has yet.
    pub fn last_success(&self) -> BTreeMap<String, i64> {
        self.state().succeeded.clone()
    }

    /// Why the last call to a system did not succeed, where it did not: of the last five minutes, or less where it was only a moment, for a
    /// system that nobody calls any more may be well.
    pub fn failing(&self) -> BTreeMap<String, String> {
        let now = self.now_ms();
        let state = self.state();
        let told = state.failing.iter().filter(|(_, failing)| failing.is_told(now));
        told.map(|(system, failing)| (system.clone(), failing.why.clone())).collect()
    }

    /// Where the gateway listens or will listen, where there is one: what is served is open to whoever reaches it.
    pub fn gateway(&self) -> Option<SocketAddr> {
        self.shared.gateway.listen()
    }

    /// The addresses bound so far, by service; the gateway's as `gateway`.
    pub fn addresses(&self) -> BTreeMap<String, SocketAddr> {
        self.state().addresses.clone()
    }

    /// The process's one value of this type, made when it is first asked for: what parts share that do not know each other.
    pub fn shared<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut state = self.state();
        let one = state.shared.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        // Under a type's id there is nothing but a value of that type.
        Arc::clone(one).downcast().unwrap_or_default()
    }

    /// Runs a task until it ends. When it fails or panics the shutdown begins: no process lives on by half.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.shared.tasks.spawn(name, Arc::clone(&self.service), self.shared.shutdown.clone(), task);
    }

    /// Whether a task failed, and the process ends because of that.
    pub fn has_failed(&self) -> bool {
        self.shared.tasks.have_failed()
    }

    /// Waits for the shutdown, and then for the tasks, at most as long as the deadline. The first task's failure, if any.
    pub async fn finished(&self, deadline: Duration) -> anyhow::Result<()> {
        self.shared.shutdown.cancelled().await;
        self.shared.tasks.finished(deadline).await
    }

    /// Ends every task at once, wherever it waits, as a killed process does. Nobody is told, and nothing is given back.
    #[cfg(feature = "simulation")]
    pub fn crash(&self) {
        self.shared.tasks.abort();
    }

    /// Lets the process's clock run so far ahead of the world's.
    #[cfg(feature = "simulation")]
    pub fn skew(&self, milliseconds: i64) {
        self.shared.tasks.skew(milliseconds);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves plain values that are still good.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
