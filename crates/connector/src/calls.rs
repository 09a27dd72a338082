//! HTTP calls to a system: with timeouts, a bound on how many at once, pacing by the system's limits, and a circuit breaker.
//!
//! Does not retry: a failure is returned, and the loop's table decides.

mod breaker;
pub mod limits;
mod pacer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use reqwest::{Client, RequestBuilder};
use runtime::Process;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::Failure;
use breaker::Breaker;
use limits::Limits;
use pacer::Pacer;

/// Timeouts and bounds of HTTP calls: the key `run.calls` of a connector's section.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallSettings {
    /// For the connection alone.
    pub connect_timeout_ms: u64,
    /// For a whole call with its body; for [`Calls::open`] until the headers are there.
    pub timeout_ms: u64,
    /// How many calls are under way at once, for each credential.
    pub at_once: usize,
    /// The largest body that is taken, in bytes.
    pub body_bytes_max: usize,
}

impl Default for CallSettings {
    fn default() -> Self {
        Self { connect_timeout_ms: 5_000, timeout_ms: 20_000, at_once: 8, body_bytes_max: 16 * 1024 * 1024 }
    }
}

/// HTTP for one credential of one system. A clone shares its pace; [`Calls::scoped`] has one of its own.
#[derive(Clone)]
pub struct Calls {
    client: Client,
    system: &'static str,
    limits: Limits,
    settings: Arc<CallSettings>,
    process: Process,
    lane: Arc<Credential>,
}

struct Credential {
    gate: Mutex<Gate>,
    slots: Semaphore,
}

#[derive(Default)]
struct Gate {
    pacer: Pacer,
    breaker: Breaker,
}

/// An answer that came: it may still say no.
#[derive(Debug, Clone)]
pub struct Response {
    /// Its status; never a 5xx, and never one that the system's limits explain.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub bytes: Bytes,
}

