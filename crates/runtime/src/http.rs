//! How our HTTP faces say no: one form of answer, with a code for programs and a sentence for people.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

/// A refusal, answered as `application/problem+json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// One word that the documentation explains; it never changes its meaning.
    pub code: &'static str,
    /// What kind of problem it is, the same for every problem of that status.
    pub title: &'static str,
    /// What is wrong with this request, and what would be right.
    pub detail: String,
    more: Map<String, Value>,
    /// Boxed, because most have none and every refusal is handed about.
    headers: Option<Box<HeaderMap>>,
}

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $title:literal;)*) => {
        $($(#[$doc])*
        pub fn $name(code: &'static str, detail: impl Into<String>) -> Self {
            Self::new(StatusCode::$status, code, $title, detail)
        })*
    };
}

impl Problem {
    /// A problem of any status.
    pub fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, title, detail: detail.into(), more: Map::new(), headers: None }
    }

    problems! {
        /// 400: the request cannot be understood.
        bad_request = BAD_REQUEST, "The request cannot be understood";
        /// 401: who asks is not known.
        unauthorized = UNAUTHORIZED, "The request is not authenticated";
        /// 403: who asks may not.
        forbidden = FORBIDDEN, "The request is not allowed";
        /// 404: there is no such thing.
        not_found = NOT_FOUND, "There is no such thing";
        /// 405: the thing is there, and this cannot be done with it.
        bad_method = METHOD_NOT_ALLOWED, "The method is not allowed here";
        /// 409: it does not fit what is there now.
        conflict = CONFLICT, "The request does not fit the present state";
        /// 413: the body is over the limit.
        too_large = PAYLOAD_TOO_LARGE, "The request is too large";
        /// 415: the body is in a form that is not spoken here.
        bad_media = UNSUPPORTED_MEDIA_TYPE, "The form of the body is not supported";
        /// 422: the request is well formed, and its content is wrong.
        unprocessable = UNPROCESSABLE_ENTITY, "The content of the request is wrong";
        /// 429: too many requests.
        too_many = TOO_MANY_REQUESTS, "Too many requests";
        /// 500: a fault of ours. The detail must not tell what failed inside.
        internal = INTERNAL_SERVER_ERROR, "The service failed";
        /// 503: something that is needed is away; the same request may do later.
        unavailable = SERVICE_UNAVAILABLE, "The service cannot do this now";
    }

    /// Adds a member to the answer, such as `errors`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header to the answer, such as the version that would be right.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.get_or_insert_default().insert(name, value.into());
        self
    }

    /// Adds a `Retry-After`, in whole seconds, at least one.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        self.with_header(header::RETRY_AFTER, wait.as_secs().max(1))
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Problem {}

/// The code of the problem that a response tells, for whoever counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) &'static str);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = self.more;
        body.insert("type".into(), json!("about:blank"));
        body.insert("title".into(), json!(self.title));
        body.insert("status".into(), json!(self.status.as_u16()));
        body.insert("code".into(), json!(self.code));
        body.insert("detail".into(), json!(self.detail));
        let mut response = (self.status, Json(Value::Object(body))).into_response();
        response.extensions_mut().insert(Code(self.code));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.headers.map(|headers| *headers).unwrap_or_default());
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_problem_says_its_code_and_when_to_come_back() {
        let problem = Problem::unavailable("bus_unavailable", "JetStream is away")
            .retry_after(Duration::from_millis(10))
            .with("errors", json!([1]));
        let response = problem.into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let body = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], "bus_unavailable");
        assert_eq!(body["errors"], json!([1]));
    }
}
