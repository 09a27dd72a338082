//! Stands in front of the server and answers in its place where a test wants it to misbehave.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use connector::compliance::Misbehave;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const BODY_MAX: usize = 16 * 1024 * 1024;

/// What cannot be asked for a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// GraphQL.
    Graphql,
    /// GraphQL and REST.
    Both,
}

/// What the next call meets.
#[derive(Clone)]
pub struct Front {
    server: String,
    client: reqwest::Client,
    how: Arc<Mutex<Misbehave>>,
    /// The numbers of the pull requests for which GraphQL fails, and REST too where that is said.
    broken: Arc<Mutex<BTreeMap<u64, Broken>>>,
    /// Ends of the paths at which every call fails.
    paths: Arc<Mutex<Vec<String>>>,
    /// What a repository was called before, and what it is called now.
    renamed: Option<[String; 2]>,
}

impl Front {
    /// In front of the server at that address. Answers where it listens itself, until the test ends.
    pub async fn of(server: String) -> (Self, String) {
        Self::start(server, None).await
    }

    /// In front of a server that leads from a repository's old name to its new one.
    pub async fn renaming(server: String, old: &str, new: &str) -> String {
        Self::start(server, Some([old.to_owned(), new.to_owned()])).await.1
    }

    async fn start(server: String, renamed: Option<[String; 2]>) -> (Self, String) {
        runtime::install_crypto();
        let how = Arc::new(Mutex::new(Misbehave::No));
        let front = Self {
            server,
            client: reqwest::Client::new(),
            how,
            broken: Arc::default(),
            paths: Arc::default(),
            renamed,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(front.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (front, url)
    }

    /// Misbehaves from now on.
    pub fn misbehave(&self, how: Misbehave) {
        *self.how.lock().unwrap_or_else(PoisonError::into_inner) = how;
    }

    /// Every call for a pull request fails from now on.
    pub fn break_pull(&self, number: u64, how: Broken) {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).insert(number, how);
    }

    /// Every call at such a path fails from now on.
    pub fn break_path(&self, end: &str) {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).push(end.to_owned());
    }

    /// No path fails any more.
    pub fn mend_paths(&self) {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn is_broken(&self, path: &str, body: &[u8]) -> bool {
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        if paths.iter().any(|end| path.ends_with(end)) {
            return true;
        }
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_for = |(number, how): (&u64, &Broken)| {
            asked["variables"]["number"] == *number
                || *how == Broken::Both && path.ends_with(&format!("/pulls/{number}"))
        };
        broken.iter().any(is_for)
    }

    /// How this call is treated; what happens once has then happened.
    fn take(&self) -> Misbehave {
        let mut how = self.how.lock().unwrap_or_else(PoisonError::into_inner);
        let now = *how;
        if matches!(now, Misbehave::LimitOnce | Misbehave::FailOnce) {
            *how = Misbehave::No;
        }
        now
    }
}

async fn answer(State(front): State<Front>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut body = to_bytes(body, BODY_MAX).await.unwrap();
    if let Some([old, new]) = &front.renamed {
        // As GitHub does: GraphQL follows by itself, REST says where to, and keeps the method of a write.
        let uri = parts.uri.to_string();
        if let Some(rest) = uri.strip_prefix(&format!("/repos/{old}")) {
            let reads = parts.method == Method::GET;
            let status = if reads { StatusCode::MOVED_PERMANENTLY } else { StatusCode::TEMPORARY_REDIRECT };
            return (status, [(header::LOCATION, format!("/repos/{new}{rest}"))]).into_response();
        }
        let name = |repository: &str| format!("\"name\":\"{}\"", repository.split_once('/').unwrap().1);
        body = String::from_utf8(body.to_vec()).unwrap().replace(&name(old), &name(new)).into();
    }
    if front.is_broken(parts.uri.path(), &body) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let writes = parts.method != Method::GET && (parts.uri.path() != "/graphql" || says(&body, "mutation"));
    match front.take() {
        Misbehave::LimitOnce => {
            (StatusCode::FORBIDDEN, [(header::RETRY_AFTER, "1")], said("secondary rate limit")).into_response()
        }
        Misbehave::FailOnce => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Misbehave::RefuseWrites if writes => {
            (StatusCode::FORBIDDEN, said("Resource not accessible by integration")).into_response()
        }
        _ => front.forward(&parts, body).await,
    }
}

impl Front {
    async fn forward(&self, parts: &http::request::Parts, body: Bytes) -> Response {
        let url = format!("{}{}", self.server, parts.uri);
        let mut headers: HeaderMap = parts.headers.clone();
        headers.remove(header::HOST);
        headers.remove(header::CONTENT_LENGTH);
        let sent = self.client.request(parts.method.clone(), url).headers(headers).body(body).send().await.unwrap();
        let (status, mut headers) = (sent.status(), sent.headers().clone());
        headers.remove(header::TRANSFER_ENCODING);
        (status, headers, Body::from(sent.bytes().await.unwrap())).into_response()
    }
}

fn said(message: &str) -> Json<Value> {
    Json(json!({"message": message}))
}

fn says(body: &[u8], word: &str) -> bool {
    body.windows(word.len()).any(|part| part == word.as_bytes())
}
