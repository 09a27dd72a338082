//! What an answer of GitHub's API means: something to read, or which kind of failure it is.
//!
//! Pure. What limits and faults of the server look like over HTTP is known before this is asked.

use connector::Failure;
use http::StatusCode;
use serde_json::Value;

/// The failure that an answer is, if it is one. 304 is none: nothing has changed.
pub fn failure(status: StatusCode, body: &[u8]) -> Option<Failure> {
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return None;
    }
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = said["message"].as_str().unwrap_or("no message");
    Some(match status {
        StatusCode::UNAUTHORIZED => {
            let why = format!(
                "GitHub does not accept the credential ({message}); check connector.github.token or the app's settings"
            );
            Failure::refused("unauthorized", why)
        }
        StatusCode::FORBIDDEN => refused("forbidden", message),
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => {
            Failure::gone(format!("GitHub: {message} (it is gone, or the credential may not see it)"))
        }
        StatusCode::CONFLICT => Failure::unavailable(format!("GitHub: {message}")),
        _ if status.is_redirection() => Failure::gone("GitHub: it has moved to another address"),
        _ => refused("invalid", message),
    })
}

/// Why an app gets no token. Whatever is missing then is the app or its installation, and never the record that the token was wanted for.
pub fn no_token(failure: Failure) -> Failure {
    match failure {
        Failure::Gone { why } | Failure::Refused { why, .. } => {
            let why =
                format!("the app gets no token: {why}; check connector.github.app_id, installation_id and private_key");
            Failure::refused("unauthorized", why)
        }
        failure => failure,
    }
}

/// The `data` of an answer of GraphQL's, whose errors come under status 200.
pub fn data(body: &[u8]) -> Result<Value, Failure> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(error) = answer["errors"].as_array().and_then(|errors| errors.first()) else {
        let data = &answer["data"];
        return if data.is_object() { Ok(data.clone()) } else { Err(refused("unreadable", "an answer without data")) };
    };
    let message = error["message"].as_str().unwrap_or("no message");
    Err(match error["type"].as_str().unwrap_or_default() {
        "NOT_FOUND" => Failure::gone(format!("GitHub: {message}")),
        "FORBIDDEN" | "INSUFFICIENT_SCOPES" => refused("forbidden", message),
        "INTERNAL" | "SERVICE_UNAVAILABLE" => Failure::unavailable(format!("GitHub: {message}")),
        _ if message.starts_with("Something went wrong") => Failure::unavailable(format!("GitHub: {message}")),
        _ => refused("invalid", message),
    })
}

fn refused(code: &'static str, message: &str) -> Failure {
    Failure::refused(code, format!("GitHub refused: {message}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failed(status: u16, message: &str) -> Option<Failure> {
        failure(StatusCode::from_u16(status).unwrap(), json!({"message": message}).to_string().as_bytes())
    }

    #[test]
    fn each_status_has_its_meaning() {
        let why = failed(401, "Bad credentials").unwrap();
        assert!(
            matches!(&why, Failure::Refused { code: "unauthorized", why } if why.contains("connector.github.token")),
            "{why}"
        );
        assert!(matches!(failed(403, "Resource not accessible"), Some(Failure::Refused { code: "forbidden", .. })));
        assert!(matches!(failed(404, "Not Found"), Some(Failure::Gone { .. })));
        assert!(matches!(failed(410, "Gone"), Some(Failure::Gone { .. })));
        assert!(matches!(failed(409, "Conflict"), Some(Failure::Unavailable { .. })));
        assert!(matches!(failed(422, "Validation Failed"), Some(Failure::Refused { code: "invalid", .. })));
        assert_eq!(failed(304, ""), None);
        assert_eq!(failed(201, ""), None);
    }

    #[test]
    fn graphql_says_no_under_200() {
        let said = |kind: &str| {
            data(
                json!({"data": {"repository": null}, "errors": [{"type": kind, "message": "m"}]})
                    .to_string()
                    .as_bytes(),
            )
        };
        assert!(matches!(said("NOT_FOUND"), Err(Failure::Gone { .. })));
        assert!(matches!(said("UNPROCESSABLE"), Err(Failure::Refused { code: "invalid", .. })));
        assert!(matches!(data(b"no"), Err(Failure::Refused { code: "unreadable", .. })));
        assert_eq!(data(br#"{"data": {"a": 1}}"#), Ok(json!({"a": 1})));
    }
}
