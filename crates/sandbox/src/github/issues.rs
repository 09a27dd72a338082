//! The REST routes of issues, their comments and labels.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::call::{Actor, ListQuery, fields, label_names, page_of, required, text};
use super::edits::Patch;
use super::hub::Hub;
use super::record::{Label, Thread};
use super::refusal::{Outcome, Refusal};
use super::state::repo_key;
use crate::clock;

/// `/repos/{owner}/{repo}/issues…` and `…/labels`.
pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/repos/{owner}/{repo}/issues", get(list).post(create))
        .route("/repos/{owner}/{repo}/issues/{number}", get(show).patch(patch))
        .route("/repos/{owner}/{repo}/issues/{number}/comments", get(comments).post(comment))
        .route("/repos/{owner}/{repo}/issues/{number}/labels", get(labels).post(add_labels).put(set_labels))
        .route("/repos/{owner}/{repo}/issues/{number}/labels/{label}", delete(remove_label))
        .route("/repos/{owner}/{repo}/labels", get(repo_labels).post(create_label))
}

type Hubbed = State<Arc<Hub>>;
type Of = Path<(String, String)>;
type Numbered = Path<(String, String, u64)>;

async fn list(
    State(hub): Hubbed,
    Path((owner, repo)): Of,
    Query(query): Query<ListQuery>,
    uri: Uri,
) -> Outcome<Response> {
    let key = repo_key(&owner, &repo);
    let since = match &query.since {
        Some(text) => {
            Some(clock::parse(text).ok_or_else(|| Refusal::invalid("Issue", "since", "invalid"))?.div_euclid(1000))
        }
        None => None,
    };
    let wanted: Vec<&str> =
        query.labels.as_deref().unwrap_or("").split(',').filter(|label| !label.is_empty()).collect();
    let state = query.state.as_deref().unwrap_or("open");
    let fits = |thread: &&Thread| {
        (state == "all" || thread.state() == state)
            && since.is_none_or(|since| thread.updated_at >= since)
            && query.creator.as_ref().is_none_or(|creator| *creator == thread.author)
            && wanted.iter().all(|label| thread.labels.iter().any(|has| has.eq_ignore_ascii_case(label)))
    };
    hub.read(|held| {
        let known = held.repo(&key)?;
        let mut all: Vec<&Thread> = held.threads_of(&key).filter(fits).collect();
        sort(&mut all, &query);
        Ok(page_of(&all, &query, &uri, &held.shape.base, |thread| held.shape.issue(known, thread)))
    })
}

/// Puts a list into the order that was asked for: newest created first unless told.
pub(super) fn sort(all: &mut [&Thread], query: &ListQuery) {
    let by = query.sort.as_deref().unwrap_or("created");
    let value = |thread: &&Thread| match by {
        "updated" => (thread.updated_at, thread.number),
        "comments" => (i64::try_from(thread.comments.len()).unwrap_or(i64::MAX), thread.number),
        _ => (thread.created_at, thread.number),
    };
    if query.direction.as_deref() == Some("asc") {
        all.sort_by_key(value);
    } else {
        all.sort_by_key(|thread| Reverse(value(thread)));
    }
}

async fn show(State(hub): Hubbed, Path((owner, repo, number)): Numbered) -> Outcome<Json<Value>> {
    hub.read(|held| held.issue_json(&repo_key(&owner, &repo), number)).map(Json)
}

async fn create(
    State(hub): Hubbed,
    Extension(actor): Extension<Actor>,
    Path((owner, repo)): Of,
    body: Bytes,
) -> Outcome<Response> {
    let key = repo_key(&owner, &repo);
    let fields = fields(&body)?;
    let title = required(&fields, "Issue", "title")?;
    let text = text(&fields, "Issue", "body")?;
    let labels = fields.get("labels").map(label_names).transpose()?.unwrap_or_default();
    let issue = hub.edit(|held| {
        let number = held.open_issue(&key, &title, text, &labels, &actor.login)?;
        held.issue_json(&key, number)
    })?;
    hub.counters.write(&format!("{key}#{}", issue["number"]));
    Ok((StatusCode::CREATED, Json(issue)).into_response())
}

/// Reads the fields of a `PATCH` to an issue or pull request.
pub(super) fn patch_of(fields: &Value, resource: &str) -> Outcome<Patch> {
    let open = match text(fields, resource, "state")?.as_deref() {
        None => None,
        Some("open") => Some(true),
        Some("closed") => Some(false),
        Some(_) => return Err(Refusal::invalid(resource, "state", "invalid")),
    };
    let state_reason = text(fields, resource, "state_reason")?;
    if state_reason.as_deref().is_some_and(|r| !["completed", "not_planned", "duplicate", "reopened"].contains(&r)) {
        return Err(Refusal::invalid(resource, "state_reason", "invalid"));
    }
    let title = text(fields, resource, "title")?;
    if title.as_deref().is_some_and(|title| title.trim().is_empty()) {
        return Err(Refusal::invalid(resource, "title", "missing_field"));
    }
    let body = match fields.get("body") {
        Some(_) => Some(text(fields, resource, "body")?.unwrap_or_default()),
        None => None,
    };
    let labels = fields.get("labels").map(label_names).transpose()?;
    Ok(Patch { title, body, open, state_reason, labels })
}

