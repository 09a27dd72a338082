//! What can be done to issues and pull requests, and the event that each change owes.
//!
//! An edit that changes nothing keeps `updated_at` and sends no event.

use http::StatusCode;
use serde_json::{Value, json};

use super::record::{Comment, Thread};
use super::refusal::{Outcome, Refusal};
use super::shape;
use super::state::{State, now};

/// The fields of a `PATCH`; an absent one stays as it is.
#[derive(Debug, Default, Clone)]
pub(super) struct Patch {
    pub(super) title: Option<String>,
    /// An empty text takes the body away.
    pub(super) body: Option<String>,
    pub(super) open: Option<bool>,
    pub(super) state_reason: Option<String>,
    pub(super) labels: Option<Vec<String>>,
}

impl State {
    /// A new issue's number.
    pub(super) fn open_issue(
        &mut self,
        repo: &str,
        title: &str,
        body: Option<String>,
        labels: &[String],
        actor: &str,
    ) -> Outcome<u64> {
        let thread = self.new_thread(repo, title, body, labels, actor)?;
        let number = thread.number;
        self.keep_thread(thread)?;
        self.owe_thread(repo, number, "opened", actor, json!({}))?;
        Ok(number)
    }

    /// An issue that nobody has seen yet, with the next number of its repository.
    pub(super) fn new_thread(
        &mut self,
        repo: &str,
        title: &str,
        body: Option<String>,
        labels: &[String],
        actor: &str,
    ) -> Outcome<Thread> {
        self.repo(repo)?;
        if title.trim().is_empty() {
            return Err(Refusal::invalid("Issue", "title", "missing_field"));
        }
        let mut names = Vec::with_capacity(labels.len());
        for label in labels {
            names.push(self.label(repo, label)?.name);
        }
        let number = self.threads_of(repo).next_back().map_or(1, |newest| newest.number + 1);
        let at = now();
        Ok(Thread {
            repo: repo.to_owned(),
            number,
            id: self.fresh_id(),
            title: title.to_owned(),
            body,
            author: actor.to_owned(),
            open: true,
            state_reason: None,
            labels: names,
            comments: Vec::new(),
            created_at: at,
            updated_at: at,
            closed_at: None,
            closed_by: None,
            pull: None,
        })
    }

    /// Changes an issue or pull request.
    pub(super) fn patch(&mut self, repo: &str, number: u64, patch: Patch, actor: &str) -> Outcome<()> {
        let before = self.thread(repo, number)?.clone();
        let mut after = before.clone();
        if let Some(title) = patch.title {
            after.title = title;
        }
        if let Some(body) = patch.body {
            after.body = Some(body).filter(|body| !body.is_empty());
        }
        if let Some(open) = patch.open.filter(|open| *open != before.open) {
            set_open(&mut after, open, patch.state_reason, actor)?;
        }
        let text_changed = after.title != before.title || after.body != before.body;
        let state_changed = after.open != before.open;
        if text_changed || state_changed {
            after.updated_at = now();
            self.keep_thread(after.clone())?;
        }
        if text_changed {
            self.owe_thread(repo, number, "edited", actor, json!({"changes": changes(&before, &after)}))?;
        }
        if state_changed {
            let action = if after.open { "reopened" } else { "closed" };
            self.owe_thread(repo, number, action, actor, json!({}))?;
        }
        match patch.labels {
            Some(labels) => self.set_labels(repo, number, &labels, actor),
            None => Ok(()),
        }
    }

    /// Makes the issue's labels exactly these.
    pub(super) fn set_labels(&mut self, repo: &str, number: u64, labels: &[String], actor: &str) -> Outcome<()> {
        let had = self.thread(repo, number)?.labels.clone();
        let gone = had.iter().filter(|old| !labels.iter().any(|new| new.eq_ignore_ascii_case(old)));
        for label in gone {
            self.remove_label(repo, number, label, actor)?;
        }
        self.add_labels(repo, number, labels, actor)
    }

