//! The server's end of one connection, as a test scripts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

/// One connection. Dropping it cuts it without a word.
pub struct Peer {
    socket: WebSocketStream<TcpStream>,
    /// Which connection it is, from 0.
    pub number: usize,
    /// What it showed.
    pub authorization: Option<String>,
}

/// A server that does on each connection what the script says; its address.
pub async fn server<F>(script: impl Fn(Peer) -> F + Send + Sync + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    serve(listener, script);
    url
}

/// The same at an address of one's own.
pub fn serve<F>(listener: TcpListener, script: impl Fn(Peer) -> F + Send + Sync + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (script, count) = (Arc::new(script), AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (script, number) = (Arc::clone(&script), count.fetch_add(1, Ordering::SeqCst));
            tokio::spawn(async move {
                if let Some(peer) = Peer::accept(stream, number).await {
                    script(peer).await;
                }
            });
        }
    });
}

impl Peer {
    async fn accept(stream: TcpStream, number: usize) -> Option<Self> {
        let mut authorization = None;
        #[expect(clippy::result_large_err, reason = "the shape that the library wants")]
        let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            let shown = request.headers().get(http::header::AUTHORIZATION);
            authorization = shown.and_then(|shown| shown.to_str().ok()).map(str::to_owned);
            if authorization.as_deref() == Some("Bearer stale") {
                let body = json!({"code": "auth_failed", "detail": "no such key"}).to_string();
                return Err(http::Response::builder().status(401).body(Some(body)).unwrap());
            }
            Ok(response)
        };
        let socket = accept_hdr_async(stream, look).await.ok()?;
        Some(Self { socket, number, authorization })
    }

    /// The next message; `None` when the client has gone.
    pub async fn hears(&mut self) -> Option<Value> {
        loop {
            match self.socket.next().await?.ok()? {
                Frame::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
                Frame::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// The next message, which must be of this type.
    pub async fn hears_a(&mut self, name: &str) -> Value {
        let message = self.hears().await.expect("the client has gone");
        assert_eq!(message["type"], name, "{message}");
        message
    }

    /// Whether the client is still there.
    pub async fn says(&mut self, message: &Value) -> bool {
        self.socket.send(Frame::text(message.to_string())).await.is_ok()
    }

    /// Greets, as every server does.
    pub async fn welcomes(&mut self, position: &str) {
        let welcome = json!({"type": "welcome", "connection": "c", "position": position, "ping_ms": 30_000});
        self.says(&welcome).await;
    }

    /// Stores the statuses that come next: the first has this place on the stream. Answers them.
    pub async fn stores(&mut self, sequence: u64) -> Value {
        let update = self.hears_a("status_update").await;
        self.accepts(&update, sequence).await;
        update
    }

    /// Says that statuses are stored.
    pub async fn accepts(&mut self, update: &Value, sequence: u64) {
        let statuses = update["statuses"].as_array().unwrap();
        let one = |(sequence, status): (u64, &Value)| json!({"id": status["id"], "record": status["record"], "sequence": sequence});
        let accepted: Vec<Value> = (sequence..).zip(statuses).map(one).collect();
        self.says(&json!({"type": "status_accepted", "accepted": accepted, "ref": update["ref"]})).await;
    }

    /// Takes a subscription, says this, and answers the ping behind it. Answers the subscription.
    pub async fn joins(&mut self, position: &str, then: &[Value]) -> Value {
        let subscribe = self.hears_a("subscribe").await;
        let said = json!({"type": "subscribed", "rooms": subscribe["rooms"], "position": position,
            "resumed": subscribe["position"].is_string(), "ref": subscribe["ref"]});
        self.says(&said).await;
        for message in then {
            self.says(message).await;
        }
        self.pongs().await;
        subscribe
    }

    /// Answers the ping that comes next.
    pub async fn pongs(&mut self) {
        let ping = self.hears_a("ping").await;
        self.says(&json!({"type": "pong", "at": 0, "ref": ping["ref"]})).await;
    }

    /// Answers the question where a quiet client is, which comes next.
    pub async fn says_where(&mut self, position: &str) {
        let ping = self.hears_a("ping").await;
        self.says(&json!({"type": "pong", "at": 0, "position": position, "ref": ping["ref"]})).await;
    }

    /// Closes, and waits until the client has heard it.
    pub async fn closes(mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.to_owned().into() };
        let _ = self.socket.close(Some(frame)).await;
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    /// Stays until the client goes.
    pub async fn stays(mut self) {
        while let Some(message) = self.hears().await {
            if message["type"] == "ping" {
                self.says(&json!({"type": "pong", "at": 0, "ref": message["ref"]})).await;
            }
        }
    }
}
