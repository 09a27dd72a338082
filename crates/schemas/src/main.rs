//! Writes docs/schemas/lockstep.v1.json anew.

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let path = schemas::path();
    let text = serde_json::to_string_pretty(&schemas::document()?)? + "\n";
    std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
}
