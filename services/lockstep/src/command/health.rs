//! `lockstep health`: what a container runs to know whether its service lives.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::cli::Health;
use crate::output;

const PATIENCE: Duration = Duration::from_secs(3);

/// Success when the address answers 2xx in time.
pub async fn run(health: Health) -> anyhow::Result<ExitCode> {
    let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let response = http.get(&health.url).send().await.with_context(|| format!("{} does not answer", health.url))?;
    let status = response.status();
    if status.is_success() {
        return Ok(ExitCode::SUCCESS);
    }
    output::complain(&format!("{} answers {status}", health.url));
    Ok(ExitCode::FAILURE)
}
