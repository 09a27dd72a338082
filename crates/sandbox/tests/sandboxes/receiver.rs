//! A webhook receiver: keeps what it is sent, and answers as told.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use sandbox::server::{Server, serve};
use serde_json::Value;
use tokio::{sync::watch, time::timeout};

const DEADLINE: Duration = Duration::from_secs(10);

/// One webhook as it came in.
#[derive(Clone, Debug)]
pub struct Received {
    pub headers: HeaderMap,
    pub raw: Bytes,
    pub body: Value,
}

pub struct Receiver {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    received: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
    status: AtomicU16,
}

impl Receiver {
    pub async fn start() -> Self {
        let shared =
            Arc::new(Shared { received: Mutex::default(), count: watch::Sender::new(0), status: AtomicU16::new(200) });
        let router = Router::new().route("/hook", post(take)).with_state(Arc::clone(&shared));
        Self { server: serve(([127, 0, 0, 1], 0).into(), router).await.unwrap(), shared }
    }

    pub fn url(&self) -> String {
        format!("{}/hook", self.server.url())
    }

    /// Answers with `status` from now on.
    pub fn answer(&self, status: u16) {
        self.shared.status.store(status, Ordering::SeqCst);
    }

    /// Waits until `count` webhooks have come in.
    pub async fn first(&self, count: usize) -> Vec<Received> {
        let mut changed = self.shared.count.subscribe();
        let came = timeout(DEADLINE, changed.wait_for(|so_far| *so_far >= count)).await;
        let received = self.all();
        assert!(came.is_ok(), "{} webhooks came instead of {count}", received.len());
        received
    }

    pub fn all(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, raw: Bytes) -> StatusCode {
    let body = serde_json::from_slice(&raw).unwrap();
    shared.received.lock().unwrap().push(Received { headers, raw, body });
    shared.count.send_modify(|count| *count += 1);
    StatusCode::from_u16(shared.status.load(Ordering::SeqCst)).unwrap()
}
