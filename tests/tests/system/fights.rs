//! Automations that fight, and items that wait for a person.

use anyhow::{Context as _, ensure};
use sandbox::faults::Faults;
use sandbox::linear::GitEvent;
use serde_json::{Value, json};
use system_tests::oracle::REPO;
use system_tests::{DEADLINE, Settings, World, eventually, with_world};

/// How many rounds automations may need to be known as fighting: a round whose edits meet counts once, else twice.
const ROUNDS: usize = 12;

async fn alerts(world: &World) -> anyhow::Result<Vec<Value>> {
    Ok(serde_json::from_str(&world.face.text("/alerts").await?)?)
}

async fn is_held(world: &World, key: &str) -> anyhow::Result<bool> {
    let item = world.face.item(key).await?.context("the item is gone")?;
    Ok(!item["held"].is_null())
}

async fn says(world: &World, words: &[&str]) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&world.lockstep.says(words).await?)?)
}

fn codes(report: &Value) -> Vec<&str> {
    report["findings"].as_array().into_iter().flatten().filter_map(|finding| finding["code"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn linears_own_github_automation_is_told_before_it_bites_and_its_fight_is_held_with_both_named()
-> anyhow::Result<()> {
    with_world(Settings { pieces: 2, escalation_threshold: 3, ..Settings::default() }, async |world| {
        let before = says(world, &["doctor", "--json"]).await?;
        ensure!(before["errors"] == 0 && !codes(&before).contains(&"git_automation"), "{before:#}");
        world.github.add_pull_hook(REPO, &world.linear.github_hook_url());
        world.linear.set_git_automation("ENG", &[(GitEvent::Review, "In Progress"), (GitEvent::Merge, "Done")])?;
        world.linear.sync_with_github("ENG-1", "acme", "web", 1)?;
        let warned = says(world, &["doctor", "--json"]).await?;
        let found = warned["findings"].as_array().context("no findings")?;
        let found = found.iter().find(|finding| finding["code"] == "git_automation").context("not warned of")?;
        ensure!(found["severity"] == "warning" && found["about"] == "linear, team ENG", "{found}");
        ensure!(codes(&warned).contains(&"native_sync") && warned["errors"] == 0, "{warned:#}");
        fight(world).await?;
        ends(world).await
    })
    .await
}

/// A script wants the task in review, which opens the pull request, which makes Linear's integration take it back.
async fn fight(world: &World) -> anyhow::Result<()> {
    for _ in 0..ROUNDS {
        world.quiet(DEADLINE).await?;
        if is_held(world, "ENG-2").await? {
            return Ok(());
        }
        if world.tasks.status("T-2").await? == "in_review" {
            // The script won a conflict: it begins anew.
            world.tasks.update("T-2", "in_progress").await?;
            world.quiet(DEADLINE).await?;
        }
        world.tasks.update("T-2", "in_review").await?;
    }
    world.quiet(DEADLINE).await?;
    ensure!(is_held(world, "ENG-2").await?, "{ROUNDS} rounds of a fight did not hold the item");
    Ok(())
}

async fn ends(world: &World) -> anyhow::Result<()> {
    let alert = eventually(DEADLINE, "the alert is there", async || {
        Ok(alerts(world).await?.into_iter().find(|alert| alert["code"] == "flip_flop"))
    })
    .await?;
    ensure!(alert["severity"] == "critical" && alert["key"] == "ENG-2" && alert["since"].is_i64(), "{alert:#}");
    let sides = alert["sides"].as_array().context("no sides")?;
    let by =
        |system: &str| sides.iter().find(|side| side["record"].as_str().is_some_and(|name| name.starts_with(system)));
    let (linear, table) =
        (by("linear/").context("Linear is no side")?, by("postgres/").context("the table is no side")?);
    ensure!(
        linear["actor"] == "github" && linear["automation"] == true && linear["status"] == "in_progress",
        "{alert:#}"
    );
    ensure!(table["actor"].as_str().is_some_and(|actor| !actor.starts_with("somebody")), "{alert:#}");
    ensure!(
        alert["action"].as_str().is_some_and(|action| action.contains("lockstep conflicts resolve ENG-2")),
        "{alert:#}"
    );
    let url = world.face.url();
    let shown = world.lockstep.says(&["conflicts", "show", "ENG-2", "--url", url]).await?;
    ensure!(shown.contains("automation github in linear/issue ENG-2"), "{shown}");
    ensure!(alert["message"].as_str().is_some_and(|message| message.contains("linear/issue ENG-2")), "{alert:#}");
    let listed = says(world, &["conflicts", "list", "--json", "--url", url]).await?;
    ensure!(listed["conflicts"].as_array().is_some_and(|all| all.len() == 1), "{listed:#}");
    // Somebody turns the automation off, and decides.
    world.linear.set_git_automation("ENG", &[])?;
    let words = ["conflicts", "resolve", "ENG-2", "--status", "in_review", "--actor", "ada", "--json", "--url", url];
    let item = says(world, &words).await?;
    ensure!(item["status"] == "in_review" && item["held"].is_null(), "{item:#}");
    let listed = world.lockstep.says(&["conflicts", "list", "--all", "--url", url]).await?;
    ensure!(listed.contains("→ in_review by ada"), "{listed}");
    world.agrees(DEADLINE).await?;
    ensure!(world.linear.issue("ENG-2")?.state == "In Review" && world.tasks.status("T-2").await? == "in_review");
    ensure!(alerts(world).await? == Vec::<Value>::new(), "the alert outlived its cause");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_hold_keeps_the_newest_edit_of_each_record_and_all_systems_follow_the_pick() -> anyhow::Result<()> {
    with_world(Settings { pieces: 1, strategy: "manual", ..Settings::default() }, async |world| {
        // While Linear cannot be told of the table's edit, a person there makes another: neither saw the other's.
        world.linear.faults().set(Faults { error_5xx: 1.0, ..Faults::default() });
        world.tasks.update("T-1", "in_progress").await?;
        moved_to(world, "in_progress").await?;
        world.linear.move_issue("ENG-1", "Done")?;
        eventually(DEADLINE, "the item is held", async || Ok(is_held(world, "ENG-1").await?.then_some(()))).await?;
        let url = world.face.url();
        let issue = world.piece("ENG-1")?.issue;
        for (reason, native) in [("completed", "closed/completed"), ("not_planned", "closed/not_planned")] {
            world.github.close_issue(REPO, issue, reason)?;
            eventually(DEADLINE, "the hold keeps the newest edit", async || {
                let shown = says(world, &["conflicts", "show", "ENG-1", "--json", "--url", url]).await?;
                let candidates = shown["candidates"].as_array().context("no candidates")?;
                ensure!(candidates.len() <= 3, "an older edit of the record stayed: {shown:#}");
                Ok((candidates.len() == 3 && candidates[2]["native"] == native).then_some(()))
            })
            .await?;
            if reason == "completed" {
                world.github.reopen_issue(REPO, issue)?;
            }
        }
        let alert = alerts(world).await?;
        ensure!(
            alert.len() == 1 && alert[0]["code"] == "conflict_held" && alert[0]["severity"] == "warning",
            "{alert:?}"
        );
        world.linear.faults().set(Faults::default());
        let refused = world.lockstep.says(&["conflicts", "resolve", "ENG-1", "--pick", "7", "--url", url]).await;
        ensure!(refused.is_err_and(|error| error.to_string().contains("candidate_unknown")), "no such candidate");
        let item = says(world, &["conflicts", "resolve", "ENG-1", "--pick", "2", "--json", "--url", url]).await?;
        ensure!(item["status"] == "canceled" && item["held"] == json!(null), "{item:#}");
        world.agrees(DEADLINE).await?;
        ensure!(world.linear.issue("ENG-1")?.state == "Canceled" && world.tasks.status("T-1").await? == "canceled");
        ensure!(alerts(world).await?.is_empty(), "the alert outlived its cause");
        let again = world.lockstep.says(&["conflicts", "resolve", "ENG-1", "--pick", "0", "--url", url]).await;
        ensure!(again.is_err_and(|error| error.to_string().contains("is not held")), "a hold ends once");
        let listed = says(world, &["conflicts", "list", "--all", "--json", "--url", url]).await?;
        let id = listed["conflicts"][0]["id"].as_str().context("the conflict is not listed")?.to_owned();
        let item = says(world, &["conflicts", "resolve", &id, "--pick", "1", "--json", "--url", url]).await?;
        ensure!(item["status"] == "done", "the side that lost is restored by one call: {item:#}");
        world.agrees(DEADLINE).await?;
        Ok(())
    })
    .await
}

async fn moved_to(world: &World, status: &str) -> anyhow::Result<()> {
    eventually(DEADLINE, "the item has moved", async || {
        let item = world.face.item("ENG-1").await?.context("the item is gone")?;
        Ok((item["status"] == status).then_some(()))
    })
    .await
}
