//! A person's hand in the stand-ins: each command does what it says.

use anyhow::{Context as _, ensure};
use sandbox::agentapi::AgentapiOptions;
use sandbox::github::GithubOptions;
use sandbox::linear::LinearOptions;
use serde_json::Value;
use system_tests::Lockstep;

/// Runs `lockstep sandbox` with words that blanks divide; `+` stands for a blank in a word.
async fn says(lockstep: &Lockstep, url: &str, words: &str) -> anyhow::Result<String> {
    let words: Vec<String> = words.split_whitespace().map(|word| word.replace('+', " ")).collect();
    let words: Vec<&str> =
        ["sandbox"].into_iter().chain(words.iter().map(String::as_str)).chain(["--url", url]).collect();
    lockstep.says(&words).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_commands_on_github_do_what_they_say() -> anyhow::Result<()> {
    const REPO: &str = "acme/web";
    let github = sandbox::github::start(GithubOptions { seed_demo: true, ..GithubOptions::default() }).await?;
    let folder = tempfile::tempdir()?;
    let (lockstep, url) = (Lockstep::new(folder.path(), "")?, github.url());
    let issue = |number| -> anyhow::Result<(String, String)> {
        let issue = github.issue(REPO, number)?;
        Ok(["state", "state_reason"].map(|name| issue[name].as_str().unwrap_or_default().to_owned()).into())
    };
    let steps = [
        ("close acme/web#1", "closed", "completed"),
        ("reopen acme/web#1", "open", "reopened"),
        ("close acme/web#1 --reason not_planned", "closed", "not_planned"),
    ];
    for (words, state, reason) in steps {
        let said = says(&lockstep, &url, &format!("github {words}")).await?;
        let is = issue(1)?;
        ensure!((is.0.as_str(), is.1.as_str()) == (state, reason), "{words}: {said}: {is:?}");
    }
    let pull = |number| github.pull(REPO, number);
    ensure!(pull(3)?["draft"] == true, "#3 is no draft to begin with");
    says(&lockstep, &url, "github ready acme/web#3").await?;
    ensure!(pull(3)?["draft"] == false, "#3 is still a draft");
    says(&lockstep, &url, "github draft acme/web#3").await?;
    ensure!(pull(3)?["draft"] == true, "#3 is no draft");
    says(&lockstep, &url, "github close acme/web#6").await?;
    ensure!(pull(6)?["state"] == "closed" && pull(6)?["merged"] == false, "#6 is not closed");
    says(&lockstep, &url, "github merge acme/web#5").await?;
    ensure!(pull(5)?["merged"] == true, "#5 is not merged");
    says(&lockstep, &url, "github ready acme/web#3").await?;
    for verdict in ["approved", "changes_requested"] {
        says(&lockstep, &url, &format!("github review acme/web#3 {verdict}")).await?;
        let state = github.state().to_string().to_lowercase();
        ensure!(state.contains(verdict), "no review {verdict}: {state}");
    }
    let said = says(&lockstep, &url, "github new acme/web A+new+one --body For+ENG-6").await?;
    ensure!(said.trim() == "acme/web#7 is open", "{said}");
    let new = github.issue(REPO, 7)?;
    ensure!(new["title"] == "A new one" && new["body"] == "For ENG-6", "{new}");
    let refused = says(&lockstep, &url, "github merge acme/web#99").await.err().context("#99 was merged")?;
    ensure!(refused.to_string().contains("there is no such thing"), "{refused}");
    github.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_commands_in_linear_and_of_an_agent_do_what_they_say() -> anyhow::Result<()> {
    let linear = sandbox::linear::start(LinearOptions::default()).await?;
    let agent = sandbox::agentapi::start(AgentapiOptions::default()).await?;
    let folder = tempfile::tempdir()?;
    let lockstep = Lockstep::new(folder.path(), "")?;
    let said = says(&lockstep, &linear.url(), "linear move ENG-1 In+Review").await?;
    ensure!(said.trim() == "ENG-1 is In Review" && linear.issue("ENG-1")?.state == "In Review", "{said}");
    let said = says(&lockstep, &linear.url(), "linear new OPS A+new+one --state Doing").await?;
    let made = said.split_whitespace().next().context("it says nothing")?.to_owned();
    let issue = linear.issue(&made)?;
    ensure!(made.starts_with("OPS-") && issue.state == "Doing" && issue.title == "A new one", "{issue:?}");
    let said = says(&lockstep, &linear.url(), "linear automation ENG review=In+Progress").await?;
    ensure!(said.contains("In Progress"), "{said}");
    let refused = says(&lockstep, &linear.url(), "linear move ENG-1 Nowhere").await.err();
    ensure!(refused.is_some() && linear.issue("ENG-1")?.state == "In Review", "{refused:?}");

    let at = agent.url();
    says(&lockstep, &at, "agent run agent-1 fix+the+build").await?;
    ensure!(agent.status() == "running" && agent.state().to_string().contains("fix the build"), "{}", agent.state());
    says(&lockstep, &at, "agent stop agent-1").await?;
    ensure!(agent.status() == "stable", "{}", agent.status());
    says(&lockstep, &at, "agent error agent-1 out+of+memory").await?;
    ensure!(agent.state().to_string().contains("out of memory"), "{}", agent.state());

    let told: Value = serde_json::from_str(&says(&lockstep, &linear.url(), "faults linear --drop 0.5").await?)?;
    ensure!(told["webhook_drop"] == 0.5 && linear.faults().get().webhook_drop > 0.4, "{told}");
    says(&lockstep, &linear.url(), "faults linear --none").await?;
    ensure!(linear.faults().get().webhook_drop < 0.1, "the faults stay");
    let told: Value = serde_json::from_str(&says(&lockstep, &linear.url(), "counters linear --reset").await?)?;
    ensure!(told["writes"] == 0, "{told}");
    linear.stop().await;
    agent.stop().await;
    Ok(())
}
