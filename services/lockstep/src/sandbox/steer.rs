//! Does what a person would do, through the stand-ins' control routes.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Client, Method, StatusCode, Url};
use sandbox::faults::Faults as Misbehaviour;
use serde_json::{Value, json};

use super::cli::{AgentEdit, Counters, Faults, GithubEdit, LinearEdit};
use crate::{output, places};

const PATIENCE: Duration = Duration::from_secs(10);

/// A person in Linear.
pub async fn linear(url: Option<&str>, edit: LinearEdit) -> anyhow::Result<ExitCode> {
    let at = places::sandbox(url, "linear", None)?;
    let issue = match edit {
        LinearEdit::Move { issue, state } => {
            ask(&at, Method::POST, &["issues", &issue, "move"], Some(json!({"state": state}))).await?
        }
        LinearEdit::New { team, title, state } => {
            let mut new = json!({"team": team, "title": title});
            if let Some(state) = state {
                new["state"] = state.into();
            }
            ask(&at, Method::POST, &["issues"], Some(new)).await?
        }
        LinearEdit::Automation { team, rules } => {
            let rules: serde_json::Map<String, Value> =
                rules.into_iter().map(|(event, state)| (event, state.into())).collect();
            let set = ask(&at, Method::PUT, &["teams", &team, "git-automation"], Some(rules.into())).await?;
            output::line(&format!("the git automation of {team} is {set}"));
            return Ok(ExitCode::SUCCESS);
        }
    };
    let text = |name: &str| issue[name].as_str().unwrap_or("?").to_owned();
    output::line(&format!("{} is {}", text("identifier"), text("state")));
    Ok(ExitCode::SUCCESS)
}

