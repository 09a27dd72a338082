//! A stand-in for Linear: its GraphQL API on `/graphql` over its real schema, and its signed webhooks.
//!
//! The workspace has two teams (`ENG`, `OPS`), a person and an application. A personal key in the `Authorization` header
//! acts as the person, an OAuth bearer token as the application; one is given for the app's secret at `/oauth/token`. Any query over what is kept is answered; lists of things
//! that are not kept (projects, cycles) are empty, and other top-level fields are refused with an error that says so.

mod change;
mod complexity;
mod control;
mod document;
mod error;
mod execute;
mod filter;
mod hooks;
mod http;
mod integration;
mod mutation;
mod oauth;
mod paging;
mod query;
mod relation;
mod schema;
mod seed;
mod shared;
mod world;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use anyhow::anyhow;
use axum::{Router, routing::post};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::{change::NewIssue, hooks::signature, integration::GitEvent, schema::SDL};
use self::{
    document::Documents,
    hooks::Secrets,
    shared::{Budgets, Shared, view},
    world::World,
};
use crate::{
    control::Controls,
    counters::Counters,
    faults::{Faults, SharedFaults},
    journal::Journal,
    server::{self, Server},
    webhooks::{RetryPolicy, Webhooks},
};

/// How a Linear sandbox starts.
#[derive(Clone, Debug)]
pub struct LinearOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder its journal lies in; without one nothing outlives the process.
    pub data: Option<PathBuf>,
    /// Where the configured webhook goes, if it goes anywhere yet.
    pub webhook_url: Option<String>,
    /// The configured webhook's signing secret.
    pub webhook_secret: String,
    /// The personal key, sent bare, that acts as the person.
    pub api_key: String,
    /// The OAuth token, sent as a bearer token, that acts as the application.
    pub oauth_token: String,
    /// The OAuth app's client id and secret, which are exchanged at `/oauth/token` for a token that acts as the application.
    pub client: (String, String),
    /// Whether an empty workspace gets the issues `ENG-1` to `ENG-6`.
    pub seed_demo: bool,
    /// What it does wrong from the start.
    pub faults: Faults,
    /// How much it gives in each window, in place of what Linear does.
    pub limits: Option<LinearLimits>,
}

impl Default for LinearOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data: None,
            webhook_url: None,
            webhook_secret: "lin_wh_sandbox".to_owned(),
            api_key: "lin_api_sandbox".to_owned(),
            oauth_token: "lin_oauth_sandbox".to_owned(),
            client: ("lin_client_sandbox".to_owned(), "lin_secret_sandbox".to_owned()),
            seed_demo: true,
            faults: Faults::default(),
            limits: None,
        }
    }
}

/// The budgets of a window, one of each for the person and for the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinearLimits {
    /// Requests in a window.
    pub requests: u64,
    /// Complexity in a window.
    pub complexity: u64,
    /// How long a window is.
    pub window_ms: u64,
}

impl Default for LinearLimits {
    /// What Linear gives an OAuth application in an hour.
    fn default() -> Self {
        Self { requests: 5_000, complexity: 2_000_000, window_ms: 3_600_000 }
    }
}

impl LinearLimits {
    /// What Linear gives a personal key in an hour.
    pub const PERSONAL: Self = Self { requests: 2_500, complexity: 3_000_000, window_ms: 3_600_000 };
}

/// An issue as a person sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Issue {
    /// Its id.
    pub id: String,
    /// Its identifier (`ENG-1`).
    pub identifier: String,
    /// Its title.
    pub title: String,
    /// The name of its state.
    pub state: String,
    /// The type of its state.
    pub state_type: String,
    /// The id of its state.
    pub state_id: String,
    /// Its branch name.
    pub branch: String,
    /// When it last changed.
    pub updated_at: String,
    /// Whether it is in the trash.
    pub trashed: bool,
}

/// A running Linear sandbox. It ends when this is dropped.
pub struct LinearSandbox {
    shared: Arc<Shared>,
    server: Server,
}

/// Starts a Linear sandbox.
pub async fn start(options: LinearOptions) -> anyhow::Result<LinearSandbox> {
    let faults = SharedFaults::new(options.faults);
    let secrets = Secrets::default();
    let webhooks =
        Webhooks::new(options.webhook_url, faults.clone(), RetryPolicy::linear(), hooks::signer(secrets.clone()))?;
    let path = options.data.map(|folder| folder.join("linear.jsonl"));
    let (journal, entries) = Journal::open(path.as_deref())?;
    let mut world = World::new(journal, entries, webhooks.clone(), secrets)?;
    seed::fill(&mut world, &options.client.0, &options.webhook_secret, options.seed_demo)?;
    let shared = Arc::new(Shared {
        world: Mutex::new(world),
        documents: Documents::default(),
        faults,
        counters: Counters::default(),
        webhooks,
        api_key: options.api_key,
        oauth_token: options.oauth_token,
        client: options.client,
        client_token: Mutex::default(),
        limits: Mutex::new(options.limits.unwrap_or_default()),
        person: Budgets::new(options.limits.unwrap_or(LinearLimits::PERSONAL)),
        app: Budgets::new(options.limits.unwrap_or_default()),
    });
    let controls = Controls {
        faults: shared.faults.clone(),
        counters: shared.counters.clone(),
        webhooks: Some(shared.webhooks.clone()),
    };
    let router = Router::new()
        .route("/graphql", post(http::graphql))
        .route("/oauth/token", post(oauth::token))
        .merge(control::router())
        .with_state(Arc::clone(&shared))
        .merge(crate::control::router(controls));
    let server = server::serve(options.listen, router).await?;
    Ok(LinearSandbox { shared, server })
}

