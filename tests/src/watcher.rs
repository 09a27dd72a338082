//! A WebSocket client of the broadcaster that keeps all it hears, each with the moment it heard it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

type Heard = Arc<Mutex<Vec<(Instant, Value)>>>;

/// A client in the room `all`.
pub struct Watcher {
    heard: Heard,
    reading: JoinHandle<()>,
}

impl Watcher {
    /// Connects and joins; when this returns, no later change is missed.
    pub async fn join(gateway: &str) -> anyhow::Result<Self> {
        let url = format!("{}/v1/ws", gateway.replacen("http", "ws", 1));
        let (mut socket, _) = connect_async(url).await.context("the WebSocket cannot be opened")?;
        let subscribe = json!({"type": "subscribe", "rooms": ["all"]}).to_string();
        socket.send(Message::text(subscribe)).await?;
        loop {
            let next = timeout(Duration::from_secs(10), socket.next()).await.context("no answer to subscribe")?;
            match next.context("the WebSocket was closed")?? {
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text)?;
                    match message["type"].as_str() {
                        Some("subscribed") => break,
                        Some("error") => bail!("subscribe was refused: {message}"),
                        _ => {}
                    }
                }
                Message::Close(frame) => bail!("the WebSocket was closed: {frame:?}"),
                _ => {}
            }
        }
        let heard = Heard::default();
        let keeps = Arc::clone(&heard);
        let reading = tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Text(text) = message
                    && let Ok(message) = serde_json::from_str(&text)
                {
                    lock(&keeps).push((Instant::now(), message));
                }
            }
        });
        Ok(Self { heard, reading })
    }

    /// The status changes of the item with this key so far: when each was heard, and where it went.
    pub fn changes(&self, key: &str) -> Vec<(Instant, String)> {
        let moved = |message: &Value| {
            (message["type"] == "status_changed" && message["key"] == key)
                .then(|| message["to"].as_str().map(str::to_owned))?
        };
        lock(&self.heard).iter().filter_map(|(at, message)| Some((*at, moved(message)?))).collect()
    }

    /// The versions that the item with this key was heard to take, in the order of hearing.
    pub fn versions(&self, key: &str) -> Vec<u64> {
        let is_change = |message: &&(Instant, Value)| message.1["type"] == "status_changed" && message.1["key"] == key;
        let version = |message: &Value| {
            let version = &message["version"];
            version.as_u64().or_else(|| version.as_str()?.parse().ok())
        };
        lock(&self.heard).iter().filter(is_change).filter_map(|(_, message)| version(message)).collect()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

fn lock(heard: &Heard) -> MutexGuard<'_, Vec<(Instant, Value)>> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}
