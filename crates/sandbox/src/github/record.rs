//! What the sandbox remembers: repositories, issues with their pull requests, commit statuses, hooks and tokens.
//!
//! Times are whole seconds since 1970, because that is all GitHub's `updated_at` ever shows.

use serde::{Deserialize, Serialize};

/// A repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Repo {
    pub(super) id: u64,
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) default_branch: String,
    pub(super) head_sha: String,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    pub(super) pushed_at: i64,
    pub(super) labels: Vec<Label>,
}

impl Repo {
    /// `owner/name` as it is shown.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

/// A label of a repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Label {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) color: String,
    pub(super) description: Option<String>,
}

/// An issue, or a pull request, which is an issue with branches: both share one numbering.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Thread {
    pub(super) repo: String,
    pub(super) number: u64,
    pub(super) id: u64,
    pub(super) title: String,
    pub(super) body: Option<String>,
    pub(super) author: String,
    pub(super) open: bool,
    pub(super) state_reason: Option<String>,
    pub(super) labels: Vec<String>,
    pub(super) comments: Vec<Comment>,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    pub(super) closed_at: Option<i64>,
    pub(super) closed_by: Option<String>,
    pub(super) pull: Option<Pull>,
}

impl Thread {
    /// `open` or `closed`.
    pub(super) fn state(&self) -> &'static str {
        if self.open { "open" } else { "closed" }
    }
}

/// What a pull request has beyond an issue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pull {
    pub(super) id: u64,
    pub(super) draft: bool,
    pub(super) head_ref: String,
    pub(super) base_ref: String,
    pub(super) base_sha: String,
    /// Every head so far, the newest last: never empty.
    pub(super) commits: Vec<String>,
    pub(super) merged_at: Option<i64>,
    pub(super) merged_by: Option<String>,
    pub(super) merge_sha: Option<String>,
    pub(super) queued: bool,
    pub(super) reviews: Vec<Review>,
}

impl Pull {
    /// The commit that the branch points at.
    pub(super) fn head_sha(&self) -> &str {
        self.commits.last().map_or("", String::as_str)
    }

    /// What the newest review of each reviewer adds up to, as GraphQL names it; `None` while nobody has judged.
    pub(super) fn review_decision(&self) -> Option<&'static str> {
        let mut newest = std::collections::BTreeMap::new();
        for review in self.reviews.iter().filter(|r| r.state == "APPROVED" || r.state == "CHANGES_REQUESTED") {
            newest.insert(review.author.as_str(), review.state.as_str());
        }
        if newest.values().any(|state| *state == "CHANGES_REQUESTED") {
            Some("CHANGES_REQUESTED")
        } else if newest.is_empty() {
            None
        } else {
            Some("APPROVED")
        }
    }
}

/// A review: `APPROVED`, `CHANGES_REQUESTED` or `COMMENTED`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Review {
    pub(super) id: u64,
    pub(super) author: String,
    pub(super) state: String,
    pub(super) body: String,
    pub(super) commit: String,
    pub(super) submitted_at: i64,
}

/// A comment on an issue or pull request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Comment {
    pub(super) id: u64,
    pub(super) author: String,
    pub(super) body: String,
    pub(super) created_at: i64,
}

/// One status of a commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CommitStatus {
    pub(super) id: u64,
    pub(super) repo: String,
    pub(super) sha: String,
    pub(super) state: String,
    pub(super) context: String,
    pub(super) description: Option<String>,
    pub(super) target_url: Option<String>,
    pub(super) creator: String,
    pub(super) created_at: i64,
}

/// A webhook that a client created on one repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Hook {
    pub(super) id: u64,
    pub(super) repo: String,
    pub(super) url: String,
    pub(super) secret: String,
    pub(super) events: Vec<String>,
    pub(super) active: bool,
    pub(super) created_at: i64,
}

impl Hook {
    /// Whether it asked for this event.
    pub(super) fn wants(&self, event: &str) -> bool {
        self.active && (event == "ping" || self.events.iter().any(|e| e == "*" || e == event))
    }
}

/// A token of the GitHub App's installation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct InstallationToken {
    pub(super) token: String,
    pub(super) expires_at: i64,
}
