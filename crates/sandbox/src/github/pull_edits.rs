//! What can be done to pull requests beyond what issues know: drafts, pushes, reviews, merges, commit statuses.

use http::StatusCode;
use serde_json::{Value, json};

use super::edits::next_commit;
use super::record::{CommitStatus, Pull, Review, Thread};
use super::refusal::{Outcome, Refusal};
use super::state::{State, now};

/// A pull request to open.
#[derive(Debug, Clone)]
pub(super) struct NewPull<'a> {
    pub(super) title: &'a str,
    pub(super) body: Option<String>,
    pub(super) head: &'a str,
    pub(super) base: Option<&'a str>,
    pub(super) draft: bool,
}

impl State {
    /// A new pull request's number.
    pub(super) fn open_pull(&mut self, repo: &str, new: NewPull<'_>, actor: &str) -> Outcome<u64> {
        let known = self.repo(repo)?;
        // A head may name its owner: `acme:branch`.
        let branch = new.head.rsplit(':').next().unwrap_or(new.head).to_owned();
        let base_ref = new.base.unwrap_or(&known.default_branch).to_owned();
        let base_sha = known.head_sha.clone();
        if branch.is_empty() || branch == base_ref {
            return Err(Refusal::invalid("PullRequest", "head", "invalid"));
        }
        let is_open = |thread: &Thread| thread.open && thread.pull.as_ref().is_some_and(|pull| pull.head_ref == branch);
        if self.threads_of(repo).any(is_open) {
            let said = format!("A pull request already exists for {}:{branch}.", known.owner);
            return Err(Refusal {
                status: StatusCode::UNPROCESSABLE_ENTITY,
                message: "Validation Failed".to_owned(),
                errors: vec![json!({"resource": "PullRequest", "code": "custom", "message": said})],
            });
        }
        let mut thread = self.new_thread(repo, new.title, new.body, &[], actor)?;
        let number = thread.number;
        thread.pull = Some(Pull {
            id: self.fresh_id(),
            draft: new.draft,
            head_ref: branch.clone(),
            base_ref,
            base_sha,
            commits: vec![next_commit(repo, &format!("{branch} {number}"), 0)],
            merged_at: None,
            merged_by: None,
            merge_sha: None,
            queued: false,
            reviews: Vec::new(),
        });
        self.keep_thread(thread)?;
        self.owe_thread(repo, number, "opened", actor, json!({}))?;
        Ok(number)
    }

    /// Turns an open pull request into a draft, or a draft into one that is ready.
    pub(super) fn set_draft(&mut self, repo: &str, number: u64, draft: bool, actor: &str) -> Outcome<()> {
        let (thread, pull) = self.pull(repo, number)?;
        if !thread.open {
            return Err(Refusal::unprocessable("Pull request is closed"));
        }
        if pull.draft == draft {
            return Ok(());
        }
        self.change_pull(repo, number, |_, pull| pull.draft = draft)?;
        let action = if draft { "converted_to_draft" } else { "ready_for_review" };
        self.owe_thread(repo, number, action, actor, json!({}))
    }

    /// Puts a new commit on the head branch, and answers its hash.
    pub(super) fn push(&mut self, repo: &str, number: u64, actor: &str) -> Outcome<String> {
        let (_, pull) = self.pull(repo, number)?;
        let before = pull.head_sha().to_owned();
        let after = next_commit(repo, &format!("{} {number}", pull.head_ref), pull.commits.len());
        self.change_pull(repo, number, |_, pull| pull.commits.push(after.clone()))?;
        self.owe_thread(repo, number, "synchronize", actor, json!({"before": before, "after": after}))?;
        Ok(after)
    }

    /// Puts an open pull request into the merge queue, or takes it out.
    pub(super) fn set_queued(&mut self, repo: &str, number: u64, queued: bool, actor: &str) -> Outcome<()> {
        let (thread, pull) = self.pull(repo, number)?;
        if !thread.open || pull.draft {
            return Err(Refusal::unprocessable("Pull request is not mergeable"));
        }
        if pull.queued == queued {
            return Ok(());
        }
        self.change_pull(repo, number, |_, pull| pull.queued = queued)?;
        let (action, extra) = if queued { ("enqueued", json!({})) } else { ("dequeued", json!({"reason": "MANUAL"})) };
        self.owe_thread(repo, number, action, actor, extra)
    }

