//! Takes webhooks, statuses and telemetry over HTTP and answers only after JetStream stored them.
//!
//! Knows who may speak and whether the form is right; what a status means is decided by the resolver.

mod agent_events;
mod asked;
mod body;
mod config;
mod recent;
mod signature;
mod status;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
mod webhooks;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use bus::{Bus, PublishError, Stream};
use model::Policy;
use runtime::{Problem, Process};
use tokio::sync::Semaphore;

pub use config::{Config, GithubConfig, LinearConfig};

use recent::Recent;
use runtime::access::Keys;
use webhooks::{github, linear};

/// What the handlers share.
#[derive(Clone)]
struct Ingest(Arc<Shared>);

struct Shared {
    config: Config,
    process: Process,
    bus: Bus,
    /// What is configured, to refuse at once what the resolver would have to give up.
    policy: Arc<Policy>,
    keys: Keys,
    recent: Mutex<Recent>,
    /// How many webhooks of each system were refused for their signature since a genuine one came.
    forged: Mutex<BTreeMap<&'static str, webhooks::Forged>>,
    /// One permit for each request, of those with a key, whose body may be in memory.
    places: Semaphore,
    /// One permit for each kilobyte of webhooks in memory. Who sends them is known only when they are here whole: slow ones take
    /// what they have sent, and nothing from those with a key.
    room: Semaphore,
}

/// When a sender that was refused for the moment should come back.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Starts the service; returns when it listens. It goes on until the process's shutdown.
pub fn run(config: Config, process: &Process, bus: Bus, policy: Arc<Policy>) -> anyhow::Result<()> {
    let process = process.of("ingest");
    config.check(process.gateway())?;
    let listen = config.listen;
    let ingest = Ingest(Arc::new(Shared {
        keys: Keys::new(&config.api_keys, process.http()),
        recent: Mutex::new(Recent::new(config.recent_max)),
        forged: Mutex::default(),
        places: Semaphore::new(config.in_flight_max),
        room: Semaphore::new(config.webhooks_max_bytes / body::KIB),
        config,
        process: process.clone(),
        bus,
        policy,
    }));
    if ingest.0.config.api_keys.is_empty() {
        runtime::access::tell_names(&process, listen);
    }
    process.serve(listen, router(ingest))?;
    Ok(())
}

impl Ingest {
    fn recent(&self) -> MutexGuard<'_, Recent> {
        // A panic elsewhere leaves marks that are still good.
        self.0.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a stream stored, when JetStream says so in time; else the answer that asks the sender to come again. Whether it stores is told
    /// with the signs of life: a stream whose disk was full takes nothing more though the server is well.
    async fn within<T>(
        &self,
        stream: Stream,
        wait: Duration,
        publishing: impl Future<Output = Result<T, PublishError>>,
    ) -> Result<T, Problem> {
        let name = stream.as_system();
        let why = match tokio::time::timeout(wait, publishing).await {
            Ok(Ok(stored)) => {
                self.0.process.succeeded(&name);
                return Ok(stored);
            }
            Ok(Err(error @ PublishError::TooLarge { .. })) => {
                tracing::error!(%error, "a message was refused for its size; raise max_payload of the NATS server");
                let detail = "the bus takes no message of this size; its max_payload must be raised";
                return Err(Problem::too_large("over_max_payload", detail));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no acknowledgement within {} ms", wait.as_millis()),
        };
        tracing::warn!(why, "JetStream did not store a message; the sender was told to come again");
        self.0.process.works_with(&name);
        self.0.process.failed(&name, why);
        Err(Problem::unavailable("not_stored", "JetStream did not store it; send it again").retry_after(RETRY_AFTER))
    }
}

fn router(ingest: Ingest) -> Router {
    Router::new()
        .route("/webhooks/linear", post(linear::receive))
        .route("/webhooks/github", post(github::receive))
        .route("/v1/status", post(status::receive))
        .route("/v1/agent-events", post(agent_events::receive))
        .route("/v1/telemetry", post(telemetry::receive))
        // Each face has a limit of its own, which `Ingest::body` keeps.
        .layer(DefaultBodyLimit::disable())
        .with_state(ingest)
}
