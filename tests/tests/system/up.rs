//! `cargo xtask up` as a person meets it: what it prints and writes, what the README's lines do, and how it ends and goes on.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use bus::testing::Server;
use sandbox::agentapi::AgentapiOptions;
use serde_json::Value;
use system_tests::demo::{Checkout, Up};
use system_tests::world::free_address;
use system_tests::{DEADLINE, Database, eventually};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// A `cargo` that notes what it is asked for, and builds nothing: what is tested was built before.
const CARGO: &str = "echo \"$@\" >> cargo.log";

/// The commands of the three things to try.
fn tries(up: &Up) -> anyhow::Result<Vec<&str>> {
    let from = up.said.iter().position(|line| line.starts_with("Three things to try")).context("nothing to try")?;
    let indented = up.said[from + 1..].iter().take_while(|line| line.starts_with("  "));
    Ok(indented.filter(|line| !line.starts_with("    ")).map(|line| line.trim()).collect())
}

/// An address as a person is told it: without user, password and query.
fn shown(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    format!("{scheme}://{place}")
}

/// What a person sees of a start: one step after another, and then where everything is.
fn tells(up: &Up) -> anyhow::Result<()> {
    let line = |start: &str| up.said.iter().position(|line| line.starts_with(start));
    let places = [
        "• building lockstep…",
        "✓ nats-server ",
        "✓ NATS ",
        "✓ PostgreSQL on ",
        "✓ sandboxes",
        "✓ services",
        "  NATS ",
        "Ctrl-C stops everything",
    ]
    .map(|start| (line(start), start));
    ensure!(places.iter().all(|(place, _)| place.is_some()) && places.is_sorted(), "{places:?}: {:?}", up.said);
    let told: Vec<&str> = up.said.iter().flat_map(|line| line.split_whitespace()).collect();
    // The monitoring of NATS is for scripts.
    let monitoring = up.text("/nats_monitor_url")?;
    for address in up.addresses().iter().filter(|address| *address != monitoring) {
        let shown = shown(address);
        ensure!(told.contains(&shown.as_str()), "{shown} is not told: {:?}", up.said);
    }
    Ok(())
}

/// Whether the Linear stand-in answers whoever has this key.
async fn opens_linear(up: &Up, key: &str) -> anyhow::Result<bool> {
    let asked = reqwest::Client::new().post(up.text("/sandbox/linear/api_url")?).bearer_auth(key);
    let answer = asked.json(&serde_json::json!({"query": "{ viewer { id } }"})).send().await?;
    let answer: Value = answer.json().await?;
    Ok(answer["data"]["viewer"]["id"].is_string())
}

/// The ids of what still runs of these.
fn running(processes: &[(String, u64)]) -> Vec<&str> {
    let runs = |id: u64| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
    };
    processes.iter().filter(|(_, id)| runs(*id)).map(|(name, _)| name.as_str()).collect()
}

