//! Reads what an answer says about limits, in each system's own way.
//!
//! Pure: `now_ms` is an argument, and nothing is remembered. See [`Pacer`](super::pacer::Pacer) for what comes of it.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

/// How a system limits its callers: how it says so, and what it asks of them before it must say so.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Reads what an answer says: its status, headers and body, and the time of its arrival in milliseconds since 1970.
    pub read: fn(StatusCode, &HeaderMap, &[u8], i64) -> Limit,
    /// The names of the budgets that a call draws on, unless [`Calls::drawing_on`](super::Calls::drawing_on) says others.
    pub budgets: &'static [&'static str],
    /// From the answer to a write to the next write. Writes then go one at a time, too.
    pub writes_apart: Duration,
    /// A limit on a span of time that no header tells of.
    pub points: Option<Points>,
    /// Another one, on calls that make content.
    pub content: Option<Points>,
    /// The wait after a refusal that names none; doubled with each that follows.
    pub unnamed_wait: Duration,
}

/// A limit on a span of time: so many points in it, whenever it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Points {
    /// How long the span is.
    pub span: Duration,
    /// How many points there are in it.
    pub most: u64,
    /// What a call costs that only reads.
    pub read: u64,
    /// What a call costs that writes.
    pub write: u64,
    /// What a call costs that writes and makes content: a status, a comment, an edit that people are told of.
    pub content: u64,
}

impl Points {
    /// So many calls in an hour that make content, whatever else there is.
    pub const fn content_an_hour(most: u64) -> Self {
        Self { span: Duration::from_hours(1), most, read: 0, write: 0, content: 1 }
    }
}

/// What an answer says about limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limit {
    /// This call was turned away because of a limit.
    pub refused: Option<Refused>,
    /// How the budgets stand that the answer tells of.
    pub budgets: Vec<Standing>,
}

/// How a call was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The wait that the answer asks for, where it says.
    pub wait: Option<Duration>,
    /// Whether no call at all should go meanwhile; else only none that draws on the budget that is used up.
    pub all: bool,
}

/// How a budget stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub budget: &'static str,
    /// Each class of calls has one of its own.
    pub by_class: bool,
    /// How much is left.
    pub remaining: u64,
    /// How much a whole one is.
    pub limit: u64,
    /// When it is whole again.
    pub resets_in: Duration,
    /// What this call has cost, where the answer says; else one.
    pub cost: Option<u64>,
}

/// What the HTTP standard says: 429, and `retry-after`.
pub const STANDARD: Limits = Limits {
    read: standard,
    budgets: &[],
    writes_apart: Duration::ZERO,
    points: None,
    content: None,
    unnamed_wait: Duration::from_secs(5),
};

/// Linear: requests and points of complexity in an hour, and for some queries a budget of their own.
/// See <https://linear.app/developers/rate-limiting>.
pub const LINEAR: Limits = Limits { read: linear, budgets: &["requests", "complexity", "endpoint"], ..STANDARD };

/// GitHub: calls in an hour, and the secondary limits. Of those it tells nothing beforehand: 900 points in a minute, a read for
/// one and a write for five; 500 calls in an hour that make content, and 80 in a minute; and the advice to write one after
/// another, a second apart, which keeps within the 80. Its GraphQL has 2,000 points of its own; ours come out of the 900
/// together, so that both are kept.
/// See <https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api>.
pub const GITHUB: Limits = Limits {
    read: github,
    budgets: &["core"],
    writes_apart: Duration::from_secs(1),
    points: Some(Points { span: Duration::from_mins(1), most: 900, read: 1, write: 5, content: 5 }),
    content: Some(Points::content_an_hour(500)),
    unnamed_wait: Duration::from_mins(1),
};

/// The longest wait that any answer is believed.
pub const LONGEST: Duration = Duration::from_hours(1);

/// A `retry-after` in seconds. The form with a date is not used by the systems here; it reads as none.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    number(headers, "retry-after").map(|seconds| Duration::from_secs(seconds).min(LONGEST))
}

fn standard(status: StatusCode, headers: &HeaderMap, _body: &[u8], _now_ms: i64) -> Limit {
    let refused = Refused { wait: retry_after(headers), all: true };
    Limit { refused: (status == StatusCode::TOO_MANY_REQUESTS).then_some(refused), budgets: Vec::new() }
}

