//! What docs/words.md says of words that are told over the wire is so.

use anyhow::{Context as _, ensure};
use bus::Stream;
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::StatusCode;
use serde_json::{Value, json};
use system_tests::{DEADLINE, Settings, World, eventually, with_world};
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

const WORDS: &str = include_str!("../../../docs/words.md");
/// What stands in place of a word that means nothing here.
const NONE: &str = "–";

/// The two cells of each row below a heading, without their marks.
fn rows(heading: &str) -> anyhow::Result<Vec<(&'static str, &'static str)>> {
    let (_, after) = WORDS.split_once(&format!("## {heading}\n")).context("no such heading")?;
    let section = after.split("\n## ").next().unwrap_or_default();
    let cell = |cell: &'static str| cell.trim().trim_matches('`');
    let lines = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    let rows = lines.filter_map(|line| line.trim_matches('|').split_once('|').map(|(one, two)| (cell(one), cell(two))));
    let rows: Vec<_> = rows.collect();
    ensure!(rows.len() > 5, "few rows below {heading}");
    Ok(rows)
}

async fn lanes(world: &World) -> anyhow::Result<()> {
    for (word, lane) in rows("How urgent a status is")? {
        let said = word.parse::<u64>().map_or_else(|_| word.into(), Value::from);
        let body = json!({"record": format!("acme/job/{word}"), "status": "todo", "priority": said});
        let accepted = world.face.post("/v1/status", &body).await?;
        let sequence = accepted["accepted"][0]["sequence"].as_u64().context("no sequence")?;
        let stored = world.bus.peek(Stream::Observations, sequence).await?.context("it was not stored")?;
        ensure!(stored.subject.split('.').nth(3) == Some(lane), "{word} is not {lane}: {}", stored.subject);
    }
    Ok(())
}

async fn events(world: &World) -> anyhow::Result<()> {
    for (word, status) in rows("Agents' events")? {
        let body = json!({"agentId": word, "eventName": word});
        if status == NONE {
            let asked = reqwest::Client::new().post(format!("{}/v1/agent-events", world.face.url())).json(&body);
            let answered = asked.send().await?.status();
            ensure!(answered == StatusCode::UNPROCESSABLE_ENTITY, "{word} was answered with {answered}");
            continue;
        }
        world.face.post("/v1/agent-events", &body).await?;
        let item = eventually(DEADLINE, "the agent has a status", async || {
            world.face.item(&format!("agent/session/{word}")).await
        });
        let item = item.await?;
        ensure!(item["status"] == status, "{word} tells {}, not {status}", item["status"]);
    }
    Ok(())
}

async fn rooms(world: &World) -> anyhow::Result<()> {
    let url = format!("{}/v1/ws", world.face.url().replacen("http", "ws", 1));
    let (mut socket, _) = connect_async(url).await?;
    for (room, here) in rows("Rooms")? {
        let asked = json!({"type": "subscribe", "rooms": [room], "snapshot": false, "ref": room}).to_string();
        socket.send(Message::text(asked)).await?;
        let answer = loop {
            let heard = timeout(DEADLINE, socket.next()).await.with_context(|| format!("{room}: no answer"))?;
            let Message::Text(text) = heard.context("the WebSocket was closed")?? else { continue };
            let heard: Value = serde_json::from_str(&text)?;
            if heard["ref"] == room {
                break heard;
            }
        };
        let is_right = match here {
            NONE => answer["type"] == "error",
            here => {
                answer["type"] == "subscribed"
                    && answer["rooms"].as_array().is_some_and(|all| all.contains(&here.into()))
            }
        };
        ensure!(is_right, "{room} is not {here}: {answer}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_earlier_systems_mean_what_the_tables_say() -> anyhow::Result<()> {
    with_world(Settings { pieces: 1, ..Settings::default() }, async |world| {
        lanes(world).await?;
        events(world).await?;
        rooms(world).await
    })
    .await
}