async fn patch(
    State(hub): Hubbed,
    Extension(actor): Extension<Actor>,
    Path((owner, repo, number)): Numbered,
    body: Bytes,
) -> Outcome<Json<Value>> {
    let key = repo_key(&owner, &repo);
    let patch = patch_of(&fields(&body)?, "Issue")?;
    let issue = hub.edit(|held| {
        held.patch(&key, number, patch, &actor.login)?;
        held.issue_json(&key, number)
    })?;
    hub.counters.write(&format!("{key}#{number}"));
    Ok(Json(issue))
}

async fn comments(
    State(hub): Hubbed,
    Path((owner, repo, number)): Numbered,
    Query(query): Query<ListQuery>,
    uri: Uri,
) -> Outcome<Response> {
    let key = repo_key(&owner, &repo);
    hub.read(|held| {
        let thread = held.thread(&key, number)?;
        let known = held.repo(&key)?;
        Ok(page_of(&thread.comments, &query, &uri, &held.shape.base, |comment| {
            held.shape.comment(known, thread, comment)
        }))
    })
}

async fn comment(
    State(hub): Hubbed,
    Extension(actor): Extension<Actor>,
    Path((owner, repo, number)): Numbered,
    body: Bytes,
) -> Outcome<Response> {
    let key = repo_key(&owner, &repo);
    let said = required(&fields(&body)?, "IssueComment", "body")?;
    let comment = hub.edit(|held| held.comment(&key, number, &said, &actor.login))?;
    hub.counters.write(&format!("{key}#{number}"));
    Ok((StatusCode::CREATED, Json(comment)).into_response())
}

async fn labels(State(hub): Hubbed, Path((owner, repo, number)): Numbered) -> Outcome<Json<Value>> {
    let key = repo_key(&owner, &repo);
    hub.read(|held| Ok(Json(held.shape.labels(held.repo(&key)?, held.thread(&key, number)?))))
}

/// The labels that a request names: `{"labels": […]}`, or a bare list.
fn labels_in(body: &[u8]) -> Outcome<Vec<String>> {
    let fields = fields(body)?;
    label_names(if fields.is_array() { &fields } else { &fields["labels"] })
}

async fn add_labels(
    State(hub): Hubbed,
    Extension(actor): Extension<Actor>,
    Path((owner, repo, number)): Numbered,
    body: Bytes,
) -> Outcome<Json<Value>> {
    let names = labels_in(&body)?;
    let key = repo_key(&owner, &repo);
    let labels = hub.edit(|held| {
        held.add_labels(&key, number, &names, &actor.login)?;
        Ok(held.shape.labels(held.repo(&key)?, held.thread(&key, number)?))
    })?;
    hub.counters.write(&format!("{key}#{number}"));
    Ok(Json(labels))
}

async fn set_labels(
    State(hub): Hubbed,
    Extension(actor): Extension<Actor>,
    Path((owner, repo, number)): Numbered,
    body: Bytes,
) -> Outcome<Json<Value>> {
    let names = labels_in(&body)?;
    let key = repo_key(&owner, &repo);
    let labels = hub.edit(|held| {
        held.set_labels(&key, number, &names, &actor.login)?;
        Ok(held.shape.labels(held.repo(&key)?, held.thread(&key, number)?))
    })?;
    hub.counters.write(&format!("{key}#{number}"));
    Ok(Json(labels))
}

async fn remove_label(
    State(hub): Hubbed,
    Extension(actor): Extension<Actor>,
    Path((owner, repo, number, label)): Path<(String, String, u64, String)>,
) -> Outcome<Json<Value>> {
    let key = repo_key(&owner, &repo);
    let labels = hub.edit(|held| {
        held.remove_label(&key, number, &label, &actor.login)?;
        Ok(held.shape.labels(held.repo(&key)?, held.thread(&key, number)?))
    })?;
    hub.counters.write(&format!("{key}#{number}"));
    Ok(Json(labels))
}

async fn repo_labels(
    State(hub): Hubbed,
    Path((owner, repo)): Of,
    Query(query): Query<ListQuery>,
    uri: Uri,
) -> Outcome<Response> {
    let key = repo_key(&owner, &repo);
    hub.read(|held| {
        let known = held.repo(&key)?;
        Ok(page_of(&known.labels, &query, &uri, &held.shape.base, |label| held.shape.label(known, label)))
    })
}

async fn create_label(State(hub): Hubbed, Path((owner, repo)): Of, body: Bytes) -> Outcome<Response> {
    let fields = fields(&body)?;
    let name = required(&fields, "Label", "name")?;
    let color = text(&fields, "Label", "color")?.unwrap_or_else(|| "ededed".to_owned());
    let description = text(&fields, "Label", "description")?;
    let key = repo_key(&owner, &repo);
    let shown = hub.edit(|held| {
        let mut changed = held.repo(&key)?.clone();
        if changed.labels.iter().any(|label| label.name.eq_ignore_ascii_case(&name)) {
            return Err(Refusal::invalid("Label", "name", "already_exists"));
        }
        let label = Label { id: held.fresh_id(), name, color, description };
        changed.labels.push(label.clone());
        held.keep_repo(changed.clone())?;
        Ok(held.shape.label(&changed, &label))
    })?;
    hub.counters.write(&key);
    Ok((StatusCode::CREATED, Json(json!(shown))).into_response())
}
