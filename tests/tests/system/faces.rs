//! What people and programs see of a running system: commands, health, metrics.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bus::testing::Server;
use serde_json::Value;
use system_tests::world::free_address;
use system_tests::{DEADLINE, Settings, World, eventually, with_world};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_make_and_show_an_edit_and_the_monitor_says_that_all_is_well() -> anyhow::Result<()> {
    with_world(Settings { pieces: 2, ..Settings::default() }, async |world| {
        commands(world).await?;
        failing_systems(world).await?;
        monitor(world).await
    })
    .await
}

async fn commands(world: &World) -> anyhow::Result<()> {
    let (url, linear) = (world.face.url(), world.linear.url());
    let mut watch = world
        .lockstep
        .command(&["watch", "--json", "--url", url])
        .stdout(Stdio::piped())
        .spawn()
        .context("lockstep watch")?;
    let mut lines = BufReader::new(watch.stdout.take().context("lockstep watch prints nowhere")?).lines();
    let mut said = async || -> anyhow::Result<Value> {
        let line = timeout(DEADLINE, lines.next_line()).await.context("lockstep watch says nothing")??;
        Ok(serde_json::from_str(&line.context("lockstep watch ended")?)?)
    };
    ensure!(said().await?["type"] == "snapshot", "lockstep watch does not begin with how things stand");
    world.lockstep.says(&["sandbox", "linear", "--url", &linear, "move", "ENG-1", "In Review"]).await?;
    let change = said().await?;
    let told = ["type", "key", "from", "to"].map(|name| change[name].as_str().unwrap_or_default().to_owned());
    ensure!(told == ["status_changed", "ENG-1", "todo", "in_review"], "{change}");
    world.agrees(DEADLINE).await?;
    let all: Value = serde_json::from_str(&world.lockstep.says(&["status", "--json", "--url", url]).await?)?;
    let items = all["items"].as_array().context("no items")?;
    ensure!(
        items.iter().any(|item| item["key"] == "ENG-1" && item["status"] == "in_review" && item["in_step"] == true),
        "{all}"
    );
    ensure!(all["failing"] == serde_json::json!([]), "the monitor says that a system fails: {}", all["failing"]);
    let one = world.lockstep.says(&["status", "ENG-1", "--url", url]).await?;
    let shown = ["ENG-1", "in_review", "In Review", "open", "yes"];
    let missing: Vec<_> = shown.iter().filter(|word| !one.contains(**word)).collect();
    ensure!(missing.is_empty(), "lockstep status lacks {missing:?}:\n{one}");
    let history = world.lockstep.says(&["history", "ENG-1", "--url", url]).await?;
    let missing: Vec<_> =
        ["todo → in_review", "edited", "first_seen"].into_iter().filter(|word| !history.contains(word)).collect();
    ensure!(missing.is_empty(), "lockstep history lacks {missing:?}:\n{history}");
    Ok(())
}

