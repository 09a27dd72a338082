//! Everything the sandbox knows, and the one place where a change is written to the journal.
//!
//! A change leaves the events it owes in `outbox`; who sends them is not its business.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::record::{CommitStatus, Hook, InstallationToken, Label, Pull, Repo, Thread};
use super::refusal::{Outcome, Refusal};
use super::shape::{self, Shape};
use crate::clock;
use crate::journal::{Entry, Journal};

/// Something that happened, as its webhook tells it.
#[derive(Debug, Clone)]
pub(super) struct Event {
    /// `issues`, `pull_request` …
    pub(super) name: &'static str,
    /// The repository's key.
    pub(super) repo: String,
    /// The whole payload.
    pub(super) payload: Value,
}

/// The sandbox's memory.
pub(super) struct State {
    pub(super) shape: Shape,
    /// The GitHub App's installation, which every payload names when there is one.
    pub(super) installation: Option<u64>,
    pub(super) repos: BTreeMap<String, Repo>,
    pub(super) threads: BTreeMap<(String, u64), Thread>,
    /// Newest last, by repository key and commit.
    pub(super) statuses: BTreeMap<(String, String), Vec<CommitStatus>>,
    pub(super) hooks: BTreeMap<u64, Hook>,
    pub(super) tokens: BTreeMap<String, InstallationToken>,
    pub(super) outbox: Vec<Event>,
    next_id: u64,
    journal: Journal,
}

/// Now, in whole seconds since 1970.
pub(super) fn now() -> i64 {
    clock::now().unix_timestamp()
}

/// The key of a repository: GitHub's names do not differ by case.
pub(super) fn repo_key(owner: &str, name: &str) -> String {
    format!("{owner}/{name}").to_lowercase()
}

impl State {
    /// What the journal's entries add up to.
    pub(super) fn replayed(journal: Journal, entries: Vec<Entry>, installation: Option<u64>) -> anyhow::Result<Self> {
        let mut state = Self {
            shape: Shape { base: String::new() },
            installation,
            repos: BTreeMap::new(),
            threads: BTreeMap::new(),
            statuses: BTreeMap::new(),
            hooks: BTreeMap::new(),
            tokens: BTreeMap::new(),
            outbox: Vec::new(),
            // Small numbers are left to things that have fixed ones.
            next_id: 10_000,
            journal,
        };
        for entry in entries {
            state.replay(entry)?;
        }
        Ok(state)
    }

    fn replay(&mut self, entry: Entry) -> anyhow::Result<()> {
        fn read<T: DeserializeOwned>(entry: Entry) -> anyhow::Result<T> {
            serde_json::from_value(entry.value)
                .map_err(|e| anyhow::anyhow!("the journal's {} {}: {e}", entry.kind, entry.key))
        }
        match entry.kind.as_str() {
            "repo" => {
                let repo: Repo = read(entry)?;
                let newest = repo.labels.iter().map(|label| label.id).chain([repo.id]).max().unwrap_or(0);
                self.next_id = self.next_id.max(newest + 1);
                self.repos.insert(repo_key(&repo.owner, &repo.name), repo);
            }
            "thread" => {
                let thread: Thread = read(entry)?;
                let parts =
                    thread.pull.iter().flat_map(|pull| pull.reviews.iter().map(|review| review.id).chain([pull.id]));
                let newest =
                    thread.comments.iter().map(|comment| comment.id).chain(parts).chain([thread.id]).max().unwrap_or(0);
                self.next_id = self.next_id.max(newest + 1);
                self.threads.insert((thread.repo.clone(), thread.number), thread);
            }
            "status" => {
                let status: CommitStatus = read(entry)?;
                self.next_id = self.next_id.max(status.id + 1);
                self.statuses.entry((status.repo.clone(), status.sha.clone())).or_default().push(status);
            }
            "hook" => {
                let hook: Hook = read(entry)?;
                self.next_id = self.next_id.max(hook.id + 1);
                self.hooks.insert(hook.id, hook);
            }
            "token" => {
                let token: InstallationToken = read(entry)?;
                if token.expires_at > now() {
                    self.tokens.insert(token.token.clone(), token);
                }
            }
            other => anyhow::bail!("the journal has an entry of the unknown kind {other}"),
        }
        Ok(())
    }

    /// A number that nothing else has.
    pub(super) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// The repository of this key.
    pub(super) fn repo(&self, key: &str) -> Outcome<&Repo> {
        self.repos.get(key).ok_or_else(Refusal::not_found)
    }

    /// The issue or pull request of this number.
    pub(super) fn thread(&self, repo: &str, number: u64) -> Outcome<&Thread> {
        self.repo(repo)?;
        self.threads.get(&(repo.to_owned(), number)).ok_or_else(Refusal::not_found)
    }

    /// The pull request of this number.
    pub(super) fn pull(&self, repo: &str, number: u64) -> Outcome<(&Thread, &Pull)> {
        let thread = self.thread(repo, number)?;
        let pull = thread.pull.as_ref().ok_or_else(Refusal::not_found)?;
        Ok((thread, pull))
    }

