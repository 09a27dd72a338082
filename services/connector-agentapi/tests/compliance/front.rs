//! An agent's server whose event stream never says anything: only its status tells what the agent does.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream::pending;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A server that answers until the test ends.
pub struct Silent {
    pub url: String,
    /// The status that it says, or `None` for a server that fails.
    status: Arc<Mutex<Option<&'static str>>>,
    /// Hears each time that the event stream is opened.
    opened: mpsc::UnboundedReceiver<()>,
}

impl Silent {
    pub async fn start(status: &'static str) -> Self {
        let status = Arc::new(Mutex::new(Some(status)));
        let (opens, opened) = mpsc::unbounded_channel();
        let events = move || async move {
            opens.send(()).unwrap();
            Sse::new(pending::<Result<Event, Infallible>>())
        };
        let router =
            Router::new().route("/events", get(events)).route("/status", get(answer)).with_state(Arc::clone(&status));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, status, opened }
    }

    /// Says this status from now on, or fails.
    pub fn turns(&self, status: Option<&'static str>) {
        *self.status.lock().unwrap() = status;
    }

    /// Waits until the event stream is opened once more.
    pub async fn is_opened(&mut self) {
        self.opened.recv().await.unwrap();
    }
}

async fn answer(State(status): State<Arc<Mutex<Option<&'static str>>>>) -> Response {
    let status = *status.lock().unwrap();
    match status {
        Some(status) => Json(json!({"status": status})).into_response(),
        None => StatusCode::BAD_GATEWAY.into_response(),
    }
}
