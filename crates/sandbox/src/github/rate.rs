//! GitHub's limits: what a credential may ask for in an hour, what it may not do in a minute, and how each refusal looks.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock;
use crate::limits::{Budget, Standing};

/// How much a credential may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GithubLimits {
    /// Requests (and, apart from them, GraphQL points) in a window: GitHub's primary limit.
    pub primary: u64,
    /// The length of that window.
    pub window_seconds: u64,
    /// Points in a minute, where a read costs one and a write five: a secondary limit. GitHub's is 900; none is the default,
    /// so that a load test is not one of patience.
    pub secondary_points: Option<u64>,
    /// Calls in an hour that make content: another secondary limit. GitHub's is 500; none is the default, for the same reason.
    pub content_per_hour: Option<u64>,
}

impl Default for GithubLimits {
    fn default() -> Self {
        Self { primary: 5_000, window_seconds: 3_600, secondary_points: None, content_per_hour: None }
    }
}

/// What a budget is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Resource {
    /// REST.
    Core,
    /// GraphQL.
    Graphql,
    /// Both, by the minute.
    Secondary,
    /// What makes content, by either, by the hour.
    Content,
}

/// What a call is to the secondary limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It reads.
    Read,
    /// It writes nothing that anybody is told of: a token, a delivery that is made again.
    Write,
    /// It makes content.
    Content,
}

impl Kind {
    /// What it costs of the points.
    pub(super) fn points(self) -> u64 {
        if self == Self::Read { 1 } else { 5 }
    }
}

impl Resource {
    fn name(self) -> &'static str {
        if self == Self::Graphql { "graphql" } else { "core" }
    }
}

/// By credential and what it is spent on.
type Budgets = HashMap<(String, Resource), Budget>;

/// The budgets of all credentials.
#[derive(Debug)]
pub(super) struct Limits {
    inner: Mutex<(GithubLimits, Budgets)>,
}

impl Limits {
    /// Full budgets for everybody.
    pub(super) fn new(limits: GithubLimits) -> Self {
        Self { inner: Mutex::new((limits, HashMap::new())) }
    }

    /// Replaces the limits; every budget is whole again.
    pub(super) fn set(&self, limits: GithubLimits) {
        *self.lock() = (limits, HashMap::new());
    }

    /// The limits in force.
    pub(super) fn get(&self) -> GithubLimits {
        self.lock().0.clone()
    }

    /// The budget of a credential; `None` where there is no such limit.
    pub(super) fn budget(&self, credential: &str, resource: Resource) -> Option<Budget> {
        let (limits, budgets) = &mut *self.lock();
        let (limit, seconds) = match resource {
            Resource::Core | Resource::Graphql => (limits.primary, limits.window_seconds),
            Resource::Secondary => (limits.secondary_points?, 60),
            Resource::Content => (limits.content_per_hour?, 3_600),
        };
        let new = || Budget::new(limit, Duration::from_secs(seconds));
        Some(budgets.entry((credential.to_owned(), resource)).or_insert_with(new).clone())
    }

    fn lock(&self) -> MutexGuard<'_, (GithubLimits, Budgets)> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One entry of `GET /rate_limit`.
pub(super) fn shown(standing: Standing, resource: &str) -> Value {
    json!({
        "limit": standing.limit, "used": standing.limit - standing.remaining, "remaining": standing.remaining,
        "reset": standing.reset_seconds(), "resource": resource,
    })
}

/// Sets the `x-ratelimit-…` headers.
pub(super) fn set_headers(headers: &mut HeaderMap, standing: Standing, resource: Resource) {
    let numbers = [
        (HeaderName::from_static("x-ratelimit-limit"), standing.limit.to_string()),
        (HeaderName::from_static("x-ratelimit-remaining"), standing.remaining.to_string()),
        (HeaderName::from_static("x-ratelimit-used"), (standing.limit - standing.remaining).to_string()),
        (HeaderName::from_static("x-ratelimit-reset"), standing.reset_seconds().to_string()),
    ];
    for (name, value) in numbers {
        headers.insert(name, HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("0")));
    }
    headers.insert("x-ratelimit-resource", HeaderValue::from_static(resource.name()));
}

/// A primary limit that is used up for one more second: what a drawn fault answers with.
pub(super) fn drawn(limits: &GithubLimits) -> Standing {
    Standing { allowed: false, limit: limits.primary, remaining: 0, reset_ms: clock::now_ms() + 1_000 }
}

/// The primary limit's refusal: 403 for REST, and 200 with an error for GraphQL.
pub(super) fn primary_refusal(standing: Standing, resource: Resource) -> Response {
    let said = "API rate limit exceeded for this credential.";
    let mut response = if resource == Resource::Graphql {
        Json(json!({"errors": [{"type": "RATE_LIMIT", "code": "graphql_rate_limit", "message": said}]})).into_response()
    } else {
        refusal(StatusCode::FORBIDDEN, said, "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api")
    };
    set_headers(response.headers_mut(), standing, resource);
    response
}

/// A secondary limit's refusal: 403 or 429, with `retry-after`.
pub(super) fn secondary_refusal(status: StatusCode, retry_after_seconds: i64) -> Response {
    let said = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
    let mut response = refusal(
        status,
        said,
        "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits",
    );
    let wait = HeaderValue::from_str(&retry_after_seconds.to_string()).unwrap_or(HeaderValue::from_static("60"));
    response.headers_mut().insert("retry-after", wait);
    response
}

fn refusal(status: StatusCode, message: &str, documentation: &str) -> Response {
    (
        status,
        Json(json!({"message": message, "documentation_url": documentation, "status": status.as_u16().to_string()})),
    )
        .into_response()
}
