//! Runs the stand-ins, with the credentials that the environment names.

use std::env;
use std::net::SocketAddr;
use std::process::ExitCode;

use runtime::Process;
use runtime::telemetry::{self, TelemetryConfig};
use sandbox::agentapi::{self, AgentapiOptions};
use sandbox::github::{self, GithubOptions};
use sandbox::linear::{self, LinearOptions};
use serde_json::json;

use super::{cli::Serve, tasks};
use crate::ready;

/// Starts them all, and stops them on a signal.
pub async fn run(serve: Serve) -> anyhow::Result<ExitCode> {
    let _telemetry = telemetry::init(&TelemetryConfig::default(), "sandbox")?;
    let process = Process::new("sandbox", None);
    process.watch_signals()?;
    if let Some(database) = &serve.database {
        tasks::seed(database).await?;
    }
    let hook = |system: &str| {
        let base = serve.webhooks_to.as_deref()?;
        Some(format!("{}/webhooks/{system}", base.trim_end_matches('/')))
    };
    let linear = linear::start(LinearOptions {
        listen: serve.listen_linear,
        data: serve.data.clone(),
        webhook_url: hook("linear"),
        ..linear_credentials()
    })
    .await?;
    let github = github::start(GithubOptions {
        listen: serve.listen_github,
        data: serve.data.clone(),
        webhook_url: hook("github"),
        webhook_secret: given("GITHUB_WEBHOOK_SECRET").unwrap_or_default(),
        tokens: vec![given("GITHUB_TOKEN").unwrap_or_else(|| "ghs_sandbox".to_owned())],
        seed_demo: true,
        ..GithubOptions::default()
    })
    .await?;
    // Linear's own integration hears of pull requests, and does nothing until a team has rules for it.
    for repo in github.repositories() {
        github.add_pull_hook(&repo, &linear.github_hook_url());
    }
    let mut agents = Vec::new();
    for number in 0..serve.agents {
        let listen = above(serve.listen_agents, number);
        let name = format!("agent-{}", number + 1);
        let mut options = AgentapiOptions { name, listen, data: serve.data.clone(), ..AgentapiOptions::default() };
        if !listen.ip().is_loopback() {
            // Others reach it by names that are not known here.
            options.allowed_hosts = vec!["*".to_owned()];
        }
        agents.push((options.name.clone(), agentapi::start(options).await?));
    }
    if let Some(file) = &serve.ready_file {
        let named = agents.iter().map(|(name, agent)| json!({"name": name, "url": agent.url()}));
        let addresses = json!({
            "linear": {"url": linear.url(), "api_url": format!("{}/graphql", linear.url())},
            "github": {"url": github.url(), "api_url": github.url()},
            "agents": named.collect::<Vec<_>>(),
        });
        ready::write(file, &addresses)?;
    }
    tracing::info!(linear = linear.url(), github = github.url(), agents = agents.len(), "the sandboxes run");
    process.shutdown().cancelled().await;
    linear.stop().await;
    github.stop().await;
    for (_, agent) in agents {
        agent.stop().await;
    }
    Ok(ExitCode::SUCCESS)
}

/// The address so many ports above; a free port each where none is named.
fn above(first: SocketAddr, number: u16) -> SocketAddr {
    match first.port() {
        0 => first,
        port => SocketAddr::new(first.ip(), port.saturating_add(number)),
    }
}

/// What Lockstep will sign in with, and check signatures by. A key of a person acts as one, any other as the application.
fn linear_credentials() -> LinearOptions {
    let mut options = LinearOptions::default();
    match given("LINEAR_API_KEY") {
        Some(key) if key.starts_with("lin_api_") => options.api_key = key,
        Some(token) => options.oauth_token = token,
        None => {}
    }
    if let (Some(id), Some(secret)) = (given("LINEAR_CLIENT_ID"), given("LINEAR_CLIENT_SECRET")) {
        options.client = (id, secret);
    }
    if let Some(secret) = given("LINEAR_WEBHOOK_SECRET") {
        options.webhook_secret = secret;
    }
    options
}

fn given(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
