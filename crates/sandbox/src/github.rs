//! A stand-in for GitHub: REST at the API root, the GraphQL that a status connector needs, an App, and webhooks.
//!
//! It knows issues, pull requests, commit statuses and hooks of repositories that it made up, and nothing of git.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::{Router, middleware};
use serde_json::Value;

use crate::control::{self, Controls};
use crate::counters::Counters;
use crate::faults::{Faults, SharedFaults};
use crate::journal::Journal;
use crate::server::{self, Server};
use crate::webhooks::{RetryPolicy, Webhooks};

mod app;
mod call;
mod demo;
mod edits;
mod gate;
mod graphql;
mod hooks;
mod hub;
mod issues;
mod person;
mod pull_edits;
mod pulls;
mod rate;
mod record;
mod refusal;
mod shape;
mod state;
mod statuses;

pub use app::AppOptions;
pub use person::PullAction;
pub use rate::GithubLimits;

use edits::Patch;
use hub::Hub;
use pull_edits::NewPull;
use refusal::{Outcome, Refusal};
use state::State;

/// How a GitHub sandbox starts.
#[derive(Debug, Clone)]
pub struct GithubOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder for its journal; without one it forgets everything.
    pub data: Option<PathBuf>,
    /// Where webhooks go.
    pub webhook_url: Option<String>,
    /// What webhooks are signed with; an empty secret signs nothing, as with GitHub.
    pub webhook_secret: String,
    /// Accepted tokens: one that starts with `ghp_`, `gho_` or `github_pat_` is the person's, any other the bot's.
    pub tokens: Vec<String>,
    /// A GitHub App; its hook then takes the place of the repositories' own.
    pub app: Option<AppOptions>,
    /// How much a credential may ask for.
    pub limits: GithubLimits,
    /// Whether an empty sandbox is filled with the demo's repository.
    pub seed_demo: bool,
    /// What it does wrong.
    pub faults: Faults,
}

impl Default for GithubOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data: None,
            webhook_url: None,
            webhook_secret: String::new(),
            tokens: Vec::new(),
            app: None,
            limits: GithubLimits::default(),
            seed_demo: false,
            faults: Faults::default(),
        }
    }
}

/// A running GitHub sandbox.
pub struct GithubSandbox {
    hub: Arc<Hub>,
    server: Server,
}

/// Starts a GitHub sandbox.
pub async fn start(options: GithubOptions) -> anyhow::Result<GithubSandbox> {
    let path = options.data.as_ref().map(|folder| folder.join("github.jsonl"));
    let (journal, entries) = Journal::open(path.as_deref())?;
    let state = State::replayed(journal, entries, options.app.as_ref().map(|app| app.installation))?;
    let own = (hub::OWN_HOOK.to_string(), options.webhook_secret);
    let hook_secrets = state.hooks.values().map(|hook| (hook.id.to_string(), hook.secret.clone()));
    let secrets = Arc::new(Mutex::new(hook_secrets.chain([own]).collect::<BTreeMap<_, _>>()));
    let faults = SharedFaults::new(options.faults);
    let signer = hub::signer(Arc::clone(&secrets), options.app.as_ref().map(|app| app.id));
    let webhooks = Webhooks::new(options.webhook_url, faults.clone(), RetryPolicy::github(), signer)?;
    let hub = Arc::new(Hub {
        held: Mutex::new(state),
        counters: Counters::default(),
        faults,
        webhooks,
        secrets,
        limits: rate::Limits::new(options.limits),
        app: options.app.as_ref().map(app::App::new).transpose()?,
        tokens: options.tokens,
    });
    let server = server::serve(options.listen, router(&hub)).await?;
    hub.lock().shape.base = server.url();
    if options.seed_demo {
        hub.edit(demo::seed).map_err(|refusal| refused(&refusal))?;
    }
    Ok(GithubSandbox { hub, server })
}

fn router(hub: &Arc<Hub>) -> Router {
    let api = Router::new()
        .route("/rate_limit", axum::routing::get(|| async {}))
        .merge(issues::routes())
        .merge(pulls::routes())
        .merge(statuses::routes())
        .merge(hooks::routes())
        .merge(app::routes())
        .merge(graphql::routes())
        .fallback(|| async { Refusal::not_found() })
        .method_not_allowed_fallback(|| async { Refusal::not_found() })
        .layer(middleware::from_fn_with_state(Arc::clone(hub), gate::gate));
    let controls =
        Controls { faults: hub.faults.clone(), counters: hub.counters.clone(), webhooks: Some(hub.webhooks.clone()) };
    person::routes().merge(api).with_state(Arc::clone(hub)).merge(control::router(controls))
}

fn refused(refusal: &Refusal) -> anyhow::Error {
    anyhow::anyhow!("{} {}", refusal.status.as_u16(), refusal.message)
}

impl GithubSandbox {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The API root, without a slash at its end.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// What it was asked for.
    pub fn counters(&self) -> &Counters {
        &self.hub.counters
    }

