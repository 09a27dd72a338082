//! What each system should show for a status, written down a second time, and whether it does.
//!
//! Knows nothing of mappings, items' records or commands: it asks only for an item's status, and looks at the systems.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Context as _;
use sandbox::webhooks::Outcome;
use serde_json::Value;

use crate::World;

/// The repository of all worlds.
pub const REPO: &str = "acme/web";

/// One piece of work and where it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The Linear issue.
    pub key: String,
    /// The number of the GitHub issue.
    pub issue: u64,
    /// The id of the task.
    pub task: String,
    /// The numbers of its pull requests.
    pub pulls: Vec<u64>,
}

/// The state that team ENG's issue is in.
pub fn linear(status: &str) -> Option<&'static str> {
    Some(match status {
        "backlog" => "Backlog",
        "todo" => "Todo",
        // The team has no state for what is blocked.
        "in_progress" | "blocked" => "In Progress",
        "in_review" => "In Review",
        "done" => "Done",
        "canceled" | "failed" => "Canceled",
        _ => return None,
    })
}

/// The state and reason that a GitHub issue is in.
pub fn issue(status: &str) -> Option<(&'static str, Option<&'static str>)> {
    Some(match status {
        "backlog" | "todo" | "in_progress" | "blocked" | "in_review" => ("open", None),
        "done" => ("closed", Some("completed")),
        "canceled" | "failed" => ("closed", Some("not_planned")),
        _ => return None,
    })
}

/// What is wrong with a pull request; nothing but people merges or closes one.
fn pull(status: &str, shown: &Value) -> Option<String> {
    let draft = shown["draft"].as_bool()?;
    let open = shown["state"] == "open";
    let right = match status {
        "backlog" | "todo" | "in_progress" | "blocked" => draft,
        "in_review" => !draft,
        _ => true,
    };
    (open && !right).then(|| format!("is open with draft {draft}"))
}

/// What disagrees with the items' statuses; nothing when all is well.
pub async fn disagreements(world: &World) -> anyhow::Result<Vec<String>> {
    let tasks = world.tasks.statuses().await?;
    let mut all = Vec::new();
    for piece in &world.pieces {
        all.extend(disagreement(world, piece, &tasks).await?);
    }
    Ok(all)
}

/// The pieces that do not agree: for each what was observed of its records.
pub async fn explained(world: &World) -> anyhow::Result<String> {
    let tasks = world.tasks.statuses().await?;
    let mut told = String::new();
    for (system, webhooks) in [("Linear", world.linear.webhooks()), ("GitHub", world.github.webhooks())] {
        for sent in webhooks.deliveries().iter().filter(|sent| sent.outcome != Outcome::Delivered) {
            let (status, error) = (sent.status, sent.error.as_deref().unwrap_or_default());
            let _ = writeln!(told, "{system}'s webhook of {} is {:?}: {status:?} {error}", sent.at_ms, sent.outcome);
        }
    }
    for piece in &world.pieces {
        if disagreement(world, piece, &tasks).await?.is_empty() {
            continue;
        }
        let _ = writeln!(told, "{}", observed(world, piece).await?);
    }
    Ok(told)
}

/// All that was observed of a piece's records, a line each.
pub async fn observed(world: &World, piece: &Piece) -> anyhow::Result<String> {
    let records = [
        format!("linear/issue/{}", world.linear.issue(&piece.key)?.id),
        format!("github/issue/{REPO}#{}", piece.issue),
        format!("postgres/task/{}", piece.task),
    ];
    Ok(world.observed(&records).await?.join("\n"))
}

async fn disagreement(world: &World, piece: &Piece, tasks: &BTreeMap<String, String>) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    let key = &piece.key;
    let Some(item) = world.face.item(key).await? else {
        wrong.push(format!("{key}: there is no item"));
        return Ok(wrong);
    };
    let status = item["status"].as_str().context("an item without a status")?;
    let records = item["records"].as_array().context("an item without records")?;
    let tied = |record: &str| records.iter().any(|known| known["record"] == record);
    let shown = world.linear.issue(key)?;
    let names = [
        format!("linear/issue/{}", shown.id),
        format!("github/issue/{REPO}#{}", piece.issue),
        format!("postgres/task/{}", piece.task),
    ];
    let pulls = piece.pulls.iter().map(|number| format!("github/pull_request/{REPO}#{number}"));
    for name in names.into_iter().chain(pulls).filter(|name| !tied(name)) {
        wrong.push(format!("{key}: {name} is not tied to it"));
    }
    if Some(shown.state.as_str()) != linear(status) {
        wrong.push(format!("{key} is {status}, and Linear shows {}", shown.state));
    }
    let on_github = world.github.issue(REPO, piece.issue)?;
    let state = on_github["state"].as_str().unwrap_or_default();
    let reason = on_github["state_reason"].as_str().filter(|_| state == "closed");
    if Some((state, reason)) != issue(status) {
        wrong.push(format!("{key} is {status}, and #{} on GitHub is {state} {reason:?}", piece.issue));
    }
    if tasks.get(&piece.task).map(String::as_str) != Some(status) {
        wrong.push(format!("{key} is {status}, and {} in the table is {:?}", piece.task, tasks.get(&piece.task)));
    }
    for number in &piece.pulls {
        if let Some(how) = pull(status, &world.github.pull(REPO, *number)?) {
            wrong.push(format!("{key} is {status}, and pull request #{number} {how}"));
        }
    }
    if !item["held"].is_null() {
        wrong.push(format!("{key} is held"));
    }
    Ok(wrong)
}
