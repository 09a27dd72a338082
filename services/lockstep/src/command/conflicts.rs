//! `lockstep conflicts`: what holds items, and how a person ends it.

pub mod cli;
mod shown;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use client::{Client, Error, Query};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{output, places};
use cli::{Conflicts, Resolve};

/// How long a decision may take to arrive.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(100);

/// Does what was said.
pub async fn run(task: Conflicts) -> anyhow::Result<ExitCode> {
    let at = match &task {
        Conflicts::List { at, .. } | Conflicts::Show { at, .. } => at,
        Conflicts::Resolve(resolve) => &resolve.at,
    };
    let (client, at) = places::client(at)?;
    let done = match task {
        Conflicts::List { all, json, limit, .. } => list(&client, all, json, limit).await,
        Conflicts::Show { json, name, .. } => show(&client, json, &name).await,
        Conflicts::Resolve(resolve) => end(&client, &resolve).await,
    };
    match done {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => match error.downcast::<Error>() {
            Ok(error) => Err(places::hint(&at, error)),
            Err(error) => Err(error),
        },
    }
}

async fn list(client: &Client, all: bool, as_json: bool, limit: u16) -> anyhow::Result<()> {
    let answer = client.json(&["v1", "conflicts"], &[("limit", limit.to_string()), ("all", all.to_string())]).await?;
    if as_json {
        output::line(&format!("{answer:#}"));
        return Ok(());
    }
    let conflicts = answer["conflicts"].as_array().context("the answer has no conflicts")?;
    for line in shown::table(conflicts) {
        if !output::line(&line) {
            return Ok(());
        }
    }
    if conflicts.is_empty() {
        output::line(if all { "there was no conflict yet" } else { "nothing waits for a person" });
    } else if conflicts.len() == usize::from(limit) {
        output::complain("there may be more; see --limit");
    }
    Ok(())
}

async fn show(client: &Client, as_json: bool, name: &str) -> anyhow::Result<()> {
    let conflict = find(client, name).await?;
    if as_json {
        output::line(&format!("{conflict:#}"));
    } else {
        for line in shown::whole(&conflict, name) {
            output::line(&line);
        }
    }
    Ok(())
}

/// The conflict of that id, or the one that holds the item of that name.
async fn find(client: &Client, name: &str) -> anyhow::Result<Value> {
    if is_id(name) {
        match client.json(&["v1", "conflicts", name], &Query::default()).await {
            Ok(conflict) => return Ok(conflict),
            // An item's id looks the same.
            Err(Error::Refused { status: 404, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let item = client.item(name).await?;
    let Some(held) = item.held else {
        bail!(
            "{name} is not held: it is {}; a conflict that is over goes by its id (lockstep conflicts list --all)",
            item.status
        )
    };
    Ok(client.json(&["v1", "conflicts", &held], &Query::default()).await?)
}

fn is_id(name: &str) -> bool {
    name.len() == 36 && name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

async fn end(client: &Client, resolve: &Resolve) -> anyhow::Result<()> {
    let conflict = find(client, &resolve.name).await?;
    let text = |name: &str| conflict[name].as_str().with_context(|| format!("the conflict has no {name}"));
    let (id, item) = (text("id")?, text("item")?);
    let wanted = match resolve.pick {
        Some(number) if !conflict["resolved_at"].is_null() => conflict["candidates"][number]["status"].as_str(),
        _ if !conflict["resolved_at"].is_null() => {
            bail!("the conflict {id} is resolved already: --pick restores a side of it")
        }
        _ => None,
    };
    let mut word = match (&resolve.pick, &resolve.status) {
        (Some(number), _) => json!({"candidate": number}),
        (None, Some(status)) => json!({"status": status}),
        (None, None) => bail!("choose with --pick N or --status STATUS"),
    };
    if let Some(actor) = &resolve.actor {
        word["actor"] = actor.as_str().into();
    }
    if resolve.pick.is_some() {
        client.post(&["v1", "conflicts", id, "pick"], &word).await?;
    } else {
        client.post(&["v1", "items", item, "status"], &word).await?;
    }
    let until = Instant::now() + PATIENCE;
    loop {
        let now = client.json(&["v1", "conflicts", id], &Query::default()).await?;
        let carried_out = match wanted {
            Some(wanted) => client.json(&["v1", "items", item], &Query::default()).await?["status"] == wanted,
            None => !now["resolved_at"].is_null(),
        };
        if carried_out {
            break;
        }
        if Instant::now() >= until {
            bail!("the decision is stored, and not carried out within {} s: see `lockstep status`", PATIENCE.as_secs());
        }
        sleep(LOOK).await;
    }
    let item = client.json(&["v1", "items", item], &Query::default()).await?;
    if resolve.json {
        output::line(&format!("{item:#}"));
    } else {
        let name = item["key"].as_str().unwrap_or(&resolve.name);
        output::line(&format!("{name} is {}, and the other systems follow", item["status"].as_str().unwrap_or("?")));
    }
    Ok(())
}