    /// Merges an open pull request, and answers the merge commit's hash; `head` is the head that the caller has seen.
    pub(super) fn merge(&mut self, repo: &str, number: u64, head: Option<&str>, actor: &str) -> Outcome<String> {
        let (thread, pull) = self.pull(repo, number)?;
        if !thread.open {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "Pull Request is not mergeable"));
        }
        if pull.draft {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "Pull Request is still a draft"));
        }
        if head.is_some_and(|head| head != pull.head_sha()) {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                "Head branch was modified. Review and try the merge again.",
            ));
        }
        let sha = next_commit(repo, &format!("merge of {number}"), pull.commits.len());
        let at = now();
        self.change_pull(repo, number, |thread, pull| {
            thread.open = false;
            thread.closed_at = Some(at);
            thread.closed_by = Some(actor.to_owned());
            pull.merged_at = Some(at);
            pull.merged_by = Some(actor.to_owned());
            pull.merge_sha = Some(sha.clone());
            pull.queued = false;
        })?;
        let mut changed = self.repo(repo)?.clone();
        changed.head_sha.clone_from(&sha);
        changed.pushed_at = at;
        self.keep_repo(changed)?;
        self.owe_thread(repo, number, "closed", actor, json!({}))?;
        Ok(sha)
    }

    /// Adds a review (`APPROVED`, `CHANGES_REQUESTED`, `COMMENTED`), and answers it as JSON.
    pub(super) fn review(&mut self, repo: &str, number: u64, verdict: &str, body: &str, actor: &str) -> Outcome<Value> {
        let (thread, pull) = self.pull(repo, number)?;
        if thread.author == actor && verdict == "APPROVED" {
            return Err(Refusal::unprocessable("Can not approve your own pull request"));
        }
        if thread.author == actor && verdict == "CHANGES_REQUESTED" {
            return Err(Refusal::unprocessable("Can not request changes on your own pull request"));
        }
        let commit = pull.head_sha().to_owned();
        let review = Review {
            id: self.fresh_id(),
            author: actor.to_owned(),
            state: verdict.to_owned(),
            body: body.to_owned(),
            commit,
            submitted_at: now(),
        };
        self.change_pull(repo, number, |_, pull| pull.reviews.push(review.clone()))?;
        let (thread, pull) = self.pull(repo, number)?;
        let shown = self.shape.review(self.repo(repo)?, thread, &review);
        let about = self.shape.pull_in_list(self.repo(repo)?, thread, pull, self.open_issues(repo));
        let mut told = shown.clone();
        // Its webhook writes in small letters what the API writes in capitals.
        told["state"] = json!(verdict.to_lowercase());
        self.owe(
            "pull_request_review",
            repo,
            actor,
            json!({"action": "submitted", "review": told, "pull_request": about}),
        )?;
        Ok(shown)
    }

    /// Adds a commit's status, and answers it as JSON.
    pub(super) fn post_status(&mut self, status: &CommitStatus) -> Outcome<Value> {
        let repo = status.repo.clone();
        let actor = status.creator.clone();
        self.keep_status(status.clone())?;
        let known = self.repo(&repo)?;
        let root = self.shape.repo_url(known);
        let on_branch = |thread: &&Thread| thread.pull.as_ref().is_some_and(|pull| pull.head_sha() == status.sha);
        let branches: Vec<Value> = self
            .threads_of(&repo)
            .filter(on_branch)
            .filter_map(|thread| thread.pull.as_ref())
            .map(|pull| json!({"name": pull.head_ref, "commit": {"sha": status.sha, "url": format!("{root}/commits/{}", status.sha)}, "protected": false}))
            .collect();
        let told = json!({
            "id": status.id, "sha": status.sha, "name": known.full_name(), "target_url": status.target_url,
            "avatar_url": format!("{}/avatars/{actor}", self.shape.base), "context": status.context,
            "description": status.description, "state": status.state, "commit": self.shape.commit(known, &status.sha, &actor),
            "branches": branches, "created_at": offset_instant(status.created_at), "updated_at": offset_instant(status.created_at),
        });
        let shown = self.shape.status(status, &root);
        self.owe("status", &repo, &actor, told)?;
        Ok(shown)
    }

    fn change_pull(&mut self, repo: &str, number: u64, change: impl FnOnce(&mut Thread, &mut Pull)) -> Outcome<()> {
        let mut thread = self.thread(repo, number)?.clone();
        let mut pull = thread.pull.take().ok_or_else(Refusal::not_found)?;
        change(&mut thread, &mut pull);
        thread.pull = Some(pull);
        thread.updated_at = now();
        self.keep_thread(thread)
    }
}

/// `status` events write their times with an offset instead of a `Z`.
fn offset_instant(seconds: i64) -> String {
    super::shape::instant(seconds).replace('Z', "+00:00")
}
