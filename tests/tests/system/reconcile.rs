//! What is lost on its way is found: failed webhooks come again, and `lockstep sync` reads what nobody told of.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use bus::Stream;
use sandbox::faults::Faults;
use serde_json::Value;
use system_tests::oracle::REPO;
use system_tests::{DEADLINE, Settings, World, eventually, with_world};

/// Where nobody listens.
const AWAY: &str = "http://127.0.0.1:9/webhooks/github";

#[tokio::test(flavor = "multi_thread")]
async fn github_webhooks_that_failed_are_asked_for_again_and_tell_what_no_sweep_did() -> anyhow::Result<()> {
    let settings = Settings { redeliver_s: 1, pieces: 2, ..Settings::default() };
    with_world(settings, async |world| {
        let github = world.github.webhooks();
        let home = github.target();
        // Else one may be asked for before it would arrive, and once more only a minute later.
        world.github.faults().set(Faults { error_5xx: 1.0, ..Faults::default() });
        github.set_target(Some(AWAY.to_owned()));
        for piece in &world.pieces {
            world.github.close_issue(REPO, piece.issue, "completed")?;
        }
        ensure!(github.drained(DEADLINE).await, "GitHub still sends");
        ensure!(world.face.item("ENG-1").await?.context("no ENG-1")?["status"] == "todo", "nothing was told");
        github.set_target(home);
        world.github.faults().set(Faults::default());
        eventually(DEADLINE, "both issues are done", async || {
            for key in ["ENG-1", "ENG-2"] {
                let item = world.face.item(key).await?.context("no item")?;
                ensure!(item["status"] == "done", "{key} is {}", item["status"]);
            }
            Ok(Some(()))
        })
        .await?;
        world.agrees(DEADLINE).await?;
        let issue = format!("github/issue/{REPO}#{}", world.pieces[0].issue);
        let observed = world.observed(&[issue]).await?;
        let closed: Vec<&String> = observed.iter().filter(|line| line.contains(" closed/completed ")).collect();
        ensure!(!closed.is_empty() && !closed.iter().any(|line| line.contains(" sweep ")), "{observed:#?}");
        let mut again: BTreeMap<String, usize> = BTreeMap::new();
        for sent in github.deliveries().iter().filter(|sent| sent.redelivery) {
            *again.entry(sent.guid.clone()).or_default() += 1;
        }
        ensure!(again.len() == 2 && again.values().all(|times| *times == 1), "each is asked for once: {again:?}");
        let metrics = world.face.text("/metrics").await?;
        let asked = "lockstep_webhooks_total{outcome=\"asked_again\",system=\"github\"} 2";
        ensure!(metrics.contains(asked), "the metrics lack {asked}");
        Ok(())
    })
    .await
}

