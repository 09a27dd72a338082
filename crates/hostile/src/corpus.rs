//! Where fuzzing begins: real payloads, from the files that the repository has anyway and from `corpus/<target>`.

use std::io;
use std::path::{Path, PathBuf};

/// Every seed of a target.
pub fn of(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let mut seeds = Vec::new();
    for file in std::fs::read_dir(folder(target))? {
        seeds.push(std::fs::read(file?.path())?);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let more: &[&str] = match target {
        "sse" => &["services/connector-agentapi/fixtures/events.txt"],
        "configuration" => &["lockstep.example.toml"],
        "mappings" => &[
            "services/connector-linear/mapping.toml",
            "services/connector-github/mapping.toml",
            "services/connector-postgres/mapping.toml",
            "services/connector-agentapi/mapping.toml",
            "crates/model/src/lifecycles.toml",
        ],
        "linear_webhook" => &["services/connector-linear/fixtures/issue_update.json"],
        _ => &[],
    };
    for file in more {
        seeds.push(std::fs::read(root.join(file))?);
    }
    // A stable order, so that a seed of the mutator's means the same run everywhere.
    seeds.sort();
    Ok(seeds)
}

/// The folder of a target's own seeds, which cargo-fuzz reads too.
pub fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}
