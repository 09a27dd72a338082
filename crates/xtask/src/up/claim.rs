//! Has the executable note, on servers that are a person's own, of which systems their data is; what was seen of stand-ins and of real
//! systems never meets there either.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};

use super::place::Systems;
use super::said::Said;
use crate::servers::External;
use crate::setting::{EXIT_CODE, wrong};
use crate::state;

/// Refuses servers with the data of the others, or of somebody else. Those that we start have their data in the folder, which says it.
pub fn run(systems: Systems, executable: &Path, said: &Said, external: &External) -> Result<()> {
    let mut command = Command::new(executable);
    command.args(["claim", systems.word()]).current_dir(state::root());
    let nats = external.nats.as_ref().map(|nats| ("--nats", "LOCKSTEP__NATS__URL", &nats.url));
    let database = external.postgres.as_ref().map(|postgres| ("--database", "LOCKSTEP__DATABASE__URL", &postgres.url));
    let named: Vec<_> = nats.into_iter().chain(database).collect();
    if named.is_empty() {
        return Ok(());
    }
    for (option, variable, url) in named {
        command.arg(option).env(variable, url);
    }
    if let Some(storage_mb) = said.storage_mb(systems, false) {
        command.env("LOCKSTEP__NATS__STORAGE_MB", storage_mb.to_string());
    }
    // The sandboxes' own file is written later, and says nothing of servers.
    command.env("LOCKSTEP_CONFIG", said.file().unwrap_or(Path::new("/dev/null")));
    let output = command.output().with_context(|| format!("{} cannot be run", executable.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let sentence = errors.trim().lines().last().unwrap_or("the servers could not be looked at");
    let sentence = sentence.strip_prefix("lockstep: ").unwrap_or(sentence);
    let is_setting = output.status.code() == Some(i32::from(EXIT_CODE));
    Err(if is_setting { wrong(sentence) } else { anyhow!("{sentence}") })
}
