//! Gives every refusal the one form that our faces have, the framework's own included, and every request's body an end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::Problem;

/// How long the body of a request may take to arrive, from its head to its last byte, however it trickles.
const BODY: Duration = Duration::from_secs(30);
/// The longest sentence of the framework's that is passed on.
const SENTENCE_MAX: usize = 4 * 1024;

/// What the framework refuses by itself, with a plain sentence, is answered like all that we refuse.
pub(super) async fn in_one_form(request: Request, next: Next) -> Response {
    in_one_form_within(BODY, request, next).await
}

async fn in_one_form_within(patience: Duration, request: Request, next: Next) -> Response {
    let end = Instant::now() + patience;
    let request = request.map(|body| Body::new(Timely { body, end: Box::pin(sleep_until(end)) }));
    let response = next.run(request).await;
    let status = response.status();
    let plain = response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/"));
    if !(status.is_client_error() && plain) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let said = axum::body::to_bytes(body, SENTENCE_MAX).await.unwrap_or_default();
    let (code, title) = kind(status);
    let said = String::from_utf8_lossy(&said);
    let detail = if said.trim().is_empty() { title.to_owned() } else { said.trim().to_owned() };
    let mut answer = Problem::new(status, code, title, detail).into_response();
    for name in [header::ALLOW, header::UPGRADE, header::CONNECTION] {
        answer.headers_mut().extend(parts.headers.get(&name).map(|value| (name, value.clone())));
    }
    answer
}

fn kind(status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::NOT_FOUND => ("no_such_path", "There is no such thing"),
        StatusCode::METHOD_NOT_ALLOWED => ("bad_method", "The method is not allowed here"),
        StatusCode::REQUEST_TIMEOUT => ("too_slow", "The request was too slow"),
        StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "The request is too large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("not_json", "The form of the body is not supported"),
        StatusCode::UNPROCESSABLE_ENTITY => ("bad_content", "The content of the request is wrong"),
        StatusCode::UPGRADE_REQUIRED => ("upgrade_required", "This path speaks WebSocket only"),
        _ => ("bad_request", "The request cannot be understood"),
    }
}

/// A body that ends with an error when it takes too long.
struct Timely {
    body: Body,
    end: Pin<Box<Sleep>>,
}

impl hyper::body::Body for Timely {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        self.end.as_mut().poll(cx).map(|()| Some(Err(axum::Error::new("the body took too long to arrive"))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::extract::{Json, Query};
    use axum::middleware::from_fn;
    use axum::routing::post;
    use futures_util::stream;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    async fn ask(target: &str, kind: &str, body: Body) -> (u16, String, Value) {
        async fn take(_: Query<Vec<(String, u8)>>, Json(_): Json<Vec<u8>>) {}
        let router = Router::new().route("/", post(take));
        let router = router.layer(from_fn(|request, next| in_one_form_within(PATIENCE, request, next)));
        let request = http::Request::post(target).header("content-type", kind).body(body).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        let (status, kind) = (answer.status().as_u16(), answer.headers().get("content-type").cloned());
        let said = axum::body::to_bytes(answer.into_body(), 10_000).await.unwrap();
        let kind = kind.map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
        (status, kind, serde_json::from_slice(&said).unwrap_or_default())
    }

    #[tokio::test]
    async fn what_the_framework_refuses_is_a_problem_like_all_others() {
        for (target, kind, body, status, code) in [
            ("/?a=x", "application/json", "[]", 400, "bad_request"),
            ("/", "application/json", "[", 400, "bad_request"),
            ("/", "application/json", "[300]", 422, "bad_content"),
            ("/", "text/plain", "[]", 415, "not_json"),
        ] {
            let (answered, form, problem) = ask(target, kind, body.into()).await;
            assert_eq!((answered, form.as_str()), (status, "application/problem+json"), "{target} {body}");
            assert_eq!(problem["code"], code);
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{problem}");
        }
        assert_eq!(ask("/", "application/json", "[1]".into()).await.0, 200);
    }

    #[tokio::test]
    async fn a_body_that_trickles_is_not_waited_for() {
        let trickle = stream::unfold((), |()| async {
            tokio::time::sleep(PATIENCE / 5).await;
            Some((Ok::<_, std::io::Error>("["), ()))
        });
        let began = Instant::now();
        let (status, _, problem) = ask("/", "application/json", Body::from_stream(trickle)).await;
        assert_eq!(status, 400, "{problem}");
        assert!(began.elapsed() >= PATIENCE);
    }
}
