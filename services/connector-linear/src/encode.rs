//! What Linear is asked and told: GraphQL documents with their variables, and the state that a command means.
//!
//! Pure.

use connector::Failure;
use model::{Native, Status};
use serde_json::{Value, json};

use crate::vocabulary::State;

/// How many issues are asked for at once.
pub const PAGE: u32 = 50;

#[cfg(test)]
const DOCUMENTS: [&str; 11] =
    [ISSUE, ISSUES, TEAMS, TEAM_STATES, TEAM_SIZES, ISSUE_UPDATE, VIEWER, APPLICATION, EXAMINE, WEBHOOKS, SYNCED];

const ISSUE: &str = include_str!("../graphql/issue.graphql");
const ISSUES: &str = include_str!("../graphql/issues.graphql");
const TEAMS: &str = include_str!("../graphql/teams.graphql");
const TEAM_STATES: &str = include_str!("../graphql/team_states.graphql");
const TEAM_SIZES: &str = include_str!("../graphql/team_sizes.graphql");
const ISSUE_UPDATE: &str = include_str!("../graphql/issue_update.graphql");
const VIEWER: &str = include_str!("../graphql/viewer.graphql");
const APPLICATION: &str = include_str!("../graphql/application.graphql");
const EXAMINE: &str = include_str!("../graphql/examine.graphql");
const WEBHOOKS: &str = include_str!("../graphql/webhooks.graphql");
const SYNCED: &str = include_str!("../graphql/synced.graphql");

/// Asks for one issue, with its team's states.
pub fn issue(id: &str) -> Value {
    json!({"query": ISSUE, "variables": {"id": id}})
}

/// Asks for a page of the issues of these teams, or of all, that changed since a moment, the newest change first.
pub fn issues(since: Option<&str>, teams: Option<&[&str]>, after: Option<&str>) -> Value {
    let mut filter = serde_json::Map::new();
    if let Some(since) = since {
        filter.insert("updatedAt".to_owned(), json!({"gte": since}));
    }
    if let Some(teams) = teams {
        filter.insert("team".to_owned(), json!({"id": {"in": teams}}));
    }
    json!({"query": ISSUES, "variables": {"filter": filter, "first": PAGE, "after": after}})
}

/// Asks what the teams are called that have or had these keys.
pub fn teams(keys: &[String], ids: &[&str]) -> Value {
    let filter = json!({"or": [{"key": {"in": keys}}, {"id": {"in": ids}}]});
    json!({"query": TEAMS, "variables": {"filter": filter}})
}

/// Asks for a team's states.
pub fn team_states(team: &str) -> Value {
    json!({"query": TEAM_STATES, "variables": {"id": team}})
}

/// Asks how many issues each team has.
pub fn team_sizes() -> Value {
    json!({"query": TEAM_SIZES})
}

/// Asks who we are.
pub fn viewer() -> Value {
    json!({"query": VIEWER})
}

/// Asks for the OAuth app of a client id.
pub fn application(client_id: &str) -> Value {
    json!({"query": APPLICATION, "variables": {"clientId": client_id}})
}

/// Asks who we are, and for a page of the teams with their states and what moves their issues.
pub fn examine(teams: &[String], after: Option<&str>) -> Value {
    let filter = if teams.is_empty() { json!({}) } else { json!({"key": {"in": teams}}) };
    json!({"query": EXAMINE, "variables": {"filter": filter, "after": after}})
}

/// Asks for the webhooks, which only an admin may see.
pub fn webhooks() -> Value {
    json!({"query": WEBHOOKS})
}

/// Asks for the issues that changed last, and what else keeps them in step.
pub fn synced(teams: &[String]) -> Value {
    let filter = if teams.is_empty() { json!({}) } else { json!({"team": {"key": {"in": teams}}}) };
    json!({"query": SYNCED, "variables": {"filter": filter}})
}

/// Puts an issue into a state.
pub fn update(issue: &str, state: &State) -> Value {
    json!({"query": ISSUE_UPDATE, "variables": {"id": issue, "stateId": state.id}})
}

/// The state of that name, or the first of the type that the status is of where the name has gone since.
pub fn meant<'a>(states: &'a [State], native: &Native, canonical: &Status) -> Result<&'a State, Failure> {
    let named = states.iter().find(|state| state.name == native.as_str());
    let classed = || states.iter().find(|state| Some(state.class.as_str()) == class(canonical));
    named.or_else(classed).ok_or_else(|| Failure::Refused {
        why: format!("the issue's team has no state {native:?}, and none that stands for {canonical}; add one in the team's workflow"),
        code: "no_such_state",
    })
}

fn class(status: &Status) -> Option<&'static str> {
    Some(match status.as_str() {
        "backlog" => "backlog",
        "todo" => "unstarted",
        "in_progress" | "blocked" | "in_review" => "started",
        "done" => "completed",
        "canceled" | "failed" => "canceled",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states() -> Vec<State> {
        let state = |name: &str, class: &str| State {
            id: format!("id-{name}"),
            name: name.to_owned(),
            class: class.to_owned(),
            position: 0.0,
        };
        vec![
            state("Next", "unstarted"),
            state("Doing", "started"),
            state("Testing", "started"),
            state("Shipped", "completed"),
        ]
    }

    fn chosen(native: &str, status: &str) -> Result<String, Failure> {
        meant(&states(), &Native::new(native).unwrap(), &Status::new(status).unwrap()).map(|state| state.name.clone())
    }

    #[test]
    fn every_document_fits_linears_schema() {
        let schema = apollo_compiler::Schema::parse_and_validate(sandbox::linear::SDL, "linear.graphql").unwrap();
        for document in DOCUMENTS {
            if let Err(invalid) =
                apollo_compiler::ExecutableDocument::parse_and_validate(&schema, document, "query.graphql")
            {
                panic!("{document}\n{}", invalid.errors);
            }
        }
    }

    #[test]
    fn a_command_means_the_state_of_that_name() {
        assert_eq!(chosen("Testing", "in_review").unwrap(), "Testing");
    }

    #[test]
    fn a_name_that_has_gone_means_the_first_state_of_its_type() {
        assert_eq!(chosen("In Review", "in_review").unwrap(), "Doing");
    }

    #[test]
    fn a_team_without_such_a_state_refuses() {
        assert!(matches!(chosen("Canceled", "canceled"), Err(Failure::Refused { code: "no_such_state", .. })));
    }

    #[test]
    fn a_sweep_asks_only_for_what_is_newer_and_counts() {
        let asked = issues(Some("2026-11-20T09:30:00.000Z"), Some(&["an-id"]), Some("cursor"));
        let variables = json!({
            "filter": {"updatedAt": {"gte": "2026-11-20T09:30:00.000Z"}, "team": {"id": {"in": ["an-id"]}}},
            "first": 50, "after": "cursor",
        });
        assert_eq!(asked["variables"], variables);
        assert_eq!(issues(None, None, None)["variables"]["filter"], json!({}));
    }

    #[test]
    fn an_update_names_the_states_id() {
        assert_eq!(update("an-issue", &states()[1])["variables"], json!({"id": "an-issue", "stateId": "id-Doing"}));
    }
}
