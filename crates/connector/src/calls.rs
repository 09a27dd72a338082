//! HTTP calls to a system: with timeouts, a bound on how many at once, pacing by the system's limits, and a circuit breaker.
//!
//! All that use one credential stand in one line, the urgent before the others ([`asking`] says who asks). Does not retry: a
//! failure is returned, and the loop's table decides.

mod asking;
mod breaker;
pub mod limits;
mod line;
mod pacer;
mod response;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use reqwest::{Client, RequestBuilder};
use runtime::Process;
use serde::Deserialize;
use tokio::time::Instant;

use crate::Failure;
use asking::Asking;
use breaker::Breaker;
use limits::{Limit, Limits, Points};
use line::{Credentials, Line, Place, Wants};
use pacer::{Need, Pacer};

pub use asking::asking;
pub use response::Response;

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
    /// How long after a write the next may follow, in place of what the system asks for.
    pub writes_apart_ms: Option<u64>,
    /// How many writes may be made in an hour, in place of what the system allows; 0 for any number. What only has webhooks sent
    /// again is not counted.
    pub writes_an_hour: Option<u64>,
}

/// The classes of calls that write.
const WRITES: [&str; 3] = ["write", "show", "redeliver"];
/// Those of them that make content.
const CONTENT: [&str; 2] = ["write", "show"];

impl Default for CallSettings {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 5_000,
            timeout_ms: 20_000,
            at_once: 8,
            body_bytes_max: 16 * 1024 * 1024,
            writes_apart_ms: None,
            writes_an_hour: None,
        }
    }
}

impl CallSettings {
    /// A system's limits, with what is set in their place.
    fn over(&self, limits: Limits) -> Limits {
        let writes_apart = self.writes_apart_ms.map_or(limits.writes_apart, Duration::from_millis);
        let content = match self.writes_an_hour {
            None => limits.content,
            Some(0) => None,
            Some(most) => Some(Points::content_an_hour(most)),
        };
        Limits { writes_apart, content, ..limits }
    }
}

