//! A person's hand: edits that do not come through the API, as control routes and for the sandbox's handle.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call::{fields, label_names, required, text};
use super::demo;
use super::edits::Patch;
use super::hub::Hub;
use super::pull_edits::NewPull;
use super::rate::GithubLimits;
use super::refusal::{Outcome, Refusal};
use super::shape::{PERSON, REVIEWER};
use super::state::repo_key;

/// What a person does to a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullAction {
    /// Merges it.
    Merge,
    /// Closes it unmerged.
    Close,
    /// Opens it again.
    Reopen,
    /// Marks a draft as ready for review.
    Ready,
    /// Turns it into a draft.
    Draft,
    /// Pushes a commit to its branch.
    Push,
    /// Puts it into the merge queue.
    Enqueue,
    /// Takes it out of the merge queue.
    Dequeue,
    /// Reviews it and approves, as another person.
    Approve,
    /// Reviews it and asks for changes, as another person.
    RequestChanges,
}

impl Hub {
    /// Opens an issue by a person's hand, and answers its number.
    pub(super) fn hand_open_issue(
        &self,
        repo: &str,
        title: &str,
        body: Option<String>,
        labels: &[String],
    ) -> Outcome<u64> {
        self.by_hand(|held| held.open_issue(repo, title, body, labels, PERSON))
    }

    /// Opens a pull request by a person's hand, and answers its number.
    pub(super) fn hand_open_pull(&self, repo: &str, new: NewPull<'_>) -> Outcome<u64> {
        self.by_hand(|held| held.open_pull(repo, new, PERSON))
    }

    /// Changes an issue or pull request by a person's hand.
    pub(super) fn hand_patch(&self, repo: &str, number: u64, patch: Patch) -> Outcome<()> {
        self.by_hand(|held| held.patch(repo, number, patch, PERSON))
    }

    /// Acts on a pull request by a person's hand.
    pub(super) fn hand_pull(&self, repo: &str, number: u64, action: PullAction) -> Outcome<()> {
        let state = |open| Patch { open: Some(open), ..Patch::default() };
        self.by_hand(|held| {
            held.pull(repo, number)?;
            match action {
                PullAction::Merge => held.merge(repo, number, None, PERSON).map(|_| ()),
                PullAction::Close => held.patch(repo, number, state(false), PERSON),
                PullAction::Reopen => held.patch(repo, number, state(true), PERSON),
                PullAction::Ready => held.set_draft(repo, number, false, PERSON),
                PullAction::Draft => held.set_draft(repo, number, true, PERSON),
                PullAction::Push => held.push(repo, number, PERSON).map(|_| ()),
                PullAction::Enqueue => held.set_queued(repo, number, true, PERSON),
                PullAction::Dequeue => held.set_queued(repo, number, false, PERSON),
                PullAction::Approve => held.review(repo, number, "APPROVED", "Looks good.", REVIEWER).map(|_| ()),
                PullAction::RequestChanges => {
                    held.review(repo, number, "CHANGES_REQUESTED", "Please change this.", REVIEWER).map(|_| ())
                }
            }
        })
    }

    fn by_hand<T>(&self, change: impl FnOnce(&mut super::state::State) -> Outcome<T>) -> Outcome<T> {
        let done = self.edit(change)?;
        self.counters.edit();
        Ok(done)
    }

    /// Makes every token of the installation useless from now on.
    pub(super) fn expire_tokens(&self) -> Outcome<()> {
        self.edit(|held| {
            let all: Vec<_> = held.tokens.values().cloned().collect();
            all.into_iter()
                .try_for_each(|token| held.keep_token(super::record::InstallationToken { expires_at: 0, ..token }))
        })
    }
}

/// The routes under `/sandbox/` that only GitHub has.
pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/sandbox/state", get(state))
        .route("/sandbox/limits", put(set_limits).get(limits))
        .route("/sandbox/tokens/expire", post(expire))
        .route("/sandbox/repos/{owner}/{repo}", put(create_repo))
        .route("/sandbox/repos/{owner}/{repo}/issues", post(open_issue))
        .route("/sandbox/repos/{owner}/{repo}/issues/{number}/{action}", post(act_on_issue))
        .route("/sandbox/repos/{owner}/{repo}/pulls", post(open_pull))
        .route("/sandbox/repos/{owner}/{repo}/pulls/{number}/{action}", post(act_on_pull))
}

