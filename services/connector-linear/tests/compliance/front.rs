//! Stands in front of the server and answers in its place where a test wants it to misbehave.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use connector::compliance::Misbehave;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const BODY_MAX: usize = 16 * 1024 * 1024;

/// What the next call meets.
#[derive(Clone)]
pub struct Front {
    server: String,
    client: reqwest::Client,
    how: Arc<Mutex<Misbehave>>,
    /// What begins the one question that it refuses, and what it says to that.
    refuses: Option<(&'static str, &'static str)>,
    /// What begins the question that it does not answer the first time.
    fails_once: Arc<Mutex<Option<&'static str>>>,
}

impl Front {
    /// In front of the server at that address. Answers where it listens itself, until the test ends.
    pub async fn of(server: String) -> (Self, String) {
        Self::start(server, None).await
    }

    /// In front of a server that refuses whatever asks like this, with that message. Answers where the API is.
    pub async fn refusing(server: String, asked: &'static str, message: &'static str) -> String {
        format!("{}/graphql", Self::start(server, Some((asked, message))).await.1)
    }

    /// In front of a server that is away the first time that somebody asks like this. Answers where the API is.
    pub async fn failing_once(server: String, asked: &'static str) -> String {
        let (front, url) = Self::start(server, None).await;
        *front.fails_once.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        format!("{url}/graphql")
    }

    async fn start(server: String, refuses: Option<(&'static str, &'static str)>) -> (Self, String) {
        runtime::install_crypto();
        let how = Arc::new(Mutex::new(Misbehave::No));
        let front = Self { server, client: reqwest::Client::new(), how, refuses, fails_once: Arc::default() };
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
    let body = to_bytes(body, BODY_MAX).await.unwrap();
    if let Some((_, message)) = front.refuses.filter(|(asked, _)| says(&body, asked)) {
        let extensions = json!({"code": "INPUT_ERROR"});
        return Json(json!({"errors": [{"message": message, "extensions": extensions}]})).into_response();
    }
    let fails_now = {
        let mut fails_once = front.fails_once.lock().unwrap_or_else(PoisonError::into_inner);
        fails_once.take_if(|asked| says(&body, asked)).is_some()
    };
    if fails_now {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    match front.take() {
        Misbehave::LimitOnce => {
            let headers = [("x-ratelimit-requests-remaining", "0"), ("x-ratelimit-requests-reset", "0")];
            (StatusCode::BAD_REQUEST, headers, error("RATELIMITED")).into_response()
        }
        Misbehave::FailOnce => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Misbehave::RefuseWrites if says(&body, "mutation") => error("FORBIDDEN").into_response(),
        _ => front.forward(&parts, body).await,
    }
}

impl Front {
    async fn forward(&self, parts: &http::request::Parts, body: Bytes) -> Response {
        let url = format!("{}{}", self.server, parts.uri);
        let mut headers: HeaderMap = parts.headers.clone();
        headers.remove(header::HOST);
        let sent = self.client.request(parts.method.clone(), url).headers(headers).body(body).send().await.unwrap();
        let (status, mut headers) = (sent.status(), sent.headers().clone());
        headers.remove(header::TRANSFER_ENCODING);
        // Linear says what is wrong in the body, and the status may be any.
        let status = if status == StatusCode::UNAUTHORIZED { StatusCode::BAD_REQUEST } else { status };
        (status, headers, Body::from(sent.bytes().await.unwrap())).into_response()
    }
}

fn error(code: &str) -> Json<Value> {
    Json(json!({"errors": [{"message": "no", "extensions": {"code": code}}]}))
}

fn says(body: &[u8], word: &str) -> bool {
    body.windows(word.len()).any(|part| part == word.as_bytes())
}
