//! cargo xtask schemas: docs/schemas/lockstep.v1.json, made of the messages in proto/.

use std::process::ExitCode;

use anyhow::Result;

use crate::{process, state};

/// Writes it anew. A program of its own does it, so that this one needs no compiler of messages.
pub fn run() -> Result<ExitCode> {
    let written = process::run(&mut state::cargo(&["run", "--quiet", "--package", "schemas"]))?.success();
    Ok(if written { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
