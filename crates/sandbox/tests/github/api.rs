//! A GitHub sandbox and a plain REST client of it.

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use sandbox::github::{GithubOptions, GithubSandbox, start};
use serde_json::Value;

pub const BOT: &str = "ghs_bot";
pub const PERSON: &str = "ghp_person";
pub const SECRET: &str = "hush";
pub const REPO: &str = "/repos/acme/web";

pub struct Api {
    pub sandbox: GithubSandbox,
    http: reqwest::Client,
}

/// What the API answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn number(&self, name: &str) -> i64 {
        self.header(name).parse().unwrap()
    }

    /// The address that the `Link` header gives for `rel`.
    pub fn link(&self, rel: &str) -> Option<String> {
        let wanted = format!("rel=\"{rel}\"");
        let one = self.header("link").split(", ").find(|link| link.ends_with(&wanted))?;
        Some(one.split(['<', '>']).nth(1)?.to_owned())
    }

    /// One field of each item of a list.
    pub fn each(&self, field: &str) -> Vec<Value> {
        self.body.as_array().unwrap().iter().map(|item| item[field].clone()).collect()
    }
}

/// The demo, with both kinds of token.
pub fn options() -> GithubOptions {
    let tokens = vec![BOT.to_owned(), PERSON.to_owned()];
    GithubOptions { tokens, webhook_secret: SECRET.to_owned(), seed_demo: true, ..GithubOptions::default() }
}

impl Api {
    pub async fn start() -> Self {
        Self::with(options()).await
    }

    pub async fn with(options: GithubOptions) -> Self {
        let sandbox = start(options).await.unwrap();
        Self { sandbox, http: reqwest::Client::builder().user_agent("tests").build().unwrap() }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.sandbox.url()) };
        self.http.request(method, url)
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).bearer_auth(BOT)).await
    }

    pub async fn call(&self, method: Method, path: &str, body: Value) -> Answer {
        self.send(self.request(method, path).bearer_auth(BOT).json(&body)).await
    }
}
