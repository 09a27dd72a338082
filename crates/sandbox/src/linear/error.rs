//! The forms in which Linear says no.

use serde_json::{Value, json};

use crate::limits::Standing;

/// Why a request, or one field of it, was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What went wrong.
    pub message: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    InvalidInput,
    Authentication,
    Validation,
    Syntax,
    Internal,
}

impl ApiError {
    /// The caller asked for something that cannot be.
    pub fn input(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: Kind::InvalidInput }
    }

    /// There is no such entity.
    pub fn not_found(what: &str) -> Self {
        Self::input(format!("Entity not found: {what}"))
    }

    /// The credential is missing or unknown.
    pub fn authentication(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: Kind::Authentication }
    }

    /// The document does not fit the schema.
    pub fn validation(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: Kind::Validation }
    }

    /// The document is not GraphQL.
    pub fn syntax(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: Kind::Syntax }
    }

    /// The server failed.
    pub fn internal(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: Kind::Internal }
    }

    /// The error as an entry of `errors`; `path` says which field it is about.
    pub fn to_json(&self, path: &[Value]) -> Value {
        let (kind, code, status) = match self.kind {
            Kind::InvalidInput => ("invalid input", "INPUT_ERROR", 400),
            Kind::Authentication => ("authentication error", "AUTHENTICATION_ERROR", 401),
            Kind::Validation => ("graphql error", "GRAPHQL_VALIDATION_FAILED", 400),
            Kind::Syntax => ("graphql error", "GRAPHQL_PARSE_FAILED", 400),
            Kind::Internal => ("internal error", "INTERNAL_SERVER_ERROR", 500),
        };
        let mut error = json!({
            "message": self.message,
            "extensions": {
                "type": kind,
                "code": code,
                "statusCode": status,
                "userError": self.kind != Kind::Internal,
                "userPresentableMessage": self.message,
            },
        });
        if !path.is_empty() {
            error["path"] = json!(path);
        }
        error
    }
}

/// The body of a rate-limit answer, which goes out with HTTP 400.
pub fn rate_limited(what: &str, requested: u64, standing: Standing, window_ms: u64) -> Value {
    let message = format!("Rate limit exceeded. Only {} {what} are allowed per window.", standing.limit);
    json!({
        "errors": [{
            "message": message,
            "extensions": {
                "type": "ratelimited",
                "code": "RATELIMITED",
                "statusCode": 429,
                "userError": true,
                "userPresentableMessage": message,
                "meta": {
                    "rateLimitResult": {
                        "allowed": false,
                        "requested": requested,
                        "limit": standing.limit,
                        "remaining": standing.remaining,
                        "duration": window_ms,
                        "reset": standing.reset_ms,
                    },
                },
            },
        }],
    })
}
