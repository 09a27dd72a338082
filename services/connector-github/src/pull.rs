//! A pull request as REST and GraphQL show it, and the one word that it comes to.
//!
//! Pure.

use connector::Failure;
use model::{Native, Observation, Source};
use serde::Deserialize;
use serde_json::Value;

use crate::address::{Address, Of};
use crate::decode::{Shown, Terms, malformed, observation};
use crate::mention;

/// What is known of a pull request.
#[derive(Debug, Clone, PartialEq)]
pub struct Pull {
    /// `owner/name` of the repository that it would change.
    pub repository: String,
    /// Its number there.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// What it says.
    pub body: String,
    /// Where people find it.
    pub url: String,
    /// When it last changed.
    pub updated_at: String,
    /// What its status is made of.
    pub standing: Standing,
    /// Its branch.
    pub branch: String,
    /// The newest commit of its branch.
    pub head: String,
    /// GraphQL's id for it.
    pub node: String,
}

/// How the reviews of a pull request stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Review {
    /// Enough approve, and nobody asks for changes.
    Approved,
    /// Somebody asks for changes.
    ChangesRequested,
    /// Nobody has judged it, or not enough have.
    #[serde(other)]
    Required,
}

#[derive(Deserialize)]
struct Rest {
    number: u64,
    title: String,
    body: Option<String>,
    html_url: String,
    updated_at: String,
    state: String,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    merged_at: Option<String>,
    #[serde(default)]
    node_id: String,
    head: Head,
    base: Base,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "ref")]
    branch: String,
    sha: String,
}

#[derive(Deserialize)]
struct Base {
    repo: Repo,
}

#[derive(Deserialize)]
struct Repo {
    full_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Graph {
    id: String,
    number: u64,
    title: String,
    body: String,
    url: String,
    updated_at: String,
    head_ref_name: String,
    head_ref_oid: String,
    #[serde(flatten)]
    standing: Standing,
}

/// What a pull request's status is made of: the part that a mutation answers with.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Open or ended.
    pub state: State,
    /// Not ready to be judged.
    pub is_draft: bool,
    /// How its reviews stand, where that is known.
    #[serde(default)]
    pub review_decision: Option<Review>,
    /// There while it is in the merge queue.
    #[serde(default)]
    pub merge_queue_entry: Option<serde::de::IgnoredAny>,
}

/// Whether a pull request is open, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Neither closed nor merged.
    Open,
    /// Closed without being merged.
    Closed,
    /// Merged.
    Merged,
}

impl Standing {
    /// The word that it comes to.
    pub fn native(&self) -> Native {
        let word = match (self.state, self.review_decision) {
            (State::Merged, _) => "merged",
            (State::Closed, _) => "closed",
            _ if self.is_draft => "draft",
            _ if self.merge_queue_entry.is_some() => "queued",
            (_, Some(Review::ChangesRequested)) => "changes_requested",
            (_, Some(Review::Approved)) => "approved",
            _ => "open",
        };
        Native::new(word).expect("a constant word is a good status")
    }

    /// Whether it depends on reviews and the merge queue.
    pub fn is_judged(&self) -> bool {
        self.state == State::Open && !self.is_draft
    }
}

impl Pull {
    /// As REST and webhooks show it: they do not say how its reviews stand.
    pub fn of_rest(shown: &Value) -> Result<Self, Failure> {
        let rest = Rest::deserialize(shown).map_err(|error| malformed(&error))?;
        let state = match (rest.merged_at, rest.state.as_str()) {
            (Some(_), _) => State::Merged,
            (None, "open") => State::Open,
            _ => State::Closed,
        };
        Ok(Self {
            repository: rest.base.repo.full_name,
            number: rest.number,
            title: rest.title,
            body: rest.body.unwrap_or_default(),
            url: rest.html_url,
            updated_at: rest.updated_at,
            standing: Standing { state, is_draft: rest.draft, review_decision: None, merge_queue_entry: None },
            branch: rest.head.branch,
            head: rest.head.sha,
            node: rest.node_id,
        })
    }

    /// As GraphQL's answer shows it; `None` where it shows none.
    pub fn of_graphql(data: &Value) -> Result<Option<Self>, Failure> {
        let repository = &data["repository"];
        let shown = &repository["pullRequest"];
        if shown.is_null() {
            return Ok(None);
        }
        let graph = Graph::deserialize(shown).map_err(|error| malformed(&error))?;
        Ok(Some(Self {
            repository: repository["nameWithOwner"].as_str().unwrap_or_default().to_owned(),
            number: graph.number,
            title: graph.title,
            body: graph.body,
            url: graph.url,
            updated_at: graph.updated_at,
            standing: graph.standing,
            branch: graph.head_ref_name,
            head: graph.head_ref_oid,
            node: graph.id,
        }))
    }

    /// Where it is.
    pub fn address(&self) -> Result<Address, Failure> {
        Address::new(&self.repository, self.number)
    }

    /// What it shows, as an observation.
    pub fn observation(&self, terms: &Terms, source: Source) -> Result<Observation, Failure> {
        let branch = mention::branch_words(&self.branch);
        let mut mentions = mention::identifiers([branch.as_str(), &self.title, &self.body], &terms.team_prefixes);
        mentions.extend(mention::closed(&self.body, &self.repository));
        let shown = Shown { title: &self.title, url: &self.url, updated_at: &self.updated_at, mentions };
        observation(&self.address()?, Of::PullRequest, self.standing.native(), shown, source)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn standing(state: &str, draft: bool, queued: bool, review: Option<&str>) -> String {
        let entry = if queued { json!({"state": "QUEUED"}) } else { Value::Null };
        let shown = json!({"state": state, "isDraft": draft, "reviewDecision": review, "mergeQueueEntry": entry});
        Standing::deserialize(shown).unwrap().native().to_string()
    }

    #[test]
    fn what_has_ended_outweighs_all_else_and_a_draft_outweighs_its_reviews() {
        assert_eq!(standing("MERGED", true, true, Some("APPROVED")), "merged");
        assert_eq!(standing("CLOSED", true, false, Some("APPROVED")), "closed");
        assert_eq!(standing("OPEN", true, false, Some("APPROVED")), "draft");
    }

    #[test]
    fn an_open_one_is_queued_or_judged_or_simply_open() {
        assert_eq!(standing("OPEN", false, true, Some("APPROVED")), "queued");
        assert_eq!(standing("OPEN", false, false, Some("APPROVED")), "approved");
        assert_eq!(standing("OPEN", false, false, Some("CHANGES_REQUESTED")), "changes_requested");
        assert_eq!(standing("OPEN", false, false, Some("REVIEW_REQUIRED")), "open");
        assert_eq!(standing("OPEN", false, false, Some("SOMETHING_NEW")), "open");
        assert_eq!(standing("OPEN", false, false, None), "open");
    }
}
