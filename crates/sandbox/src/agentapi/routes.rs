//! agentapi's HTTP routes, and the control routes by which the agent is made to work.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::sse::{Event as Sse, Sse as Stream};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_stream::wrappers::BroadcastStream;

use super::conversation::{Conversation, Event};
use super::problem::{Problem, message_of};
use crate::counters::Counters;
use crate::faults::{ApiFault, SharedFaults};

/// The largest upload that is taken.
const UPLOAD_MAX: usize = 10 * 1024 * 1024;

/// One agent behind its server.
pub(super) struct Agent {
    pub(super) name: String,
    pub(super) held: Mutex<Conversation>,
    pub(super) counters: Counters,
    pub(super) faults: SharedFaults,
    /// Names that the `Host` header may have; `*` is any.
    pub(super) allowed_hosts: Vec<String>,
}

impl Agent {
    pub(super) fn lock(&self) -> MutexGuard<'_, Conversation> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A person's hand on the agent itself.
    pub(super) fn by_hand<T>(&self, change: impl FnOnce(&mut Conversation) -> T) -> T {
        self.counters.edit();
        change(&mut self.lock())
    }
}

type Held = State<Arc<Agent>>;

/// The routes of agentapi.
pub(super) fn api(agent: &Arc<Agent>) -> Router<Arc<Agent>> {
    Router::new()
        .route("/status", get(status))
        .route("/messages", get(messages))
        .route("/message", post(message))
        .route("/upload", post(upload).layer(DefaultBodyLimit::max(UPLOAD_MAX + 64 * 1024)))
        .route("/events", get(events))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "no such path") })
        .layer(middleware::from_fn_with_state(Arc::clone(agent), gate))
}

/// The control routes of an agent.
pub(super) fn controls() -> Router<Arc<Agent>> {
    Router::new()
        .route("/sandbox/state", get(state))
        .route("/sandbox/run", post(run))
        .route("/sandbox/stop", post(stop))
        .route("/sandbox/error", post(error))
}

async fn gate(State(agent): Held, request: Request, next: Next) -> Response {
    let (fault, slow) = agent.faults.draw_api();
    if !slow.is_zero() {
        tokio::time::sleep(slow).await;
    }
    if !host_allowed(&agent.allowed_hosts, request.headers()) {
        let said = format!("Invalid host header. Allowed hosts: {}", agent.allowed_hosts.join(", "));
        return (StatusCode::BAD_REQUEST, said).into_response();
    }
    match fault {
        ApiFault::None => {}
        // An agent has no limit of its own; what stands before it may.
        ApiFault::Limit => {
            agent.counters.limited();
            return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], "too many requests").into_response();
        }
        ApiFault::ServerError => return Problem::unexpected("the agent's terminal is gone").into_response(),
    }
    if request.method() == http::Method::GET {
        agent.counters.read();
    }
    next.run(request).await
}

fn host_allowed(allowed: &[String], headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let name = host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(name, _)| name);
    allowed.iter().any(|one| one == "*" || one.eq_ignore_ascii_case(name))
}

async fn status(State(agent): Held) -> Json<Value> {
    let held = agent.lock();
    Json(json!({"status": held.status(), "agent_type": held.agent_type, "transport": "pty"}))
}

async fn messages(State(agent): Held) -> Json<Value> {
    Json(json!({"messages": agent.lock().messages}))
}

async fn message(State(agent): Held, body: Bytes) -> Result<Json<Value>, Problem> {
    let (content, is_user) = message_of(&body)?;
    // Keystrokes go to the terminal, and leave nothing behind in the conversation.
    if is_user {
        let told = agent.lock().tell(&content).map_err(|error| broken(&error))?;
        told.map_err(|refused| Problem::unexpected(refused.sentence()))?;
    }
    agent.counters.write(&agent.name);
    Ok(Json(json!({"ok": true})))
}

fn broken(error: &anyhow::Error) -> Problem {
    tracing::error!(%error, "the sandbox could not keep a message");
    Problem::unexpected("the message could not be kept")
}

async fn upload(State(agent): Held, headers: HeaderMap, body: Bytes) -> Result<Json<Value>, Problem> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("multipart/form-data") {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected multipart/form-data"));
    }
    let missing = || Problem::validation(vec![json!({"message": "File required", "location": "file"})]);
    let (name, content) = file_of(&body).ok_or_else(missing)?;
    if content.len() > UPLOAD_MAX {
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "file size exceeds 10MB limit"));
    }
    agent.counters.write(&agent.name);
    // The content is looked at and let go: what is asked for is only the answer.
    Ok(Json(json!({"ok": true, "filePath": format!("/tmp/agentapi/uploads/{name}")})))
}

/// The name and content of the part called `file`.
fn file_of(body: &[u8]) -> Option<(String, &[u8])> {
    let line = body.windows(2).position(|pair| pair == b"\r\n")?;
    let boundary = &body[..line];
    let headers_end = line + body[line..].windows(4).position(|four| four == b"\r\n\r\n")?;
    let headers = std::str::from_utf8(&body[line..headers_end]).ok()?;
    let quoted = |field: &str| headers.split(field).nth(1)?.split('"').next();
    if quoted(" name=\"")? != "file" {
        return None;
    }
    // Only the last part of a path: a file name must not choose its folder.
    let name = quoted("filename=\"")?.rsplit(['/', '\\']).next().filter(|name| !name.is_empty())?.to_owned();
    let content = &body[headers_end + 4..];
    let end = content.windows(boundary.len()).position(|window| window == boundary)?.checked_sub(2)?;
    Some((name, &content[..end]))
}

async fn events(State(agent): Held) -> Result<Response, Problem> {
    let subscribed = agent.lock().subscribe();
    let (first, live) =
        subscribed.ok_or_else(|| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping"))?;
    // A subscriber that fell behind is cut off, as it must then connect again and be told everything anew.
    let live = BroadcastStream::new(live)
        .take_while(|event| std::future::ready(event.is_ok()))
        .filter_map(|event| std::future::ready(event.ok()));
    let shown = |event: Event| Ok::<_, Infallible>(Sse::default().event(event.name).data(event.data.to_string()));
    let stream = Stream::new(stream::iter(first).chain(live).map(shown));
    Ok(([("cache-control", "no-cache, no-store, must-revalidate"), ("x-accel-buffering", "no")], stream)
        .into_response())
}

async fn state(State(agent): Held) -> Json<Value> {
    Json(agent.lock().dump())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Said {
    message: Option<String>,
    level: Option<String>,
}

fn said(body: &[u8]) -> Result<Said, Problem> {
    if body.is_empty() {
        return Ok(Said::default());
    }
    serde_json::from_slice(body).map_err(|error| Problem::new(StatusCode::BAD_REQUEST, &error.to_string()))
}

async fn run(State(agent): Held, body: Bytes) -> Result<Json<Value>, Problem> {
    let doing = said(&body)?.message.unwrap_or_else(|| "Working".to_owned());
    agent.by_hand(|held| held.run(&doing)).map_err(|error| broken(&error))?;
    Ok(state(State(agent)).await)
}

async fn stop(State(agent): Held) -> Result<Json<Value>, Problem> {
    agent.by_hand(Conversation::stop).map_err(|error| broken(&error))?;
    Ok(state(State(agent)).await)
}

async fn error(State(agent): Held, body: Bytes) -> Result<Json<Value>, Problem> {
    let said = said(&body)?;
    let message = said.message.unwrap_or_else(|| "the agent's process ended".to_owned());
    agent.by_hand(|held| held.fail(&message, said.level.as_deref().unwrap_or("error")));
    Ok(state(State(agent)).await)
}
