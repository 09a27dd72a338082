//! The REST routes of pull requests, their reviews and merges.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::call::{Actor, ListQuery, fields, page_of, required, text};
use super::hub::Hub;
use super::issues::{patch_of, sort};
use super::pull_edits::NewPull;
use super::record::Thread;
use super::refusal::{Outcome, Refusal};
use super::state::repo_key;

/// `/repos/{owner}/{repo}/pulls…`.
pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/repos/{owner}/{repo}/pulls", get(list).post(create))
        .route("/repos/{owner}/{repo}/pulls/{number}", get(show).patch(patch))
        .route("/repos/{owner}/{repo}/pulls/{number}/merge", put(merge).get(is_merged))
        .route("/repos/{owner}/{repo}/pulls/{number}/reviews", get(reviews).post(review))
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
    let state = query.state.as_deref().unwrap_or("open");
    // `head` is written `owner:branch`.
    let head = query.head.as_deref().map(|head| head.rsplit(':').next().unwrap_or(head));
    let fits = |thread: &&Thread| {
        thread.pull.as_ref().is_some_and(|pull| {
            (state == "all" || thread.state() == state)
                && head.is_none_or(|head| head == pull.head_ref)
                && query.base.as_ref().is_none_or(|base| *base == pull.base_ref)
        })
    };
    hub.read(|held| {
        let known = held.repo(&key)?;
        let open = held.open_issues(&key);
        let mut all: Vec<&Thread> = held.threads_of(&key).filter(fits).collect();
        sort(&mut all, &query);
        let show = |thread: &&Thread| {
            thread.pull.as_ref().map_or(Value::Null, |pull| held.shape.pull_in_list(known, thread, pull, open))
        };
        Ok(page_of(&all, &query, &uri, &held.shape.base, show))
    })
}

async fn show(State(hub): Hubbed, Path((owner, repo, number)): Numbered) -> Outcome<Json<Value>> {
    hub.read(|held| held.pull_json(&repo_key(&owner, &repo), number)).map(Json)
}

async fn create(
    State(hub): Hubbed,
    Extension(actor): Extension<Actor>,
    Path((owner, repo)): Of,
    body: Bytes,
) -> Outcome<Response> {
    let key = repo_key(&owner, &repo);
    let fields = fields(&body)?;
    let title = required(&fields, "PullRequest", "title")?;
    let head = required(&fields, "PullRequest", "head")?;
    let base = required(&fields, "PullRequest", "base")?;
    let new = NewPull {
        title: &title,
        body: text(&fields, "PullRequest", "body")?,
        head: &head,
        base: Some(&base),
        draft: fields["draft"].as_bool().unwrap_or(false),
    };
    let pull = hub.edit(|held| {
        let number = held.open_pull(&key, new, &actor.login)?;
        held.pull_json(&key, number)
    })?;
    hub.counters.write(&format!("{key}#{}", pull["number"]));
    Ok((StatusCode::CREATED, Json(pull)).into_response())
}

async fn patch(
    State(hub): Hubbed,
    Extension(actor): Extension<Actor>,
    Path((owner, repo, number)): Numbered,
    body: Bytes,
) -> Outcome<Json<Value>> {
    let key = repo_key(&owner, &repo);
    let mut patch = patch_of(&fields(&body)?, "PullRequest")?;
    // A pull request takes its labels as an issue only.
    patch.labels = None;
    let pull = hub.edit(|held| {
        held.pull(&key, number)?;
        held.patch(&key, number, patch, &actor.login)?;
        held.pull_json(&key, number)
    })?;
    hub.counters.write(&format!("{key}#{number}"));
    Ok(Json(pull))
}

async fn merge(
    State(hub): Hubbed,
    Extension(actor): Extension<Actor>,
    Path((owner, repo, number)): Numbered,
    body: Bytes,
) -> Outcome<Json<Value>> {
    let key = repo_key(&owner, &repo);
    let seen = text(&fields(&body)?, "PullRequest", "sha")?;
    let sha = hub.edit(|held| held.merge(&key, number, seen.as_deref(), &actor.login))?;
    hub.counters.write(&format!("{key}#{number}"));
    Ok(Json(json!({"sha": sha, "merged": true, "message": "Pull Request successfully merged"})))
}

async fn is_merged(State(hub): Hubbed, Path((owner, repo, number)): Numbered) -> Outcome<StatusCode> {
    let merged = hub.read(|held| Ok(held.pull(&repo_key(&owner, &repo), number)?.1.merged_at.is_some()))?;
    if merged { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::not_found()) }
}

async fn reviews(
    State(hub): Hubbed,
    Path((owner, repo, number)): Numbered,
    Query(query): Query<ListQuery>,
    uri: Uri,
) -> Outcome<Response> {
    let key = repo_key(&owner, &repo);
    hub.read(|held| {
        let (thread, pull) = held.pull(&key, number)?;
        let known = held.repo(&key)?;
        Ok(page_of(&pull.reviews, &query, &uri, &held.shape.base, |review| held.shape.review(known, thread, review)))
    })
}

async fn review(
    State(hub): Hubbed,
    Extension(actor): Extension<Actor>,
    Path((owner, repo, number)): Numbered,
    body: Bytes,
) -> Outcome<Json<Value>> {
    let key = repo_key(&owner, &repo);
    let fields = fields(&body)?;
    let said = text(&fields, "PullRequestReview", "body")?.unwrap_or_default();
    let verdict = match text(&fields, "PullRequestReview", "event")?.as_deref() {
        Some("APPROVE") => "APPROVED",
        Some("REQUEST_CHANGES") => "CHANGES_REQUESTED",
        Some("COMMENT") => "COMMENTED",
        // Without an event GitHub keeps a pending review for its author; nothing here submits one later.
        _ => return Err(Refusal::invalid("PullRequestReview", "event", "invalid")),
    };
    if said.is_empty() && verdict != "APPROVED" {
        return Err(Refusal::invalid("PullRequestReview", "body", "missing_field"));
    }
    let shown = hub.edit(|held| held.review(&key, number, verdict, &said, &actor.login))?;
    hub.counters.write(&format!("{key}#{number}"));
    Ok(Json(shown))
}
