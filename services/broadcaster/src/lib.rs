//! Tells everyone who watches, as it happens: WebSocket and SSE.
//!
//! Knows rooms and clients; what a change means it does not ask.

mod config;
mod event;
mod frame;
mod hub;
mod inbox;
mod room;
mod session;
mod snapshot;
mod source;
mod sse;
mod standing;
mod ws;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bus::Bus;
use model::Policy;
use runtime::Process;
use serde::Deserialize;
use store::Store;
use tokio_util::task::TaskTracker;

pub use config::Config;

use hub::{Hub, Place};
use inbox::Inbox;
use snapshot::Snapshots;
use standing::Standing;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Broadcaster(Arc<Shared>);

pub(crate) struct Shared {
    config: Config,
    process: Process,
    hub: Arc<Hub>,
    snapshots: Box<dyn Snapshots>,
    /// The WebSocket clients: an upgraded connection is no longer the listener's.
    clients: TaskTracker,
}

/// How long the clients may take to hear that we go down.
const FAREWELL: Duration = Duration::from_secs(3);

/// Starts the service; returns when it listens. It goes on until the process's shutdown.
pub async fn run(config: Config, process: Process, bus: Bus, store: Store, policy: Arc<Policy>) -> anyhow::Result<()> {
    let process = process.of("broadcaster");
    config.check()?;
    let listen = config.listen;
    let hub = Arc::new(Hub::default());
    source::start(&process, &bus, &hub).await?;
    let broadcaster = Broadcaster::new(config, process.clone(), hub, Box::new(Standing::new(store, policy)));
    process.serve(listen, router(broadcaster)).await?;
    Ok(())
}

impl Broadcaster {
    fn new(config: Config, process: Process, hub: Arc<Hub>, snapshots: Box<dyn Snapshots>) -> Self {
        let clients = TaskTracker::new();
        let (leaving, shutdown) = (clients.clone(), process.shutdown().clone());
        process.spawn("clients", async move {
            shutdown.cancelled().await;
            leaving.close();
            // Whoever does not listen is left.
            let _ = tokio::time::timeout(FAREWELL, leaving.wait()).await;
            Ok(())
        });
        Self(Arc::new(Shared { config, process, hub, snapshots, clients }))
    }

    /// A place for one more client, unless there are as many as are served.
    fn admit(&self) -> Option<Place> {
        let config = &self.0.config;
        self.0.hub.admit(Inbox::new(config.waiting_max, config.waiting_max_bytes), config.clients_max)
    }
}

/// The rooms named in an address: `?room=all&room=item:ENG-1`.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Rooms(Vec<(String, String)>);

impl Rooms {
    fn names(self) -> Vec<String> {
        self.0.into_iter().filter(|(name, _)| name == "room").map(|(_, room)| room).collect()
    }
}

fn router(broadcaster: Broadcaster) -> Router {
    Router::new().route("/v1/ws", get(ws::connect)).route("/v1/sse", get(sse::connect)).with_state(broadcaster)
}

#[cfg(test)]
mod tests;
