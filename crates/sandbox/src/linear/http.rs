//! Linear's API over HTTP: who is asking, how much they have left, and the answer with its headers.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    clock,
    faults::ApiFault,
    limits::Standing,
    linear::{
        complexity,
        error::{ApiError, rate_limited},
        execute::execute,
        shared::Shared,
        world::Actor,
    },
};

/// After a rate-limit answer that was drawn, not earned, the budget is whole again this soon.
const DRAWN_LIMIT_MS: i64 = 1_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    query: String,
    #[serde(default)]
    variables: Option<Map<String, Value>>,
    #[serde(default)]
    operation_name: Option<String>,
}

/// `POST /graphql`.
pub async fn graphql(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let (fault, slow) = shared.faults.draw_api();
    if !slow.is_zero() {
        tokio::time::sleep(slow).await;
    }
    if fault == ApiFault::ServerError {
        let body = json!({"errors": [ApiError::internal("Internal server error").to_json(&[])]});
        return (StatusCode::INTERNAL_SERVER_ERROR, axum::Json(body)).into_response();
    }
    let actor = match actor(&shared, &headers) {
        Ok(actor) => actor,
        Err(error) => return refused(StatusCode::UNAUTHORIZED, &error),
    };
    if fault == ApiFault::Limit {
        let standing = Standing {
            allowed: false,
            remaining: 0,
            reset_ms: clock::now_ms() + DRAWN_LIMIT_MS,
            ..shared.budget(actor).requests.standing()
        };
        return limited(&shared, actor, "requests", 1, standing);
    }
    answer(&shared, actor, &body)
}

fn answer(shared: &Shared, actor: Actor, body: &[u8]) -> Response {
    let read = || -> Result<_, ApiError> {
        let request: Request =
            serde_json::from_slice(body).map_err(|error| ApiError::syntax(format!("Invalid request body: {error}")))?;
        let document = shared.documents.read(&request.query)?;
        Ok((request, document))
    };
    let (request, document) = match read() {
        Ok(read) => read,
        Err(error) => return refused(StatusCode::BAD_REQUEST, &error),
    };
    let operation = match document.operation(request.operation_name.as_deref()) {
        Ok(operation) => operation,
        Err(error) => return refused(StatusCode::BAD_REQUEST, &error),
    };
    let variables = match document.variables(operation, &request.variables.unwrap_or_default()) {
        Ok(variables) => variables,
        Err(error) => return refused(StatusCode::BAD_REQUEST, &error),
    };
    let cost = complexity::of(&document, operation, &variables);
    if cost > complexity::MAX {
        let message = format!("Query too complex: it costs {cost}, and at most {} are allowed", complexity::MAX);
        return refused(StatusCode::BAD_REQUEST, &ApiError::input(message));
    }
    let budget = shared.budget(actor);
    let requests = budget.requests.take(1);
    if !requests.allowed {
        return limited(shared, actor, "requests", 1, requests);
    }
    let spent = budget.complexity.take(cost);
    if !spent.allowed {
        return limited(shared, actor, "complexity", cost, spent);
    }
    let executed =
        execute(&mut shared.world(), actor, &document, operation, &variables, &shared.rate_limit_status(actor));
    if operation.operation_type.is_mutation() {
        executed.written.iter().for_each(|record| shared.counters.write(record));
    } else {
        shared.counters.read();
    }
    let mut body = json!({"data": executed.data});
    if !executed.errors.is_empty() {
        body["errors"] = json!(executed.errors);
    }
    let mut response = axum::Json(body).into_response();
    budget_headers(response.headers_mut(), requests, spent);
    number(response.headers_mut(), "x-complexity", i64::try_from(cost).unwrap_or(i64::MAX));
    response
}

/// A personal key comes bare, an OAuth token as a bearer token.
fn actor(shared: &Shared, headers: &HeaderMap) -> Result<Actor, ApiError> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match given.strip_prefix("Bearer ") {
        Some(token) if token == shared.oauth_token => Ok(Actor::App),
        Some(token) if shared.client_token().as_deref() == Some(token) => Ok(Actor::App),
        Some(token) if token.starts_with("lin_api_") => {
            Err(ApiError::authentication("An API key goes into the Authorization header without \"Bearer\""))
        }
        None if given == shared.api_key => Ok(Actor::Person),
        _ => Err(ApiError::authentication("Authentication required, not authenticated")),
    }
}

fn refused(status: StatusCode, error: &ApiError) -> Response {
    (status, axum::Json(json!({"errors": [error.to_json(&[])]}))).into_response()
}

fn limited(shared: &Shared, actor: Actor, what: &str, requested: u64, standing: Standing) -> Response {
    shared.counters.limited();
    let body = rate_limited(what, requested, standing, shared.window_ms());
    let mut response = (StatusCode::BAD_REQUEST, axum::Json(body)).into_response();
    let budget = shared.budget(actor);
    let (requests, complexity) = match what {
        "requests" => (standing, budget.complexity.standing()),
        _ => (budget.requests.standing(), standing),
    };
    budget_headers(response.headers_mut(), requests, complexity);
    number(response.headers_mut(), "retry-after", standing.retry_after_seconds());
    response
}

fn budget_headers(headers: &mut HeaderMap, requests: Standing, complexity: Standing) {
    for (name, standing) in [("requests", requests), ("complexity", complexity)] {
        for (what, value) in [("limit", standing.limit), ("remaining", standing.remaining)] {
            number(headers, &format!("x-ratelimit-{name}-{what}"), i64::try_from(value).unwrap_or(i64::MAX));
        }
        number(headers, &format!("x-ratelimit-{name}-reset"), standing.reset_ms);
    }
}

fn number(headers: &mut HeaderMap, name: &str, value: i64) {
    if let Ok(name) = HeaderName::try_from(name) {
        headers.insert(name, HeaderValue::from(value));
    }
}
