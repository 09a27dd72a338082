//! The REST routes of webhooks: a repository's hooks, and the deliveries of hooks and of the app.

use std::sync::{Arc, PoisonError};

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::call::{Actor, ListQuery, fields, linked, page_of, with_parameter};
use super::hub::{Hub, OWN_HOOK, delivery};
use super::record::Hook;
use super::refusal::{Outcome, Refusal};
use super::shape::instant;
use super::state::{Event, State as Held, now, repo_key};
use crate::webhooks::{Logged, Outcome as Sent};

/// How many hooks of a repository there may be for one event.
const HOOKS_MAX: usize = 20;

/// `/repos/{owner}/{repo}/hooks…` and `/app/hook/deliveries…`.
pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/repos/{owner}/{repo}/hooks", get(list).post(create))
        .route("/repos/{owner}/{repo}/hooks/{hook}", get(show))
        .route("/repos/{owner}/{repo}/hooks/{hook}/deliveries", get(deliveries))
        .route("/repos/{owner}/{repo}/hooks/{hook}/deliveries/{id}", get(one))
        .route("/repos/{owner}/{repo}/hooks/{hook}/deliveries/{id}/attempts", post(attempt))
        .route("/app/hook/deliveries", get(app_deliveries))
        .route("/app/hook/deliveries/{id}", get(app_one))
        .route("/app/hook/deliveries/{id}/attempts", post(app_attempt))
}

type Hubbed = State<Arc<Hub>>;
type Of = Path<(String, String)>;
type OfHook = Path<(String, String, u64)>;
type OfDelivery = Path<(String, String, u64, u64)>;

/// The hooks of a repository; the sandbox's own is among them unless it is the app's.
fn hooks_of(hub: &Hub, held: &Held, key: &str) -> Outcome<Vec<Hook>> {
    let known = held.repo(key)?;
    let own = hub.webhooks.target().filter(|_| hub.app.is_none()).map(|url| Hook {
        id: OWN_HOOK,
        repo: key.to_owned(),
        url,
        secret: String::new(),
        events: vec!["*".to_owned()],
        active: true,
        created_at: known.created_at,
    });
    Ok(own.into_iter().chain(held.hooks.values().filter(|hook| hook.repo == key).cloned()).collect())
}

fn hook_json(held: &Held, hook: &Hook) -> Outcome<Value> {
    let url = format!("{}/hooks/{}", held.shape.repo_url(held.repo(&hook.repo)?), hook.id);
    Ok(json!({
        "type": "Repository", "id": hook.id, "name": "web", "active": hook.active, "events": hook.events,
        "config": {"content_type": "json", "insecure_ssl": "0", "url": hook.url, "secret": "********"},
        "updated_at": instant(hook.created_at), "created_at": instant(hook.created_at), "url": url, "test_url": format!("{url}/test"),
        "ping_url": format!("{url}/pings"), "deliveries_url": format!("{url}/deliveries"),
        "last_response": {"code": null, "status": "unused", "message": null},
    }))
}

async fn list(
    State(hub): Hubbed,
    Path((owner, repo)): Of,
    Query(query): Query<ListQuery>,
    uri: Uri,
) -> Outcome<Response> {
    let key = repo_key(&owner, &repo);
    hub.read(|held| {
        let hooks = hooks_of(&hub, held, &key)?;
        let shown: Vec<Value> = hooks.iter().map(|hook| hook_json(held, hook)).collect::<Outcome<_>>()?;
        Ok(page_of(&shown, &query, &uri, &held.shape.base, Value::clone))
    })
}

async fn show(State(hub): Hubbed, Path((owner, repo, id)): OfHook) -> Outcome<Json<Value>> {
    let key = repo_key(&owner, &repo);
    hub.read(|held| {
        let hooks = hooks_of(&hub, held, &key)?;
        let hook = hooks.iter().find(|hook| hook.id == id).ok_or_else(Refusal::not_found)?;
        hook_json(held, hook).map(Json)
    })
}