    /// What it does wrong.
    pub fn faults(&self) -> &SharedFaults {
        &self.hub.faults
    }

    /// What it sends.
    pub fn webhooks(&self) -> &Webhooks {
        &self.hub.webhooks
    }

    /// Replaces the limits; every budget is whole again.
    pub fn set_limits(&self, limits: GithubLimits) {
        self.hub.limits.set(limits);
    }

    /// Makes every token of the app's installation useless from now on.
    pub fn expire_installation_tokens(&self) -> anyhow::Result<()> {
        done(self.hub.expire_tokens())
    }

    /// The repositories that there are.
    pub fn repositories(&self) -> Vec<String> {
        self.hub.lock().repos.keys().cloned().collect()
    }

    /// Tells this address of a repository's pull requests for as long as the sandbox runs, without a secret.
    pub fn add_pull_hook(&self, repo: &str, url: &str) {
        let mut held = self.hub.lock();
        let (id, created_at) = (held.fresh_id(), state::now());
        let (repo, url, secret) = (repo.to_owned(), url.to_owned(), String::new());
        let events = vec!["pull_request".to_owned()];
        held.hooks.insert(id, record::Hook { id, repo, url, secret, events, active: true, created_at });
    }

    /// Makes an empty repository, `owner/name`.
    pub fn create_repo(&self, repo: &str) -> anyhow::Result<()> {
        let (owner, name) = repo.split_once('/').ok_or_else(|| anyhow::anyhow!("{repo} is not owner/name"))?;
        done(self.hub.edit(|held| demo::create_repo(held, owner, name)))
    }

    /// Opens an issue by a person's hand, and answers its number.
    pub fn open_issue(&self, repo: &str, title: &str, body: &str) -> anyhow::Result<u64> {
        done(self.hub.hand_open_issue(&repo.to_lowercase(), title, Some(body.to_owned()), &[]))
    }

    /// Closes an issue by a person's hand, as `completed`, `not_planned` or `duplicate`.
    pub fn close_issue(&self, repo: &str, number: u64, reason: &str) -> anyhow::Result<()> {
        let patch = Patch { open: Some(false), state_reason: Some(reason.to_owned()), ..Patch::default() };
        done(self.hub.hand_patch(&repo.to_lowercase(), number, patch))
    }

    /// Opens an issue again by a person's hand.
    pub fn reopen_issue(&self, repo: &str, number: u64) -> anyhow::Result<()> {
        done(self.hub.hand_patch(&repo.to_lowercase(), number, Patch { open: Some(true), ..Patch::default() }))
    }

    /// Changes the title of an issue or pull request by a person's hand.
    pub fn retitle(&self, repo: &str, number: u64, title: &str) -> anyhow::Result<()> {
        done(self.hub.hand_patch(
            &repo.to_lowercase(),
            number,
            Patch { title: Some(title.to_owned()), ..Patch::default() },
        ))
    }

    /// Makes the labels of an issue or pull request exactly these, by a person's hand.
    pub fn label(&self, repo: &str, number: u64, labels: &[&str]) -> anyhow::Result<()> {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        done(self.hub.hand_patch(&repo.to_lowercase(), number, Patch { labels: Some(labels), ..Patch::default() }))
    }

    /// Opens a pull request from the branch `head` by a person's hand, and answers its number.
    pub fn open_pull(&self, repo: &str, title: &str, body: &str, head: &str, draft: bool) -> anyhow::Result<u64> {
        let new = NewPull { title, body: Some(body.to_owned()), head, base: None, draft };
        done(self.hub.hand_open_pull(&repo.to_lowercase(), new))
    }

    /// Acts on a pull request by a person's hand.
    pub fn act_on_pull(&self, repo: &str, number: u64, action: PullAction) -> anyhow::Result<()> {
        done(self.hub.hand_pull(&repo.to_lowercase(), number, action))
    }

    /// An issue as the API shows it.
    pub fn issue(&self, repo: &str, number: u64) -> anyhow::Result<Value> {
        done(self.hub.read(|held| held.issue_json(&repo.to_lowercase(), number)))
    }

    /// A pull request as the API shows it.
    pub fn pull(&self, repo: &str, number: u64) -> anyhow::Result<Value> {
        done(self.hub.read(|held| held.pull_json(&repo.to_lowercase(), number)))
    }

    /// The statuses of a commit, oldest first: state and context.
    pub fn statuses(&self, repo: &str, sha: &str) -> Vec<(String, String)> {
        let held = self.hub.lock();
        let all = held.statuses.get(&(repo.to_lowercase(), sha.to_owned()));
        all.into_iter().flatten().map(|status| (status.state.clone(), status.context.clone())).collect()
    }

    /// Everything it remembers.
    pub fn state(&self) -> Value {
        self.hub.lock().dump()
    }

    /// Stops it, and frees its port.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

fn done<T>(outcome: Outcome<T>) -> anyhow::Result<T> {
    outcome.map_err(|refusal| refused(&refusal))
}
