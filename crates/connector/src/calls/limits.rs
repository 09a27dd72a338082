//! Reads what an answer says about limits, in each system's own way.
//!
//! Pure: `now_ms` is an argument, and nothing is remembered. See [`Pacer`](super::pacer::Pacer) for what comes of it.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

/// A reader of limits: the answer's status, headers and body, and the time of its arrival in milliseconds since 1970.
pub type Limits = fn(StatusCode, &HeaderMap, &[u8], i64) -> Limit;

/// What an answer says about limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limit {
    /// This call was turned away because of a limit.
    pub refused: bool,
    /// The wait that the answer asks for, where it says.
    pub wait: Option<Duration>,
    /// How much of the tightest budget is left.
    pub remaining: Option<u64>,
    /// When that budget is full again.
    pub resets_in: Option<Duration>,
}

/// A `retry-after` in seconds. The form with a date is not used by the systems here; it reads as none.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    number(headers, "retry-after").map(Duration::from_secs)
}

/// What the HTTP standard says: 429, and `retry-after`.
pub fn standard(status: StatusCode, headers: &HeaderMap, _body: &[u8], _now_ms: i64) -> Limit {
    let refused = status == StatusCode::TOO_MANY_REQUESTS;
    Limit { refused, wait: retry_after(headers).filter(|_| refused), ..Limit::default() }
}

/// Linear: 400 with `RATELIMITED`; budgets of requests and of complexity, each with its reset in epoch milliseconds.
pub fn linear(status: StatusCode, headers: &HeaderMap, body: &[u8], now_ms: i64) -> Limit {
    let refused = status == StatusCode::TOO_MANY_REQUESTS
        || (status == StatusCode::BAD_REQUEST && error_codes(body).iter().any(|code| code == "RATELIMITED"));
    let budget = |name: &str| {
        let remaining = number(headers, &format!("x-ratelimit-{name}-remaining"))?;
        let limit = number(headers, &format!("x-ratelimit-{name}-limit")).unwrap_or(remaining).max(1);
        let resets_in = number(headers, &format!("x-ratelimit-{name}-reset")).map(|at| until(at, now_ms));
        Some((remaining, limit, resets_in))
    };
    let budgets = ["requests", "complexity", "endpoint-requests"].into_iter().filter_map(budget);
    // Points and counts cannot be compared; how much of each is left can.
    let tightest = budgets.min_by_key(|(remaining, limit, _)| u128::from(*remaining) * 1_000_000 / u128::from(*limit));
    let (remaining, resets_in) = tightest.map_or((None, None), |(remaining, _, resets)| (Some(remaining), resets));
    let wait = retry_after(headers).or(resets_in).filter(|_| refused);
    Limit { refused, wait, remaining, resets_in }
}

/// GitHub: 403 or 429, or 200 with an error in the body; `retry-after` first, else the reset in epoch seconds when nothing is left.
pub fn github(status: StatusCode, headers: &HeaderMap, body: &[u8], now_ms: i64) -> Limit {
    let remaining = number(headers, "x-ratelimit-remaining");
    let reset = number(headers, "x-ratelimit-reset").map(|at| until(at.saturating_mul(1_000), now_ms));
    let refused = match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        // A 403 is also what missing rights look like.
        StatusCode::FORBIDDEN => remaining == Some(0) || retry_after(headers).is_some() || mentions_limit(body),
        StatusCode::OK => error_codes(body).iter().any(|code| code == "RATE_LIMITED" || code == "RATE_LIMIT"),
        _ => false,
    };
    let wait = retry_after(headers).or(reset.filter(|_| remaining == Some(0))).filter(|_| refused);
    Limit { refused, wait, remaining, resets_in: reset }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// A full second is added: a reset that is rounded down is refused once more.
fn until(at_ms: u64, now_ms: i64) -> Duration {
    let now = u64::try_from(now_ms).unwrap_or(0);
    Duration::from_millis(at_ms.saturating_sub(now)) + Duration::from_secs(1)
}

/// Both systems' GraphQL errors: `errors[].extensions.code` (Linear) and `errors[].type` (GitHub).
fn error_codes(body: &[u8]) -> Vec<String> {
    // Answers without errors are the rule, and some are large: look before parsing.
    if !contains(body, b"\"errors\"") {
        return Vec::new();
    }
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let errors = body.get("errors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let code =
        |error: &Value| error.pointer("/extensions/code").or_else(|| error.get("type"))?.as_str().map(str::to_owned);
    errors.iter().filter_map(code).collect()
}

fn mentions_limit(body: &[u8]) -> bool {
    contains(&body.to_ascii_lowercase(), b"rate limit")
}

fn contains(body: &[u8], word: &[u8]) -> bool {
    body.windows(word.len()).any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000_000;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn linear_says_it_with_400_and_milliseconds() {
        let headers = headers(&[
            ("x-ratelimit-requests-remaining", "0"),
            ("x-ratelimit-requests-limit", "2500"),
            ("x-ratelimit-requests-reset", "1000000030000"),
        ]);
        let body = br#"{"errors":[{"message":"slow down","extensions":{"code":"RATELIMITED"}}]}"#;
        let limit = linear(StatusCode::BAD_REQUEST, &headers, body, NOW);
        assert!(limit.refused);
        assert_eq!(limit.wait, Some(Duration::from_secs(31)));
    }

    #[test]
    fn a_bad_query_to_linear_is_no_limit() {
        let body = br#"{"errors":[{"message":"no such field","extensions":{"code":"INVALID_INPUT"}}]}"#;
        assert!(!linear(StatusCode::BAD_REQUEST, &HeaderMap::new(), body, NOW).refused);
    }

    #[test]
    fn linears_tightest_budget_counts_by_its_share() {
        let headers = headers(&[
            ("x-ratelimit-requests-remaining", "2000"),
            ("x-ratelimit-requests-limit", "2500"),
            ("x-ratelimit-complexity-remaining", "3000"),
            ("x-ratelimit-complexity-limit", "3000000"),
        ]);
        assert_eq!(linear(StatusCode::OK, &headers, b"{}", NOW).remaining, Some(3_000));
    }

    #[test]
    fn github_says_it_with_seconds_and_retry_after_comes_first() {
        let primary = headers(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1000000060")]);
        let limit = github(StatusCode::FORBIDDEN, &primary, b"", NOW);
        assert_eq!((limit.refused, limit.wait), (true, Some(Duration::from_secs(61))));
        let secondary =
            headers(&[("retry-after", "7"), ("x-ratelimit-remaining", "4000"), ("x-ratelimit-reset", "1000000060")]);
        let limit = github(StatusCode::FORBIDDEN, &secondary, b"", NOW);
        assert_eq!((limit.refused, limit.wait), (true, Some(Duration::from_secs(7))));
    }

    #[test]
    fn githubs_graphql_says_it_with_200() {
        let body = br#"{"errors":[{"type":"RATE_LIMITED","message":"API rate limit exceeded"}]}"#;
        assert!(github(StatusCode::OK, &HeaderMap::new(), body, NOW).refused);
    }

    #[test]
    fn a_missing_right_at_github_is_no_limit() {
        let headers = headers(&[("x-ratelimit-remaining", "4999"), ("x-ratelimit-reset", "1000000060")]);
        let body = br#"{"message":"Resource not accessible by integration"}"#;
        assert!(!github(StatusCode::FORBIDDEN, &headers, body, NOW).refused);
    }
}