async fn create(
    State(hub): Hubbed,
    Extension(actor): Extension<Actor>,
    Path((owner, repo)): Of,
    body: Bytes,
) -> Outcome<Response> {
    let key = repo_key(&owner, &repo);
    let fields = fields(&body)?;
    let url = fields["config"]["url"].as_str().filter(|url| url.starts_with("http"));
    let url = url.ok_or_else(|| Refusal::invalid("Hook", "url", "missing_field"))?.to_owned();
    let secret = fields["config"]["secret"].as_str().unwrap_or_default().to_owned();
    let named = |events: &Vec<Value>| events.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let events = fields["events"].as_array().map_or_else(|| vec!["push".to_owned()], named);
    let active = fields["active"].as_bool().unwrap_or(true);
    let shown = hub.edit(|held| {
        if hooks_of(&hub, held, &key)?.iter().any(|hook| hook.url == url && hook.events == events) {
            return Err(Refusal::unprocessable("Validation Failed: Hook already exists on this repository"));
        }
        let of_repo = || held.hooks.values().filter(|hook| hook.repo == key);
        let is_full = |event: &&String| of_repo().filter(|hook| hook.events.contains(event)).count() >= HOOKS_MAX;
        if let Some(event) = events.iter().find(is_full) {
            let said = format!("Validation Failed: The {event:?} event cannot have more than {HOOKS_MAX} hooks");
            return Err(Refusal::unprocessable(said));
        }
        let hook = Hook { id: held.fresh_id(), repo: key.clone(), url, secret, events, active, created_at: now() };
        held.keep_hook(hook.clone())?;
        hub.secrets.lock().unwrap_or_else(PoisonError::into_inner).insert(hook.id.to_string(), hook.secret.clone());
        let shown = hook_json(held, &hook)?;
        let ping = json!({
            "zen": "Keep it logically awesome.", "hook_id": hook.id, "hook": shown,
            "repository": held.repo_json(&key)?, "sender": held.shape.user(&actor.login),
        });
        let event = Event { name: "ping", repo: key.clone(), payload: ping };
        hub.webhooks.send(&delivery(hook.id, Some(hook.url.clone()), &event));
        Ok(shown)
    })?;
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// A hook that exists and belongs to the repository, or to the app.
fn known_hook(hub: &Hub, key: &str, id: u64) -> Outcome<()> {
    let hooks = hub.read(|held| hooks_of(hub, held, key))?;
    if hooks.iter().any(|hook| hook.id == id) { Ok(()) } else { Err(Refusal::not_found()) }
}

async fn deliveries(
    State(hub): Hubbed,
    Path((owner, repo, hook)): OfHook,
    Query(query): Query<ListQuery>,
    uri: Uri,
) -> Outcome<Response> {
    let key = repo_key(&owner, &repo);
    known_hook(&hub, &key, hook)?;
    log_page(&hub, hook, Some(&key), &query, &uri)
}

async fn one(State(hub): Hubbed, Path((owner, repo, hook, id)): OfDelivery) -> Outcome<Json<Value>> {
    known_hook(&hub, &repo_key(&owner, &repo), hook)?;
    in_full(&hub, hook, id)
}

async fn attempt(State(hub): Hubbed, Path((owner, repo, hook, id)): OfDelivery) -> Outcome<Response> {
    known_hook(&hub, &repo_key(&owner, &repo), hook)?;
    redelivered(&hub, hook, id)
}

async fn app_deliveries(State(hub): Hubbed, Query(query): Query<ListQuery>, uri: Uri) -> Outcome<Response> {
    log_page(&hub, OWN_HOOK, None, &query, &uri)
}

async fn app_one(State(hub): Hubbed, Path(id): Path<u64>) -> Outcome<Json<Value>> {
    in_full(&hub, OWN_HOOK, id)
}

async fn app_attempt(State(hub): Hubbed, Path(id): Path<u64>) -> Outcome<Response> {
    redelivered(&hub, OWN_HOOK, id)
}

fn log_page(hub: &Hub, hook: u64, repo: Option<&str>, query: &ListQuery, uri: &Uri) -> Outcome<Response> {
    let before = match &query.cursor {
        Some(cursor) => cursor
            .strip_prefix("v1_")
            .and_then(|n| n.parse().ok())
            .ok_or_else(|| Refusal::unprocessable("Invalid cursor"))?,
        None => u64::MAX,
    };
    let of_repo = |log: &Logged| {
        repo.is_none_or(|repo| {
            log.body["repository"]["full_name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(repo))
        })
    };
    let wanted = |log: &Logged| match query.status.as_deref() {
        Some("success") => log.outcome == Sent::Delivered,
        Some("failure") => log.outcome != Sent::Delivered,
        _ => true,
    };
    let log = hub.webhooks.deliveries();
    let fits = |log: &&Logged| {
        log.number < before
            && log.hook == hook.to_string()
            && log.outcome != Sent::Pending
            && of_repo(log)
            && wanted(log)
    };
    let all: Vec<&Logged> = log.iter().rev().filter(fits).collect();
    let page: Vec<&&Logged> = all.iter().take(query.per_page()).collect();
    let base = hub.read(|held| Ok(held.shape.base.clone()))?;
    let next = page.last().filter(|_| all.len() > page.len()).map(|last| format!("v1_{}", last.number));
    let link = next.map(|cursor| format!("<{}>; rel=\"next\"", with_parameter(uri, &base, "cursor", &cursor)));
    let shown: Vec<Value> = page.iter().map(|log| summary(log)).collect();
    Ok(linked(Json(Value::Array(shown)).into_response(), &link.unwrap_or_default()))
}

/// What became of a delivery, in GitHub's words; one that was lost on its way looks like one that nobody answered.
fn verdict(log: &Logged) -> (String, u16) {
    match (log.outcome, log.status) {
        (Sent::Delivered, Some(status)) => ("OK".to_owned(), status),
        (_, Some(status)) => (format!("Invalid HTTP Response: {status}"), status),
        (Sent::Dropped, None) => ("timed out".to_owned(), 0),
        (_, None) => ("failed to connect to host".to_owned(), 0),
    }
}

fn seconds(ms: u64) -> Value {
    // Seconds with two decimals, as GitHub shows them.
    let hundredths = u32::try_from(ms / 10).unwrap_or(u32::MAX);
    json!(f64::from(hundredths) / 100.0)
}

fn summary(log: &Logged) -> Value {
    let (status, code) = verdict(log);
    json!({
        "id": log.number, "guid": log.guid, "delivered_at": instant(log.at_ms.div_euclid(1000)), "redelivery": log.redelivery,
        "duration": seconds(log.duration_ms), "status": status, "status_code": code, "event": log.event, "action": log.action,
        "installation_id": log.body["installation"]["id"], "repository_id": log.body["repository"]["id"], "throttled_at": null,
    })
}

fn logged(hub: &Hub, hook: u64, id: u64) -> Outcome<Logged> {
    hub.webhooks.delivery(id).filter(|log| log.hook == hook.to_string()).ok_or_else(Refusal::not_found)
}

fn in_full(hub: &Hub, hook: u64, id: u64) -> Outcome<Json<Value>> {
    let log = logged(hub, hook, id)?;
    let mut full = summary(&log);
    let headers: serde_json::Map<String, Value> =
        log.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    full["url"] = json!(hub.webhooks.target());
    full["request"] = json!({"headers": headers, "payload": log.body});
    full["response"] = json!({"headers": {}, "payload": null});
    Ok(Json(full))
}

fn redelivered(hub: &Hub, hook: u64, id: u64) -> Outcome<Response> {
    logged(hub, hook, id)?;
    hub.webhooks.redeliver(id).ok_or_else(Refusal::not_found)?;
    Ok((StatusCode::ACCEPTED, Json(json!({}))).into_response())
}
