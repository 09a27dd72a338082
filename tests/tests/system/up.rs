//! `cargo xtask up` as a person meets it: what it prints and writes, what the README's lines do, and how it ends and goes on.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use system_tests::demo::{Checkout, Up};
use system_tests::{DEADLINE, eventually};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;

/// A `cargo` that notes what it is asked for, and builds nothing: what is tested was built before.
const CARGO: &str = "echo \"$@\" >> cargo.log";

/// The commands of the three things to try.
fn tries(up: &Up) -> anyhow::Result<Vec<&str>> {
    let from = up.said.iter().position(|line| line.starts_with("Three things to try")).context("nothing to try")?;
    let indented = up.said[from + 1..].iter().take_while(|line| line.starts_with("  "));
    Ok(indented.filter(|line| !line.starts_with("    ")).map(|line| line.trim()).collect())
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
    let last = log.lines().last().unwrap_or_default();
    ensure!(last.contains("stopped in order"), "the services did not do what was in hand: {log}");
    up.shows(Some(("ENG-5", "In Progress")), None, None).await?;
    checkout.types(stop).await?;
    up.shows(Some(("ENG-5", "In Review")), None, None).await?;
    ensure!(up.stop().await?.0.success(), "the end");
    Ok(())
}
