//! The file that says where everything listens: whole once it is there.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

/// Writes the file at once: whoever waits for it never reads half of it.
pub fn write(path: &Path, addresses: &Value) -> anyhow::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let text = format!("{addresses:#}\n");
    let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, path));
    written.with_context(|| format!("{} cannot be written", path.display()))
}