type Hubbed = State<Arc<Hub>>;
type Of = Path<(String, String)>;
type Acted = Path<(String, String, u64, String)>;

async fn state(State(hub): Hubbed) -> Outcome<Json<Value>> {
    hub.read(|held| Ok(Json(held.dump())))
}

async fn limits(State(hub): Hubbed) -> Json<GithubLimits> {
    Json(hub.limits.get())
}

async fn set_limits(State(hub): Hubbed, Json(limits): Json<GithubLimits>) -> StatusCode {
    hub.limits.set(limits);
    StatusCode::NO_CONTENT
}

async fn expire(State(hub): Hubbed) -> Outcome<StatusCode> {
    hub.expire_tokens()?;
    Ok(StatusCode::NO_CONTENT)
}

async fn create_repo(State(hub): Hubbed, Path((owner, repo)): Of) -> Outcome<Json<Value>> {
    hub.edit(|held| {
        demo::create_repo(held, &owner, &repo)?;
        held.repo_json(&repo_key(&owner, &repo))
    })
    .map(Json)
}

async fn open_issue(State(hub): Hubbed, Path((owner, repo)): Of, body: Bytes) -> Outcome<Json<Value>> {
    let key = repo_key(&owner, &repo);
    let fields = fields(&body)?;
    let labels = fields.get("labels").map(label_names).transpose()?.unwrap_or_default();
    let number =
        hub.hand_open_issue(&key, &required(&fields, "Issue", "title")?, text(&fields, "Issue", "body")?, &labels)?;
    hub.read(|held| held.issue_json(&key, number)).map(Json)
}

async fn act_on_issue(
    State(hub): Hubbed,
    Path((owner, repo, number, action)): Acted,
    body: Bytes,
) -> Outcome<Json<Value>> {
    let key = repo_key(&owner, &repo);
    let fields = fields(&body)?;
    let patch = match action.as_str() {
        "close" => Patch { open: Some(false), state_reason: text(&fields, "Issue", "reason")?, ..Patch::default() },
        "reopen" => Patch { open: Some(true), ..Patch::default() },
        "edit" => super::issues::patch_of(&fields, "Issue")?,
        "labels" => Patch { labels: Some(label_names(&fields["labels"])?), ..Patch::default() },
        "comment" => {
            let said = required(&fields, "IssueComment", "body")?;
            return hub.by_hand(|held| held.comment(&key, number, &said, PERSON)).map(Json);
        }
        _ => return Err(Refusal::not_found()),
    };
    hub.hand_patch(&key, number, patch)?;
    hub.read(|held| held.issue_json(&key, number)).map(Json)
}

async fn open_pull(State(hub): Hubbed, Path((owner, repo)): Of, body: Bytes) -> Outcome<Json<Value>> {
    let key = repo_key(&owner, &repo);
    let fields = fields(&body)?;
    let (title, head) = (required(&fields, "PullRequest", "title")?, required(&fields, "PullRequest", "head")?);
    let draft = fields["draft"].as_bool().unwrap_or(false);
    let new = NewPull { title: &title, body: text(&fields, "PullRequest", "body")?, head: &head, base: None, draft };
    let number = hub.hand_open_pull(&key, new)?;
    hub.read(|held| held.pull_json(&key, number)).map(Json)
}

async fn act_on_pull(
    State(hub): Hubbed,
    Path((owner, repo, number, action)): Acted,
    body: Bytes,
) -> Outcome<Json<Value>> {
    let key = repo_key(&owner, &repo);
    let action = if action == "review" {
        match text(&fields(&body)?, "PullRequestReview", "state")?.as_deref() {
            Some("approved") => PullAction::Approve,
            Some("changes_requested") => PullAction::RequestChanges,
            _ => return Err(Refusal::invalid("PullRequestReview", "state", "invalid")),
        }
    } else {
        serde_json::from_value(json!(action)).map_err(|_| Refusal::not_found())?
    };
    hub.hand_pull(&key, number, action)?;
    hub.read(|held| held.pull_json(&key, number)).map(Json)
}