/// Linear says it with 400 and `RATELIMITED`; each budget with its reset in epoch milliseconds.
fn linear(status: StatusCode, headers: &HeaderMap, body: &[u8], now_ms: i64) -> Limit {
    let refused = status == StatusCode::TOO_MANY_REQUESTS
        || (status == StatusCode::BAD_REQUEST
            && graphql_errors(body).iter().any(|error| error["extensions"]["code"] == "RATELIMITED"));
    let standing = |(budget, header): (&'static str, &str)| {
        let remaining = number(headers, &format!("x-ratelimit-{header}-remaining"))?;
        Some(Standing {
            budget,
            by_class: budget == "endpoint",
            remaining,
            limit: number(headers, &format!("x-ratelimit-{header}-limit")).unwrap_or(remaining),
            resets_in: number(headers, &format!("x-ratelimit-{header}-reset")).map(|at| until(at, now_ms))?,
            cost: (budget == "complexity").then(|| number(headers, "x-complexity")).flatten(),
        })
    };
    let names = [("requests", "requests"), ("complexity", "complexity"), ("endpoint", "endpoint-requests")];
    let budgets: Vec<Standing> = names.into_iter().filter_map(standing).collect();
    // Points and counts cannot be compared; how much of each is left can.
    let share = |standing: &&Standing| u128::from(standing.remaining) * 1_000_000 / u128::from(standing.limit.max(1));
    let tightest = budgets.iter().min_by_key(share).map(|standing| standing.resets_in);
    let wait = retry_after(headers).or(tightest);
    Limit { refused: refused.then_some(Refused { wait, all: true }), budgets }
}

/// GitHub says it with 403 or 429, or with 200 and an error in the body; `retry-after` first, else the reset in epoch seconds
/// when nothing is left.
fn github(status: StatusCode, headers: &HeaderMap, body: &[u8], now_ms: i64) -> Limit {
    let remaining = number(headers, "x-ratelimit-remaining");
    let reset = number(headers, "x-ratelimit-reset").map(|at| until(at.saturating_mul(1_000), now_ms));
    let refused = match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        // A 403 is also what missing rights look like.
        StatusCode::FORBIDDEN => remaining == Some(0) || retry_after(headers).is_some() || mentions_limit(body),
        StatusCode::OK => graphql_refuses(headers, body),
        _ => false,
    };
    let resource = headers.get("x-ratelimit-resource").and_then(|name| name.to_str().ok()).unwrap_or("core");
    let budget = ["core", "graphql"].into_iter().find(|name| *name == resource);
    let standing = || {
        let remaining = remaining?;
        let limit = number(headers, "x-ratelimit-limit").unwrap_or(remaining);
        Some(Standing { budget: budget?, by_class: false, remaining, limit, resets_in: reset?, cost: None })
    };
    let used_up = reset.filter(|_| remaining == Some(0));
    let wait = retry_after(headers).or(used_up);
    // A budget that is used up leaves the other calls alone; a secondary limit is about all of them.
    let all = retry_after(headers).is_some() || used_up.is_none() || budget.is_none();
    Limit { refused: refused.then_some(Refused { wait, all }), budgets: standing().into_iter().collect() }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// A full second is added: a reset that is rounded down is refused once more.
fn until(at_ms: u64, now_ms: i64) -> Duration {
    let now = u64::try_from(now_ms).unwrap_or(0);
    Duration::from_millis(at_ms.saturating_sub(now)) + Duration::from_secs(1)
}

/// GitHub's GraphQL names its primary limit by a type; the secondary ones only by a message or a wait.
fn graphql_refuses(headers: &HeaderMap, body: &[u8]) -> bool {
    let is_limit = |error: &Value| {
        let message = error["message"].as_str().unwrap_or_default();
        matches!(error["type"].as_str(), Some("RATE_LIMITED" | "RATE_LIMIT")) || mentions_limit(message.as_bytes())
    };
    let errors = graphql_errors(body);
    errors.iter().any(is_limit) || (!errors.is_empty() && retry_after(headers).is_some())
}

