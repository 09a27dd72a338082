//! What happens around every request: a span, an id, a count, and an answer when a handler panics.

use std::any::Any;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::CONNECTION;
use http::{HeaderName, HeaderValue, StatusCode, Version};

use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;
use uuid::Uuid;

use super::Process;
use super::refusals::in_one_form;
use super::tasks::message;
use crate::{Problem, telemetry};

/// So much of a body that was refused is read all the same, in bytes.
const LEFT_MAX: u64 = 16 * 1024;

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
    let is_large = request.body().size_hint().lower() > LEFT_MAX;
    let is_kept_alive = request.version() <= Version::HTTP_11;
    let headers = request.headers();
    telemetry::extract(&|name| headers.get(name)?.to_str().ok().map(str::to_owned), &span);
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.status", status.as_u16());
    process.metrics().http_requests_total.with_label_values(&[process.service(), &route, status.as_str()]).inc();
    response.headers_mut().insert(REQUEST_ID, id);
    if is_kept_alive && (status == StatusCode::PAYLOAD_TOO_LARGE || (is_large && !status.is_success())) {
        // What nobody read of the body ends the connection. Whoever is not told may send the next request on it.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The caller's own id when it is short and plain, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let plain = |id: &&HeaderValue| id.len() <= 100 && id.as_bytes().iter().all(u8::is_ascii_graphic);
    let given = request.headers().get(REQUEST_ID).filter(plain).cloned();
    given.unwrap_or_else(|| {
        HeaderValue::from_str(&Uuid::now_v7().to_string()).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}