/// What a monitor says that has heard for a while that GitHub answers 502.
async fn failing_systems(world: &World) -> anyhow::Result<()> {
    let health = serde_json::json!({"status": "degraded", "at": 100_000, "components": {"systems": {
        "github": {"status": "degraded", "reason": "calls to it fail: 502", "age_ms": 39_000}}}});
    let body = health.to_string();
    let answer = format!("HTTP/1.1 503 \r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (monitor, away) = (format!("http://{}", listener.local_addr()?), format!("http://{}", free_address()?));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") && socket.read_buf(&mut asked).await.is_ok_and(|read| read > 0) {}
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    let url = world.face.url();
    for words in [&["status", "--url", url][..], &["status", "ENG-1", "--url", url]] {
        let said = world.lockstep.says(&[words, &["--monitor", &monitor]].concat()).await?;
        let line = "github does not answer: calls to it fail: 502; it answered last at 1970-01-01T00:01:01Z";
        ensure!(said.lines().last() == Some(line) && said.contains("ENG-1"), "{said}");
        for (monitor, failing) in [
            (
                &monitor,
                serde_json::json!([{"system": "github", "reason": "calls to it fail: 502", "last_success": 61_000, "waiting": 0}]),
            ),
            (&away, Value::Null),
        ] {
            let said = world.lockstep.says(&[words, &["--json", "--monitor", monitor]].concat()).await?;
            let said: Value = serde_json::from_str(&said)?;
            ensure!(said["failing"] == failing && (said["key"] == "ENG-1" || said["items"].is_array()), "{said}");
        }
    }
    Ok(())
}

async fn monitor(world: &World) -> anyhow::Result<()> {
    let services = [
        "ingest",
        "resolver",
        "broadcaster",
        "monitor",
        "connector-linear",
        "connector-github",
        "connector-postgres",
        "connector-agentapi",
    ];
    eventually(DEADLINE, "everything is healthy", async || {
        let health: Value = serde_json::from_str(&world.face.text("/health").await?)?;
        let is_well = |kind: &str, name: &str| health["components"][kind][name]["status"] == "healthy";
        let well = services.iter().all(|name| is_well("services", name))
            && ["nats", "postgres"].iter().all(|name| is_well("servers", name))
            && ["linear", "github"].iter().all(|name| is_well("systems", name));
        ensure!(well && health["status"] == "healthy", "{health:#}");
        Ok(Some(()))
    })
    .await?;
    ensure!(serde_json::from_str::<Value>(&world.face.text("/alerts").await?)? == serde_json::json!([]));
    let metrics = world.face.text("/metrics").await?;
    for name in ["consumer_lag{", "deliveries_total{", "observations_total{", "webhooks_total{", "broadcast_clients{"] {
        ensure!(metrics.contains(&format!("lockstep_{name}")), "/metrics lacks lockstep_{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_setting_ends_the_start_at_once_with_its_name() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for (text, named) in [
        ("[resolver]\nbtach = 5", "resolver.btach"),
        ("[nats]\npartitions = 0", "nats.partitions"),
        ("", "database.url"),
    ] {
        let lockstep = system_tests::lockstep::Lockstep::new(folder.path(), text)?;
        let file = folder.path().join("lockstep.toml").display().to_string();
        let ran = timeout(Duration::from_secs(20), lockstep.command(&["up", "--config", &file]).output()).await??;
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        ensure!(ran.status.code() == Some(64), "{text:?}: {}: {said}", ran.status);
        ensure!(said.contains(named) && said.trim().lines().count() == 1, "{text:?}: {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_that_nobody_set_up_stays_up_and_says_what_is_missing() -> anyhow::Result<()> {
    runtime::install_crypto();
    let nats = Server::start()?;
    let folder = tempfile::tempdir()?;
    let lockstep = system_tests::lockstep::Lockstep::new(folder.path(), "")?;
    for (service, missing) in [
        ("connector-linear", "LINEAR_API_KEY"),
        ("connector-github", "GITHUB_TOKEN"),
        ("connector-postgres", "connector.postgres.tables"),
        ("connector-agentapi", "AGENT_API_URL"),
    ] {
        let listen = free_address()?.to_string();
        let mut command = lockstep.command(&["serve", service, "--listen", &listen]);
        // As docker-compose.yml passes what is not set.
        let empty = ["LINEAR_API_KEY", "GITHUB_TOKEN", "GITHUB_APP_ID", "AGENT_API_URL"].map(|name| (name, ""));
        let mut child = command.env("NATS_URL", &nats.config().url).envs(empty).spawn()?;
        eventually(DEADLINE, &format!("{service} is ready"), async || {
            ensure!(child.try_wait()?.is_none(), "{service} ended");
            let answer = reqwest::get(format!("http://{listen}/readyz")).await?.error_for_status()?;
            let said: Value = answer.json().await?;
            ensure!(said["idle"].as_str().is_some_and(|why| why.contains(missing)), "{said}");
            Ok(Some(()))
        })
        .await?;
        child.kill().await?;
    }
    Ok(())
}