impl Calls {
    /// Calls to `system`, whose limits `limits` reads.
    pub fn new(system: &'static str, limits: Limits, settings: CallSettings, process: Process) -> Result<Self, String> {
        if settings.at_once == 0 || settings.timeout_ms == 0 || settings.connect_timeout_ms == 0 {
            return Err("run.calls: at_once, timeout_ms and connect_timeout_ms must be at least 1".into());
        }
        runtime::install_crypto();
        let client = Client::builder()
            .connect_timeout(Duration::from_millis(settings.connect_timeout_ms))
            .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::limited(3))
            .build()
            .map_err(|error| format!("the HTTP client cannot be made: {error}"))?;
        let lane = Arc::new(Credential::new(&settings));
        Ok(Self { client, system, limits, settings: Arc::new(settings), process, lane })
    }

    /// The same with a pace and a circuit breaker of its own: for another credential, or another address.
    #[must_use]
    pub fn scoped(&self) -> Self {
        Self { lane: Arc::new(Credential::new(&self.settings)), ..self.clone() }
    }

    /// What requests are built with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request and takes its whole answer. `class` names the kind of call in metrics: a constant, never an id.
    ///
    /// A 5xx and a broken connection come back as [`Failure::Unavailable`]; a limit, and a circuit that is open, as
    /// [`Failure::Limited`]. Every other answer is the caller's to judge; see [`Response::success`].
    pub async fn send(&self, request: RequestBuilder, class: &'static str) -> Result<Response, Failure> {
        let timeout = Duration::from_millis(self.settings.timeout_ms);
        let _slot = self.enter(timeout).await?;
        let answer = tokio::time::timeout(timeout, async {
            let response = request.timeout(timeout).send().await?;
            let (status, headers) = (response.status(), response.headers().clone());
            Ok((status, headers, body(response, self.settings.body_bytes_max).await?))
        });
        let answer = match answer.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.unanswered(class, &error)),
            Err(_) => return Err(self.timed_out(class, timeout)),
        };
        let (status, headers, body) = answer;
        let Some(bytes) = body else {
            self.settle(class, "refused", true);
            let why = format!("the answer of {} is larger than {} bytes", self.system, self.settings.body_bytes_max);
            return Err(Failure::refused("answer_too_large", why));
        };
        self.judge(class, status, &headers, &bytes)?;
        Ok(Response { status, headers, bytes })
    }

    /// Sends a request and gives its answer as soon as the headers are there: for streams. The status is a success.
    pub async fn open(&self, request: RequestBuilder, class: &'static str) -> Result<reqwest::Response, Failure> {
        let timeout = Duration::from_millis(self.settings.timeout_ms);
        let _slot = self.enter(timeout).await?;
        let response = match tokio::time::timeout(timeout, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.unanswered(class, &error)),
            Err(_) => return Err(self.timed_out(class, timeout)),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        self.judge(class, status, &headers, &[])?;
        if !status.is_success() {
            return Err(Response { status, headers, bytes: Bytes::new() }.refusal(class));
        }
        Ok(response)
    }

    async fn enter(&self, timeout: Duration) -> Result<tokio::sync::SemaphorePermit<'_>, Failure> {
        let slot = self.lane.slots.acquire().await;
        let slot = slot.map_err(|_| Failure::unavailable("the process is ending"))?;
        let now = Instant::now();
        let mut gate = self.gate();
        if let Some(retry_after) = gate.pacer.wait(now) {
            return Err(Failure::Limited { why: format!("{} asked us to wait", self.system), retry_after });
        }
        if let Err(retry_after) = gate.breaker.admit(now, timeout) {
            let why = format!("{} keeps failing; calls to it are held back", self.system);
            return Err(Failure::Limited { why, retry_after });
        }
        Ok(slot)
    }

    fn judge(&self, class: &'static str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<(), Failure> {
        let limit = (self.limits)(status, headers, body, self.process.now_ms());
        let wait = self.gate().pacer.saw(&limit, Instant::now());
        if let Some(retry_after) = wait {
            self.settle(class, "limited", true);
            let why = format!("{} turned {class} away with {status}: too many calls", self.system);
            return Err(Failure::Limited { why, retry_after });
        }
        if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            self.settle(class, "unavailable", false);
            let why = format!("{} answered {class} with {status}", self.system);
            return Err(Failure::Unavailable { why, retry_after: limits::retry_after(headers) });
        }
        self.settle(class, if status.is_client_error() { "refused" } else { "ok" }, true);
        if !status.is_client_error() {
            self.process.succeeded(self.system);
        }
        Ok(())
    }

    fn unanswered(&self, class: &'static str, error: &reqwest::Error) -> Failure {
        self.settle(class, "unavailable", false);
        // Not the error's own text: it holds the address.
        let what = match error {
            error if error.is_timeout() => "did not answer in time",
            error if error.is_connect() => "cannot be reached",
            error if error.is_builder() => {
                return Failure::refused("bad_request", "the request cannot be built: check the address");
            }
            _ => "broke the connection",
        };
        Failure::unavailable(format!("{} {what} ({class})", self.system))
    }

    fn timed_out(&self, class: &'static str, timeout: Duration) -> Failure {
        self.settle(class, "unavailable", false);
        Failure::unavailable(format!("{} did not answer {class} within {timeout:?}", self.system))
    }

    fn settle(&self, class: &'static str, outcome: &str, answered: bool) {
        self.process.metrics().connector_calls_total.with_label_values(&[self.system, class, outcome]).inc();
        let mut gate = self.gate();
        if answered {
            gate.breaker.succeeded();
        } else {
            gate.breaker.failed(Instant::now());
        }
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.lane.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Credential {
    fn new(settings: &CallSettings) -> Self {
        Self { gate: Mutex::default(), slots: Semaphore::new(settings.at_once) }
    }
}

async fn body(mut response: reqwest::Response, limit: usize) -> Result<Option<Bytes>, reqwest::Error> {
    let mut whole = BytesMut::new();
    while let Some(part) = response.chunk().await? {
        if whole.len() + part.len() > limit {
            return Ok(None);
        }
        whole.extend_from_slice(&part);
    }
    Ok(Some(whole.freeze()))
}

impl Response {
    /// The answer if it is a success; else the failure that its status stands for. `what` was asked for, for a person.
    pub fn success(self, what: &str) -> Result<Self, Failure> {
        if self.status.is_success() { Ok(self) } else { Err(self.refusal(what)) }
    }

    /// The body as JSON. A body that is not what it should be is refused: no attempt makes it right.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.bytes).map_err(|error| {
            Failure::refused("unexpected_answer", format!("the answer is not what was expected: {error}"))
        })
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The failure that a status which is no success stands for.
    pub fn refusal(&self, what: &str) -> Failure {
        let why = format!("{what}: answered with {}", self.status);
        match self.status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Failure::gone(why),
            StatusCode::UNAUTHORIZED => Failure::refused("unauthorized", format!("{why}; check the credentials")),
            StatusCode::FORBIDDEN => Failure::refused("forbidden", format!("{why}; the credentials lack a right")),
            StatusCode::CONFLICT => Failure::unavailable(why),
            _ => Failure::refused("rejected", why),
        }
    }
}
