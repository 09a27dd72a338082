//! `lockstep history`: what happened to an item, and why, newest first.

mod shown;

use std::process::ExitCode;

use crate::cli::History;
use crate::{output, places};

/// Prints the newest lines of an item's history.
pub async fn run(history: History) -> anyhow::Result<ExitCode> {
    let (client, at) = places::client(&history.at)?;
    let path = ["v1", "items", history.item.as_str(), "history"];
    let answer = client.json(&path, &[("limit", history.limit.to_string())]).await;
    let answer = answer.map_err(|error| places::hint(&at, error))?;
    if history.json {
        output::line(&format!("{answer:#}"));
        return Ok(ExitCode::SUCCESS);
    }
    // Only to call records what people call them.
    let item = client.json(&["v1", "items", history.item.as_str()], &()).await.unwrap_or_default();
    for line in shown::lines(&answer, &item) {
        if !output::line(&line) {
            return Ok(ExitCode::SUCCESS);
        }
    }
    if !answer["next"].is_null() {
        output::complain("there is more; see --limit");
    }
    Ok(ExitCode::SUCCESS)
}
