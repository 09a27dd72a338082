//! Following rooms over a WebSocket, through broken connections.
//!
//! Each connection starts with snapshots, so nothing is missed by reconnecting; a change that was seen before the
//! connection broke is not told twice.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::{Error, Item};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection may be silent: the server asks for a sign of life twice in that time.
const SILENCE: Duration = Duration::from_secs(75);
/// The wait before connecting again: doubled from the first to the last.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// How many items' versions are remembered to tell old news from new.
const KNOWN_MAX: usize = 100_000;

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    /// How a room stands; after connecting, and again after each reconnection.
    Snapshot(Snapshot),
    /// An item changed.
    Change(Box<Change>),
    /// What became of a write to a record.
    Delivery(Delivery),
}

/// How a room stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The room.
    pub room: String,
    /// The newest position on the stream of changes before it.
    pub position: u64,
    /// Its items.
    pub items: Vec<Item>,
    /// Another message with more of them follows.
    pub more: bool,
    /// There are more items than a snapshot holds.
    pub truncated: bool,
}

/// An item changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Change {
    /// Where on the stream of changes.
    pub position: u64,
    /// `status_changed`, `linked`, `unlinked`, `conflict_opened` or `conflict_resolved`.
    pub kind: String,
    /// The item's id.
    pub item: String,
    /// Its version after the change.
    pub version: u64,
    /// Its lifecycle.
    pub lifecycle: String,
    /// What people call it for short; may be empty.
    pub key: String,
    /// What people call it; may be empty.
    pub title: String,
    /// The status before; empty for a new item.
    pub from: String,
    /// The status after.
    pub to: String,
    /// The record whose edit it was.
    pub record: String,
    /// What that record showed.
    pub native: String,
    /// Who made the edit.
    pub actor: Option<Actor>,
    /// Why, in one word.
    pub reason: String,
    /// The lifecycle does not name this transition.
    pub irregular: bool,
    /// The conflict it belongs to; may be empty.
    pub conflict: String,
    /// When the edit was made, in milliseconds since 1970.
    pub at: i64,
    /// When it was stored.
    pub recorded_at: i64,
    /// All records of the item.
    pub records: Vec<String>,
}

/// Who made an edit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actor {
    /// What people call them.
    pub name: String,
    /// The system's id for them; may be empty.
    pub id: String,
    /// A program rather than a person.
    pub automation: bool,
}

/// What became of a write to a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delivery {
    /// Where on the stream of observations.
    pub position: u64,
    /// The record.
    pub record: String,
    /// Its item.
    pub item: String,
    /// The item's version that the record was to show.
    pub version: u64,
    /// `applied`, `unchanged`, `superseded`, `rejected` or `failed`.
    pub outcome: String,
    /// What the record shows now; may be empty.
    pub native: String,
    /// Why it was not done; may be empty.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub at: i64,
}

/// Everything that the server sends.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    Snapshot(Snapshot),
    Change(Box<Change>),
    Delivery(Delivery),
    Subscribed {},
    Error {
        code: String,
        reason: String,
    },
    #[serde(other)]
    Other,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Some rooms, being followed.
#[derive(Debug)]
pub struct Watch {
    url: Url,
    key: Option<String>,
    rooms: Vec<String>,
    socket: Option<Socket>,
    /// The server has taken the rooms at least once: from then on a broken connection is made again.
    welcome: bool,
    wait: Duration,
    /// By item the newest version told.
    known: HashMap<String, u64>,
}

impl Watch {
    pub(crate) fn new(mut url: Url, key: Option<String>, rooms: &[&str]) -> Result<Self, Error> {
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        url.set_scheme(scheme).map_err(|()| Error::address(url.as_str(), "it has no WebSocket form"))?;
        let rooms = rooms.iter().map(|room| (*room).to_owned()).collect();
        Ok(Self { url, key, rooms, socket: None, welcome: false, wait: AGAIN.0, known: HashMap::new() })
    }

