//! `/v1/ws`: JSON frames both ways over a WebSocket.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, header};
use runtime::Problem;
use tokio::time::Instant;

use crate::frame::{self, Frame, Refusal};
use crate::room::Room;
use crate::session::Session;
use crate::{Broadcaster, Rooms};

/// Our close codes, as RFC 6455 and the registry have them.
mod code {
    pub const AWAY: u16 = 1001;
    pub const NOT_TEXT: u16 = 1007;
    pub const POLICY: u16 = 1008;
    pub const TOO_BIG: u16 = 1009;
    pub const TRY_LATER: u16 = 1013;
}

/// How many waiting messages are joined in one write.
const JOINED: usize = 256;

/// The handler.
pub async fn connect(
    State(broadcaster): State<Broadcaster>,
    Query(asked): Query<Rooms>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let config = &broadcaster.0.config;
    if !origin_is_allowed(&headers, &config.origins) {
        let detail = "pages of this origin may not connect; name it in broadcaster.origins";
        return Problem::forbidden("origin_not_allowed", detail).into_response();
    }
    let size = config.frame_max_bytes;
    upgrade
        .read_buffer_size(4 * 1024)
        .write_buffer_size(16 * 1024)
        .max_message_size(size)
        .max_frame_size(size)
        .on_upgrade(move |socket| async move {
            let clients = broadcaster.0.clients.clone();
            clients.track_future(serve(broadcaster, socket, asked.names())).await;
        })
}

/// Browsers say where a page came from, and do not ask whether it may connect: that is decided here.
fn origin_is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let own = origin.split_once("://").map(|(_, place)| place);
    (own.is_some() && own == host) || allowed.iter().any(|known| known == origin)
}

/// Why a connection ends.
struct End {
    code: u16,
    reason: &'static str,
}

enum Gone {
    /// We close it, and say why.
    Close(End),
    /// The client closed it, or the connection broke.
    Lost,
}

impl Gone {
    fn close(code: u16, reason: &'static str) -> Self {
        Self::Close(End { code, reason })
    }
}

async fn serve(broadcaster: Broadcaster, mut socket: WebSocket, rooms: Vec<String>) {
    let patience = broadcaster.0.config.patience();
    let Some(place) = broadcaster.admit() else {
        let end = End { code: code::TRY_LATER, reason: "as many clients as are served are here; try again later" };
        farewell(socket, end, patience).await;
        return;
    };
    broadcaster.0.process.metrics().websocket_clients.inc();
    let mut client = Client { session: Session::new(broadcaster, place), minute: Minute::new(Instant::now()) };
    let gone = match client.start(&mut socket, rooms).await {
        Ok(()) => client.serve(&mut socket).await,
        Err(gone) => gone,
    };
    // The place is given back before the farewell, which a slow client can draw out.
    drop(client);
    if let Gone::Close(end) = gone {
        tracing::debug!(code = end.code, reason = end.reason, "a client is closed");
        farewell(socket, end, patience).await;
    }
}

struct Client {
    session: Session,
    minute: Minute,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.session.broadcaster().0.process.metrics().websocket_clients.dec();
    }
}

impl Client {
    async fn start(&mut self, socket: &mut WebSocket, rooms: Vec<String>) -> Result<(), Gone> {
        if rooms.is_empty() {
            return Ok(());
        }
        let answers = self.subscribe(rooms).await;
        self.write(socket, answers).await
    }

    async fn serve(&mut self, socket: &mut WebSocket) -> Gone {
        let inbox = self.session.inbox();
        let shared = self.session.broadcaster().clone();
        let config = &shared.0.config;
        let shutdown = shared.0.process.shutdown();
        // When the client is asked for a sign of life, or when it should have given one.
        let mut due = Instant::now() + config.ping();
        let mut asked = false;
        loop {
            let step = tokio::select! {
                () = shutdown.cancelled() => Err(Gone::close(code::AWAY, "the broadcaster is going down; connect again")),
                () = inbox.cut().cancelled() => Err(slow()),
                () = inbox.filled() => {
                    let events = self.session.take(JOINED);
                    let count = events.len();
                    let texts = events.iter().map(|event| event.text.clone()).collect();
                    let written = self.write(socket, texts).await;
                    self.session.sent(count);
                    written
                }
                frame = socket.recv() => {
                    (due, asked) = (Instant::now() + config.ping(), false);
                    self.hear(socket, frame).await
                }
                () = tokio::time::sleep_until(due) => {
                    if asked {
                        Err(Gone::close(code::AWAY, "no sign of life in time; connect again"))
                    } else {
                        (due, asked) = (Instant::now() + config.patience(), true);
                        self.send(socket, vec![Message::Ping(bytes::Bytes::new())]).await
                    }
                }
            };
            if let Err(gone) = step {
                return gone;
            }
        }
    }