/// HTTP for one credential of one system. A clone shares its pace and its circuit breaker.
#[derive(Clone)]
pub struct Calls {
    client: Client,
    system: &'static str,
    limits: Limits,
    settings: Arc<CallSettings>,
    process: Process,
    line: Arc<Line>,
    circuit: Arc<Mutex<Breaker>>,
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
        let limits = settings.over(limits);
        let line = Line::new(system, process.metrics().clone(), Pacer::new(limits, settings.at_once));
        Ok(Self { client, system, limits, settings: Arc::new(settings), process, line, circuit: Arc::default() })
    }

    /// The same with a pace and a circuit breaker of its own: for another address.
    #[must_use]
    pub fn scoped(&self) -> Self {
        Self { line: self.new_line(), circuit: Arc::default(), ..self.clone() }
    }

    /// The same at the pace of `credential`: whoever in this process calls this system with it shares that pace. At most as
    /// many calls are under way at once as the first of them said.
    #[must_use]
    pub fn for_credential(&self, credential: &str) -> Self {
        let lines = self.process.shared::<Credentials>();
        let line = lines.line(self.system, credential, || self.new_line());
        Self { line, circuit: Arc::default(), ..self.clone() }
    }

    /// The same for calls of the same credential that draw on other budgets, with a circuit breaker of their own.
    #[must_use]
    pub fn drawing_on(&self, budgets: &'static [&'static str]) -> Self {
        Self { limits: Limits { budgets, ..self.limits }, circuit: Arc::default(), ..self.clone() }
    }

    fn new_line(&self) -> Arc<Line> {
        let pacer = Pacer::new(self.limits, self.settings.at_once);
        Line::new(self.system, self.process.metrics().clone(), pacer)
    }

    /// What requests are built with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Does `work`, which may write, when it has the turn to write: so what it reads first is not old when it writes. Where
    /// the system does not want writes apart, and for who has the turn, that is at once.
    pub fn in_turn<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> impl Future<Output = Result<T, Failure>> {
        self.turn_of("write", true, work)
    }

    /// The same for work that may find nothing to write: it looks though the hour's writes are used up, and only what it then writes waits.
    pub fn in_turn_to_look<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> impl Future<Output = Result<T, Failure>> {
        self.turn_of("write", false, work)
    }

    /// The turn comes when a call of this class may go.
    async fn turn_of<T>(
        &self,
        class: &'static str,
        makes_content: bool,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let asking = Asking::now();
        if asking.turn || !self.line.has_turns() {
            return work.await;
        }
        let need = Need { makes_content, ..self.need(class, &asking) };
        let _turn = self.line.wait(need, Wants::Turn, &asking).await?;
        asking::with_turn(work).await
    }

    /// Sends a request and takes its whole answer. `class` names the kind of call in metrics: a constant, never an id; `write`,
    /// `show` and `redeliver` are those that write.
    ///
    /// A 5xx and a broken connection come back as [`Failure::Unavailable`]; a limit, and a circuit that is open, as
    /// [`Failure::Limited`]. Every other answer is the caller's to judge; see [`Response::success`].
    pub async fn send(&self, request: RequestBuilder, class: &'static str) -> Result<Response, Failure> {
        // Apart, or whoever makes several calls would be several times as large.
        let sent = Box::pin(self.send_in_turn(request, class));
        if WRITES.contains(&class) { self.turn_of(class, CONTENT.contains(&class), sent).await } else { sent.await }
    }

    async fn send_in_turn(&self, request: RequestBuilder, class: &'static str) -> Result<Response, Failure> {
        let timeout = Duration::from_millis(self.settings.timeout_ms);
        let place = self.enter(class, timeout).await?;
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
        self.judge(class, place, status, &headers, &bytes)?;
        Ok(Response { status, headers, bytes })
    }

    /// Sends a request and gives its answer as soon as the headers are there: for streams. The status is a success.
    pub async fn open(&self, request: RequestBuilder, class: &'static str) -> Result<reqwest::Response, Failure> {
        let timeout = Duration::from_millis(self.settings.timeout_ms);
        let place = self.enter(class, timeout).await?;
        let response = match tokio::time::timeout(timeout, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.unanswered(class, &error)),
            Err(_) => return Err(self.timed_out(class, timeout)),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        self.judge(class, place, status, &headers, &[])?;
        if !status.is_success() {
            return Err(Response { status, headers, bytes: Bytes::new() }.refusal(class));
        }
        Ok(response)
    }

    fn need(&self, class: &'static str, asking: &Asking) -> Need {
        let (writes, makes_content) = (WRITES.contains(&class), CONTENT.contains(&class));
        Need { lane: asking.lane, class, budgets: self.limits.budgets, writes, makes_content }
    }

    /// Waits for a place in the line. A circuit that is open is not waited for.
    async fn enter(&self, class: &'static str, timeout: Duration) -> Result<Place, Failure> {
        let held_back = |retry_after| {
            let why = format!("{} keeps failing; calls to it are held back", self.system);
            Failure::Limited { why, retry_after }
        };
        if let Some(retry_after) = self.circuit().wait(Instant::now()) {
            return Err(held_back(retry_after));
        }
        let asking = Asking::now();
        let mut place = self.line.wait(self.need(class, &asking), Wants::Call, &asking).await?;
        self.circuit().admit(Instant::now(), timeout).map_err(held_back)?;
        place.sends();
        Ok(place)
    }

    fn judge(
        &self,
        class: &'static str,
        place: Place,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), Failure> {
        let limit: Limit = (self.limits.read)(status, headers, body, self.process.now_ms());
        if let Some(retry_after) = place.answered(&limit) {
            self.settle(class, "limited", true);
            let why = format!("{} turned {class} away with {status}: too many calls", self.system);
            return Err(Failure::Limited { why, retry_after });
        }
        if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            let why = format!("{} answered {class} with {status}", self.system);
            return Err(self.failed(class, why, limits::retry_after(headers)));
        }
        self.settle(class, if status.is_client_error() { "refused" } else { "ok" }, true);
        if status.is_client_error() {
            self.process.failed(self.system, format!("{} answered {class} with {status}", self.system));
        } else {
            self.process.succeeded(self.system);
        }
        Ok(())
    }

    fn unanswered(&self, class: &'static str, error: &reqwest::Error) -> Failure {
        // Not the error's own text: it holds the address.
        let what = match error {
            error if error.is_timeout() => "did not answer in time",
            error if error.is_connect() => "cannot be reached",
            error if error.is_builder() => {
                self.settle(class, "unavailable", false);
                return Failure::refused("bad_request", "the request cannot be built: check the address");
            }
            _ => "broke the connection",
        };
        self.failed(class, format!("{} {what} ({class})", self.system), None)
    }

    fn timed_out(&self, class: &'static str, timeout: Duration) -> Failure {
        self.failed(class, format!("{} did not answer {class} within {timeout:?}", self.system), None)
    }

    /// A call failed that the system should have answered. While the circuit is open that says nothing of the call itself, and
    /// is no attempt: a system that is away is waited for.
    fn failed(&self, class: &'static str, why: String, retry_after: Option<Duration>) -> Failure {
        self.process.failed(self.system, why.as_str());
        match self.settle(class, "unavailable", false) {
            Some(open) => Failure::Limited { why, retry_after: open.max(retry_after.unwrap_or_default()) },
            None => Failure::Unavailable { why, retry_after },
        }
    }

    /// Counts a call. How long the circuit stays open, when it was open already and the call failed.
    fn settle(&self, class: &'static str, outcome: &str, answered: bool) -> Option<Duration> {
        self.process.metrics().connector_calls_total.with_label_values(&[self.system, class, outcome]).inc();
        let mut circuit = self.circuit();
        if answered {
            circuit.succeeded();
            None
        } else {
            circuit.failed(Instant::now())
        }
    }

    fn circuit(&self) -> MutexGuard<'_, Breaker> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
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
