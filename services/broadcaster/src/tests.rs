//! The service from outside, over real sockets and a real nats-server.

mod again;
mod alerts;
mod behind;
mod by_key;
mod cut;
mod endings;
mod face;
mod gaps;
mod limits;
mod listening;
mod metrics;
mod pongs;
mod publishing;
mod resume;
mod rights;
mod shown;
mod sse;
mod status;
mod stopping;
mod threads;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::Config;
use crate::testing::{Running, World};

const DEADLINE: Duration = Duration::from_secs(20);

async fn world(change: impl FnOnce(&mut Config)) -> (World, Running) {
    let world = World::new().await.unwrap();
    let running = world.start(change).await.unwrap();
    (world, running)
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    /// Connects, and reads the welcome.
    async fn to(running: &Running) -> Self {
        Self::with(running, "", &[]).await.unwrap()
    }

    /// Connects with something in the address and the headers; an `Err` has the status and the answer.
    async fn with(running: &Running, query: &str, headers: &[(&'static str, &str)]) -> Result<Self, (u16, Value)> {
        let mut request = format!("ws://{}/v1/ws{query}", running.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((socket, _)) => {
                let mut client = Self(socket);
                assert_eq!(client.hear().await["type"], "welcome");
                Ok(client)
            }
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                Err((response.status().as_u16(), serde_json::from_slice(&body).unwrap_or_default()))
            }
            Err(other) => panic!("{other}"),
        }
    }

    async fn say(&mut self, frame: Value) {
        self.text(&frame.to_string()).await;
    }

    async fn text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// Subscribes, and reads all that is answered up to the last snapshot.
    async fn subscribe(&mut self, rooms: &[&str]) {
        self.say(json!({"type": "subscribe", "rooms": rooms})).await;
        assert_eq!(self.hear().await["rooms"], json!(rooms));
        for _ in rooms {
            assert_eq!(self.hear().await["type"], "snapshot");
        }
    }

    async fn raw(&mut self) -> Message {
        timeout(DEADLINE, self.0.next()).await.expect("a message in time").unwrap().unwrap()
    }

    async fn hear(&mut self) -> Value {
        loop {
            match self.raw().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next message of this type; others are passed over.
    async fn hear_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.hear().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// The close that ends the connection, whatever comes before it.
    async fn close(&mut self) -> (u16, String) {
        loop {
            match timeout(DEADLINE, self.0.next()).await.unwrap() {
                Some(Ok(Message::Close(Some(frame)))) => return (frame.code.into(), frame.reason.to_string()),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// That nothing was said before now: the answer to a ping comes next.
    async fn hears_nothing(&mut self) {
        self.say(json!({"type": "ping"})).await;
        assert_eq!(self.hear().await["type"], "pong");
    }
}

/// An answer over HTTP: its status and its body.
async fn ask(running: &Running, method: &str, path: &str, headers: &[(&'static str, &str)]) -> (u16, Value) {
    runtime::install_crypto();
    let url = format!("http://{}{path}", running.address);
    let mut request = reqwest::Client::new().request(method.parse().unwrap(), url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

/// Waits until so many clients are served.
async fn until_clients(running: &Running, count: u64) {
    let reached = async {
        while ask(running, "GET", "/api/v1/health", &[]).await.1["clients"] != count {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, reached).await.expect("the clients are as many in time");
}

/// Waits until the metrics have this line.
async fn metrics_when(running: &Running, line: &str) {
    runtime::install_crypto();
    let mut metrics = String::new();
    let reached = async {
        while !metrics.lines().any(|known| known == line) {
            metrics = reqwest::get(format!("http://{}/metrics", running.address)).await.unwrap().text().await.unwrap();
        }
    };
    let reached = timeout(DEADLINE, reached).await;
    assert!(reached.is_ok(), "{line} is not among {metrics}");
}