fn graphql_errors(body: &[u8]) -> Vec<Value> {
    // Answers without errors are the rule, and some are large: look before parsing.
    if !contains(body, b"\"errors\"") {
        return Vec::new();
    }
    match serde_json::from_slice::<Value>(body).ok().and_then(|mut body| body.get_mut("errors").map(Value::take)) {
        Some(Value::Array(errors)) => errors,
        _ => Vec::new(),
    }
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
        assert_eq!(limit.refused, Some(Refused { wait: Some(Duration::from_secs(31)), all: true }));
    }

    #[test]
    fn a_bad_query_to_linear_is_no_limit() {
        let body = br#"{"errors":[{"message":"no such field","extensions":{"code":"INVALID_INPUT"}}]}"#;
        assert_eq!(linear(StatusCode::BAD_REQUEST, &HeaderMap::new(), body, NOW).refused, None);
    }

    #[test]
    fn linear_has_a_budget_of_requests_and_one_of_points_and_says_what_a_call_cost() {
        let headers = headers(&[
            ("x-ratelimit-requests-remaining", "2000"),
            ("x-ratelimit-requests-limit", "2500"),
            ("x-ratelimit-requests-reset", "1000000030000"),
            ("x-ratelimit-complexity-remaining", "3000"),
            ("x-ratelimit-complexity-limit", "3000000"),
            ("x-ratelimit-complexity-reset", "1000000060000"),
            ("x-complexity", "140"),
        ]);
        let standing = |budget, remaining, limit, resets_in, cost| Standing {
            budget,
            by_class: false,
            remaining,
            limit,
            resets_in: Duration::from_secs(resets_in),
            cost,
        };
        let both =
            [standing("requests", 2_000, 2_500, 31, None), standing("complexity", 3_000, 3_000_000, 61, Some(140))];
        assert_eq!(linear(StatusCode::OK, &headers, b"{}", NOW).budgets, both);
    }

    #[test]
    fn some_of_linears_queries_have_a_budget_of_their_own() {
        let headers = headers(&[
            ("x-ratelimit-requests-remaining", "2000"),
            ("x-ratelimit-requests-limit", "2500"),
            ("x-ratelimit-requests-reset", "1000000060000"),
            ("x-ratelimit-endpoint-name", "IssueUpdate"),
            ("x-ratelimit-endpoint-requests-remaining", "1"),
            ("x-ratelimit-endpoint-requests-limit", "30"),
            ("x-ratelimit-endpoint-requests-reset", "1000000030000"),
        ]);
        let body = br#"{"errors":[{"message":"slow down","extensions":{"code":"RATELIMITED"}}]}"#;
        let limit = linear(StatusCode::BAD_REQUEST, &headers, body, NOW);
        let endpoint = Standing {
            budget: "endpoint",
            by_class: true,
            remaining: 1,
            limit: 30,
            resets_in: Duration::from_secs(31),
            cost: None,
        };
        assert_eq!(limit.budgets[1..], [endpoint], "of which other queries take nothing");
        let wait = limit.refused.unwrap().wait;
        assert_eq!(wait, Some(Duration::from_secs(31)), "the tightest of the budgets is whole again");
    }

    #[test]
    fn github_says_it_with_seconds_and_retry_after_comes_first() {
        let primary = headers(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1000000060")]);
        let limit = github(StatusCode::FORBIDDEN, &primary, b"", NOW);
        assert_eq!(limit.refused, Some(Refused { wait: Some(Duration::from_secs(61)), all: false }));
        assert_eq!(limit.budgets[0].remaining, 0, "only what draws on this budget must wait");
        let secondary =
            headers(&[("retry-after", "7"), ("x-ratelimit-remaining", "4000"), ("x-ratelimit-reset", "1000000060")]);
        let limit = github(StatusCode::FORBIDDEN, &secondary, b"", NOW);
        assert_eq!(limit.refused, Some(Refused { wait: Some(Duration::from_secs(7)), all: true }));
    }

    #[test]
    fn a_secondary_limit_that_names_no_wait_is_about_all_calls() {
        let headers = headers(&[("x-ratelimit-remaining", "4000"), ("x-ratelimit-reset", "1000000060")]);
        let body = br#"{"message":"You have exceeded a secondary rate limit."}"#;
        let limit = github(StatusCode::FORBIDDEN, &headers, body, NOW);
        assert_eq!(limit.refused, Some(Refused { wait: None, all: true }));
    }

    #[test]
    fn no_wait_is_believed_that_is_longer_than_the_longest() {
        assert_eq!(retry_after(&headers(&[("retry-after", "86400")])), Some(LONGEST));
        assert_eq!(retry_after(&headers(&[("retry-after", "30")])), Some(Duration::from_secs(30)));
    }

    #[test]
    fn githubs_graphql_says_it_with_200() {
        let body = br#"{"errors":[{"type":"RATE_LIMITED","message":"API rate limit exceeded"}]}"#;
        assert!(github(StatusCode::OK, &HeaderMap::new(), body, NOW).refused.is_some());
    }

    #[test]
    fn githubs_graphql_says_its_secondary_limits_with_200_as_well() {
        let body =
            br#"{"errors":[{"message":"You have exceeded a secondary rate limit. Please wait a few minutes."}]}"#;
        let limit = github(StatusCode::OK, &HeaderMap::new(), body, NOW);
        assert_eq!(limit.refused, Some(Refused { wait: None, all: true }));
        let body = br#"{"errors":[{"message":"Please wait."}]}"#;
        let limit = github(StatusCode::OK, &headers(&[("retry-after", "9")]), body, NOW);
        assert_eq!(limit.refused, Some(Refused { wait: Some(Duration::from_secs(9)), all: true }));
        let titled = br#"{"data":{"title":"Rate limit \"errors\""},"errors":[{"type":"NOT_FOUND","message":"x"}]}"#;
        assert_eq!(github(StatusCode::OK, &HeaderMap::new(), titled, NOW).refused, None);
        assert_eq!(github(StatusCode::OK, &HeaderMap::new(), b"[\"errors\"]", NOW).refused, None);
    }

    #[test]
    fn a_missing_right_at_github_is_no_limit() {
        let headers = headers(&[("x-ratelimit-remaining", "4999"), ("x-ratelimit-reset", "1000000060")]);
        let body = br#"{"message":"Resource not accessible by integration"}"#;
        assert_eq!(github(StatusCode::FORBIDDEN, &headers, body, NOW).refused, None);
    }
}
