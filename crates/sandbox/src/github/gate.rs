//! What every API call passes: faults, credentials, limits, and on the way back `ETag`s and the limit's headers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::call::Actor;
use super::graphql;
use super::hub::Hub;
use super::rate::{self, Kind, Resource};
use super::refusal::{Outcome, Refusal};
use crate::faults::ApiFault;
use crate::limits::Standing;

const BODY_MAX: usize = 64 * 1024 * 1024;

/// Lets a call through to its route, or answers in its place.
pub(super) async fn gate(State(hub): State<Arc<Hub>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let resource = if path == "/graphql" { Resource::Graphql } else { Resource::Core };
    let (fault, slow) = hub.faults.draw_api();
    if !slow.is_zero() {
        tokio::time::sleep(slow).await;
    }
    if !request.headers().contains_key(USER_AGENT) {
        let said = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header";
        return (StatusCode::FORBIDDEN, said).into_response();
    }
    match fault {
        ApiFault::None => {}
        ApiFault::Limit => {
            hub.counters.limited();
            return drawn_limit(&hub, resource);
        }
        ApiFault::ServerError => return Refusal::new(StatusCode::BAD_GATEWAY, "Server Error").into_response(),
    }
    let actor = match caller(&hub, &path, request.headers()) {
        Ok(actor) => actor,
        Err(refusal) => return refusal.into_response(),
    };
    // Asking how much is left costs nothing.
    if path == "/rate_limit" {
        return standing_of_all(&hub, &actor);
    }
    let reads = request.method() == Method::GET;
    let kind = match kind(request).await {
        Ok((kind, whole)) => {
            request = whole;
            kind
        }
        Err(refusal) => return refusal.into_response(),
    };
    if let Some(refused) = beyond_limits(&hub, &actor, resource, kind) {
        hub.counters.limited();
        return refused;
    }
    let seen = request.headers().get(IF_NONE_MATCH).cloned();
    let credential = actor.credential.clone();
    request.extensions_mut().insert(actor);
    let mut response = next.run(request).await;
    if reads && response.status() == StatusCode::OK {
        response = tagged(response, seen.as_ref()).await;
    }
    if reads {
        hub.counters.read();
    }
    let cost = u64::from(response.status() != StatusCode::NOT_MODIFIED);
    if let Some(budget) = hub.limits.budget(&credential, resource) {
        rate::set_headers(response.headers_mut(), budget.take(cost), resource);
    }
    let id = HeaderValue::from_str(&Uuid::new_v4().simple().to_string()).unwrap_or(HeaderValue::from_static("0"));
    response.headers_mut().insert("x-github-request-id", id);
    response.headers_mut().insert("x-github-api-version-selected", HeaderValue::from_static("2022-11-28"));
    response
}

/// What a request is to the secondary limits, and the request again: only its body tells whether GraphQL reads.
async fn kind(request: Request) -> Outcome<(Kind, Request)> {
    let path = request.uri().path();
    if path == "/graphql" {
        let (parts, body) = request.into_parts();
        let bytes = to_bytes(body, BODY_MAX).await.map_err(|_| Refusal::not_json())?;
        let kind = if graphql::mutates(&bytes) { Kind::Content } else { Kind::Read };
        return Ok((kind, Request::from_parts(parts, Body::from(bytes))));
    }
    let kind = match *request.method() {
        Method::GET => Kind::Read,
        _ if path.ends_with("/attempts") || path.ends_with("/access_tokens") => Kind::Write,
        _ => Kind::Content,
    };
    Ok((kind, request))
}

/// The caller: an app shows a signed token of its own for the routes that are about the app itself.
fn caller(hub: &Hub, path: &str, headers: &HeaderMap) -> Outcome<Actor> {
    if path == "/app" || path.starts_with("/app/") || path.ends_with("/installation") {
        let app = hub.app.as_ref().ok_or_else(Refusal::not_found)?;
        return app.verified(headers);
    }
    hub.actor(headers)
}

/// The refusal of a call whose limit is used up.
fn beyond_limits(hub: &Hub, actor: &Actor, resource: Resource, kind: Kind) -> Option<Response> {
    if let Some(budget) = hub.limits.budget(&actor.credential, resource) {
        let standing = budget.standing();
        if standing.remaining == 0 {
            return Some(rate::primary_refusal(standing, resource));
        }
    }
    let content = u64::from(kind == Kind::Content);
    for (resource, cost) in [(Resource::Secondary, kind.points()), (Resource::Content, content)] {
        let Some(budget) = hub.limits.budget(&actor.credential, resource) else { continue };
        let standing = budget.take(cost);
        if !standing.allowed {
            return Some(rate::secondary_refusal(StatusCode::FORBIDDEN, standing.retry_after_seconds()));
        }
    }
    None
}

/// GitHub has three ways to refuse for a limit; faults take turns between them.
fn drawn_limit(hub: &Hub, resource: Resource) -> Response {
    static TURN: AtomicU64 = AtomicU64::new(0);
    match TURN.fetch_add(1, Ordering::Relaxed) % 3 {
        0 => rate::primary_refusal(rate::drawn(&hub.limits.get()), resource),
        1 => rate::secondary_refusal(StatusCode::FORBIDDEN, 1),
        _ => rate::secondary_refusal(StatusCode::TOO_MANY_REQUESTS, 1),
    }
}

fn standing_of_all(hub: &Hub, actor: &Actor) -> Response {
    let standing = |resource| hub.limits.budget(&actor.credential, resource).map(|budget| budget.standing());
    let shown = |standing: Option<Standing>, name| standing.map_or(Value::Null, |standing| rate::shown(standing, name));
    let (core, graphql) = (shown(standing(Resource::Core), "core"), shown(standing(Resource::Graphql), "graphql"));
    Json(json!({"resources": {"core": core, "graphql": graphql}, "rate": core})).into_response()
}

/// Adds an `ETag`, and answers 304 where the caller has this version already.
async fn tagged(response: Response, seen: Option<&HeaderValue>) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, BODY_MAX).await else {
        return Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "Server Error").into_response();
    };
    let tag = format!("W/\"{}\"", hex::encode(Sha256::digest(&bytes)));
    let same =
        |seen: &str| seen.split(',').any(|one| one.trim().trim_start_matches("W/") == tag.trim_start_matches("W/"));
    let unchanged = seen.and_then(|seen| seen.to_str().ok()).is_some_and(same);
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        parts.headers.insert(ETAG, tag);
    }
    parts.headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=60, s-maxage=60"));
    if unchanged {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(http::header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// What routes get to know of the caller.
pub(super) type Caller = Extension<Actor>;
