//! What happens around every request: a span, an id, a count, and an answer when a handler panics.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, HOST, ORIGIN};
use http::{HeaderName, HeaderValue, StatusCode, Version};
use hyper::body::{Frame, SizeHint};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;
use uuid::Uuid;

use super::Process;
use super::refusals::in_one_form;
use super::tasks::message;
use crate::http::Code;
use crate::{Problem, telemetry};

/// How often it is said at most that a page, or a name that we are called by, is refused: who is refused may ask without end.
const SAID_MS: i64 = 10_000;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) fn around(process: &Process, router: Router) -> Router {
    router
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(in_one_form))
        .layer(from_fn_with_state(process.clone(), observed))
}

#[expect(clippy::needless_pass_by_value, reason = "the layer's trait wants it so")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    tracing::error!(panic = message(&*panic), "a handler panicked");
    Problem::internal("internal", "this request could not be served; the log of the service says why").into_response()
}

async fn observed(State(process): State<Process>, mut request: Request, next: Next) -> Response {
    take_host_of_target(&mut request);
    let (origin, host) = (request.headers().get(ORIGIN).cloned(), request.headers().get(HOST).cloned());
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let id = request_id(&request);
    let span = tracing::info_span!(
        "http request",
        service = process.service(),
        http.method = %request.method(),
        http.route = route,
        http.status = tracing::field::Empty,
        request.id = id.to_str().unwrap_or_default(),
    );
    let is_read = Arc::new(AtomicBool::new(request.body().is_end_stream()));
    let is_kept_alive = request.version() <= Version::HTTP_11;
    let headers = request.headers();
    telemetry::extract(&|name| headers.get(name)?.to_str().ok().map(str::to_owned), &span);
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let request = request.map(|body| Body::new(Watched { body, is_read: Arc::clone(&is_read) }));
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.status", status.as_u16());
    process.metrics().http_requests_total.with_label_values(&[process.service(), &route, status.as_str()]).inc();
    if let Some(Code(code)) = response.extensions().get() {
        process.metrics().http_refusals_total.with_label_values(&[process.service(), code]).inc();
        if matches!(*code, "origin_not_allowed" | "host_not_allowed")
            && process.shared::<Said>().is_due(process.now_ms())
        {
            let service = process.service();
            tracing::warn!(service, code, ?origin, ?host, "a request was refused because of where it came from");
        }
    }
    response.headers_mut().insert(REQUEST_ID, id);
    // After an upgrade no request follows, and its own header must stay.
    let may_another_follow = is_kept_alive && status != StatusCode::SWITCHING_PROTOCOLS;
    if may_another_follow && !is_read.load(Ordering::Acquire) {
        // What nobody read of the body ends the connection, unless all of it happens to be there already. Whoever is not told may send
        // the next request on it.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A target that names its host, as each of HTTP/2 does, overrules the header (RFC 9112, section 3.2.2): who guards by the name finds it
/// in the header only.
fn take_host_of_target(request: &mut Request) {
    let Some(authority) = request.uri().authority().map(http::uri::Authority::as_str) else { return };
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    if let Ok(host) = HeaderValue::from_str(place) {
        request.headers_mut().insert(HOST, host);
    }
}

/// When it was last said that a page or a name is refused.
#[derive(Default)]
struct Said(AtomicI64);

impl Said {
    fn is_due(&self, now_ms: i64) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        let due = now_ms.saturating_sub(last) >= SAID_MS;
        due && self.0.compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// The body of a request, which says when it was read to its end.
struct Watched {
    body: Body,
    is_read: Arc<AtomicBool>,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.is_read.store(true, Ordering::Release);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The caller's own id when it is short and plain, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let plain = |id: &&HeaderValue| id.len() <= 100 && id.as_bytes().iter().all(u8::is_ascii_graphic);
    let given = request.headers().get(REQUEST_ID).filter(plain).cloned();
    given.unwrap_or_else(|| {
        HeaderValue::from_str(&Uuid::now_v7().to_string()).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}
