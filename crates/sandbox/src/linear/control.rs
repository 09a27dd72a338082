//! The Linear sandbox's own routes under `/sandbox/`: a person's edits by name, its budgets, and all it keeps.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::linear::{
    Issue, LinearLimits, NewIssue,
    error::ApiError,
    integration::GitEvent,
    shared::{Shared, view},
    world::row,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    state: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewComment {
    body: String,
}

/// The routes.
pub fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/sandbox/state", get(state))
        .route("/sandbox/limits", put(limits))
        .route("/sandbox/integrations/github", post(github))
        .route("/sandbox/teams/{team}/git-automation", put(git_automation))
        .route("/sandbox/issues/{identifier}/synced", put(synced))
        .route("/sandbox/issues", post(create))
        .route("/sandbox/issues/{identifier}", get(issue).patch(edit).delete(remove))
        .route("/sandbox/issues/{identifier}/move", post(move_issue))
        .route("/sandbox/issues/{identifier}/comments", post(comment))
}

async fn state(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let world = shared.world();
    let mut all = world.dump();
    all["unknownFields"] = json!(world.unknown_fields);
    Json(all)
}

async fn limits(State(shared): State<Arc<Shared>>, Json(limits): Json<LinearLimits>) -> StatusCode {
    shared.set_limits(limits);
    StatusCode::NO_CONTENT
}

async fn issue(State(shared): State<Arc<Shared>>, Path(identifier): Path<String>) -> Response {
    let world = shared.world();
    answer(world.issue(&identifier).map(|row| view(&world, row)).ok_or_else(|| ApiError::not_found("Issue")))
}

/// A webhook of GitHub's, as Linear's integration takes them.
async fn github(State(shared): State<Arc<Shared>>, Json(payload): Json<Value>) -> Response {
    match shared.hear_github(&payload) {
        Ok(moved) => Json(json!({"moved": moved})).into_response(),
        Err(error) => answer(Err(error)),
    }
}

async fn git_automation(
    State(shared): State<Arc<Shared>>,
    Path(team): Path<String>,
    Json(states): Json<BTreeMap<GitEvent, String>>,
) -> Response {
    match shared.set_git_automation(&team, &states) {
        Ok(()) => Json(json!(states)).into_response(),
        Err(error) => answer(Err(error)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Synced {
    owner: String,
    repo: String,
    number: u64,
}

async fn synced(
    State(shared): State<Arc<Shared>>,
    Path(identifier): Path<String>,
    Json(with): Json<Synced>,
) -> Response {
    answer(shared.sync_with_github(&identifier, &with.owner, &with.repo, with.number))
}

async fn create(State(shared): State<Arc<Shared>>, Json(new): Json<NewIssue>) -> Response {
    answer(shared.create_issue(&new))
}

async fn move_issue(
    State(shared): State<Arc<Shared>>,
    Path(identifier): Path<String>,
    Json(to): Json<Move>,
) -> Response {
    answer(shared.move_issue(&identifier, &to.state))
}

async fn edit(
    State(shared): State<Arc<Shared>>,
    Path(identifier): Path<String>,
    Json(fields): Json<Value>,
) -> Response {
    answer(shared.edit_issue(&identifier, row(fields)))
}

async fn remove(State(shared): State<Arc<Shared>>, Path(identifier): Path<String>) -> Response {
    answer(shared.remove_issue(&identifier))
}

async fn comment(
    State(shared): State<Arc<Shared>>,
    Path(identifier): Path<String>,
    Json(new): Json<NewComment>,
) -> Response {
    match shared.comment(&identifier, &new.body) {
        Ok(id) => Json(json!({"id": id})).into_response(),
        Err(error) => answer(Err(error)),
    }
}

fn answer(done: Result<Issue, ApiError>) -> Response {
    match done {
        Ok(issue) => Json(issue).into_response(),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"error": error.to_string()}))).into_response(),
    }
}