/// A person on GitHub.
pub async fn github(url: Option<&str>, edit: GithubEdit) -> anyhow::Result<ExitCode> {
    let at = places::sandbox(url, "github", None)?;
    let (reference, kinds, action, body): (_, &[&str], _, _) = match edit {
        GithubEdit::Close { reference, reason } => (
            reference,
            &["issues", "pulls"],
            "close",
            reason.map_or_else(|| json!({}), |reason| json!({"reason": reason})),
        ),
        GithubEdit::Reopen { reference } => (reference, &["issues", "pulls"], "reopen", json!({})),
        GithubEdit::Merge { reference } => (reference, &["pulls"], "merge", json!({})),
        GithubEdit::Ready { reference } => (reference, &["pulls"], "ready", json!({})),
        GithubEdit::Draft { reference } => (reference, &["pulls"], "draft", json!({})),
        GithubEdit::Review { reference, state } => (reference, &["pulls"], "review", json!({"state": state})),
        GithubEdit::New { repository, title, body } => {
            let (owner, name) = repository.split_once('/').context("name a repository as owner/name")?;
            let new = json!({"title": title, "body": body});
            let made = ask(&at, Method::POST, &["repos", owner, name, "issues"], Some(new)).await?;
            output::line(&format!("{repository}#{} is open", made["number"]));
            return Ok(ExitCode::SUCCESS);
        }
    };
    let (owner, name, number) = parts(&reference)?;
    let mut refused = None;
    for kind in kinds {
        let path = ["repos", owner, name, kind, number, action];
        match ask(&at, Method::POST, &path, Some(body.clone())).await {
            Ok(_) => {
                output::line(&format!("{reference}: {action}"));
                return Ok(ExitCode::SUCCESS);
            }
            // Issues and pull requests share their numbers: what is not the one is the other.
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.context("nothing was asked")?)
}

/// `owner/repository#number`, in its three parts.
fn parts(reference: &str) -> anyhow::Result<(&str, &str, &str)> {
    let parts = reference.split_once('#').and_then(|(repository, number)| {
        let (owner, name) = repository.split_once('/')?;
        number.parse::<u64>().ok().map(|_| (owner, name, number))
    });
    parts.with_context(|| format!("{reference} is not owner/repository#number, such as acme/web#1"))
}

/// An agent.
pub async fn agent(url: Option<&str>, edit: AgentEdit) -> anyhow::Result<ExitCode> {
    let (name, action, body) = match edit {
        AgentEdit::Run { agent, message } => (agent, "run", json!({"message": message})),
        AgentEdit::Stop { agent } => (agent, "stop", json!({})),
        AgentEdit::Error { agent, message } => (agent, "error", json!({"message": message})),
    };
    let at = places::sandbox(url, "agents", Some(&name))?;
    ask(&at, Method::POST, &[action], Some(body)).await?;
    output::line(&format!("{name}: {action}"));
    Ok(ExitCode::SUCCESS)
}

/// Shows or sets how a stand-in misbehaves.
pub async fn faults(faults: Faults) -> anyhow::Result<ExitCode> {
    let at = place(faults.url.as_deref(), &faults.system)?;
    let now = match wanted(&faults) {
        None => ask(&at, Method::GET, &["faults"], None).await?,
        Some(wanted) => ask(&at, Method::PUT, &["faults"], Some(serde_json::to_value(wanted)?)).await?,
    };
    output::line(&format!("{now:#}"));
    Ok(ExitCode::SUCCESS)
}

/// How a stand-in should misbehave; `None` when nothing was said of it.
fn wanted(faults: &Faults) -> Option<Misbehaviour> {
    let shares = [faults.drop, faults.double, faults.reorder, faults.limit, faults.error_5xx];
    let amounts = [faults.delay_ms, faults.slow_ms, faults.seed];
    let said = faults.none || shares.iter().any(Option::is_some) || amounts.iter().any(Option::is_some);
    said.then(|| Misbehaviour {
        webhook_drop: faults.drop.unwrap_or_default(),
        webhook_double: faults.double.unwrap_or_default(),
        webhook_delay_ms_max: faults.delay_ms.unwrap_or_default(),
        webhook_reorder: faults.reorder.unwrap_or_default(),
        limit: faults.limit.unwrap_or_default(),
        error_5xx: faults.error_5xx.unwrap_or_default(),
        slow_ms: faults.slow_ms.unwrap_or_default(),
        seed: faults.seed.unwrap_or_default(),
    })
}

/// Shows or resets what a stand-in was asked for.
pub async fn counters(counters: Counters) -> anyhow::Result<ExitCode> {
    let at = place(counters.url.as_deref(), &counters.system)?;
    if counters.reset {
        ask(&at, Method::POST, &["counters", "reset"], None).await?;
    }
    let now = ask(&at, Method::GET, &["counters"], None).await?;
    output::line(&format!("{now:#}"));
    Ok(ExitCode::SUCCESS)
}

fn place(url: Option<&str>, system: &str) -> anyhow::Result<String> {
    match system {
        "linear" | "github" => places::sandbox(url, system, None),
        agent => places::sandbox(url, "agents", Some(agent)),
    }
}

/// Asks a control route; the parts of the path are escaped.
async fn ask(at: &str, method: Method, path: &[&str], body: Option<Value>) -> anyhow::Result<Value> {
    let mut url = Url::parse(at).with_context(|| format!("{at} is not an address"))?;
    match url.path_segments_mut() {
        Ok(mut parts) => drop(parts.pop_if_empty().push("sandbox").extend(path)),
        Err(()) => bail!("{at} is not an address"),
    }
    let http = Client::builder().timeout(PATIENCE).build()?;
    let mut request = http.request(method, url);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.with_context(|| format!("the sandbox at {at} does not answer"))?;
    let status = response.status();
    let text = response.text().await?;
    let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if !status.is_success() {
        let said = ["error", "message", "detail"].iter().find_map(|name| answer[name].as_str()).unwrap_or(&text);
        let missing = if status == StatusCode::NOT_FOUND { "there is no such thing: " } else { "" };
        bail!("the sandbox refused: {missing}{said}");
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_an_owner_a_repository_and_a_number() {
        assert_eq!(parts("acme/web#12").unwrap(), ("acme", "web", "12"));
        for wrong in ["acme/web", "web#1", "acme/web#x", "#1"] {
            assert!(parts(wrong).is_err(), "{wrong}");
        }
    }
    #[test]
    fn a_value_of_nought_is_said_and_a_share_is_at_most_one() {
        use clap::Parser;
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            faults: Faults,
        }
        let read =
            |words: &[&str]| Line::try_parse_from([&["faults", "linear"], words].concat()).map(|line| line.faults);
        assert_eq!(wanted(&read(&[]).unwrap()), None, "it is only shown");
        assert_eq!(wanted(&read(&["--drop", "0"]).unwrap()), Some(Misbehaviour::default()));
        assert_eq!(wanted(&read(&["--drop", "0.5"]).unwrap()).unwrap().webhook_drop.to_string(), "0.5");
        let all = "--drop 0.1 --double 0.2 --delay-ms 3 --reorder 0.4 --limit 0.5 --error-5xx 0.6 --slow-ms 7 --seed 8";
        let misbehaves = Misbehaviour {
            webhook_drop: 0.1,
            webhook_double: 0.2,
            webhook_delay_ms_max: 3,
            webhook_reorder: 0.4,
            limit: 0.5,
            error_5xx: 0.6,
            slow_ms: 7,
            seed: 8,
        };
        let words: Vec<&str> = all.split(' ').collect();
        assert_eq!(wanted(&read(&words).unwrap()), Some(misbehaves), "each option is its own");
        for wrong in ["3", "-1", "NaN", "much"] {
            assert!(read(&[&format!("--drop={wrong}")]).is_err(), "{wrong}");
        }
    }
}
