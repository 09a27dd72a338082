//! Takes Linear's GraphQL schema out of the package `linear-schema`, which is never compiled, so that no copy of it is kept here.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, bail};

/// The package that carries the schema.
const PACKAGE: &str = "linear-schema";
/// The schema's file in it.
const FILE: &str = "linear.graphql";

fn main() -> anyhow::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.toml");
    // Offline first: with every package at hand it answers at once, and asks nobody.
    let schema = match find(&["--offline"]) {
        Ok(path) => path,
        Err(_) => find(&[])?,
    };
    println!("cargo::rerun-if-changed={}", schema.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?).join(FILE);
    fs::copy(&schema, out).with_context(|| format!("cannot read {}", schema.display()))?;
    Ok(())
}

/// Where the schema lies, downloading the package if it is not there yet.
fn find(options: &[&str]) -> anyhow::Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let here = env::var_os("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR is not set")?;
    let run = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(PathBuf::from(here).join("Cargo.toml"))
        .args(options)
        .output()
        .context("cannot run cargo metadata")?;
    if !run.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&run.stderr));
    }
    let metadata: serde_json::Value = serde_json::from_slice(&run.stdout)?;
    let manifest = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == PACKAGE)
        .and_then(|package| package["manifest_path"].as_str())
        .with_context(|| format!("{PACKAGE} is not among the packages"))?;
    Ok(PathBuf::from(manifest).with_file_name(FILE))
}
