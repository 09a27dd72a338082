//! What an answer of Linear's API means: its data, or which kind of failure it is.
//!
//! Pure. Linear says most of it in `errors[].extensions.code`, under whatever HTTP status. What limits and faults of the server
//! look like over HTTP is known before this is asked.

use std::time::Duration;

use connector::Failure;
use http::StatusCode;
use serde_json::Value;

/// How long to wait at least after a limit that came without its usual status; the headers, which are kept track of, know better.
const LIMIT_WAIT: Duration = Duration::from_secs(1);

/// The `data` of an answer.
pub fn data(status: StatusCode, body: &[u8]) -> Result<Value, Failure> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if let Some(error) = answer["errors"].as_array().and_then(|errors| errors.first()) {
        return Err(failure(error));
    }
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(unauthorized(&status.to_string())),
        _ if status.is_success() && answer["data"].is_object() => Ok(answer["data"].clone()),
        _ => Err(refused("unreadable", &format!("{status} without data; check connector.linear.api_url"))),
    }
}

fn failure(error: &Value) -> Failure {
    let message = error["message"].as_str().unwrap_or("no message");
    match error["extensions"]["code"].as_str().unwrap_or_default() {
        "RATELIMITED" => Failure::Limited { why: message.to_owned(), retry_after: LIMIT_WAIT },
        "AUTHENTICATION_ERROR" => unauthorized(message),
        "FORBIDDEN" => refused("forbidden", message),
        "INTERNAL_SERVER_ERROR" => Failure::unavailable(format!("Linear: {message}")),
        _ if message.starts_with("Entity not found") => Failure::gone(format!("Linear: {message}")),
        _ => refused("invalid", message),
    }
}

/// Whether the credential was not accepted.
pub fn is_unauthorized(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused { code: "unauthorized", .. })
}

fn unauthorized(message: &str) -> Failure {
    Failure::refused(
        "unauthorized",
        format!("Linear does not accept the credential ({message}); check connector.linear.api_key"),
    )
}

fn refused(code: &'static str, message: &str) -> Failure {
    Failure::refused(code, format!("Linear refused: {message}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failed(status: u16, body: &Value) -> Failure {
        data(StatusCode::from_u16(status).unwrap(), body.to_string().as_bytes()).unwrap_err()
    }

    fn error(code: &str, message: &str) -> Value {
        json!({"data": null, "errors": [{"message": message, "extensions": {"code": code}}]})
    }

    #[test]
    fn a_refused_credential_names_the_setting() {
        let refused = failed(400, &error("AUTHENTICATION_ERROR", "Authentication required"));
        assert!(
            matches!(refused, Failure::Refused { code: "unauthorized", ref why } if why.contains("connector.linear.api_key"))
        );
        assert!(matches!(failed(401, &Value::Null), Failure::Refused { code: "unauthorized", .. }));
    }

    #[test]
    fn a_missing_issue_is_gone_even_under_status_200() {
        assert!(matches!(failed(200, &error("INPUT_ERROR", "Entity not found: Issue")), Failure::Gone { .. }));
    }

    #[test]
    fn a_limit_and_a_fault_are_known_by_their_codes_too() {
        assert!(matches!(failed(200, &error("RATELIMITED", "x")), Failure::Limited { .. }));
        assert!(matches!(failed(200, &error("INTERNAL_SERVER_ERROR", "x")), Failure::Unavailable { .. }));
    }

    #[test]
    fn what_cannot_be_helped_by_trying_again_is_refused() {
        assert!(matches!(
            failed(400, &error("GRAPHQL_VALIDATION_FAILED", "x")),
            Failure::Refused { code: "invalid", .. }
        ));
        assert!(matches!(failed(404, &Value::Null), Failure::Refused { code: "unreadable", .. }));
    }
}
