//! cargo xtask deny: advisories, licences and sources of all that is built in, by the rules in deny.toml.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{process, say, state, tools};

/// Runs cargo-deny, and installs it first where it is missing. Advisories are fetched from the network.
pub fn run() -> Result<ExitCode> {
    if tools::on_path("cargo-deny").is_none() {
        say::step("installing cargo-deny, which takes a few minutes…");
        if !process::run(&mut state::cargo(&["install", "cargo-deny", "--locked"]))?.success() {
            bail!("cargo-deny cannot be installed; see above");
        }
    }
    let allowed = process::run(&mut state::cargo(&["deny", "check"]))?.success();
    Ok(if allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
