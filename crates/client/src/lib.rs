//! The Rust client: publish statuses and telemetry, ask how things stand, follow what happens, track steps.
//!
//! Knows Lockstep by its HTTP and WebSocket faces only, at one address: the gateway's.
//!
//! # Follow what happens
//!
//! ```no_run
//! # async fn example() -> Result<(), client::Error> {
//! use client::{Client, Filter, Message, On};
//!
//! let lockstep = Client::new("http://127.0.0.1:8080")?.with_key("key");
//! let mut watch = lockstep.watch().item("ENG-1").agents().filter(Filter::on([On::ErrorState])).open().await?;
//! loop {
//!     match watch.next().await? {
//!         Message::Snapshot(snapshot) => println!("{}: {} items", snapshot.room, snapshot.items.len()),
//!         Message::StatusChanged(change) => println!("{}: {} → {}", change.key, change.from, change.to),
//!         Message::AgentState(state) => println!("{} is {}", state.agent, state.status),
//!         other => println!("{other:?}"),
//!     }
//! }
//! # }
//! ```
//!
//! A broken connection is made again, with a growing wait, and goes on from the last message: each event is told once, in order.
//! When the server cannot tell any more what was missed, it says so ([`Message::Reset`]) and how things stand follows.
//!
//! # Tell and be told what came of it
//!
//! ```no_run
//! # async fn example(lockstep: client::Client) -> Result<(), client::Error> {
//! use std::time::Duration;
//!
//! let update = lockstep.update_status(&[client::Status::new("acme/job/42", "done")]).await?;
//! let propagated = update.propagated(Duration::from_secs(30)).await;
//! for record in propagated.statuses.iter().flat_map(|status| &status.records) {
//!     println!("{}: {} {}", record.record, record.outcome, record.reason);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Steps of a long operation
//!
//! ```no_run
//! # async fn fetch() -> Result<Vec<u8>, std::io::Error> { Ok(Vec::new()) }
//! # async fn example(lockstep: client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use client::steps::{Description, StepTracker};
//!
//! let steps = StepTracker::new("import").publishing(&lockstep.publisher());
//! steps.plan(["fetch", "store"]);
//! let body = steps.run("fetch", Description::api_call("GET /v1/things"), fetch()).await?;
//! steps.executing("store", "Storing what came")?;
//! steps.completed("store")?;
//! println!("{} bytes, {:?}", body.len(), steps.summary());
//! # Ok(())
//! # }
//! ```

mod backoff;
mod credential;
mod error;
mod filter;
mod item;
mod message;
mod monitoring;
mod newest;
mod outbox;
mod propagation;
mod publisher;
mod status;
pub mod steps;
mod telemetry;
mod updates;
mod watch;
mod workflows;

pub use backoff::Backoff;
pub use error::{Error, Wrong};
pub use filter::{Filter, On};
pub use item::{Item, Items, Query, Record};
pub use message::{
    Actor, AgentState, Change, Delivery, HealthChanged, MemoryTimeline, Message, OperationStep, PerformanceMetric,
    PerformanceMetrics, Reset, Resources, Snapshot, SystemAlert, Told, WorkflowExecution,
};
pub use monitoring::{Held, MonitoringClient};
pub use propagation::{NotStored, Outcome, Propagated, Propagation, RecordOutcome, StatusOutcome, Stored};
pub use publisher::Publisher;
pub use status::{Accepted, Status};
pub use telemetry::Telemetry;
pub use watch::{ConnectionState, Handle, Watch, WatchBuilder};
pub use workflows::WorkflowClient;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use credential::Credential;
use reqwest::{RequestBuilder, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use updates::Updates;

/// How long a call may take, from the first byte to the last.
const CALL: Duration = Duration::from_secs(15);
/// How many statuses may wait to be stored, unless told otherwise.
const QUEUE_MAX: usize = 1_000;

/// Lockstep at one address.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    credential: Credential,
    queue_max: usize,
    /// The queue of statuses, once there was one to send.
    updates: Arc<Mutex<Option<Updates>>>,
}