    /// The next message. Waits as long as it takes, and connects again as often as it must; fails when the server cannot
    /// be reached the first time, or refuses. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Result<Message, Error> {
        loop {
            if self.socket.is_none() {
                match self.connect().await {
                    Ok(socket) => self.socket = Some(socket),
                    Err(error) if self.welcome && error.is_passing() => {
                        tokio::time::sleep(self.wait).await;
                        self.wait = (self.wait * 2).min(AGAIN.1);
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            let Some(socket) = self.socket.as_mut() else { continue };
            match timeout(SILENCE, socket.next()).await {
                Ok(Some(Ok(Frame::Text(text)))) => {
                    if let Some(message) = self.hear(&text)? {
                        return Ok(message);
                    }
                }
                Ok(Some(Ok(Frame::Close(frame)))) => {
                    self.socket = None;
                    if let Some(error) = refused(frame) {
                        return Err(error);
                    }
                }
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(_)) | None) | Err(_) => {
                    tracing::debug!("the connection broke; connecting again");
                    self.socket = None;
                }
            }
        }
    }

    async fn connect(&self) -> Result<Socket, Error> {
        let unreachable = |why: String| Error::Unavailable { why };
        let mut request = self
            .url
            .as_str()
            .into_client_request()
            .map_err(|error| Error::address(self.url.as_str(), error.to_string()))?;
        if let Some(key) = &self.key {
            let value =
                format!("Bearer {key}").parse().map_err(|_| Error::address("the key", "it is not plain text"))?;
            request.headers_mut().insert(http::header::AUTHORIZATION, value);
        }
        let connecting = async {
            use tokio_tungstenite::tungstenite::Error as Wire;
            let (mut socket, _) = connect_async(request).await.map_err(|error| match error {
                Wire::Http(response) => {
                    Error::refused(response.status().as_u16(), response.body().as_deref().unwrap_or_default())
                }
                Wire::Url(why) => Error::address(self.url.as_str(), why.to_string()),
                other => unreachable(other.to_string()),
            })?;
            let subscribe = serde_json::json!({"type": "subscribe", "rooms": self.rooms}).to_string();
            socket.send(Frame::text(subscribe)).await.map_err(|error| unreachable(error.to_string()))?;
            Ok(socket)
        };
        timeout(CONNECT, connecting).await.unwrap_or_else(|_| Err(unreachable("no answer in time".into())))
    }

    /// The message of a text, unless it is old news or not for the watcher.
    fn hear(&mut self, text: &str) -> Result<Option<Message>, Error> {
        let said = serde_json::from_str(text).map_err(|error| Error::Unexpected { why: error.to_string() })?;
        Ok(match said {
            Said::Snapshot(snapshot) => {
                for item in &snapshot.items {
                    self.know(&item.id, item.version);
                }
                Some(Message::Snapshot(snapshot))
            }
            Said::Change(change) => {
                let moves = change.kind == "status_changed";
                let new = !moves || self.know(&change.item, change.version);
                new.then_some(Message::Change(change))
            }
            Said::Delivery(delivery) => Some(Message::Delivery(delivery)),
            Said::Subscribed {} => {
                self.welcome = true;
                self.wait = AGAIN.0;
                None
            }
            // The server's database is away for a moment: the connection is made anew, with a wait.
            Said::Error { code, .. } if self.welcome && code == "unavailable" => {
                self.socket = None;
                None
            }
            Said::Error { code, reason } => return Err(Error::Refused { status: 0, code, detail: reason }),
            Said::Other => None,
        })
    }

    /// Notes an item's version; false when it was known already.
    fn know(&mut self, item: &str, version: u64) -> bool {
        match self.known.get_mut(item) {
            Some(known) if *known >= version => false,
            Some(known) => {
                *known = version;
                true
            }
            None => {
                if self.known.len() >= KNOWN_MAX {
                    self.known.clear();
                }
                self.known.insert(item.to_owned(), version);
                true
            }
        }
    }
}

/// A close that another connection would not mend.
fn refused(frame: Option<CloseFrame>) -> Option<Error> {
    let frame = frame?;
    let final_word = matches!(frame.code, CloseCode::Policy | CloseCode::Size | CloseCode::Unsupported);
    final_word.then(|| Error::Refused {
        status: frame.code.into(),
        code: "closed".into(),
        detail: frame.reason.to_string(),
    })
}

#[cfg(test)]
mod tests;