    /// All issues and pull requests of a repository, by number.
    pub(super) fn threads_of<'a>(&'a self, repo: &str) -> impl DoubleEndedIterator<Item = &'a Thread> + use<'a> {
        let first = (repo.to_owned(), 0);
        let last = (repo.to_owned(), u64::MAX);
        self.threads.range(first..=last).map(|(_, thread)| thread)
    }

    /// How many issues and pull requests are open.
    pub(super) fn open_issues(&self, repo: &str) -> usize {
        self.threads_of(repo).filter(|thread| thread.open).count()
    }

    /// A repository as JSON.
    pub(super) fn repo_json(&self, key: &str) -> Outcome<Value> {
        Ok(self.shape.repo(self.repo(key)?, self.open_issues(key)))
    }

    /// An issue as JSON.
    pub(super) fn issue_json(&self, repo: &str, number: u64) -> Outcome<Value> {
        Ok(self.shape.issue(self.repo(repo)?, self.thread(repo, number)?))
    }

    /// A pull request in full as JSON.
    pub(super) fn pull_json(&self, repo: &str, number: u64) -> Outcome<Value> {
        let (thread, pull) = self.pull(repo, number)?;
        Ok(self.shape.pull(self.repo(repo)?, thread, pull, self.open_issues(repo)))
    }

    /// Whether the commit is one that this repository has.
    pub(super) fn has_commit(&self, repo: &str, sha: &str) -> bool {
        self.repos.get(repo).is_some_and(|repo| repo.head_sha == sha)
            || self.threads_of(repo).filter_map(|thread| thread.pull.as_ref()).any(|pull| {
                pull.base_sha == sha
                    || pull.merge_sha.as_deref() == Some(sha)
                    || pull.commits.iter().any(|commit| commit == sha)
            })
    }

    /// The record that a commit's status belongs to: the pull request whose head it is, else the commit itself.
    pub(super) fn record_of_commit(&self, repo: &str, sha: &str) -> String {
        let is_head = |thread: &&Thread| thread.pull.as_ref().is_some_and(|pull| pull.head_sha() == sha);
        match self.threads_of(repo).rev().find(is_head) {
            Some(thread) => format!("{repo}#{}", thread.number),
            None => format!("{repo}@{sha}"),
        }
    }

    /// Keeps a repository.
    pub(super) fn keep_repo(&mut self, repo: Repo) -> Outcome<()> {
        let key = repo_key(&repo.owner, &repo.name);
        self.journal.append("repo", &key, &repo).map_err(|e| Refusal::broken(&e))?;
        self.repos.insert(key, repo);
        Ok(())
    }

    /// Keeps an issue or pull request.
    pub(super) fn keep_thread(&mut self, thread: Thread) -> Outcome<()> {
        let key = (thread.repo.clone(), thread.number);
        self.journal.append("thread", &format!("{}#{}", key.0, key.1), &thread).map_err(|e| Refusal::broken(&e))?;
        self.threads.insert(key, thread);
        Ok(())
    }

    /// Keeps a commit's status; 1,000 of a commit and context are the most there can be.
    pub(super) fn keep_status(&mut self, status: CommitStatus) -> Outcome<()> {
        let key = (status.repo.clone(), status.sha.clone());
        let same = |old: &&CommitStatus| old.context == status.context;
        if self.statuses.get(&key).is_some_and(|all| all.iter().filter(same).count() >= 1000) {
            let said = "This SHA and context has reached the maximum number of statuses.";
            return Err(Refusal {
                status: StatusCode::UNPROCESSABLE_ENTITY,
                message: "Validation Failed".to_owned(),
                errors: vec![json!({"resource": "Status", "code": "custom", "message": said})],
            });
        }
        self.journal.append("status", &status.id.to_string(), &status).map_err(|e| Refusal::broken(&e))?;
        self.statuses.entry(key).or_default().push(status);
        Ok(())
    }

    /// Keeps a hook.
    pub(super) fn keep_hook(&mut self, hook: Hook) -> Outcome<()> {
        self.journal.append("hook", &hook.id.to_string(), &hook).map_err(|e| Refusal::broken(&e))?;
        self.hooks.insert(hook.id, hook);
        Ok(())
    }

    /// Keeps an installation's token.
    pub(super) fn keep_token(&mut self, token: InstallationToken) -> Outcome<()> {
        self.journal.append("token", &token.token, &token).map_err(|e| Refusal::broken(&e))?;
        self.tokens.insert(token.token.clone(), token);
        Ok(())
    }

    /// The repository's label of this name, made if there is none.
    pub(super) fn label(&mut self, repo: &str, name: &str) -> Outcome<Label> {
        let mut changed = self.repo(repo)?.clone();
        if let Some(label) = changed.labels.iter().find(|label| label.name.eq_ignore_ascii_case(name)) {
            return Ok(label.clone());
        }
        let label = Label { id: self.fresh_id(), name: name.to_owned(), color: "ededed".to_owned(), description: None };
        changed.labels.push(label.clone());
        self.keep_repo(changed)?;
        Ok(label)
    }

    /// Owes an event: `parts` beside the repository, the sender and the installation, which every event has.
    pub(super) fn owe(&mut self, name: &'static str, repo: &str, actor: &str, parts: Value) -> Outcome<()> {
        let mut payload = parts;
        payload["repository"] = self.repo_json(repo)?;
        payload["sender"] = self.shape.user(actor);
        if let Some(id) = self.installation {
            payload["installation"] = json!({"id": id, "node_id": shape::node_id("GI", id)});
        }
        self.outbox.push(Event { name, repo: repo.to_owned(), payload });
        Ok(())
    }

    /// Everything, for a person to look at.
    pub(super) fn dump(&self) -> Value {
        json!({
            "repos": self.repos.values().collect::<Vec<_>>(),
            "threads": self.threads.values().collect::<Vec<_>>(),
            "statuses": self.statuses.values().flatten().collect::<Vec<_>>(),
            "hooks": self.hooks.values().map(|hook| json!({"id": hook.id, "repo": hook.repo, "url": hook.url, "events": hook.events})).collect::<Vec<_>>(),
        })
    }
}
