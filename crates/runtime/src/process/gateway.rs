//! One address for the routers of all services in the process.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use axum::Router;

use super::tasks::caught;
use super::{Process, listener};

#[derive(Debug)]
pub(super) struct Gateway {
    listen: Option<SocketAddr>,
    router: Mutex<Router>,
}

impl Gateway {
    pub(super) fn new(listen: Option<SocketAddr>) -> Self {
        Self { listen, router: Mutex::default() }
    }

    pub(super) fn listen(&self) -> Option<SocketAddr> {
        self.listen
    }

    /// Whether this address is the gateway's own. Port 0 takes another port each time, so it never is.
    pub(super) fn is_at(&self, listen: SocketAddr) -> bool {
        listen.port() != 0 && self.listen == Some(listen)
    }

    pub(super) fn add(&self, service: &str, router: Router) -> anyhow::Result<()> {
        if self.listen.is_none() {
            return Ok(());
        }
        let mut all = self.router.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.clone();
        *all = caught(|| before.merge(router)).with_context(|| format!("{service} cannot share the gateway"))?;
        Ok(())
    }
}

impl Process {
    /// Binds the gateway and serves there what every service has served so far. Does nothing where there is no gateway.
    pub fn start_gateway(&self) -> anyhow::Result<()> {
        let Some(listen) = self.shared.gateway.listen else { return Ok(()) };
        let router = self.shared.gateway.router.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // The gateway speaks for the whole process.
        let whole = self.of(&self.shared.root);
        let bound = listener::bind(listen)?;
        let address = bound.local_addr().context("the gateway has no address")?;
        whole.state().addresses.insert("gateway".into(), address);
        let router = listener::with_admin(&whole, router)?;
        whole.spawn("gateway", listener::run(bound, router, self.shutdown().clone()));
        tracing::info!(%address, "the gateway listens");
        Ok(())
    }
}