impl Client {
    /// Lockstep at this address: the gateway's, `http://127.0.0.1:8080`. Nothing is sent yet.
    pub fn new(url: &str) -> Result<Self, Error> {
        // Refused when the program has chosen a provider already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let parsed = Url::parse(url.trim_end_matches('/')).map_err(|error| Error::address(url, error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(Error::address(url, "it must start with http:// or https://"));
        }
        let http = reqwest::Client::builder().timeout(CALL).build().map_err(Error::from)?;
        Ok(Self { http, url: parsed, credential: Credential::None, queue_max: QUEUE_MAX, updates: Arc::default() })
    }

    /// Shows this key, or a token that nobody renews, with every call.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.credential = Credential::Fixed(key.into().into());
        self.updates = Arc::default();
        self
    }

    /// How many statuses may wait to be stored; 1,000 otherwise.
    #[must_use]
    pub fn with_queue_max(mut self, statuses: usize) -> Self {
        self.queue_max = statuses;
        self.updates = Arc::default();
        self
    }

    /// Shows tokens: the source is asked for the first one when it is needed, and for another when that expires or is refused.
    /// It may take 10 s.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), client::Error> {
    /// let lockstep = client::Client::new("https://lockstep.example.com")?
    ///     .with_token_source(|| async { std::fs::read_to_string("token").map(|token| token.trim().to_owned()) });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_token_source<F, E>(mut self, source: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, E>> + Send + 'static,
        E: fmt::Display,
    {
        self.credential = Credential::source(source);
        self.updates = Arc::default();
        self
    }

    /// Publishes statuses. Answered when they are stored; some may have been refused, and when all were, it fails. Without a
    /// connection they wait, in the order of the calls, 1,000 of them ([`with_queue_max`](Self::with_queue_max)): in a full queue a
    /// newer status takes the place of older ones of its record that were not sent ([`Error::Replaced`]), and when that makes no room
    /// the call fails with [`Error::QueueFull`].
    ///
    /// Each has an id, so one whose answer was lost is sent again and counts once; no more when it was first sent 100 s ago, or when it
    /// is refused then: it fails with [`Error::AnswerLost`], and may be stored. Whoever stops waiting does not take back what was said.
    /// Needs a Tokio runtime; all clones have one queue, which ends with the last of them, or with the runtime of the call that began it:
    /// whoever waits then hears so ([`Error::Unavailable`] where nothing was sent), and the next call begins another.
    pub async fn update_status(&self, statuses: &[Status]) -> Result<Propagation, Error> {
        if statuses.is_empty() {
            return Propagation::of(self.clone(), Vec::new(), Vec::new());
        }
        let (accepted, refused) = self.updates()?.send(statuses).await?;
        Propagation::of(self.clone(), accepted, refused)
    }

    fn updates(&self) -> Result<Updates, Error> {
        let url = self.at(&["v1", "ws"])?;
        let mut known = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
        let started = known.take().filter(|updates| !updates.is_over());
        let updates = started.unwrap_or_else(|| Updates::start(url, self.credential.clone(), self.queue_max));
        Ok(known.insert(updates).clone())
    }

    /// One page of the items that the query asks for.
    pub async fn items(&self, query: &Query) -> Result<Items, Error> {
        self.call(self.http.get(self.at(&["v1", "items"])?).query(query)).await
    }

    /// The answer to `GET` of a path as it is: for whoever passes it on.
    pub async fn json(&self, path: &[&str], query: &impl Serialize) -> Result<serde_json::Value, Error> {
        self.call(self.http.get(self.at(path)?).query(query)).await
    }

    /// The answer to `POST` of a body to a path as it is.
    pub async fn post(&self, path: &[&str], body: &serde_json::Value) -> Result<serde_json::Value, Error> {
        self.call(self.http.post(self.at(path)?).json(body)).await
    }

    /// One item, by its id or its key.
    pub async fn item(&self, name: &str) -> Result<Item, Error> {
        self.call(self.http.get(self.at(&["v1", "items", name])?)).await
    }

    /// Publishes telemetry; up to 500 messages at once. Answered once it is stored; a [`publisher`](Self::publisher) waits for nothing.
    pub async fn publish(&self, messages: &[Telemetry]) -> Result<(), Error> {
        self.publish_once(messages, &format!("{:032x}", rand::random::<u128>())).await
    }

    /// The same under a key: said again with it, nothing is stored twice.
    pub(crate) async fn publish_once(&self, messages: &[Telemetry], key: &str) -> Result<(), Error> {
        let body = serde_json::json!({ "messages": messages });
        let request = self.http.post(self.at(&["v1", "telemetry"])?).header("idempotency-key", key).json(&body);
        let _: serde_json::Value = self.call(request).await?;
        Ok(())
    }

    /// A queue of telemetry that is published in batches; see [`steps::StepTracker::publishing`].
    pub fn publisher(&self) -> Publisher {
        Publisher::new(self.clone())
    }

    /// Follows rooms: name them, then open it.
    pub fn watch(&self) -> WatchBuilder {
        WatchBuilder::new(self.at(&["v1", "ws"]), self.credential.clone())
    }

    /// Follows what operators look at, and knows how alerts, health and held items stand.
    pub async fn monitoring_client(&self) -> Result<MonitoringClient, Error> {
        MonitoringClient::open(self.watch()).await
    }

    /// Follows one workflow, or all, and knows the last state of each execution.
    pub async fn workflow_client(&self, workflow: Option<&str>) -> Result<WorkflowClient, Error> {
        WorkflowClient::open(self.watch(), workflow).await
    }

    /// The address of a path, its parts escaped as they need.
    fn at(&self, path: &[&str]) -> Result<Url, Error> {
        let mut url = self.url.clone();
        match url.path_segments_mut() {
            Ok(mut parts) => drop(parts.pop_if_empty().extend(path)),
            Err(()) => return Err(Error::address(self.url.as_str(), "it cannot have a path")),
        }
        Ok(url)
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        let again = request.try_clone().filter(|_| self.credential.is_renewable());
        match (answer(request, self.credential.shown().await?).await, again) {
            (Err(error), Some(again)) if error.wants_token() => answer(again, self.credential.renewed().await?).await,
            (answer, _) => answer,
        }
    }
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder, shown: Option<String>) -> Result<T, Error> {
    let request = match shown {
        Some(shown) => request.header(http::header::AUTHORIZATION, credential::header(&shown)?),
        None => request,
    };
    let response = request.send().await?;
    let status = response.status();
    let body = response.bytes().await?;
    if !status.is_success() {
        return Err(Error::refused(status.as_u16(), &body));
    }
    serde_json::from_slice(&body).map_err(|error| Error::Unexpected { why: error.to_string() })
}

/// The example of the README, which is compiled with those of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests;
