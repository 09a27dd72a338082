mod connection;
mod exactly_once;
pub(crate) mod peer;
mod speaking;

use std::time::Duration;

use serde_json::{Value, json};

use crate::{Backoff, Client, Message, Watch, WatchBuilder};

const DEADLINE: Duration = Duration::from_secs(20);

/// Short enough for a test, and still with every step of the way.
fn quick() -> Backoff {
    Backoff { first: Duration::from_millis(2), max: Duration::from_millis(8), attempts: None }
}

fn watching(url: &str, rooms: &[&str]) -> WatchBuilder {
    Client::new(url).unwrap().watch().rooms(rooms.iter().copied()).backoff(quick())
}

fn changed(version: u64, position: &str) -> Value {
    json!({"type": "status_changed", "position": position, "id": format!("i:{version}"), "item": "i", "version": version})
}

fn snapshot(room: &str, position: &str) -> Value {
    json!({"type": "snapshot", "room": room, "position": position, "items": [], "messages": [], "more": false,
        "truncated": false})
}

async fn next(watch: &mut Watch) -> Message {
    let message = tokio::time::timeout(DEADLINE, watch.next()).await;
    message.expect("nothing was told").unwrap()
}

/// What was told, in short.
fn short(message: &Message) -> String {
    match message {
        Message::Snapshot(snapshot) => format!("snapshot {}", snapshot.position),
        Message::Reset(reset) => format!("reset {}", reset.reason),
        Message::StatusChanged(change) => format!("version {}", change.version),
        other => format!("{other:?}"),
    }
}

async fn told(watch: &mut Watch, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < count {
        all.push(short(&next(watch).await));
    }
    all
}
