//! The service from outside, over real sockets, with the database and the bus played by the test.

mod face;
mod limits;
mod listening;
mod through_the_bus;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use proto::v1;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use uuid::Uuid;

use super::*;
use crate::event::Event;
use crate::room::Room;
use crate::snapshot::Snapshot;

/// A database of items: id, key, version, records.
#[derive(Clone, Default)]
struct Items(Arc<Mutex<BTreeMap<u128, Row>>>);

type Row = (String, u64, String);

impl Snapshots for Items {
    fn read<'a>(&'a self, room: &'a Room, max: usize) -> BoxFuture<'a, Result<Snapshot, String>> {
        Box::pin(async move {
            let items = self.0.lock().unwrap().clone();
            let wanted = |id: u128, key: &str, record: &str| match room {
                Room::All => true,
                Room::Item(name) => **name == *key || **name == Uuid::from_u128(id).to_string(),
                Room::Record(name) => **name == *record,
            };
            let found: Vec<_> = items.into_iter().filter(|(id, (key, _, record))| wanted(*id, key, record)).collect();
            let truncated = found.len() > max;
            let found = &found[..found.len().min(max)];
            let shown = |(id, (key, version, _)): &(u128, Row)| json!({"id": Uuid::from_u128(*id), "key": key, "version": version});
            Ok(Snapshot {
                items: found.iter().map(shown).collect(),
                versions: found.iter().map(|(id, (_, version, _))| (Uuid::from_u128(*id), *version)).collect(),
                truncated,
            })
        })
    }
}

/// A broadcaster that listens, and the hands to play the bus and the database.
struct World {
    url: String,
    hub: Arc<Hub>,
    items: Items,
    process: Process,
}

impl World {
    async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let process = Process::new("broadcaster", None);
        let (hub, items) = (Arc::new(Hub::default()), Items::default());
        let broadcaster = Broadcaster::new(config, process.clone(), Arc::clone(&hub), Box::new(items.clone()));
        let address = process.serve(([127, 0, 0, 1], 0).into(), router(broadcaster)).await.unwrap();
        Self { url: address.to_string(), hub, items, process }
    }

    /// The item is committed at this version, with the key `K<id>` and the record `x/y/<id>`.
    fn commit(&self, id: u128, version: u64) {
        self.items.0.lock().unwrap().insert(id, (format!("K{id}"), version, format!("x/y/{id}")));
    }

    /// Its change comes from the bus.
    fn announce(&self, id: u128, version: u64) {
        self.hub.hand_out(vec![event(id, version)], Some(version));
    }

    async fn socket(&self) -> Client {
        let (socket, _) = connect_async(format!("ws://{}/v1/ws", self.url)).await.unwrap();
        Client(socket)
    }
}

fn event(id: u128, version: u64) -> Event {
    let change = v1::Change {
        kind: "status_changed".into(),
        item: Uuid::from_u128(id).to_string(),
        key: format!("K{id}"),
        version,
        record: format!("x/y/{id}"),
        ..v1::Change::default()
    };
    Event::change(change, version, None).unwrap()
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn say(&mut self, frame: &str) {
        self.0.send(Message::text(frame)).await.unwrap();
    }

    async fn subscribe(&mut self, rooms: &[&str]) {
        self.say(&json!({"type": "subscribe", "rooms": rooms}).to_string()).await;
    }

    async fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.raw().await;
        }
    }

    async fn raw(&mut self) -> Message {
        timeout(Duration::from_secs(10), self.0.next()).await.unwrap().unwrap().unwrap()
    }

    async fn hear(&mut self) -> Value {
        match self.raw().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The close that ends the connection, whatever comes before it.
    async fn close(&mut self) -> (u16, String) {
        loop {
            match timeout(Duration::from_secs(10), self.0.next()).await.unwrap() {
                Some(Ok(Message::Close(Some(frame)))) => return (frame.code.into(), frame.reason.to_string()),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