    /// Adds labels that the issue does not have yet.
    pub(super) fn add_labels(&mut self, repo: &str, number: u64, labels: &[String], actor: &str) -> Outcome<()> {
        self.thread(repo, number)?;
        for name in labels {
            let label = self.label(repo, name)?;
            let mut thread = self.thread(repo, number)?.clone();
            if thread.labels.contains(&label.name) {
                continue;
            }
            thread.labels.push(label.name.clone());
            thread.updated_at = now();
            self.keep_thread(thread)?;
            let shown = self.shape.label(self.repo(repo)?, &label);
            self.owe_thread(repo, number, "labeled", actor, json!({"label": shown}))?;
        }
        Ok(())
    }

    /// Takes a label off the issue.
    pub(super) fn remove_label(&mut self, repo: &str, number: u64, name: &str, actor: &str) -> Outcome<()> {
        let mut thread = self.thread(repo, number)?.clone();
        let place = thread.labels.iter().position(|label| label.eq_ignore_ascii_case(name));
        let place = place.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "Label does not exist"))?;
        thread.labels.remove(place);
        thread.updated_at = now();
        self.keep_thread(thread)?;
        let label = self.label(repo, name)?;
        let shown = self.shape.label(self.repo(repo)?, &label);
        self.owe_thread(repo, number, "unlabeled", actor, json!({"label": shown}))
    }

    /// Adds a comment, and answers it as JSON.
    pub(super) fn comment(&mut self, repo: &str, number: u64, body: &str, actor: &str) -> Outcome<Value> {
        let mut thread = self.thread(repo, number)?.clone();
        if body.trim().is_empty() {
            return Err(Refusal::invalid("IssueComment", "body", "missing_field"));
        }
        let comment =
            Comment { id: self.fresh_id(), author: actor.to_owned(), body: body.to_owned(), created_at: now() };
        thread.comments.push(comment.clone());
        thread.updated_at = now();
        self.keep_thread(thread.clone())?;
        let shown = self.shape.comment(self.repo(repo)?, &thread, &comment);
        let issue = self.issue_json(repo, number)?;
        self.owe("issue_comment", repo, actor, json!({"action": "created", "issue": issue, "comment": shown}))?;
        Ok(shown)
    }

    /// Owes an `issues` or `pull_request` event about a thread, with `extra` keys after the object.
    pub(super) fn owe_thread(
        &mut self,
        repo: &str,
        number: u64,
        action: &str,
        actor: &str,
        extra: Value,
    ) -> Outcome<()> {
        let pull = self.thread(repo, number)?.pull.is_some();
        let parts = if pull {
            json!({"action": action, "number": number, "pull_request": self.pull_json(repo, number)?})
        } else {
            let mut issue = self.issue_json(repo, number)?;
            // Only an issue's events have it; its REST form does not.
            issue["draft"] = json!(false);
            json!({"action": action, "issue": issue})
        };
        self.owe(if pull { "pull_request" } else { "issues" }, repo, actor, shape::joined(parts, extra))
    }
}

fn set_open(thread: &mut Thread, open: bool, reason: Option<String>, actor: &str) -> Outcome<()> {
    if let Some(pull) = &mut thread.pull {
        if open && pull.merged_at.is_some() {
            return Err(Refusal::invalid("PullRequest", "state", "invalid"));
        }
        pull.queued = false;
    }
    thread.open = open;
    thread.closed_at = (!open).then(now);
    thread.closed_by = (!open).then(|| actor.to_owned());
    thread.state_reason = match (&thread.pull, open) {
        (Some(_), _) => None,
        (None, true) => Some("reopened".to_owned()),
        (None, false) => Some(reason.filter(|r| r != "reopened").unwrap_or_else(|| "completed".to_owned())),
    };
    Ok(())
}

fn changes(before: &Thread, after: &Thread) -> Value {
    let mut changes = json!({});
    if before.title != after.title {
        changes["title"] = json!({"from": before.title});
    }
    if before.body != after.body {
        changes["body"] = json!({"from": before.body.clone().unwrap_or_default()});
    }
    changes
}

/// A commit that no other branch has: it depends on the branch and on how many came before it.
pub(super) fn next_commit(repo: &str, branch: &str, before: usize) -> String {
    shape::sha(&format!("{repo} {branch} {before}"))
}