/// Everything on this machine that was started with this folder in its words.
fn of(folder: &Path) -> anyhow::Result<Vec<String>> {
    let folder = folder.display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let words = std::fs::read(entry?.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        if words.contains(&folder) {
            found.push(words);
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn up_runs_everything_ends_without_a_trace_and_goes_on_where_it_was() -> anyhow::Result<()> {
    let checkout = Checkout::make()?;
    checkout.tool("cargo", CARGO)?;
    let up = checkout.start(checkout.up(&[])).await?;
    let built = std::fs::read_to_string(checkout.folder().join("cargo.log"))?;
    ensure!(built == "build --package lockstep\n", "it built {built}");
    ensure!(up.answers().await? >= 12, "up.json names few addresses: {}", up.report);
    tells(&up)?;
    let key = up.text("/credentials/linear_api_key")?;
    ensure!(opens_linear(&up, key).await? && !opens_linear(&up, "another").await?, "{key} is not Linear's");

    // The three things to try, as they are printed: somebody watches, another edits, and looks.
    let lines = tries(&up)?;
    ensure!(lines.len() == 3 && lines[0].ends_with(" watch") && lines[2].ends_with(" status"), "{lines:?}");
    let mut watch = checkout.lockstep(&["watch", "--json"]).stdout(Stdio::piped()).spawn()?;
    let mut heard = BufReader::new(watch.stdout.take().context("watch prints nowhere")?).lines();
    let mut next = async || -> anyhow::Result<Value> {
        let line = timeout(DEADLINE, heard.next_line()).await.context("watch says nothing")??;
        Ok(serde_json::from_str(&line.context("watch ended")?)?)
    };
    ensure!(next().await?["type"] == "snapshot", "watch does not begin with how things stand");
    checkout.is_seen().await?;
    checkout.types(lines[1]).await?;
    up.shows(Some(("ENG-1", "In Review")), Some((1, "open")), Some(("T-1", "in_review"))).await?;
    loop {
        let change = next().await?;
        if change["key"] == "ENG-1" && change["to"] == "in_review" {
            break;
        }
    }
    watch.kill().await?;
    eventually(DEADLINE, "the status is shown", async || {
        let shown = checkout.types(lines[2]).await?;
        let line = shown.lines().find(|line| line.contains("ENG-1")).context("no ENG-1")?;
        Ok(line.contains("in_review").then_some(()))
    })
    .await?;
    checkout.types("cargo lockstep sandbox linear move ENG-1 Done").await?;
    up.shows(Some(("ENG-1", "Done")), Some((1, "closed")), Some(("T-1", "done"))).await?;

    let second = checkout.up(&["--no-build"]).output().await?;
    let why = String::from_utf8(second.stderr)?;
    ensure!(
        second.status.code() == Some(1) && why.contains("another cargo xtask runs with"),
        "{}: {why}",
        second.status
    );
    ensure!(why.lines().count() == 1 && checkout.report().exists(), "{why}");
    up.answers().await.context("after a second one was refused")?;

    // An edit of the last moment is not lost, whether it was taken before the end or is found after it.
    checkout.types("cargo lockstep sandbox linear move ENG-4 \"In Review\"").await?;
    let processes = up.processes()?;
    ensure!(processes.len() == 5 && running(&processes).len() == 5, "{processes:?}");
    let (status, said) = up.stop().await?;
    ensure!(status.success() && said.contains("everything is stopped"), "{status}: {said}");
    ensure!(running(&processes).is_empty(), "{:?} still run", running(&processes));
    ensure!(of(checkout.folder())?.is_empty(), "left behind: {:?}", of(checkout.folder())?);
    ensure!(!checkout.report().exists(), "up.json is still there");
    let log = std::fs::read_to_string(checkout.folder().join(".lockstep/logs/lockstep.log"))?;
    ensure!(!log.contains("panicked at"), "{log}");
    ensure!(
        log.lines().rev().take(5).any(|line| line.contains("stopped in order")),
        "the services did not do what was in hand: {log}"
    );

    let up = checkout.start(checkout.up(&["--no-build"])).await?;
    up.shows(Some(("ENG-1", "Done")), Some((1, "closed")), Some(("T-1", "done"))).await?;
    up.shows(Some(("ENG-4", "In Review")), None, Some(("T-4", "in_review"))).await?;
    let history = checkout.types("cargo lockstep history ENG-1").await?;
    ensure!(history.contains("todo → in_review") && history.contains("in_review → done"), "{history}");
    ensure!(up.stop().await?.0.success(), "the second end");

    let up = checkout.start(checkout.up(&["--no-build", "--fresh"])).await?;
    ensure!(up.said.iter().any(|line| line.contains("starting over")), "{:?}", up.said);
    ensure!(up.linear("ENG-1").await? != "Done" && up.task("T-1").await? == "todo", "--fresh kept something");
    ensure!(up.github(1).await? == "open", "--fresh kept something of GitHub");
    ensure!(up.stop().await?.0.success(), "the third end");

    let real = checkout.up(&["--no-build", "--real"]).output().await?;
    let why = String::from_utf8(real.stderr)?;
    ensure!(real.status.code() == Some(64) && why.lines().count() == 1, "{}: {why}", real.status);
    ensure!(["LINEAR_API_KEY", "GITHUB_TOKEN", "AGENT_API_URL"].iter().all(|name| why.contains(name)), "{why}");
    ensure!(real.stdout.is_empty() && !checkout.folder().join(".lockstep/real").exists(), "it began all the same");
    Ok(())
}

/// The lines of the README's first minutes that do something, without the remarks behind them.
fn readme() -> anyhow::Result<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no root")?;
    let text = std::fs::read_to_string(root.join("README.md"))?;
    let block = text.split("```").find(|block| block.contains("sandbox linear move")).context("no lines to try")?;
    let commands = block.lines().map(|line| line.split(" # ").next().unwrap_or(line).trim());
    Ok(commands.filter(|line| line.contains("sandbox ") || line.contains("psql")).map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_the_readme_do_what_stands_beside_them() -> anyhow::Result<()> {
    let checkout = Checkout::make()?;
    let up = checkout.start(checkout.up(&["--no-build"])).await?;
    let lines = readme()?;
    let [linear, ready, merge, update, run, stop] = lines.as_slice() else { anyhow::bail!("{lines:?}") };
    checkout.is_seen().await?;
    checkout.types(linear).await?;
    up.shows(Some(("ENG-1", "In Review")), Some((1, "open")), Some(("T-1", "in_review"))).await?;
    checkout.types(ready).await?;
    up.shows(Some(("ENG-2", "In Review")), Some((2, "open")), Some(("T-2", "in_review"))).await?;
    checkout.types(merge).await?;
    up.shows(Some(("ENG-2", "Done")), Some((2, "closed")), Some(("T-2", "done"))).await?;
    checkout.types(update).await?;
    up.shows(Some(("ENG-3", "Done")), Some((4, "closed")), Some(("T-3", "done"))).await?;
    checkout.types(run).await?;
    up.shows(Some(("ENG-5", "In Progress")), None, None).await?;
    checkout.types(stop).await?;
    up.shows(Some(("ENG-5", "In Review")), None, None).await?;
    ensure!(up.stop().await?.0.success(), "the end");
    Ok(())
}

/// A server that says this to whoever connects, and no more.
async fn says(greeting: &'static str) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            // Whoever has gone need not hear it.
            let _ = socket.write_all(greeting.as_bytes()).await;
        }
    });
    Ok(format!("nats://{address}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_named_and_will_not_do_is_told_before_anything_is_built() -> anyhow::Result<()> {
    let checkout = Checkout::make()?;
    // Were it to build, it would not get further than that.
    checkout.tool("cargo", &format!("{CARGO}; exit 1"))?;
    let dead = format!("nats://{}", free_address()?);
    for (variable, url, why) in [
        ("NATS_URL", dead.clone(), "no server answers at "),
        ("NATS_URL", says("INFO {\"version\":\"2.12.0\"}\r\n").await?, "runs without JetStream"),
        (
            "NATS_URL",
            says("INFO {\"version\":\"2.11.9\",\"jetstream\":true}\r\n").await?,
            "is 2.11.9, and at least 2.12.0",
        ),
        ("DATABASE_URL", dead.replace("nats:", "postgres:"), "no server answers at "),
        ("DATABASE_URL", says("INFO {}\r\n").await?.replace("nats:", "postgres:"), "does not speak PostgreSQL"),
    ] {
        let output = checkout.up(&[]).env(variable, &url).output().await?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(64), "{url}: {}: {said}", output.status);
        ensure!(
            said.lines().count() == 1 && said.starts_with(&format!("✗ {variable}: ")) && said.contains(why),
            "{said}"
        );
        let [built, stored] = ["cargo.log", ".lockstep/data"].map(|made| checkout.folder().join(made).exists());
        ensure!(!built && !stored, "{url}: it began all the same");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn up_uses_the_servers_that_are_named_and_starts_none_beside_them() -> anyhow::Result<()> {
    let checkout = Checkout::make()?;
    let (nats, database) = (Server::start()?, Database::create().await?);
    let (nats_url, database_url) = (nats.url(), database.url()?);
    let mut command = checkout.up(&["--no-build"]);
    command.env("NATS_URL", &nats_url).env("DATABASE_URL", &database_url);
    let up = checkout.start(command).await?;
    let processes = &up.report["processes"];
    ensure!(processes["nats"].is_null() && processes["postgres"].is_null(), "it started its own: {processes}");
    ensure!(up.text("/nats_url")? == nats_url && up.text("/database_url")? == database_url, "{}", up.report);
    checkout.is_seen().await?;
    checkout.types("cargo lockstep sandbox linear move ENG-1 Done").await?;
    up.shows(Some(("ENG-1", "Done")), Some((1, "closed")), Some(("T-1", "done"))).await?;
    ensure!(up.stop().await?.0.success(), "the end");
    ensure!(!checkout.folder().join(".lockstep/data/nats").exists(), "a NATS of its own stored something");
    // They go on, with what was stored.
    let stored = sqlx::query_scalar("select status from lockstep.items where key = 'ENG-1'");
    let stored: String = stored.fetch_one(database.pool()).await?;
    ensure!(stored == "done", "ENG-1 is stored as {stored}");
    let bus = async_nats::connect(&nats_url).await?;
    async_nats::jetstream::new(bus).get_stream("OBSERVATIONS").await?;
    database.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn up_with_real_systems_leaves_the_stand_ins_out_and_wants_a_key() -> anyhow::Result<()> {
    let checkout = Checkout::make()?;
    let agent = sandbox::agentapi::start(AgentapiOptions::default()).await?;
    let mut command = checkout.up(&["--no-build", "--real"]);
    command.env("AGENT_API_URL", agent.url());
    let folder = checkout.folder().join(".lockstep/real");
    let up = checkout.start_with(command, &folder.join("up.json")).await?;
    let report = &up.report;
    ensure!(report["sandbox"].is_null() && report["credentials"].is_null(), "it has stand-ins: {report}");
    ensure!(report["processes"]["sandbox"].is_null(), "it has stand-ins: {report}");
    let (items, key) = (format!("{}/v1/items", up.text("/url")?), up.text("/api_key")?);
    let asked = reqwest::Client::new().get(&items);
    let answer = asked.try_clone().context("it cannot be asked twice")?.send().await?;
    ensure!(answer.status() == 401, "without a key: {}", answer.status());
    let answer = asked.bearer_auth(key).send().await?;
    ensure!(answer.status() == 200, "with the key: {}", answer.status());
    // A shell that has read the file needs no more.
    agent.run("Looking at it")?;
    eventually(DEADLINE, "the agent's status is shown", async || {
        let shown = checkout.types(". .lockstep/real/up.env && cargo lockstep status").await?;
        Ok(shown.lines().any(|line| line.contains("working")).then_some(()))
    })
    .await?;
    ensure!(up.stop().await?.0.success(), "the end");
    Ok(())
}