    /// Takes what the client said, and answers.
    async fn hear(&mut self, socket: &mut WebSocket, frame: Option<Result<Message, axum::Error>>) -> Result<(), Gone> {
        let text = match frame {
            None | Some(Ok(Message::Close(_))) => return Err(Gone::Lost),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(()),
            Some(Ok(Message::Text(text))) => Some(text),
            Some(Ok(Message::Binary(_))) => None,
            Some(Err(error)) => return Err(broken(&error)),
        };
        let limit = self.session.broadcaster().0.config.frames_per_minute;
        match self.minute.count(Instant::now()) {
            count if count <= limit => {}
            count if count <= limit.saturating_mul(2) => {
                let reason = format!("{limit} frames a minute are taken; this one was not");
                return self.write(socket, vec![Refusal::new("too_many_frames", reason).message()]).await;
            }
            _ => return Err(Gone::close(code::POLICY, "far too many frames")),
        }
        let frame = text.ok_or_else(|| Refusal::new("malformed", "frames are JSON texts, not binary"));
        let answers = match frame.and_then(|text| frame::read(&text)) {
            Ok(Frame::Subscribe { rooms }) => self.subscribe(rooms).await,
            Ok(Frame::Unsubscribe { rooms }) => self.unsubscribe(rooms),
            Ok(Frame::Ping {}) => vec![frame::pong(self.session.broadcaster().0.process.now_ms())],
            Err(refusal) => vec![refusal.message()],
        };
        self.write(socket, answers).await
    }

    async fn subscribe(&mut self, rooms: Vec<String>) -> Vec<Utf8Bytes> {
        let limit = self.session.broadcaster().0.config.rooms_max;
        if rooms.is_empty() || rooms.len() > limit {
            let reason = format!("name 1 to {limit} rooms");
            return vec![Refusal::new("malformed", reason).message()];
        }
        let (mut entered, mut snapshots, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for name in rooms {
            let subscribed = match Room::named(&name) {
                Ok(room) => self.session.subscribe(room).await,
                Err(reason) => Err(Refusal::room("bad_room", &name, reason)),
            };
            match subscribed {
                Ok(snapshot) => {
                    entered.push(name);
                    snapshots.extend(snapshot);
                }
                Err(refusal) => refused.push(refusal.message()),
            }
        }
        let done = (!entered.is_empty()).then(|| frame::done("subscribed", &entered));
        done.into_iter().chain(refused).chain(snapshots).collect()
    }

    fn unsubscribe(&mut self, rooms: Vec<String>) -> Vec<Utf8Bytes> {
        let (mut left, mut refused) = (Vec::new(), Vec::new());
        for name in rooms {
            match Room::named(&name) {
                Ok(room) if self.session.unsubscribe(&room) => left.push(name),
                Ok(_) => refused.push(Refusal::room("not_subscribed", &name, "you are not in this room").message()),
                Err(reason) => refused.push(Refusal::room("bad_room", &name, reason).message()),
            }
        }
        std::iter::once(frame::done("unsubscribed", &left)).chain(refused).collect()
    }

    async fn write(&mut self, socket: &mut WebSocket, texts: Vec<Utf8Bytes>) -> Result<(), Gone> {
        if texts.is_empty() {
            return Ok(());
        }
        self.send(socket, texts.into_iter().map(Message::Text).collect()).await
    }

    /// Joins the messages in as few writes as they fit in. A client that does not read is not waited for.
    async fn send(&mut self, socket: &mut WebSocket, messages: Vec<Message>) -> Result<(), Gone> {
        let inbox = self.session.inbox();
        let patience = self.session.broadcaster().0.config.patience();
        let writing = async {
            for message in messages {
                socket.feed(message).await?;
            }
            socket.flush().await
        };
        tokio::select! {
            written = tokio::time::timeout(patience, writing) => match written {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(broken(&error)),
                Err(_) => Err(slow()),
            },
            () = inbox.cut().cancelled() => Err(slow()),
        }
    }
}

fn slow() -> Gone {
    Gone::close(code::TRY_LATER, "you read more slowly than things change; connect again for a fresh snapshot")
}

fn broken(error: &axum::Error) -> Gone {
    let text = error.to_string();
    tracing::debug!(error = text, "a WebSocket broke");
    // The library names the limit in its text only.
    if text.contains("too long") || text.contains("too large") || text.contains("too big") {
        return Gone::close(code::TOO_BIG, "the frame is larger than is taken");
    }
    if text.to_ascii_lowercase().contains("utf-8") {
        return Gone::close(code::NOT_TEXT, "the frame calls itself text and is no UTF-8");
    }
    Gone::Lost
}

/// Says why, and waits a moment for the client to have heard it.
async fn farewell(mut socket: WebSocket, end: End, patience: Duration) {
    let frame = CloseFrame { code: end.code, reason: Utf8Bytes::from_static(end.reason) };
    let parting = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    // Whoever does not listen any more is left.
    let _ = tokio::time::timeout(patience, parting).await;
}

/// Counts a client's frames by the minute.
struct Minute {
    since: Instant,
    count: u32,
}

impl Minute {
    fn new(now: Instant) -> Self {
        Self { since: now, count: 0 }
    }

    fn count(&mut self, now: Instant) -> u32 {
        if now.duration_since(self.since) >= Duration::from_mins(1) {
            *self = Self::new(now);
        }
        self.count = self.count.saturating_add(1);
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_may_connect_from_our_own_address_or_a_named_one() {
        let allowed = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "localhost:8080".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            origin_is_allowed(&headers, &["https://status.example".to_owned()])
        };
        assert!(allowed(None) && allowed(Some("http://localhost:8080")) && allowed(Some("https://status.example")));
        assert!(!allowed(Some("https://evil.example")) && !allowed(Some("null")));
    }
}
