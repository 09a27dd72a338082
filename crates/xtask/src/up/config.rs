//! The configuration for a run with the sandboxes, and the addresses for every run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde_json::Value;

use super::address;
use crate::{files, servers};

/// What the demo's table, repository and issues are called.
const SYSTEMS: &str = r#"
# A short sweep, so that a lost webhook is made good while one watches.
[connector.linear]
sweep_s = 15
app_id = "c4bd992c-fbe3-5da7-8159-ef5c4ca55190"

[connector.github]
sweep_s = 15
repositories = ["acme/web"]
team_prefixes = ["ENG", "OPS"]
bot_login = "lockstep[bot]"

[connector.postgres]
install = true
sweep_s = 15

[[connector.postgres.tables]]
table = "public.tasks"
kind = "task"
key = "id"
status = "status"
title = "title"
mentions = ["linear_issue", "github_ref"]

[connector.agentapi]
messages = [{ on = ["canceled"], text = "{key} was canceled: please stop working on it." }]
"#;

/// The issue that the first agent works on; each further agent works on the next.
const FIRST_AGENTS_ISSUE: usize = 5;

/// Writes `up.toml` for the sandboxes' addresses.
pub fn write(folder: &Path, addresses: &Value) -> Result<PathBuf> {
    let mut text = format!("# Written by cargo xtask up at each start.\n{SYSTEMS}");
    for (place, url) in address::all(addresses, "agents").iter().enumerate() {
        let (number, issue) = (place + 1, place + FIRST_AGENTS_ISSUE);
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "\n[[connector.agentapi.agents]]\nname = \"agent-{number}\"\nurl = \"{url}\"\nitem = \"ENG-{issue}\"\n"
        );
    }
    let path = folder.join("up.toml");
    files::write_private(&path, &text)?;
    Ok(path)
}

/// Where the services listen: all of them on `port`, and each on its usual one where that is free.
pub fn environment(command: &mut Command, port: u16) -> Result<()> {
    let gateway = format!("127.0.0.1:{port}");
    command.env(super::services::NO_COLOR, "1");
    command.env("LOCKSTEP__GATEWAY__LISTEN", &gateway).env("LOCKSTEP__INGEST__LISTEN", &gateway);
    for (key, usual) in [
        ("LOCKSTEP__RESOLVER__LISTEN", 8081),
        ("LOCKSTEP__BROADCASTER__LISTEN", 8082),
        ("LOCKSTEP__MONITOR__LISTEN", 3001),
    ] {
        command.env(key, format!("127.0.0.1:{}", servers::free(Some(usual))?));
    }
    Ok(())
}
