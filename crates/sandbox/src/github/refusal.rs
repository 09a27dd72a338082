//! The errors GitHub answers with, in its own words and forms.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

/// Why a request was not carried out.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) status: StatusCode,
    /// What is said to a person.
    pub(super) message: String,
    /// The single faults of a validation.
    pub(super) errors: Vec<Value>,
}

/// What every edit and handler yields.
pub(super) type Outcome<T> = Result<T, Refusal>;

impl Refusal {
    /// Any status with a message.
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), errors: Vec::new() }
    }

    /// 404: absent, or hidden from this credential.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    /// 401: a credential that is unknown or has expired.
    pub(super) fn bad_credentials() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Bad credentials")
    }

    /// 400: the body is not JSON.
    pub(super) fn not_json() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Problems parsing JSON")
    }

    /// 422: one field of a resource is missing (`missing_field`), malformed (`invalid`) or breaks a rule (`custom`).
    pub(super) fn invalid(resource: &str, field: &str, code: &str) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            message: "Validation Failed".to_owned(),
            errors: vec![json!({"resource": resource, "field": field, "code": code})],
        }
    }

    /// 422 with a sentence instead of a field.
    pub(super) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// 500: the sandbox itself failed, for instance to write its journal.
    pub(super) fn broken(error: &anyhow::Error) -> Self {
        tracing::error!(%error, "the sandbox could not keep a change");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Server Error")
    }

    /// The JSON body.
    pub(super) fn body(&self) -> Value {
        let mut body = json!({
            "message": self.message,
            "documentation_url": "https://docs.github.com/rest",
            "status": self.status.as_u16().to_string(),
        });
        if !self.errors.is_empty() {
            body["errors"] = Value::Array(self.errors.clone());
        }
        body
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, axum::Json(self.body())).into_response()
    }
}
