//! `lockstep dead`: what was given up is listed, shown, replayed as good as the first time, and discarded.

use anyhow::{Context as _, ensure};
use serde_json::Value;
use system_tests::{DEADLINE, Settings, World, eventually, with_world};

const UNSEEN: [&str; 2] = ["postgres/task/T-8", "postgres/task/T-9"];

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_listed_and_shown_and_a_replay_is_as_good_as_the_first_time() -> anyhow::Result<()> {
    with_world(Settings { pieces: 1, ..Settings::default() }, async |world| {
        ensure!(world.lockstep.says(&["dead", "list"]).await? == "no dead letters\n");
        for record in UNSEEN {
            world.face.publish(&[(record.to_owned(), "in_progress".to_owned())]).await?;
        }
        let letters = eventually(DEADLINE, "both are given up", async || {
            let letters = listed(world).await?;
            ensure!(letters.len() == 2, "{letters:?}");
            Ok(Some(letters))
        })
        .await?;
        let is_unknown = |letter: &Value| letter["reason"] == "unknown_record" && letter["service"] == "resolver";
        ensure!(letters.iter().all(is_unknown), "{letters:?}");
        let number = |about: &str| -> anyhow::Result<String> {
            let letter = letters.iter().find(|letter| letter.to_string().contains(about)).context("no such letter")?;
            Ok(letter["sequence"].as_u64().context("a letter without a number")?.to_string())
        };
        let (lost, mended) = (number(UNSEEN[0])?, number(UNSEEN[1])?);

        let table = world.lockstep.says(&["dead", "list", "--record", UNSEEN[1]]).await?;
        ensure!(table.contains(UNSEEN[1]) && !table.contains(UNSEEN[0]), "{table}");
        let shown = world.lockstep.says(&["dead", "show", &mended]).await?;
        let told = ["unknown_record", "to do", UNSEEN[1], "given up by resolver", "in_progress"];
        ensure!(told.iter().all(|words| shown.contains(words)), "{shown}");

        world.tasks.add("T-9", "todo", "").await?;
        world.quiet(DEADLINE).await?;
        let said = world.lockstep.says(&["dead", "replay", &mended]).await?;
        ensure!(said.contains("1 replayed"), "{said}");
        eventually(DEADLINE, "the row has the status", async || {
            let status = world.tasks.status("T-9").await?;
            ensure!(status == "in_progress", "it is {status}");
            Ok(Some(()))
        })
        .await?;

        let refused = world.lockstep.command(&["dead", "discard", &lost]).output().await?;
        ensure!(!refused.status.success() && listed(world).await?.len() == 1, "discarded without a --yes");
        let said = world.lockstep.says(&["dead", "discard", "--all", "--yes"]).await?;
        ensure!(said.contains("1 discarded") && listed(world).await?.is_empty(), "{said}");
        let said = world.lockstep.says(&["dead", "replay", &lost]).await?;
        ensure!(said.contains("1 gone"), "{said}");
        let refused = world.lockstep.command(&["dead", "replay", "999"]).output().await?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(!refused.status.success() && said.contains("there never was a dead letter 999"), "{said}");
        world.agrees(DEADLINE).await
    })
    .await
}

async fn listed(world: &World) -> anyhow::Result<Vec<Value>> {
    let said = world.lockstep.says(&["dead", "list", "--json"]).await?;
    said.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}
