//! An edit in any system arrives in all the others, once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::ensure;
use sandbox::github::PullAction;
use system_tests::oracle::REPO;
use system_tests::watcher::Watcher;
use system_tests::{DEADLINE, Settings, World, eventually, with_world};

/// What every system has been told so far: writes by record, as the systems count them.
async fn writes(world: &World) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut all = world.linear.counters().counts().writes_by_record;
    all.extend(world.github.counters().counts().writes_by_record);
    all.extend(world.agent.counters().counts().writes_by_record);
    all.extend(world.tasks.updates().await?);
    Ok(all)
}

/// An edit and what must come of it.
struct Round<'a> {
    /// What it is, for the printed times.
    name: &'a str,
    /// The item.
    key: &'a str,
    /// What its status becomes.
    to: &'a str,
    /// Every record that is written, once each; a person's own UPDATE counts as one, since the table counts all alike.
    written: &'a [&'a str],
}

impl Round<'_> {
    /// Makes the edit, and waits until it has arrived everywhere and nothing more happens.
    async fn go(
        &self,
        world: &World,
        watcher: &Watcher,
        edit: impl AsyncFnOnce(&World) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (before, heard) = (writes(world).await?, watcher.changes(self.key).len());
        let began = Instant::now();
        edit(world).await?;
        self.arrives(world, watcher, heard, began).await?;
        world.agrees(DEADLINE).await?;
        let after = writes(world).await?;
        let written: BTreeMap<&str, u64> = after
            .iter()
            .map(|(record, count)| (record.as_str(), count - before.get(record).copied().unwrap_or(0)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let expected: BTreeMap<&str, u64> = self.written.iter().map(|record| (*record, 1)).collect();
        ensure!(written == expected, "{}: expected one write each to {expected:?}, not {written:?}", self.name);
        let changes: Vec<String> = watcher.changes(self.key).into_iter().skip(heard).map(|(_, to)| to).collect();
        ensure!(changes == [self.to], "{}: the item moved {changes:?}, not once to {}", self.name, self.to);
        Ok(())
    }

    /// Waits for each system, and prints how long each took.
    async fn arrives(&self, world: &World, watcher: &Watcher, heard: usize, began: Instant) -> anyhow::Result<()> {
        let piece = world.piece(self.key)?;
        let (state, github) = (system_tests::oracle::linear(self.to), system_tests::oracle::issue(self.to));
        let linear = async {
            eventually(DEADLINE, "Linear shows it", async || {
                Ok((Some(world.linear.issue(self.key)?.state.as_str()) == state).then(|| began.elapsed()))
            })
            .await
        };
        let issue = async {
            eventually(DEADLINE, "GitHub shows it", async || {
                let shown = world.github.issue(REPO, piece.issue)?;
                let closed = shown["state"] == "closed";
                let reason = shown["state_reason"].as_str().filter(|_| closed);
                Ok((Some((shown["state"].as_str().unwrap_or_default(), reason)) == github).then(|| began.elapsed()))
            })
            .await
        };
        let task = async {
            eventually(DEADLINE, "the table shows it", async || {
                Ok((world.tasks.status(&piece.task).await? == self.to).then(|| began.elapsed()))
            })
            .await
        };
        let socket = async {
            eventually(DEADLINE, "the WebSocket tells it", async || {
                Ok(watcher.changes(self.key).get(heard).map(|(at, _)| at.duration_since(began)))
            })
            .await
        };
        let (linear, issue, task, socket) = tokio::try_join!(linear, issue, task, socket)?;
        let ms = |took: Duration| format!("{:.0} ms", took.as_secs_f64() * 1_000.0);
        eprintln!(
            "{}: Linear {}, GitHub {}, table {}, WebSocket {}",
            self.name,
            ms(linear),
            ms(issue),
            ms(task),
            ms(socket)
        );
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_in_any_system_reaches_the_others_with_one_write_each_and_nothing_moves_twice() -> anyhow::Result<()> {
    with_world(Settings::default(), async |world| {
        let watcher = Watcher::join(world.face.url()).await?;
        let pull = world.piece("ENG-2")?.pulls[0];
        Round { name: "a Linear move", key: "ENG-1", to: "done", written: &["acme/web#1", "T-1"] }
            .go(world, &watcher, async |world| world.linear.move_issue("ENG-1", "Done").map(drop))
            .await?;
        Round {
            name: "a Linear move to a finer state",
            key: "ENG-2",
            to: "in_review",
            written: &["acme/web#3", "T-2"],
        }
        .go(world, &watcher, async |world| world.linear.move_issue("ENG-2", "In Review").map(drop))
        .await?;
        Round { name: "a merge on GitHub", key: "ENG-2", to: "done", written: &["ENG-2", "acme/web#2", "T-2"] }
            .go(world, &watcher, async |world| world.github.act_on_pull(REPO, pull, PullAction::Merge))
            .await?;
        Round {
            name: "an UPDATE in PostgreSQL",
            key: "ENG-3",
            to: "canceled",
            written: &["ENG-3", "acme/web#4", "T-3"],
        }
        .go(world, &watcher, async |world| world.tasks.update("T-3", "canceled").await)
        .await?;
        Round { name: "an issue reopened on GitHub", key: "ENG-3", to: "todo", written: &["ENG-3", "T-3"] }
            .go(world, &watcher, async |world| world.github.reopen_issue(REPO, 4))
            .await?;
        eventually(DEADLINE, "the agent is known", async || world.face.item("agentapi/agent/agent-1").await).await?;
        world.face.link("ENG-4", "agentapi/agent/agent-1").await?;
        world.agrees(DEADLINE).await?;
        Round { name: "an agent that starts running", key: "ENG-4", to: "in_progress", written: &["ENG-4", "T-4"] }
            .go(world, &watcher, async |world| world.agent.run("Looking at ENG-4"))
            .await?;
        Ok(())
    })
    .await
}
