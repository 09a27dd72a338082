//! The real client libraries of Linear and GitHub against the sandboxes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use sandbox::github::GithubOptions;
use sandbox::linear::LinearOptions;
use tokio::process::Command;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(90);

/// The folder of the scripts and their `node_modules`; `None` where nobody installed them and nobody asked for them.
pub fn node_modules() -> anyhow::Result<Option<PathBuf>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/node_modules");
    let named = std::env::var_os("LOCKSTEP_TEST_NODE_MODULES").map(PathBuf::from);
    let wanted = named.is_some() || std::env::var_os("CI").is_some();
    let modules = named.unwrap_or(beside);
    match (modules.join("@octokit/rest").is_dir() && modules.join("@linear/sdk").is_dir(), wanted) {
        (true, _) => Ok(Some(modules)),
        (false, true) => bail!("{} lacks the client packages; run npm ci in tests/clients", modules.display()),
        (false, false) => {
            eprintln!("left out: run npm ci in tests/clients first");
            Ok(None)
        }
    }
}

async fn run(script: &str, environment: &[(&str, &str)]) -> anyhow::Result<()> {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    let mut command = Command::new("node");
    command.arg(script).current_dir(&clients).envs(environment.iter().copied()).kill_on_drop(true);
    let output = timeout(DEADLINE, command.output())
        .await
        .with_context(|| format!("{script} did not end within {DEADLINE:?}"))?
        .context("node cannot be started")?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    eprintln!("{}", said(&output.stdout));
    ensure!(output.status.success(), "{script}: {}\n{}", output.status, said(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn the_real_linear_client_reads_and_changes_the_sandbox() -> anyhow::Result<()> {
    if node_modules()?.is_none() {
        return Ok(());
    }
    let options = LinearOptions::default();
    let credentials = (options.api_key.clone(), options.oauth_token.clone(), options.webhook_secret.clone());
    let linear = sandbox::linear::start(options).await?;
    let environment = [
        ("LINEAR_URL", linear.url()),
        ("LINEAR_API_KEY", credentials.0),
        ("LINEAR_OAUTH_TOKEN", credentials.1),
        ("LINEAR_WEBHOOK_SECRET", credentials.2),
    ];
    let ran = run("linear.mjs", &environment.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    // The client is newer than the published schema; what it asks for beyond that is answered with null.
    eprintln!("fields that the schema does not know yet: {}", linear.unknown_fields().len());
    ran
}

#[tokio::test]
async fn the_real_github_client_reads_and_changes_the_sandbox() -> anyhow::Result<()> {
    if node_modules()?.is_none() {
        return Ok(());
    }
    let (token, secret) = ("ghp_system_tests", "the secret of a hook");
    let github = sandbox::github::start(GithubOptions {
        webhook_secret: secret.to_owned(),
        tokens: vec![token.to_owned()],
        seed_demo: true,
        ..GithubOptions::default()
    })
    .await?;
    let url = github.url();
    run("github.mjs", &[("GITHUB_API_URL", &url), ("GITHUB_TOKEN", token), ("GITHUB_WEBHOOK_SECRET", secret)]).await
}
