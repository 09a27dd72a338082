//! Linear's own GitHub integration: it moves issues when pull requests move, as a team's git automation says, and is named
//! as the actor. Off until a team has such rules.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    clock,
    linear::{
        Issue, change,
        error::ApiError,
        query::branch,
        seed,
        shared::Shared,
        world::{Actor, World, row, text},
    },
};

/// What a rule of a team's git automation waits for, in the words of the schema's `GitAutomationStates`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GitEvent {
    /// A branch or a first commit.
    Start,
    /// A draft of a pull request.
    Draft,
    /// A pull request that is ready for review.
    Review,
    /// One that could be merged.
    Mergeable,
    /// One that is merged.
    Merge,
}

impl GitEvent {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Draft => "draft",
            Self::Review => "review",
            Self::Mergeable => "mergeable",
            Self::Merge => "merge",
        }
    }

    /// What a webhook of GitHub's about a pull request comes to.
    fn of(payload: &Value) -> Option<Self> {
        let pull = payload.get("pull_request")?;
        match payload["action"].as_str()? {
            "closed" if pull["merged"] == true => Some(Self::Merge),
            "converted_to_draft" => Some(Self::Draft),
            "opened" | "reopened" if pull["draft"] == true => Some(Self::Draft),
            "opened" | "reopened" | "ready_for_review" => Some(Self::Review),
            _ => None,
        }
    }
}

impl Shared {
    /// Sets a team's rules, each with the name of the state that it moves issues to; none turns the automation off.
    pub fn set_git_automation(&self, team: &str, states: &BTreeMap<GitEvent, String>) -> Result<(), ApiError> {
        let mut world = self.world();
        let team = world.find("Team", "key", team).ok_or_else(|| ApiError::not_found("Team"))?;
        let team = text(team, "id").unwrap_or_default().to_owned();
        let mut rules = Vec::new();
        for (event, state) in states {
            let state = world.state(&team, state).ok_or_else(|| ApiError::not_found("WorkflowState"))?;
            rules.push((*event, state["id"].clone()));
        }
        let now = clock::iso(clock::now_ms());
        let id = |event: &str| seed::id(&format!("automation/{team}/{event}"));
        for (_, old) in rules_of(&world, &team) {
            world.remove("GitAutomationState", &old)?;
        }
        for (event, state) in rules {
            let rule = json!({
                "id": id(event.name()), "event": event.name(), "stateId": state, "teamId": team,
                "createdAt": now, "updatedAt": now, "archivedAt": null, "targetBranch": null, "branchPattern": null,
            });
            world.put("GitAutomationState", row(rule))?;
        }
        let integration = seed::user(Actor::Github);
        if world.get("Integration", &integration).is_none() {
            let fields = json!({
                "id": integration, "service": "github", "createdAt": now, "updatedAt": now, "archivedAt": null,
                "creatorId": seed::user(Actor::Person),
            });
            world.put("Integration", row(fields))?;
        }
        Ok(())
    }

    /// Takes a webhook of GitHub's, and moves the issue that the pull request's branch or title names. Answers its identifier
    /// if it was moved.
    pub fn hear_github(&self, payload: &Value) -> Result<Option<String>, ApiError> {
        let Some(event) = GitEvent::of(payload) else { return Ok(None) };
        let pull = &payload["pull_request"];
        let mut world = self.world();
        let names = [pull["head"]["ref"].as_str(), pull["title"].as_str()];
        let found = names.into_iter().flatten().map(|name| branch(&world, name)).find(|found| !found.is_null());
        let issue = found.and_then(|found| world.get("Issue", found["$ref"][1].as_str()?));
        let Some(issue) = issue.cloned() else { return Ok(None) };
        let (id, team) = (text(&issue, "id").unwrap_or_default(), text(&issue, "teamId").unwrap_or_default());
        let rule = rules_of(&world, team).into_iter().find(|(rule, _)| rule == event.name());
        let Some(state) =
            rule.and_then(|(_, rule)| world.get("GitAutomationState", &rule)).map(|rule| rule["stateId"].clone())
        else {
            return Ok(None);
        };
        let (issue, moved) = change::update(&mut world, id, row(json!({"stateId": state})), Actor::Github)?;
        self.counters.edit();
        Ok(moved.then(|| text(&issue, "identifier").unwrap_or_default().to_owned()))
    }

    /// Says of an issue that Linear itself keeps it in step with an issue on GitHub.
    pub fn sync_with_github(&self, identifier: &str, owner: &str, repo: &str, number: u64) -> Result<Issue, ApiError> {
        let metadata =
            json!({"__typename": "ExternalEntityInfoGithubMetadata", "owner": owner, "repo": repo, "number": number});
        let info = json!({"id": format!("{owner}/{repo}#{number}"), "service": "github", "metadata": metadata});
        self.edit(|world| {
            let issue = world.issue(identifier).ok_or_else(|| ApiError::not_found("Issue"))?;
            let id = text(issue, "id").unwrap_or_default().to_owned();
            Ok(change::update(world, &id, row(json!({"syncedWith": [info]})), Actor::Person)?.0)
        })
    }
}

/// A team's rules: event and id.
fn rules_of(world: &World, team: &str) -> Vec<(String, String)> {
    let rules =
        world.rows("GitAutomationState").map(|(_, rule)| rule).filter(|rule| text(rule, "teamId") == Some(team));
    rules.filter_map(|rule| Some((text(rule, "event")?.to_owned(), text(rule, "id")?.to_owned()))).collect()
}
