//! Where a running Lockstep and its sandboxes are: as told, else as `cargo xtask up` wrote it down.

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cli::At;

/// The file that `cargo xtask up` keeps while everything runs.
const FILE: &str = ".lockstep/up.json";
/// Where a gateway listens when nobody says otherwise.
const GATEWAY: &str = "http://127.0.0.1:8080";

/// The gateway's address.
pub fn gateway(at: &At) -> String {
    at.url.clone().or_else(|| written()?.get("url")?.as_str().map(str::to_owned)).unwrap_or_else(|| GATEWAY.to_owned())
}

/// A client of the gateway, with its address.
pub fn client(at: &At) -> Result<(client::Client, String), client::Error> {
    let url = gateway(at);
    let client = client::Client::new(&url)?;
    Ok((if let Some(key) = &at.key { client.with_key(key) } else { client }, url))
}

/// What a person should know when nothing answers there.
pub fn hint(at: &str, error: client::Error) -> anyhow::Error {
    let away = matches!(error, client::Error::Unavailable { .. });
    let error = anyhow::Error::from(error);
    if away {
        return error.context(format!(
            "nothing answers at {at}: start Lockstep (cargo xtask up), or name its address with --url or LOCKSTEP_URL"
        ));
    }
    error
}

/// The address of NATS, where `cargo xtask up` started one.
pub fn nats() -> Option<String> {
    written()?.get("nats_url")?.as_str().map(str::to_owned)
}

/// The address of a sandbox: `linear`, `github`, or one of the agents by its name.
pub fn sandbox(url: Option<&str>, system: &str, agent: Option<&str>) -> anyhow::Result<String> {
    if let Some(url) = url {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    let written = written().with_context(|| {
        format!("no running sandbox is known: there is no {FILE} here or above; name its address with --url")
    })?;
    let found = match agent {
        None => written["sandbox"][system]["url"].as_str(),
        Some(agent) => {
            let agents = written["sandbox"]["agents"].as_array();
            let named = agents.into_iter().flatten().find(|known| known["name"] == agent);
            named.and_then(|known| known["url"].as_str())
        }
    };
    match (found, agent) {
        (Some(url), _) => Ok(url.trim_end_matches('/').to_owned()),
        (None, Some(agent)) => bail!("no agent named {agent} runs in the sandbox"),
        (None, None) => bail!("{FILE} names no sandbox of {system}"),
    }
}

/// What the file says: the nearest one, from this folder upwards.
fn written() -> Option<Value> {
    let here = env::current_dir().ok()?;
    here.ancestors().find_map(|folder| read(&folder.join(FILE)))
}

fn read(file: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(file).ok()?).ok()
}
