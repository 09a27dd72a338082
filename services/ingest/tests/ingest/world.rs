//! One ingest of its own on a NATS server of its own, and what a sender and an onlooker can do.

use std::net::SocketAddr;

use async_nats::jetstream;
use bus::Bus;
use bus::testing::Server;
use hmac::{Hmac, KeyInit, Mac};
use ingest::Config;
use reqwest::{RequestBuilder, Response};
use runtime::Process;
use serde_json::{Value, json};
use sha2::Sha256;

pub const SECRET: &str = "a secret of the test";

pub struct World {
    pub server: Server,
    pub process: Process,
    pub address: SocketAddr,
    client: reqwest::Client,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::on(Server::start().unwrap(), change).await
    }

    /// An ingest on a server that is there already.
    pub async fn on(server: Server, change: impl FnOnce(&mut Config)) -> Self {
        runtime::install_crypto();
        let process = Process::new("ingest", None);
        let bus = Bus::connect(&server.config(), &process).await.unwrap();
        bus.ensure_topology().await.unwrap();
        let mut config = Config { listen: ([127, 0, 0, 1], 0).into(), publish_wait_ms: 1_000, ..Config::default() };
        config.linear.secrets = vec!["an old secret".into(), SECRET.into()];
        config.github.secrets = vec![SECRET.into()];
        change(&mut config);
        let lifecycles = model::Lifecycles::built_in().unwrap();
        let work = model::LifecycleName::new("work").unwrap();
        let policy = model::Policy::new(lifecycles, model::Mappings::default(), work);
        ingest::run(config, &process, bus, policy.into()).unwrap();
        let address = process.addresses()["ingest"];
        Self { server, process, address, client: reqwest::Client::new() }
    }

    /// A request with a body that calls itself JSON.
    pub fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.post_as("application/json", path, body)
    }

    /// A request with a body of some type.
    pub fn post_as(&self, content_type: &str, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.client.post(format!("http://{}{path}", self.address)).header("content-type", content_type).body(body)
    }

    /// A webhook as GitHub sends it.
    pub fn github(&self, id: &str, body: &[u8]) -> RequestBuilder {
        self.github_as("application/json", id, body)
    }

    /// A webhook as GitHub sends it when the hook is set to another content type.
    pub fn github_as(&self, content_type: &str, id: &str, body: &[u8]) -> RequestBuilder {
        self.post_as(content_type, "/webhooks/github", body.to_vec())
            .header("x-github-event", "issues")
            .header("x-github-delivery", id)
            .header("x-github-hook-id", "7")
            .header("x-hub-signature-256", format!("sha256={}", signature(body)))
    }

    /// A webhook as Linear sends it, this many milliseconds from now.
    pub fn linear(&self, id: &str, later_ms: i64) -> RequestBuilder {
        let at = self.process.now_ms() + later_ms;
        self.linear_body(id, &json!({"action": "update", "type": "Issue", "webhookTimestamp": at}).to_string())
    }

    /// A webhook of Linear's with this body, signed.
    pub fn linear_body(&self, id: &str, body: &str) -> RequestBuilder {
        self.post("/webhooks/linear", body.to_owned())
            .header("linear-event", "Issue")
            .header("linear-delivery", id)
            .header("linear-signature", signature(body.as_bytes()))
    }

    /// How often the webhooks of a system had this outcome.
    pub fn counted(&self, system: &str, outcome: &str) -> u64 {
        self.process.metrics().webhooks_total.with_label_values(&[system, outcome]).get()
    }

    async fn stream(&self, name: &str) -> jetstream::stream::Stream {
        let client = async_nats::connect(self.server.url()).await.unwrap();
        jetstream::new(client).get_stream(name).await.unwrap()
    }

    /// How many messages a stream holds.
    pub async fn held(&self, stream: &str) -> u64 {
        self.stream(stream).await.get_info().await.unwrap().state.messages
    }

    /// A message as it lies in a stream.
    pub async fn message(&self, stream: &str, sequence: u64) -> jetstream::message::StreamMessage {
        self.stream(stream).await.get_raw_message(sequence).await.unwrap()
    }
}

pub fn signature(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// Sends, and reads the status and the body.
pub async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), body(response).await)
}

pub async fn body(response: Response) -> Value {
    let bytes = response.bytes().await.unwrap();
    serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("not JSON: {bytes:?}"))
}