impl LinearSandbox {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Its address; the API is at `/graphql`, the control routes are under `/sandbox/`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The API's address.
    pub fn graphql_url(&self) -> String {
        format!("{}/graphql", self.server.url())
    }

    /// Makes an issue, as the person.
    pub fn create_issue(&self, new: &NewIssue) -> anyhow::Result<Issue> {
        Ok(self.shared.create_issue(new)?)
    }

    /// Moves an issue to a state of its team, as the person.
    pub fn move_issue(&self, identifier: &str, state: &str) -> anyhow::Result<Issue> {
        Ok(self.shared.move_issue(identifier, state)?)
    }

    /// Sets fields of an issue by their API names (`title`, `description`, `priority`), as the person.
    pub fn edit_issue(&self, identifier: &str, fields: Value) -> anyhow::Result<Issue> {
        Ok(self.shared.edit_issue(identifier, world::row(fields))?)
    }

    /// Puts an issue in the trash, as the person.
    pub fn remove_issue(&self, identifier: &str) -> anyhow::Result<Issue> {
        Ok(self.shared.remove_issue(identifier)?)
    }

    /// Gives a team another key. Its issues keep the identifiers that they have.
    pub fn rename_team(&self, key: &str, new: &str) -> anyhow::Result<()> {
        Ok(self.shared.rename_team(key, new)?)
    }

    /// Comments on an issue, as the person; answers the comment's id.
    pub fn comment(&self, identifier: &str, body: &str) -> anyhow::Result<String> {
        Ok(self.shared.comment(identifier, body)?)
    }

    /// Sets a team's git automation: the states that Linear's own GitHub integration moves issues to. None turns it off. It
    /// hears of pull requests at [`github_hook_url`](Self::github_hook_url).
    pub fn set_git_automation(&self, team: &str, states: &[(GitEvent, &str)]) -> anyhow::Result<()> {
        let states = states.iter().map(|(event, state)| (*event, (*state).to_owned())).collect();
        Ok(self.shared.set_git_automation(team, &states)?)
    }

    /// Where Linear's own GitHub integration takes GitHub's webhooks.
    pub fn github_hook_url(&self) -> String {
        format!("{}/sandbox/integrations/github", self.server.url())
    }

    /// Says of an issue that Linear itself keeps it in step with an issue on GitHub.
    pub fn sync_with_github(&self, identifier: &str, owner: &str, repo: &str, number: u64) -> anyhow::Result<Issue> {
        Ok(self.shared.sync_with_github(identifier, owner, repo, number)?)
    }

    /// An issue by id or identifier.
    pub fn issue(&self, identifier: &str) -> anyhow::Result<Issue> {
        let world = self.shared.world();
        let row = world.issue(identifier).ok_or_else(|| anyhow!("there is no issue {identifier}"))?;
        Ok(view(&world, row))
    }

    /// All issues, oldest first.
    pub fn issues(&self) -> Vec<Issue> {
        let world = self.shared.world();
        world.rows("Issue").map(|(_, row)| view(&world, row)).collect()
    }

    /// Its webhooks: where they go, and what became of them.
    pub fn webhooks(&self) -> &Webhooks {
        &self.shared.webhooks
    }

    /// What it was asked for.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// What it does wrong.
    pub fn faults(&self) -> &SharedFaults {
        &self.shared.faults
    }

    /// Replaces the budgets, the person's and the application's; new windows start now.
    pub fn set_limits(&self, limits: LinearLimits) {
        self.shared.set_limits(limits);
    }

    /// The id by which webhooks name the application: its OAuth client's, the same in every sandbox.
    pub fn app_id(&self) -> String {
        seed::id(seed::CLIENT)
    }

    /// Makes the token that the OAuth app exchanged its secret for useless from now on.
    pub fn revoke_client_token(&self) {
        self.shared.client_token().take();
    }

    /// Fields that clients asked for and that the schema does not know (`Issue.newField`); they were answered with null.
    pub fn unknown_fields(&self) -> Vec<String> {
        self.shared.world().unknown_fields.iter().cloned().collect()
    }

    /// Stops it and frees its port.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}
