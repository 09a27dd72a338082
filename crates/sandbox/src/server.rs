//! Runs a sandbox's router on a port of its own, and stops it.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use axum::Router;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// How long open connections may take to finish once the server is stopping.
const DRAIN: Duration = Duration::from_secs(1);

/// A router being served.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    stopping: CancellationToken,
    task: JoinHandle<()>,
}

/// Binds `listen` (port 0 takes a free one) and serves `router` there until it is stopped or dropped.
pub async fn serve(listen: SocketAddr, router: Router) -> anyhow::Result<Server> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let addr = listener.local_addr()?;
    let stopping = CancellationToken::new();
    let until = stopping.clone();
    let task = tokio::spawn(async move {
        let stop = until.clone();
        let serving = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
        // A client that holds a stream open must not keep the server from ending.
        let deadline = async {
            until.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            ended = async { serving.await } => if let Err(error) = ended {
                tracing::error!(%error, "a sandbox's server ended");
            },
            () = deadline => {}
        }
    });
    Ok(Server { addr, stopping, task })
}

impl Server {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it listens, as a URL without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Takes no more connections, lets the open ones finish for a moment, and frees the port.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        // The task does not panic, and there is nothing to do if it was cancelled.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}
