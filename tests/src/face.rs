//! Lockstep's HTTP faces, as a script would use them.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::{Client, StatusCode, Url};
use serde_json::{Value, json};

/// The gateway of a world.
#[derive(Clone)]
pub struct Face {
    http: Client,
    /// Ingest's, which is all of it where there is a gateway.
    url: String,
    /// The resolver's.
    items: String,
    /// The broadcaster's.
    told: String,
}

/// A status that was answered with 202.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its place on the stream.
    pub sequence: i64,
    /// The record.
    pub record: String,
}

impl Face {
    /// One address for all.
    pub(crate) fn new(url: String) -> anyhow::Result<Self> {
        Self::parts(url.clone(), url.clone(), url)
    }

    /// Ingest's, the resolver's and the broadcaster's own addresses.
    pub(crate) fn parts(url: String, items: String, told: String) -> anyhow::Result<Self> {
        runtime::install_crypto();
        // Without kept connections each request may go to another process.
        let http = Client::builder().timeout(Duration::from_secs(10)).pool_max_idle_per_host(0).build()?;
        Ok(Self { http, url, items, told })
    }

    /// Where watchers connect.
    pub fn told(&self) -> &str {
        &self.told
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// An item by id, key or record; `None` while there is none.
    pub async fn item(&self, name: &str) -> anyhow::Result<Option<Value>> {
        let mut url = Url::parse(&self.items)?;
        url.path_segments_mut().ok().context("the address has no path")?.extend(["v1", "items", name]);
        let response = self.http.get(url).send().await?;
        let (status, body) = (response.status(), response.text().await?);
        if status == StatusCode::NOT_FOUND && body.contains("\"item_unknown\"") {
            return Ok(None);
        }
        ensure!(status.is_success(), "item {name}: {status} {body}");
        Ok(Some(serde_json::from_str(&body)?))
    }

    /// All items.
    pub async fn items(&self) -> anyhow::Result<Vec<Value>> {
        let (mut all, mut after) = (Vec::new(), None::<String>);
        loop {
            let mut request = self.http.get(format!("{}/v1/items?limit=500", self.items));
            if let Some(after) = &after {
                request = request.query(&[("after", after)]);
            }
            let page: Value = request.send().await?.error_for_status()?.json().await?;
            all.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => return Ok(all),
            }
        }
    }

    /// Publishes statuses, each a record and its status.
    pub async fn publish(&self, statuses: &[(String, String)]) -> anyhow::Result<Vec<Accepted>> {
        let list: Vec<Value> =
            statuses.iter().map(|(record, status)| json!({"record": record, "status": status})).collect();
        let response =
            self.http.post(format!("{}/v1/status", self.url)).json(&json!({"statuses": list})).send().await?;
        let (status, body) = (response.status(), response.text().await?);
        ensure!(status == StatusCode::ACCEPTED, "statuses: {status} {body}");
        let body: Value = serde_json::from_str(&body)?;
        let accepted = body["accepted"].as_array().context("no list of what was accepted")?;
        let one = |entry: &Value| {
            Some(Accepted { sequence: entry["sequence"].as_i64()?, record: entry["record"].as_str()?.to_owned() })
        };
        accepted.iter().map(one).collect::<Option<_>>().context("an accepted status without a sequence")
    }

    /// Sends JSON to ingest, and wants it accepted.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let response = self.http.post(format!("{}{path}", self.url)).json(body).send().await?;
        let (status, body) = (response.status(), response.text().await?);
        ensure!(status == StatusCode::ACCEPTED, "{path}: {status} {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// Ties a record to an item.
    pub async fn link(&self, item: &str, record: &str) -> anyhow::Result<()> {
        let url = format!("{}/v1/items/{item}/links", self.items);
        let response = self.http.post(url).json(&json!({"record": record})).send().await?;
        let (status, body) = (response.status(), response.text().await?);
        ensure!(status == StatusCode::ACCEPTED, "link {record}: {status} {body}");
        Ok(())
    }

    /// Sends a webhook with these headers; answers the status.
    pub async fn webhook(&self, system: &str, headers: &[(&str, &str)], body: Vec<u8>) -> anyhow::Result<StatusCode> {
        let mut request = self.http.post(format!("{}/webhooks/{system}", self.url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request.send().await?.status())
    }

    /// What a path of the monitor or another service answers.
    pub async fn text(&self, path: &str) -> anyhow::Result<String> {
        Ok(self.http.get(format!("{}{path}", self.url)).send().await?.error_for_status()?.text().await?)
    }
}
