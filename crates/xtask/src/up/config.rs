//! The configuration for a run with the sandboxes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde_json::Value;

use crate::files;

/// Writes `up.toml` for the sandboxes' addresses.
pub fn write(folder: &Path, _port: u16, _addresses: &Value) -> Result<PathBuf> {
    let path = folder.join("up.toml");
    files::write_private(&path, "# Written by cargo xtask up at each start.\n")?;
    Ok(path)
}

/// Settings that hold with the sandboxes and without.
pub fn environment(_command: &mut Command, _port: u16) {}
