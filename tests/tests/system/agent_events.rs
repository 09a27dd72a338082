//! What agents tell by events, from the request to what every system shows.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use system_tests::{DEADLINE, Settings, World, eventually, with_world};

async fn told(world: &World, events: Value) -> anyhow::Result<()> {
    let count = events.as_array().map_or(1, Vec::len);
    let said = world.face.post("/v1/agent-events", &events).await?;
    ensure!(said["accepted"].as_array().is_some_and(|accepted| accepted.len() == count), "{said}");
    Ok(())
}

/// Waits until the item of a name has this status.
async fn becomes(world: &World, name: &str, status: &str) -> anyhow::Result<Value> {
    eventually(DEADLINE, &format!("{name} is {status}"), async || {
        let item = world.face.item(name).await?.with_context(|| format!("there is no {name}"))?;
        ensure!(item["status"] == status, "{item}");
        Ok(Some(item))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_s_events_are_its_status_and_move_the_issue_that_they_name() -> anyhow::Result<()> {
    with_world(Settings { pieces: 1, ..Settings::default() }, async |world| {
        let event = |name: &str| json!({"agentId": "coder", "historyId": "h1", "eventName": name, "type": "agent"});
        told(world, event("agent:start")).await?;
        let item = becomes(world, "agent/session/coder", "working").await?;
        ensure!(item["lifecycle"] == "agent" && item["metadata"]["historyId"] == "h1", "{item}");
        // There and back again, twice over, within any window in which the bus drops what it saw before.
        told(world, json!([event("tool:start"), event("tool:success"), event("tool:start")])).await?;
        becomes(world, "agent/session/coder", "tool_calling").await?;
        told(world, event("agent:success")).await?;
        becomes(world, "agent/session/coder", "completed").await?;

        // Tying moves nothing: the item wins. What the agent does next does.
        let about = |name: &str| {
            json!({"agentId": "fixer", "eventName": name, "type": "agent", "additionalData": {"linearIssueId": "ENG-1"}})
        };
        told(world, json!({"agentId": "fixer", "status": "idle", "additionalData": {"linearIssueId": "ENG-1"}})).await?;
        told(world, about("agent:start")).await?;
        becomes(world, "ENG-1", "in_progress").await?;
        world.agrees(DEADLINE).await?;
        told(world, about("agent:error")).await?;
        told(world, about("agent:start")).await?;
        world.quiet(DEADLINE).await?;
        becomes(world, "ENG-1", "in_progress").await?;
        told(world, about("agent:success")).await?;
        becomes(world, "ENG-1", "done").await?;
        world.agrees(DEADLINE).await
    })
    .await
}
