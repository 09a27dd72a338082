//! The Rust client against the real services: what it follows, it hears once and in order, whatever happens to the broadcaster;
//! and what became of a status it tells record by record.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use client::steps::{Description, StepTracker};
use client::{
    Backoff, Client, Message, MonitoringClient, Outcome, Propagated, Status, SystemAlert, Watch, WorkflowClient,
    WorkflowExecution,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use system_tests::fleet::Member;
use system_tests::{DEADLINE, Settings, World, eventually, with_world};
use tokio::time::timeout;

/// How often the broadcaster is killed.
const DEATHS: usize = 4;
/// Edits before each death, and as many while it is dead.
const EDITS: usize = 12;

/// The versions that items were heard to take, in the order of hearing.
type Heard = BTreeMap<String, Vec<u64>>;

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_an_item_and_an_agent_hears_each_change_once_and_in_order_though_the_broadcaster_dies()
-> anyhow::Result<()> {
    with_world(Settings { pieces: 2, ..Settings::default() }, async |world| {
        let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
        eprintln!("SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        eventually(DEADLINE, "the agent is known", async || world.face.item("agentapi/agent/agent-1").await).await?;
        world.face.link("ENG-2", "agentapi/agent/agent-1").await?;
        world.agrees(DEADLINE).await?;
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("lockstep.toml"), &world.configuration)?;
        let mut broadcaster = Member::new(world, "broadcaster", 1, folder.path().to_owned()).await?;
        broadcaster.start()?;
        broadcaster.ready().await?;
        let backoff = Backoff { first: Duration::from_millis(20), max: Duration::from_millis(200), attempts: None };
        let watch = Client::new(&broadcaster.url())?.watch().item("ENG-1").agent("agent-1").backoff(backoff);
        let mut watch = watch.open().await?;
        shown(&mut watch, 2).await?;
        let (began, mut heard) = (versions(world).await?, Heard::new());
        for _ in 0..DEATHS {
            edit(world, &mut random).await?;
            broadcaster.kill().await?;
            edit(world, &mut random).await?;
            broadcaster.start()?;
            broadcaster.ready().await?;
        }
        edit(world, &mut random).await?;
        world.agrees(DEADLINE).await?;
        let ended = versions(world).await?;
        hear(&mut watch, &mut heard, &ended).await?;
        for (item, ended) in &ended {
            let began = began.get(item).context("an item that was not there before")?;
            let expected: Vec<u64> = (began + 1..=*ended).collect();
            let heard = heard.remove(item).unwrap_or_default();
            ensure!(heard == expected, "{item}: heard {heard:?}, and it took {expected:?}");
            ensure!(expected.len() > DEATHS, "{item} took only {expected:?}");
        }
        drop(watch);
        broadcaster.signal("TERM").await?;
        broadcaster.ended().await?;
        Ok(())
    })
    .await
}

/// Reads until so many rooms have been shown.
async fn shown(watch: &mut Watch, rooms: usize) -> anyhow::Result<()> {
    let mut whole = 0;
    while whole < rooms {
        let message = timeout(DEADLINE, watch.next()).await.context("rooms are not shown")??;
        whole += usize::from(matches!(message, Message::Snapshot(snapshot) if !snapshot.more));
    }
    Ok(())
}

/// The versions of the items, by id.
async fn versions(world: &World) -> anyhow::Result<BTreeMap<String, u64>> {
    let items = world.face.items().await?;
    let version = |item: &serde_json::Value| Some((item["id"].as_str()?.to_owned(), item["version"].as_u64()?));
    Ok(items.iter().filter_map(version).collect())
}

/// Edits of people and of the agent, at their own pace.
async fn edit(world: &World, random: &mut StdRng) -> anyhow::Result<()> {
    for _ in 0..EDITS {
        match random.random_range(0..4) {
            0 => world.agent.run("fix the build")?,
            1 => world.agent.stand_still()?,
            _ => {
                let key = *["ENG-1", "ENG-2"].choose(random).context("there are keys")?;
                let state = *["Todo", "In Progress", "In Review", "Done"].choose(random).context("there are states")?;
                world.linear.move_issue(key, state)?;
            }
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
    }
    Ok(())
}

/// Reads until each item was heard to take its last version.
async fn hear(watch: &mut Watch, heard: &mut Heard, until: &BTreeMap<String, u64>) -> anyhow::Result<()> {
    let behind = |heard: &Heard| {
        until.iter().any(|(item, version)| heard.get(item).and_then(|all| all.iter().max()).copied() < Some(*version))
    };
    while behind(heard) {
        let message = timeout(DEADLINE, watch.next()).await;
        match message.with_context(|| format!("nothing more is heard; until now {heard:?}, and it is {until:?}"))?? {
            Message::StatusChanged(change) => heard.entry(change.item.clone()).or_default().push(change.version),
            Message::Reset(reset) => anyhow::bail!("what was missed was not known any more: {reset:?}"),
            _ => {}
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_status_is_told_for_each_record_also_when_one_refuses() -> anyhow::Result<()> {
    with_world(Settings { pieces: 1, ..Settings::default() }, async |world| {
        let client = Client::new(world.face.url())?;
        let job = "acme/job/1";
        let tied = Status { mentions: vec!["ENG-1".into()], ..Status::new(job, "todo") };
        client.update_status(&[tied]).await?;
        eventually(DEADLINE, "the job is tied to ENG-1", async || {
            Ok(client.item("ENG-1").await?.records.iter().any(|record| record.record == job).then_some(()))
        })
        .await?;
        let all = propagated(&client, Status::new(job, "in_review")).await?;
        ensure!(all.complete && all.settled, "{all:#?}");
        ensure!(
            outcome(&all, "linear/")? == Outcome::Applied && outcome(&all, "postgres/")? == Outcome::Applied,
            "{all:#?}"
        );
        // Open it was, and open it should be.
        ensure!(outcome(&all, "github/")? == Outcome::Unchanged, "{all:#?}");
        let rule = "alter table tasks add constraint never_done check (status <> 'done')";
        sqlx::query(rule).execute(world.database.pool()).await?;
        let part = propagated(&client, Status::new(job, "done")).await?;
        ensure!(part.settled && !part.complete, "{part:#?}");
        ensure!(
            outcome(&part, "linear/")? == Outcome::Applied && outcome(&part, "github/")? == Outcome::Applied,
            "{part:#?}"
        );
        ensure!(outcome(&part, "postgres/")? == Outcome::Rejected, "{part:#?}");
        let nothing = propagated(&client, Status::new(job, "done")).await?;
        ensure!(nothing.settled && nothing.statuses[0].outcome == Outcome::Unchanged, "{nothing:#?}");
        Ok(())
    })
    .await
}

async fn propagated(client: &Client, status: Status) -> anyhow::Result<Propagated> {
    let update = client.update_status(&[status]).await?;
    Ok(update.propagated(DEADLINE).await)
}

fn outcome(propagated: &Propagated, system: &str) -> anyhow::Result<Outcome> {
    let mut records = propagated.statuses.iter().flat_map(|status| &status.records);
    let record = records.find(|record| record.record.starts_with(system));
    Ok(record.with_context(|| format!("no record of {system}: {propagated:#?}"))?.outcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_heard_by_who_follows_the_operation_and_an_alert_until_it_is_acknowledged() -> anyhow::Result<()> {
    with_world(Settings { pieces: 1, ..Settings::default() }, async |world| {
        let client = Client::new(world.face.url())?;
        let mut watch = client.watch().rooms(["operation:import"]).open().await?;
        let publisher = client.publisher();
        let steps = StepTracker::new("import").publishing(&publisher);
        steps.plan(["fetch", "store"]);
        steps.run("fetch", Description::api_call("GET /things"), async { Ok::<_, Infallible>(()) }).await?;
        steps.executing("store", "Storing what came")?;
        steps.failed("store", "the disk is full")?;
        publisher.flush().await;
        ensure!((publisher.published(), publisher.lost()) == (4, 0), "{publisher:?}");
        let mut heard = Vec::new();
        while heard.len() < 4 {
            if let Message::OperationStep(step) = timeout(DEADLINE, watch.next()).await.context("no more steps")?? {
                heard.push(format!("{} {} {} {}", step.step, step.state, step.progress, step.error).trim().to_owned());
            }
        }
        let told =
            ["fetch executing 0", "fetch completed 0.5", "store executing 0.5", "store failed 0.5 the disk is full"];
        ensure!(heard == told, "{heard:?}");
        alert(&client).await
    })
    .await
}

async fn alert(client: &Client) -> anyhow::Result<()> {
    let full = SystemAlert {
        id: "disk-full-db1".into(),
        severity: "critical".into(),
        component: "db1".into(),
        message: "the disk is full".into(),
        ..SystemAlert::default()
    };
    client.publish(&[full.into()]).await?;
    let mut monitoring = client.monitoring_client().await?;
    let stands = |monitoring: &MonitoringClient| monitoring.alerts().any(|alert| alert.id == "disk-full-db1");
    // Told, or shown to who comes later.
    while !stands(&monitoring) {
        timeout(DEADLINE, monitoring.next()).await.context("no alert")??;
    }
    monitoring.acknowledge("disk-full-db1").await?;
    while stands(&monitoring) {
        timeout(DEADLINE, monitoring.next()).await.context("not acknowledged")??;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_a_workflow_knows_how_each_of_its_executions_stands() -> anyhow::Result<()> {
    with_world(Settings { pieces: 1, ..Settings::default() }, async |world| {
        let client = Client::new(world.face.url())?;
        let told = async |execution: &str, status: &str| {
            let (workflow, execution, status) = ("nightly".into(), execution.into(), status.into());
            let told = WorkflowExecution { workflow, execution, status, ..WorkflowExecution::default() };
            client.publish(&[told.into()]).await
        };
        told("1", "running").await?;
        let mut workflows = client.workflow_client(Some("nightly")).await?;
        let status = |workflows: &WorkflowClient, execution: &str| {
            workflows.state("nightly", execution).map(|state| state.status.clone())
        };
        // Told, or shown to who comes later.
        while status(&workflows, "1").as_deref() != Some("running") {
            timeout(DEADLINE, workflows.next()).await.context("it is not heard of")??;
        }
        told("2", "pending").await?;
        told("1", "failed").await?;
        while status(&workflows, "1").as_deref() != Some("failed") {
            timeout(DEADLINE, workflows.next()).await.context("its end is not heard of")??;
        }
        ensure!(status(&workflows, "2").as_deref() == Some("pending"), "{workflows:?}");
        Ok(())
    })
    .await
}
