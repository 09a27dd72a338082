//! Every GitHub webhook payload that the product publishes, through our decoder.

use anyhow::{Context as _, ensure};
use connector::Decoded;
use connector_github::decode::{Terms, webhook};
use serde_json::Value;

use crate::clients::node_modules;

const EVENTS: [&str; 3] = ["issues", "pull_request", "pull_request_review"];
/// A second after the event, by our clock: what is old is read again instead of believed.
const SOON_MS: i64 = 1_000;

/// The examples of the events that we read, by event name.
fn examples() -> anyhow::Result<Option<Vec<(String, Value)>>> {
    let Some(modules) = node_modules()? else { return Ok(None) };
    let file = modules.join("@octokit/webhooks-examples/api.github.com/index.json");
    let text = std::fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
    let definitions: Vec<Value> = serde_json::from_str(&text)?;
    let mut all = Vec::new();
    for definition in definitions {
        let name = definition["name"].as_str().context("a definition without a name")?.to_owned();
        if EVENTS.contains(&name.as_str()) {
            let examples = definition["examples"].as_array().context("a definition without examples")?;
            all.extend(examples.iter().map(|example| (name.clone(), example.clone())));
        }
    }
    Ok(Some(all))
}

fn subject(event: &str) -> &'static str {
    if event == "issues" { "issue" } else { "pull_request" }
}

/// What the decoder makes of a payload, a second after its event.
fn decoded(event: &str, payload: &Value) -> anyhow::Result<Decoded> {
    let updated_at = payload[subject(event)]["updated_at"].as_str().context("no updated_at")?;
    let now_ms =
        connector_github::decode::moment(updated_at).map_err(|error| anyhow::anyhow!("{error}"))?.1.0 + SOON_MS;
    webhook(event, payload.to_string().as_bytes(), &Terms::default(), None, now_ms)
        .map_err(|error| anyhow::anyhow!("{event} {}: {error}", payload["action"]))
}

/// The status of an issue or pull request as a person reads it off the payload.
fn shown(event: &str, payload: &Value) -> String {
    let subject = &payload[subject(event)];
    let closed = subject["state"] == "closed";
    if event == "issues" {
        if payload["action"] == "deleted" || payload["action"] == "transferred" {
            return "(deleted)".to_owned();
        }
        let reason = subject["state_reason"].as_str().unwrap_or("completed");
        return if closed { format!("closed/{reason}") } else { "open".to_owned() };
    }
    let word = match (closed, subject["merged_at"].is_string(), subject["draft"] == true) {
        (true, true, _) => "merged",
        (true, false, _) => "closed",
        (false, _, true) => "draft",
        (false, _, false) => "open",
    };
    word.to_owned()
}

/// The status that was observed, where one was.
fn observed(decoded: &Decoded) -> Option<String> {
    match decoded {
        Decoded::Observations(all) => all.first().map(|seen| seen.native.to_string()),
        _ => None,
    }
}

#[test]
fn every_published_payload_decodes_to_the_status_it_shows_or_to_a_reason() -> anyhow::Result<()> {
    let Some(examples) = examples()? else { return Ok(()) };
    let (mut seen, mut read, mut ignored) = (0, 0, Vec::new());
    for (event, payload) in &examples {
        let decoded = decoded(event, payload)?;
        match &decoded {
            Decoded::Observations(all) => {
                ensure!(all.len() == 1, "{event} {}: {} observations", payload["action"], all.len());
                let number = payload[subject(event)]["number"].as_u64().context("no number")?;
                let repository = payload["repository"]["full_name"].as_str().context("no repository")?.to_lowercase();
                ensure!(all[0].record.id().to_lowercase() == format!("{repository}#{number}"), "{}", all[0].record);
                ensure!(
                    observed(&decoded) == Some(shown(event, payload)),
                    "{event} {}: {decoded:?}",
                    payload["action"]
                );
                seen += 1;
            }
            Decoded::Incomplete(records) => {
                ensure!(records.len() == 1, "{event} {}: {} records to read", payload["action"], records.len());
                read += 1;
            }
            Decoded::Ignored(reason) => ignored.push(format!("{event} {}: {reason}", payload["action"])),
            other => anyhow::bail!("{event} {}: it was decoded at the time it tells: {other:?}", payload["action"]),
        }
    }
    eprintln!("{} payloads: {seen} tell a status, {read} are read again, left out: {ignored:#?}", examples.len());
    ensure!(examples.len() >= 60, "only {} payloads: the package has changed", examples.len());
    ensure!(seen >= 30 && ignored.len() < examples.len() / 2, "too few payloads tell anything");
    Ok(())
}

/// The first example of an event and action, changed to what the package has no example of.
fn patched(event: &str, action: &str, patch: impl FnOnce(&mut Value)) -> anyhow::Result<Option<Value>> {
    let Some(examples) = examples()? else { return Ok(None) };
    let found = examples.into_iter().find(|(name, payload)| name == event && payload["action"] == action);
    let (_, mut payload) = found.with_context(|| format!("no example of {event} {action}"))?;
    patch(&mut payload);
    Ok(Some(payload))
}

#[test]
fn a_closed_issue_tells_why_it_was_closed() -> anyhow::Result<()> {
    for reason in ["completed", "not_planned", "duplicate"] {
        let payload = patched("issues", "opened", |payload| {
            payload["action"] = "closed".into();
            payload["issue"]["state"] = "closed".into();
            payload["issue"]["state_reason"] = reason.into();
            payload["issue"]["closed_at"] = payload["issue"]["updated_at"].clone();
        })?;
        let Some(payload) = payload else { return Ok(()) };
        ensure!(observed(&decoded("issues", &payload)?) == Some(format!("closed/{reason}")));
    }
    Ok(())
}

#[test]
fn a_merged_pull_request_is_told_from_a_closed_one() -> anyhow::Result<()> {
    for (merged, native) in [(true, "merged"), (false, "closed")] {
        let payload = patched("pull_request", "closed", |payload| {
            let pull = &mut payload["pull_request"];
            pull["state"] = "closed".into();
            pull["merged"] = merged.into();
            pull["merged_at"] = if merged { pull["updated_at"].clone() } else { Value::Null };
        })?;
        let Some(payload) = payload else { return Ok(()) };
        ensure!(observed(&decoded("pull_request", &payload)?).as_deref() == Some(native));
    }
    Ok(())
}
