//! `lockstep watch` across a restart of all that it hears from.

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use system_tests::{DEADLINE, Settings, World, eventually, with_world};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Watches the room `all`, as a person does.
fn watch(world: &World) -> anyhow::Result<Child> {
    let mut watch = world.lockstep.command(&["watch", "--url", world.face.url()]);
    watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("lockstep watch")
}

async fn signal(child: &Child, name: &str) -> anyhow::Result<()> {
    let id = child.id().context("lockstep watch ended")?.to_string();
    ensure!(Command::new("kill").args([name, &id]).status().await?.success(), "kill {name}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_telemetry_was_lost_is_shown_and_nothing_said_that_is_not_so() -> anyhow::Result<()> {
    with_world(Settings { pieces: 2, ..Settings::default() }, async |world| {
        let mut watch = watch(world)?;
        let mut lines = BufReader::new(watch.stdout.take().context("no stdout")?).lines();
        let mut until = async |wanted: &str| -> anyhow::Result<Vec<String>> {
            let mut said = Vec::new();
            loop {
                let line = timeout(DEADLINE, lines.next_line()).await;
                let line = line.with_context(|| format!("no {wanted:?} after {said:#?}"))??;
                said.push(line.context("lockstep watch ended")?);
                if said.last().is_some_and(|line| line == wanted) {
                    return Ok(said);
                }
            }
        };
        until("all: watching").await?;

        // It hears nothing until everything has changed.
        signal(&watch, "-STOP").await?;
        world.lockstep.stop().await?;
        world.nats.kill();
        world.nats.restart()?;
        world.lockstep.start().await?;
        world.linear.move_issue("ENG-1", "Done")?;
        eventually(DEADLINE, "ENG-1 is done", async || {
            let item = world.face.text("/v1/items/ENG-1").await?;
            Ok(item.contains("\"status\":\"done\"").then_some(()))
        })
        .await?;
        signal(&watch, "-CONT").await?;

        let said = until("all: watching").await?;
        let of = |part: &str| said.iter().filter(|line| line.contains(part)).collect::<Vec<_>>();
        let anew = of("not all that was missed is known");
        ensure!(anew.len() == 1 && anew[0].starts_with("all: ") && anew[0].contains("telemetry"), "{said:#?}");
        let changed = of("(changed meanwhile)");
        ensure!(changed.len() == 1 && changed[0].contains("ENG-1") && changed[0].contains("todo → done"), "{said:#?}");
        ensure!(of("ENG-1").len() == 1 && of("ENG-2").is_empty(), "{said:#?}");
        watch.start_kill()?;
        let mut complaints = String::new();
        watch.stderr.take().context("no stderr")?.read_to_string(&mut complaints).await?;
        let back: Vec<_> = complaints.lines().filter(|line| line.contains("connected again")).collect();
        ensure!(back == ["lockstep: connected again"], "{complaints}");
        world.agrees(DEADLINE).await
    })
    .await
}
