//! What the handlers of a Linear sandbox share, and a person's edits.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    counters::Counters,
    faults::SharedFaults,
    limits::{Budget, Standing},
    linear::{
        Issue, LinearLimits, NewIssue, change,
        document::Documents,
        error::ApiError,
        mutation, seed,
        world::{self, Actor, Row, World, text},
    },
    webhooks::Webhooks,
};

/// What the request handlers share.
pub struct Shared {
    pub world: Mutex<World>,
    pub documents: Documents,
    pub faults: SharedFaults,
    pub counters: Counters,
    pub webhooks: Webhooks,
    pub api_key: String,
    pub oauth_token: String,
    pub client: (String, String),
    /// The one token that the OAuth app has at a time.
    pub client_token: Mutex<Option<String>>,
    pub limits: Mutex<LinearLimits>,
    pub person: Budgets,
    pub app: Budgets,
}

/// What one credential may still ask for.
pub struct Budgets {
    pub requests: Budget,
    pub complexity: Budget,
}

// Edits by hand: as the person, counted as edits.
impl Shared {
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn client_token(&self) -> MutexGuard<'_, Option<String>> {
        self.client_token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn create_issue(&self, new: &NewIssue) -> Result<Issue, ApiError> {
        self.edit(|world| change::create_by_name(world, new, Actor::Person, true))
    }

    pub fn move_issue(&self, identifier: &str, state: &str) -> Result<Issue, ApiError> {
        self.edit(|world| {
            let issue = world.issue(identifier).ok_or_else(|| ApiError::not_found("Issue"))?;
            let team = text(issue, "teamId").unwrap_or_default();
            let state = world.state(team, state).ok_or_else(|| ApiError::not_found("WorkflowState"))?;
            let (id, fields) = (text(issue, "id").unwrap_or_default().to_owned(), json!({"stateId": state["id"]}));
            Ok(change::update(world, &id, world::row(fields), Actor::Person)?.0)
        })
    }

    pub fn edit_issue(&self, identifier: &str, fields: Row) -> Result<Issue, ApiError> {
        self.edit(|world| {
            let issue = world.issue(identifier).ok_or_else(|| ApiError::not_found("Issue"))?.clone();
            let fields = mutation::issue_fields(world, &issue, fields)?;
            Ok(change::update(world, text(&issue, "id").unwrap_or_default(), fields, Actor::Person)?.0)
        })
    }

    pub fn remove_issue(&self, identifier: &str) -> Result<Issue, ApiError> {
        self.edit(|world| {
            let issue = world.issue(identifier).ok_or_else(|| ApiError::not_found("Issue"))?;
            let id = text(issue, "id").unwrap_or_default().to_owned();
            change::archive(world, &id, true, true, Actor::Person)
        })
    }

    pub fn rename_team(&self, key: &str, new: &str) -> Result<(), ApiError> {
        let mut world = self.world();
        let mut team = world.find("Team", "key", key).ok_or_else(|| ApiError::not_found("Team"))?.clone();
        team.insert("key".to_owned(), json!(new));
        world.put("Team", team)
    }

    pub fn comment(&self, identifier: &str, body: &str) -> Result<String, ApiError> {
        let fields = world::row(json!({"issueId": identifier, "body": body, "bodyData": "{}"}));
        let comment = change::comment(&mut self.world(), fields, Actor::Person)?;
        self.counters.edit();
        Ok(text(&comment, "id").unwrap_or_default().to_owned())
    }

    pub fn edit(&self, change: impl FnOnce(&mut World) -> Result<Row, ApiError>) -> Result<Issue, ApiError> {
        let mut world = self.world();
        let row = change(&mut world)?;
        self.counters.edit();
        Ok(view(&world, &row))
    }

    pub fn budget(&self, actor: Actor) -> &Budgets {
        match actor {
            Actor::Person => &self.person,
            Actor::App | Actor::Github => &self.app,
        }
    }

    pub fn window_ms(&self) -> u64 {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner).window_ms
    }

    pub fn set_limits(&self, limits: LinearLimits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
        for budgets in [&self.person, &self.app] {
            budgets.requests.set(limits.requests, Duration::from_millis(limits.window_ms));
            budgets.complexity.set(limits.complexity, Duration::from_millis(limits.window_ms));
        }
    }

    pub fn rate_limit_status(&self, actor: Actor) -> Value {
        let budget = self.budget(actor);
        let limit = |name: &str, standing: Standing| {
            json!({
                "type": name, "requestedAmount": 0, "allowedAmount": standing.limit, "period": self.window_ms(),
                "remainingAmount": standing.remaining, "reset": standing.reset_ms,
            })
        };
        let limits = [limit("requests", budget.requests.standing()), limit("complexity", budget.complexity.standing())];
        json!({"identifier": seed::user(actor), "kind": if actor == Actor::App { "oauthApp" } else { "apiKey" }, "limits": limits})
    }
}

impl Budgets {
    pub fn new(limits: LinearLimits) -> Self {
        let window = Duration::from_millis(limits.window_ms);
        Self { requests: Budget::new(limits.requests, window), complexity: Budget::new(limits.complexity, window) }
    }
}

/// The issue as a person sees it.
pub fn view(world: &World, row: &Row) -> Issue {
    let field = |name: &str| text(row, name).unwrap_or_default().to_owned();
    let state = world.get("WorkflowState", &field("stateId"));
    let of_state = |name: &str| state.and_then(|state| text(state, name)).unwrap_or_default().to_owned();
    Issue {
        id: field("id"),
        identifier: field("identifier"),
        title: field("title"),
        state: of_state("name"),
        state_type: of_state("type"),
        state_id: field("stateId"),
        branch: field("branchName"),
        updated_at: field("updatedAt"),
        trashed: row.get("trashed") == Some(&Value::Bool(true)),
    }
}