/// Everything that a sync could leave behind: what the sandboxes were told, every row, and the end of every stream.
async fn traces(world: &World) -> anyhow::Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    all.insert("Linear's writes".to_owned(), world.linear.counters().counts().writes.to_string());
    all.insert("GitHub's writes".to_owned(), world.github.counters().counts().writes.to_string());
    all.insert("the agent's writes".to_owned(), world.agent.counters().counts().writes.to_string());
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname not in ('pg_catalog', 'information_schema')",
    )
    .fetch_all(world.database.pool())
    .await?;
    for table in tables {
        let rows = format!(
            "select count(*) || ' ' || coalesce(md5(string_agg(r::text, '' order by r::text)), '') from {table} r"
        );
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_one(world.database.pool()).await?;
        all.insert(table, rows);
    }
    for stream in [Stream::Webhooks, Stream::Observations, Stream::Commands, Stream::Changes, Stream::DeadLetters] {
        all.insert(format!("{stream:?}"), format!("{:?}", world.bus.stream_info(stream).await?));
    }
    for name in ["sweep/linear", "sync/linear", "redeliver/github"] {
        all.insert(format!("the cursor {name}"), format!("{:?}", world.bus.cursor(name).await?));
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_a_sync_then_does_and_changes_nothing() -> anyhow::Result<()> {
    with_world(Settings { pieces: 4, ..Settings::default() }, async |world| {
        // From now on nobody tells anything.
        world.linear.webhooks().set_target(None);
        world.github.webhooks().set_target(None);
        world.linear.move_issue("ENG-1", "Done")?;
        world.linear.move_issue("ENG-2", "In Review")?;
        // Its first sight comes some time after the start, and would be taken for something that the dry run left.
        eventually(DEADLINE, "the agent is known", async || world.face.item("agentapi/agent/agent-1").await).await?;
        world.quiet(DEADLINE).await?;
        let before = traces(world).await?;
        let said = world.lockstep.says(&["sync", "linear", "--dry-run"]).await?;
        let after = traces(world).await?;
        ensure!(before == after, "a dry run left something behind:\n{before:#?}\n{after:#?}");
        let told = [
            "ENG-1  linear/issue/",
            "todo → done (edited)",
            "github/issue/acme/web#1 → closed/completed",
            "postgres/task/T-1 → done",
            "todo → in_review (edited)",
            "dry run: 4 read; something would come of 2: 2 items would change, 4 records would be written",
        ];
        let missing: Vec<_> = told.iter().filter(|words| !said.contains(**words)).collect();
        ensure!(missing.is_empty(), "the dry run does not say {missing:?}:\n{said}");

        let said = world.lockstep.says(&["sync", "linear"]).await?;
        ensure!(said.contains("linear: 4 read"), "{said}");
        world.agrees(DEADLINE).await?;
        for (key, status) in [("ENG-1", "done"), ("ENG-2", "in_review"), ("ENG-3", "todo")] {
            let item = world.face.item(key).await?.context("no item")?;
            ensure!(item["status"] == status, "{key} is {}", item["status"]);
        }
        let drift = "lockstep_drift_found_total{system=\"linear\"} 2";
        ensure!(world.face.text("/metrics").await?.contains(drift), "the metrics lack {drift}");
        let said = world.lockstep.says(&["sync", "linear", "--dry-run", "--json"]).await?;
        let sum: Value = serde_json::from_str(said.lines().last().context("it says nothing")?)?;
        ensure!((&sum["read"], &sum["with_effect"]) == (&4.into(), &0.into()), "{said}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_record_is_a_dead_letter_and_the_sync_goes_on() -> anyhow::Result<()> {
    with_world(Settings { pieces: 3, ..Settings::default() }, async |world| {
        world.tasks.add("", "todo", "ENG-1").await?;
        world.quiet(DEADLINE).await?;
        let ran = world.lockstep.command(&["sync", "postgres", "--json"]).output().await?;
        let said = String::from_utf8(ran.stdout)?;
        ensure!(ran.status.code() == Some(3), "{}: {said}{}", ran.status, String::from_utf8_lossy(&ran.stderr));
        let last: Value = serde_json::from_str(said.lines().last().context("it says nothing")?)?;
        let counted = ["read", "unreadable", "total"].map(|name| last[name].as_u64());
        ensure!(counted == [Some(3), Some(1), Some(4)] && last["state"] == "ended", "{said}");
        let (_, sequence) = world.bus.stream_info(Stream::DeadLetters).await?;
        let letter = world.bus.peek(Stream::DeadLetters, sequence).await?.context("there is no dead letter")?;
        ensure!(letter.subject == "lockstep.dead.connector-postgres.unusable_key", "{}", letter.subject);
        ensure!(String::from_utf8_lossy(&letter.payload).contains("\"key\":\"\""), "{letter:?}");
        let refused = world.lockstep.command(&["sync", "agentapi"]).output().await?;
        ensure!(refused.status.code() == Some(64), "an agent has nothing to read: {}", refused.status);
        world.agrees(DEADLINE).await
    })
    .await
}
