//! The Rust client: publish a status, ask how things stand, follow changes.
//!
//! Knows Lockstep by its HTTP and WebSocket faces only, at one address: the gateway's.
//!
//! ```no_run
//! # async fn example() -> Result<(), client::Error> {
//! let lockstep = client::Client::new("http://127.0.0.1:8080")?;
//! lockstep.publish(&[client::Status::new("acme/job/42", "in_progress")]).await?;
//! let mut changes = lockstep.watch(&["all"])?;
//! loop {
//!     println!("{:?}", changes.next().await?);
//! }
//! # }
//! ```

mod error;
mod item;
mod status;
mod watch;

pub use error::Error;
pub use item::{Item, Items, Query, Record};
pub use status::{Accepted, Status};
pub use watch::{Change, Delivery, Message, Snapshot, Watch};

use std::time::Duration;

use reqwest::{RequestBuilder, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How long a call may take, from the first byte to the last.
const CALL: Duration = Duration::from_secs(15);

/// Lockstep at one address.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    key: Option<String>,
}

impl Client {
    /// Lockstep at this address: the gateway's, `http://127.0.0.1:8080`. Nothing is sent yet.
    pub fn new(url: &str) -> Result<Self, Error> {
        // Refused when the program has chosen a provider already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let parsed = Url::parse(url.trim_end_matches('/')).map_err(|error| Error::address(url, error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(Error::address(url, "it must start with http:// or https://"));
        }
        let http = reqwest::Client::builder().timeout(CALL).build().map_err(Error::from)?;
        Ok(Self { http, url: parsed, key: None })
    }

    /// Sends this key with every call, where the server wants one.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Stores statuses, all or none; up to 500 at once. Answered once they are durable.
    pub async fn publish(&self, statuses: &[Status]) -> Result<Vec<Accepted>, Error> {
        let body = serde_json::json!({ "statuses": statuses });
        let answer: status::Answer = self.call(self.http.post(self.at(&["v1", "status"])?).json(&body)).await?;
        Ok(answer.accepted)
    }

    /// One page of the items that the query asks for.
    pub async fn items(&self, query: &Query) -> Result<Items, Error> {
        self.call(self.http.get(self.at(&["v1", "items"])?).query(query)).await
    }

    /// The answer to `GET` of a path as it is: for whoever passes it on.
    pub async fn json(&self, path: &[&str], query: &impl Serialize) -> Result<serde_json::Value, Error> {
        self.call(self.http.get(self.at(path)?).query(query)).await
    }

    /// The answer to `POST` of a body to a path as it is.
    pub async fn post(&self, path: &[&str], body: &serde_json::Value) -> Result<serde_json::Value, Error> {
        self.call(self.http.post(self.at(path)?).json(body)).await
    }

    /// One item, by its id or its key.
    pub async fn item(&self, name: &str) -> Result<Item, Error> {
        self.call(self.http.get(self.at(&["v1", "items", name])?)).await
    }

    /// Follows rooms: `all`, `item:<id or key>`, `record:<system>/<kind>/<id>`. Connects when it is first asked for a
    /// message, and again whenever the connection breaks.
    pub fn watch(&self, rooms: &[&str]) -> Result<Watch, Error> {
        Watch::new(self.at(&["v1", "ws"])?, self.key.clone(), rooms)
    }

    /// The address of a path, its parts escaped as they need.
    fn at(&self, path: &[&str]) -> Result<Url, Error> {
        let mut url = self.url.clone();
        match url.path_segments_mut() {
            Ok(mut parts) => drop(parts.pop_if_empty().extend(path)),
            Err(()) => return Err(Error::address(self.url.as_str(), "it cannot have a path")),
        }
        Ok(url)
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let response = request.send().await?;
        let status = response.status();
        let body = response.bytes().await?;
        if !status.is_success() {
            return Err(Error::refused(status.as_u16(), &body));
        }
        serde_json::from_slice(&body).map_err(|error| Error::Unexpected { why: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_before_anything_is_sent() {
        assert!(Client::new("localhost:8080").is_err());
        assert!(Client::new("ftp://localhost").is_err());
        assert!(Client::new("").is_err());
    }

    #[test]
    fn parts_of_a_path_are_escaped() {
        let client = Client::new("http://localhost:8080/status/").unwrap();
        let url = client.at(&["v1", "items", "acme/web#3"]).unwrap();
        assert_eq!(url.as_str(), "http://localhost:8080/status/v1/items/acme%2Fweb%233");
    }
}
