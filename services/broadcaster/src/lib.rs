//! Tells everyone who watches, as it happens: WebSocket and SSE. The protocol is `docs/realtime.md`.
//!
//! Knows rooms and clients; what a change means it does not ask.

mod asked;
mod auth;
mod config;
mod counts;
mod event;
mod face;
mod filter;
mod frame;
mod handshake;
mod history;
mod hub;
mod message;
mod position;
mod requests;
mod room;
mod snapshot;
mod source;
mod sse;
mod standing;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod wire;
mod ws;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use bus::Bus;
use model::Policy;
use runtime::{Problem, Process};
use store::Store;
use tokio_util::sync::CancellationToken;

pub use auth::{Config as AuthConfig, JwtConfig, KeyConfig};
pub use config::Config;

use auth::Access;
use counts::Counts;
use history::History;
use hub::{Admission, Close, Hub};
use snapshot::{Desk, Snapshots};
use standing::FromStore;

/// What all parts share.
pub(crate) struct Shared {
    config: Config,
    process: Process,
    bus: Bus,
    policy: Arc<Policy>,
    access: Access,
    history: History,
    hub: Hub,
    admission: Arc<Admission>,
    snapshots: Desk,
    counts: Counts,
    /// Cancelled when the last client is gone at the end.
    drained: CancellationToken,
}

/// What the handlers are given.
pub(crate) type Broadcaster = Arc<Shared>;

/// Starts the service; returns when it listens. It goes on until the process's shutdown, and then until its clients are gone.
pub async fn run(config: Config, process: Process, bus: Bus, store: Store, policy: Arc<Policy>) -> anyhow::Result<()> {
    let snapshots = Box::new(FromStore::new(store, Arc::clone(&policy)));
    start(config, process, bus, policy, snapshots).await.map(drop)
}

async fn start(
    config: Config,
    process: Process,
    bus: Bus,
    policy: Arc<Policy>,
    snapshots: Box<dyn Snapshots>,
) -> anyhow::Result<SocketAddr> {
    let process = process.of("broadcaster");
    config.check()?;
    config.auth.check(std::iter::once(config.listen).chain(process.gateway()))?;
    let listen = config.listen;
    let (hub, orders) = Hub::new(config.threads, config.history_max as u64 / 2);
    let shared = Arc::new(Shared {
        access: Access::new(&config.auth, &process, &bus).await?,
        history: History::new(config.bounds()),
        admission: Admission::new(config.clients_max, config.clients_max_of_key),
        snapshots: Desk::new(snapshots, config.snapshot_max, config.snapshot_page, config.snapshot_wait()),
        counts: Counts::new(process.metrics())?,
        drained: CancellationToken::new(),
        config,
        process: process.clone(),
        bus,
        policy,
        hub,
    });
    let loading = source::start(&shared).await?;
    // What is loaded is told no faster than its threads read.
    Hub::start(&shared, orders)?;
    loading.done(&shared).await;
    process.spawn("drain", drain(Arc::clone(&shared)));
    if shared.access.anonymous().is_some() {
        runtime::access::tell_names(&process, listen);
    }
    process.serve(listen, router(shared))
}

/// A client is let go every so often at the least, when fewer are here than the time allows.
const GOES_MS: u64 = 2;

/// At the shutdown clients are let go one after another, so that they do not all come to another broadcaster at once.
async fn drain(shared: Broadcaster) -> anyhow::Result<()> {
    shared.process.shutdown().cancelled().await;
    let clients = shared.admission.clients() as u64;
    let within = shared.config.drain_ms.min(clients.saturating_mul(GOES_MS));
    if clients > 0 {
        tracing::info!(clients, within_ms = within, "clients are let go");
    }
    shared.hub.drain(within);
    Ok(())
}

/// The answer to whoever cannot be taken in.
pub(crate) fn full(close: Close) -> Problem {
    Problem::unavailable(close.word, close.sentence).retry_after(std::time::Duration::from_secs(5))
}

fn router(broadcaster: Broadcaster) -> Router {
    Router::new()
        .route("/v1/ws", get(ws::connect))
        .route("/v1/sse", get(sse::connect))
        .route("/v1/tickets", post(face::ticket))
        .route("/api/v1/websocket/status", get(face::status))
        .route("/api/v1/websocket/broadcast/test", post(face::test))
        .route("/api/v1/health", get(face::health))
        .with_state(broadcaster)
}

#[cfg(test)]
mod tests;
