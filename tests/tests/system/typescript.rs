//! The TypeScript client against a running system: in Node, and the example page in a real browser.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use system_tests::oracle::REPO;
use system_tests::world::free_address;
use system_tests::{DEADLINE, Settings, World, eventually, with_world};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// The folder `web`, built, and a browser; `None` where nobody built it and nobody asked for it.
fn web() -> anyhow::Result<Option<(PathBuf, PathBuf)>> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
    match (named("LOCKSTEP_TEST_WEB"), named("LOCKSTEP_TEST_BROWSER")) {
        (Some(web), Some(browser)) => {
            let built = web.join("client/dist/index.js").is_file();
            ensure!(built, "{} is not built; run npm ci and npm run build there", web.display());
            Ok(Some((web, browser)))
        }
        _ if std::env::var_os("CI").is_some() => bail!("LOCKSTEP_TEST_WEB and LOCKSTEP_TEST_BROWSER are not set"),
        _ => {
            eprintln!("left out: `cargo xtask test` builds web and names it");
            Ok(None)
        }
    }
}

/// A script of `web/client/system` that runs, and what it says.
struct Script {
    _child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Script {
    fn start(name: &str, environment: &[(&str, &str)]) -> anyhow::Result<Option<Self>> {
        let Some((web, browser)) = web()? else { return Ok(None) };
        let mut command = Command::new("node");
        command
            .arg(web.join("client/system").join(name))
            .env("BROWSER", browser)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().context("node cannot be started")?;
        let (input, output) = child.stdin.take().zip(child.stdout.take()).context("node has no pipes")?;
        Ok(Some(Self { _child: child, input, lines: BufReader::new(output).lines() }))
    }

    async fn told(&mut self, command: Value) -> anyhow::Result<()> {
        Ok(self.input.write_all(format!("{command}\n").as_bytes()).await?)
    }

    /// The next line that has this member, and the member; others are passed over, but for errors.
    async fn says(&mut self, member: &str) -> anyhow::Result<Value> {
        let mut passed = Vec::new();
        let heard = async {
            loop {
                let line = self.lines.next_line().await?.context("the script ended")?;
                let said: Value = serde_json::from_str(&line)?;
                if let Some(value) = said.get(member) {
                    return Ok(value.clone());
                }
                ensure!(said.get("failed").is_none() && said.get("error").is_none(), "{said}");
                passed.push(line);
            }
        };
        let ended = timeout(DEADLINE, heard).await;
        ended.unwrap_or_else(|_| bail!("no {member} within {DEADLINE:?}")).with_context(|| format!("after {passed:#?}"))
    }

    /// The next message of this type.
    async fn hears(&mut self, name: &str) -> anyhow::Result<Value> {
        self.until("message", |message| message["type"] == name).await.with_context(|| format!("no {name}"))
    }

    /// The first of the next values of this member that is as it should be.
    async fn until(&mut self, member: &str, is: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let (mut last, began) = (Value::Null, Instant::now());
        // Each line may be in time and none the right one.
        while began.elapsed() < DEADLINE {
            last = self.says(member).await?;
            if is(&last) {
                return Ok(last);
            }
        }
        bail!("the last {member} within {DEADLINE:?} is {last}")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typescript_client_follows_an_agent_and_its_steps() -> anyhow::Result<()> {
    with_world(Settings { pieces: 1, ..Settings::default() }, async |world| {
        let Some(mut client) = Script::start("bridge.mjs", &[("LOCKSTEP_URL", world.face.url())])? else {
            return Ok(());
        };
        client.told(json!({"do": "subscribe", "rooms": ["agent:agent-1"]})).await?;
        client.says("done").await?;
        // Else its connector may begin to listen when the run is over.
        eventually(DEADLINE, "the agent is known", async || world.face.item("agentapi/agent/agent-1").await).await?;
        world.agent.run("fix the build")?;
        let mut change = client.hears("status_changed").await?;
        while change["to"] != "working" {
            ensure!(change["to"] == "idle", "{change}");
            change = client.hears("status_changed").await?;
        }
        ensure!(change["record"] == "agentapi/agent/agent-1", "{change}");
        client.told(json!({"do": "publish", "messages": [{"type": "agent_state", "agent": "agent-1", "status": "tool_calling"}]})).await?;
        let state = client.hears("agent_state").await?;
        ensure!(state["status"] == "tool_calling" && state["position"].is_string(), "{state}");
        client.told(json!({"do": "track", "operation": "nightly", "agent": "agent-1"})).await?;
        let mut steps = Vec::new();
        for _ in 0..4 {
            let step = client.hears("operation_step").await?;
            steps.push(format!("{} {} {}", step["step"], step["state"], step["progress"]).replace('"', ""));
        }
        ensure!(steps == ["one executing 0", "one completed 0.5", "two executing 0.5", "two failed 0.5"], "{steps:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typescript_client_knows_how_each_execution_of_a_workflow_stands() -> anyhow::Result<()> {
    with_world(Settings { pieces: 1, ..Settings::default() }, async |world| {
        let Some(mut client) = Script::start("bridge.mjs", &[("LOCKSTEP_URL", world.face.url())])? else {
            return Ok(());
        };
        let told = |execution: &str, status: &str| {
            let execution =
                json!({"type": "workflow_execution", "workflow": "nightly", "execution": execution, "status": status});
            json!({"do": "publish", "messages": [execution]})
        };
        client.told(told("1", "running")).await?;
        client.says("done").await?;
        client.told(json!({"do": "workflows", "workflow": "nightly"})).await?;
        // Told, or shown to who comes later.
        client.until("workflows", |states| *states == json!(["1 running"])).await?;
        client.told(told("2", "pending")).await?;
        client.told(told("1", "failed")).await?;
        client
            .until("workflows", |states| {
                let mut states: Vec<_> = states.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                states.sort_unstable();
                states == ["1 failed", "2 pending"]
            })
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typescript_client_goes_on_after_its_broadcaster_was_killed() -> anyhow::Result<()> {
    with_world(Settings { pieces: 1, ..Settings::default() }, async |world| {
        let address = free_address()?.to_string();
        let serve = || {
            world
                .lockstep
                .command(&["serve", "broadcaster", "--listen", &address])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
        };
        let mut broadcaster = serve()?;
        let url = format!("http://{address}");
        let Some(mut client) = Script::start("bridge.mjs", &[("LOCKSTEP_URL", url.as_str())])? else { return Ok(()) };
        client.told(json!({"do": "subscribe", "rooms": ["record:ci/build/1"], "options": {"snapshot": false}})).await?;
        client.says("done").await?;
        let mut heard = Vec::new();
        let publish = async |statuses: &[&str]| -> anyhow::Result<()> {
            for status in statuses {
                world.face.publish(&[("ci/build/1".to_owned(), (*status).to_owned())]).await?;
            }
            Ok(())
        };
        publish(&["todo"]).await?;
        heard.push(client.hears("status_changed").await?["to"].clone());
        broadcaster.kill().await?;
        publish(&["in_progress", "in_review"]).await?;
        world.quiet(DEADLINE).await?;
        let mut broadcaster = serve()?;
        publish(&["done"]).await?;
        while heard.last().is_none_or(|last| last != "done") {
            let message = client.says("message").await?;
            ensure!(message["type"] == "status_changed", "{message}");
            heard.push(message["to"].clone());
        }
        ensure!(heard == ["todo", "in_progress", "in_review", "done"], "{heard:?}");
        Ok(broadcaster.kill().await?)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typescript_client_follows_an_item_by_another_key_than_its_own_beside_everything() -> anyhow::Result<()> {
    with_world(Settings { pieces: 1, ..Settings::default() }, async |world| {
        let Some(mut client) = Script::start("bridge.mjs", &[("LOCKSTEP_URL", world.face.url())])? else {
            return Ok(());
        };
        let github = format!("{REPO}#{}", world.piece("ENG-1")?.issue);
        client.told(json!({"do": "subscribe", "rooms": ["all"], "options": {"snapshot": false}})).await?;
        client.says("done").await?;
        for key in ["ENG-1", &github] {
            client.told(json!({"do": "subscribe", "rooms": [format!("item:{key}")]})).await?;
            client.says("done").await?;
            client.hears("snapshot").await?;
        }
        let linear = format!("linear/issue/{}", world.linear.issue("ENG-1")?.id);
        world.face.publish(&[(linear, "In Progress".to_owned())]).await?;
        // One of the keys is not what its events name.
        let heard = [
            client.hears("status_changed").await?,
            client.hears("status_changed").await?,
            client.hears("status_changed").await?,
        ];
        ensure!(heard.iter().all(|change| change["position"] == heard[0]["position"]), "{heard:#?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typescript_client_shows_the_next_token_before_the_last_one_expires() -> anyhow::Result<()> {
    const SECRET: &str = "a secret of at least thirty-two bytes";
    with_world(Settings { pieces: 1, ..Settings::default() }, async |world| {
        let address = free_address()?.to_string();
        let mut command = world.lockstep.command(&["serve", "broadcaster", "--listen", &address]);
        let secrets = json!([SECRET]).to_string();
        command
            .env("LOCKSTEP__BROADCASTER__AUTH__JWT__HS256_SECRETS", secrets)
            .env("LOCKSTEP__BROADCASTER__AUTH__JWT__LEEWAY_S", "0")
            .env("LOCKSTEP__BROADCASTER__EXPIRY_WARNING_MS", "2500")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut broadcaster = command.spawn()?;
        let url = format!("http://{address}");
        for (show, status) in [("message", "todo"), ("ticket", "done")] {
            let environment = [
                ("LOCKSTEP_URL", url.as_str()),
                ("LOCKSTEP_JWT_SECRET", SECRET),
                ("LOCKSTEP_JWT_S", "4"),
                ("LOCKSTEP_SHOW", show),
            ];
            let Some(mut client) = Script::start("bridge.mjs", &environment)? else { return Ok(()) };
            let room = json!({"do": "subscribe", "rooms": ["record:ci/build/1"], "options": {"snapshot": false}});
            client.told(room).await?;
            client.says("done").await?;
            // One is good for 3 to 4 s, and the next is asked for 2.5 s before its end: when the eighth is, some have expired.
            client.until("tokens", |tokens| tokens.as_u64() >= Some(8)).await?;
            world.face.publish(&[("ci/build/1".to_owned(), status.to_owned())]).await?;
            let change = client.says("message").await?;
            ensure!(change["type"] == "status_changed", "{change}");
            client.told(json!({"do": "connection"})).await?;
            ensure!(client.says("opened").await? == 1, "one connection outlives its tokens");
        }
        Ok(broadcaster.kill().await?)
    })
    .await
}

/// What became of the records of a propagated status, by system.
fn outcomes(status: &Value) -> Vec<(String, String)> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let records = status["records"].as_array().cloned().unwrap_or_default();
    let mut outcomes: Vec<_> = records
        .iter()
        .map(|record| {
            (word(&record["record"]).split('/').next().unwrap_or_default().to_owned(), word(&record["outcome"]))
        })
        .collect();
    outcomes.sort();
    outcomes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typescript_client_learns_when_a_status_has_arrived_everywhere() -> anyhow::Result<()> {
    with_world(Settings { pieces: 1, ..Settings::default() }, async |world| {
        let Some(mut client) = Script::start("bridge.mjs", &[("LOCKSTEP_URL", world.face.url())])? else {
            return Ok(());
        };
        let ask = |record: &str, status: &str| {
            json!({"do": "update", "timeoutMs": 30_000, "statuses": [
                {"record": record, "status": status, "mentions": ["ENG-1"]},
            ]})
        };
        let update = |status: &str| ask("ci/build/1", status);
        // Tied to the item by its first status, which the item's own wins over.
        client.told(update("todo")).await?;
        client.says("propagated").await?;
        client.told(update("done")).await?;
        let propagated = client.says("propagated").await?;
        let status = &propagated["statuses"][0];
        ensure!(propagated["complete"] == true && status["outcome"] == "applied", "{propagated:#}");
        let applied = |system: &str| (system.to_owned(), "applied".to_owned());
        ensure!(outcomes(status) == ["github", "linear", "postgres"].map(applied), "{propagated:#}");
        let piece = world.piece("ENG-1")?;
        // Confirmed, not handed over: the systems show it by then.
        ensure!(world.linear.issue("ENG-1")?.state == "Done" && world.tasks.status(&piece.task).await? == "done");
        // The same again changes nothing, and that is known as well.
        client.told(update("done")).await?;
        let again = client.says("propagated").await?;
        ensure!(again["complete"] == true && again["statuses"][0]["outcome"] == "unchanged", "{again:#}");
        // A record that a connector sees is told like the others, and confirms like them.
        let linear = format!("linear/issue/{}", world.linear.issue("ENG-1")?.id);
        client.told(ask(&linear, "In Progress")).await?;
        let asked = client.says("propagated").await?;
        ensure!(asked["complete"] == true && world.linear.issue("ENG-1")?.state == "In Progress", "{asked:#}");
        ensure!(outcomes(&asked["statuses"][0]).contains(&applied("linear")), "{asked:#}");
        // What no mapping knows is refused also where a connector sees the record, which goes on showing what it shows.
        client.told(ask(&linear, "Dome")).await?;
        let unknown = client.says("propagated").await?;
        let status = &unknown["statuses"][0];
        let said = (unknown["complete"].as_bool(), status["outcome"].as_str(), status["reason"].as_str());
        ensure!(said == (Some(false), Some("rejected"), Some("no mapping knows \"Dome\"")), "{unknown:#}");
        client.told(json!({"do": "update", "statuses": [{"record": "ci/build/1", "status": ""}]})).await?;
        ensure!(client.says("failed").await? == "update");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_page_follows_an_agent_in_a_browser() -> anyhow::Result<()> {
    let page = free_address()?;
    let origins = vec![format!("http://{page}")];
    with_world(Settings { pieces: 1, origins, ..Settings::default() }, async |world| {
        follow_in_browser(world, page.port()).await
    })
    .await
}

async fn follow_in_browser(world: &mut World, port: u16) -> anyhow::Result<()> {
    let url = world.face.url().to_owned();
    let environment = [("LOCKSTEP_URL", url.as_str()), ("PORT", &port.to_string())];
    let Some(mut browser) = Script::start("browser.mjs", &environment)? else { return Ok(()) };
    let mut shows = async |what: &'static str, is: fn(&Value) -> bool| -> anyhow::Result<()> {
        browser.until("shown", is).await.context(what).map(drop)
    };
    shows("the page is connected", |shown| shown["state"] == "open").await?;
    // Nothing was told since: this is how things stood when the page came.
    shows("the agent idles", |shown| shown["status"] == "idle").await?;
    world.agent.run("fix the build")?;
    shows("the agent works", |shown| shown["status"] == "working").await?;
    world.lockstep.kill().await?;
    shows("the page noticed", |shown| shown["state"] != "open").await?;
    world.lockstep.start().await?;
    shows("the page is connected again", |shown| shown["state"] == "open").await?;
    world.agent.stand_still()?;
    shows("the agent stands still", |shown| shown["status"] != "working").await?;
    eventually(DEADLINE, "the agent stands still", async || Ok((world.agent.status() == "stable").then_some(()))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_acknowledged_from_typescript_and_every_watcher_hears_of_it() -> anyhow::Result<()> {
    with_world(Settings { pieces: 1, ..Settings::default() }, async |world| {
        let Some(mut client) = Script::start("bridge.mjs", &[("LOCKSTEP_URL", world.face.url())])? else {
            return Ok(());
        };
        client.told(json!({"do": "monitor"})).await?;
        client.says("done").await?;
        let alert = json!({"type": "system_alert", "id": "disk", "severity": "critical", "component": "db1", "message": "full"});
        client.told(json!({"do": "publish", "messages": [alert]})).await?;
        let alert = client.says("alert").await?;
        ensure!(alert["id"] == "disk" && alert["acknowledged_by"] == "", "{alert}");
        client.told(json!({"do": "acknowledge", "alert": "disk"})).await?;
        client.until("alert", |alert| alert["acknowledged_by"] != "").await?;
        client.told(json!({"do": "acknowledge", "alert": "nobody told of it"})).await?;
        ensure!(client.says("failed").await? == "acknowledge");
        Ok(())
    })
    .await
}
