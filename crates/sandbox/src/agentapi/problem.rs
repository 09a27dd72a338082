//! The errors of agentapi, which are those of its HTTP framework: `application/problem+json`, each fault with its place.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};

/// An error answer.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    errors: Vec<Value>,
}

impl Problem {
    /// 422: the body does not fit the schema; each error has a message, a location and the value there.
    pub(super) fn validation(errors: Vec<Value>) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, detail: "validation failed".to_owned(), errors }
    }

    /// 500: the agent did not take it. There is no status of its own for a busy agent.
    pub(super) fn unexpected(message: &str) -> Self {
        let errors = vec![json!({"message": message})];
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, detail: "unexpected error occurred".to_owned(), errors }
    }

    /// Any status with a sentence.
    pub(super) fn new(status: StatusCode, detail: &str) -> Self {
        Self { status, detail: detail.to_owned(), errors: Vec::new() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "title": self.status.canonical_reason().unwrap_or("Error"), "status": self.status.as_u16(), "detail": self.detail,
        });
        if !self.errors.is_empty() {
            body["errors"] = Value::Array(self.errors);
        }
        (self.status, [(CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
    }
}

/// What a message's body asks for: its content, and whether it is a `user` message rather than `raw` keystrokes.
pub(super) fn message_of(body: &[u8]) -> Result<(String, bool), Problem> {
    if body.is_empty() {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "request body is required"));
    }
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        let mut problem = Problem::validation(Vec::new());
        problem.status = StatusCode::BAD_REQUEST;
        problem.errors.push(json!({"message": "the body is not JSON", "location": "body"}));
        return Err(problem);
    };
    let Some(fields) = value.as_object() else {
        return Err(Problem::validation(vec![
            json!({"message": "expected object", "location": "body", "value": value}),
        ]));
    };
    let mut errors = Vec::new();
    for name in ["content", "type"] {
        match fields.get(name) {
            None => errors.push(json!({
                "message": format!("expected required property {name} to be present"), "location": "body", "value": value,
            })),
            Some(Value::String(_)) => {}
            Some(other) => errors.push(json!({"message": "expected string", "location": format!("body.{name}"), "value": other})),
        }
    }
    for name in fields.keys().filter(|name| !["content", "type", "$schema"].contains(&name.as_str())) {
        errors.push(json!({"message": "unexpected property", "location": format!("body.{name}"), "value": value}));
    }
    let kind = fields.get("type").and_then(Value::as_str);
    if let Some(other) = kind.filter(|kind| !["raw", "user"].contains(kind)) {
        errors.push(
            json!({"message": "expected value to be one of \"raw, user\"", "location": "body.type", "value": other}),
        );
    }
    match (fields.get("content").and_then(Value::as_str), kind) {
        (Some(content), Some(kind)) if errors.is_empty() => Ok((content.to_owned(), kind == "user")),
        _ => Err(Problem::validation(errors)),
    }
}
