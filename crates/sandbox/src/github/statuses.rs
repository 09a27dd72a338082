//! The REST routes of repositories themselves and of commit statuses.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::call::{Actor, ListQuery, fields, page_of, required, text};
use super::hub::Hub;
use super::record::CommitStatus;
use super::refusal::{Outcome, Refusal};
use super::state::{State as Held, now, repo_key};

/// `/user`, `/repos/{owner}/{repo}` and the statuses of its commits.
pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/user", get(user))
        .route("/user/repos", get(repos))
        .route("/installation/repositories", get(installation_repos))
        .route("/repos/{owner}/{repo}", get(repo).patch(patch_repo))
        .route("/repos/{owner}/{repo}/statuses/{sha}", post(create))
        .route("/repos/{owner}/{repo}/commits/{ref}/status", get(combined))
        .route("/repos/{owner}/{repo}/commits/{ref}/statuses", get(list))
}

type Hubbed = State<Arc<Hub>>;

async fn user(State(hub): Hubbed, Extension(actor): Extension<Actor>) -> Outcome<Json<Value>> {
    if !actor.is_person {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "Resource not accessible by integration"));
    }
    hub.read(|held| Ok(Json(held.shape.user(&actor.login))))
}

fn all_repos(held: &Held) -> Outcome<Vec<Value>> {
    held.repos.keys().map(|key| held.repo_json(key)).collect()
}

async fn repos(State(hub): Hubbed, Query(query): Query<ListQuery>, uri: Uri) -> Outcome<Response> {
    hub.read(|held| Ok(page_of(&all_repos(held)?, &query, &uri, &held.shape.base, Value::clone)))
}

async fn installation_repos(State(hub): Hubbed) -> Outcome<Json<Value>> {
    let repositories = hub.read(all_repos)?;
    Ok(Json(json!({"total_count": repositories.len(), "repository_selection": "all", "repositories": repositories})))
}

async fn repo(State(hub): Hubbed, Path((owner, repo)): Path<(String, String)>) -> Outcome<Json<Value>> {
    let mut shown = hub.read(|held| held.repo_json(&repo_key(&owner, &repo)))?;
    let role = json!({"admin": true, "maintain": true, "push": true, "triage": true, "pull": true});
    shown["permissions"] = role;
    Ok(Json(shown))
}

async fn patch_repo(
    State(hub): Hubbed,
    Path((owner, repo)): Path<(String, String)>,
    body: Bytes,
) -> Outcome<Json<Value>> {
    let key = repo_key(&owner, &repo);
    let fields = fields(&body)?;
    let shown = hub.edit(|held| {
        let mut changed = held.repo(&key)?.clone();
        if fields.get("description").is_some() {
            changed.description = text(&fields, "Repository", "description")?;
        }
        changed.updated_at = now();
        held.keep_repo(changed)?;
        held.repo_json(&key)
    })?;
    hub.counters.write(&key);
    Ok(Json(shown))
}

async fn create(
    State(hub): Hubbed,
    Extension(actor): Extension<Actor>,
    Path((owner, repo, sha)): Path<(String, String, String)>,
    body: Bytes,
) -> Outcome<Response> {
    let key = repo_key(&owner, &repo);
    let fields = fields(&body)?;
    let state = required(&fields, "Status", "state")?;
    if !["error", "failure", "pending", "success"].contains(&state.as_str()) {
        return Err(Refusal::invalid("Status", "state", "invalid"));
    }
    let context = text(&fields, "Status", "context")?.unwrap_or_else(|| "default".to_owned());
    let description = text(&fields, "Status", "description")?;
    if description.as_ref().is_some_and(|said| said.chars().count() > 140) {
        return Err(Refusal::invalid("Status", "description", "invalid"));
    }
    let target_url = text(&fields, "Status", "target_url")?;
    let (shown, record) = hub.edit(|held| {
        held.repo(&key)?;
        if !held.has_commit(&key, &sha) {
            return Err(Refusal::unprocessable(format!("No commit found for SHA: {sha}")));
        }
        let id = held.fresh_id();
        let creator = actor.login.clone();
        let status = CommitStatus {
            id,
            repo: key.clone(),
            sha: sha.clone(),
            state,
            context,
            description,
            target_url,
            creator,
            created_at: now(),
        };
        Ok((held.post_status(&status)?, held.record_of_commit(&key, &sha)))
    })?;
    hub.counters.write(&record);
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// The commit that a hash, a branch or a pull request's head names.
fn commit_of(held: &Held, key: &str, reference: &str) -> Outcome<String> {
    let known = held.repo(key)?;
    if held.has_commit(key, reference) {
        return Ok(reference.to_owned());
    }
    let branch = reference.trim_start_matches("refs/").trim_start_matches("heads/");
    if branch == known.default_branch {
        return Ok(known.head_sha.clone());
    }
    let mut pulls = held.threads_of(key).filter_map(|thread| thread.pull.as_ref());
    let newest = pulls.rfind(|pull| pull.head_ref == branch).map(|pull| pull.head_sha().to_owned());
    newest.ok_or_else(|| Refusal::unprocessable(format!("No commit found for SHA: {reference}")))
}

fn newest_first<'a>(held: &'a Held, key: &str, sha: &str) -> Vec<&'a CommitStatus> {
    held.statuses.get(&(key.to_owned(), sha.to_owned())).map_or_else(Vec::new, |all| all.iter().rev().collect())
}

async fn list(
    State(hub): Hubbed,
    Path((owner, repo, reference)): Path<(String, String, String)>,
    Query(query): Query<ListQuery>,
    uri: Uri,
) -> Outcome<Response> {
    let key = repo_key(&owner, &repo);
    hub.read(|held| {
        let sha = commit_of(held, &key, &reference)?;
        let root = held.shape.repo_url(held.repo(&key)?);
        Ok(page_of(&newest_first(held, &key, &sha), &query, &uri, &held.shape.base, |status| {
            held.shape.status(status, &root)
        }))
    })
}

async fn combined(
    State(hub): Hubbed,
    Path((owner, repo, reference)): Path<(String, String, String)>,
) -> Outcome<Json<Value>> {
    let key = repo_key(&owner, &repo);
    hub.read(|held| {
        let sha = commit_of(held, &key, &reference)?;
        let root = held.shape.repo_url(held.repo(&key)?);
        let mut newest: BTreeMap<&str, &CommitStatus> = BTreeMap::new();
        for status in newest_first(held, &key, &sha) {
            newest.entry(&status.context).or_insert(status);
        }
        let any = |states: &[&str]| newest.values().any(|status| states.contains(&status.state.as_str()));
        let state = if any(&["error", "failure"]) {
            "failure"
        } else if newest.is_empty() || any(&["pending"]) {
            "pending"
        } else {
            "success"
        };
        let statuses: Vec<Value> = newest.values().map(|status| held.shape.status(status, &root)).collect();
        Ok(Json(json!({
            "state": state, "statuses": statuses, "sha": sha, "total_count": statuses.len(), "repository": held.repo_json(&key)?,
            "commit_url": format!("{root}/commits/{sha}"), "url": format!("{root}/commits/{sha}/status"),
        })))
    })
}
