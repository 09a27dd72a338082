//! A browser for what must work in one: Chromium, or Chrome.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::apt;
use super::found::on_path;
use crate::say;

/// The names under which it is found on the PATH.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Finds one, or installs it.
pub fn executable() -> Result<PathBuf> {
    if let Some(browser) = found() {
        say::done(format_args!("browser: {}", browser.display()));
        return Ok(browser);
    }
    apt::install("Chromium (for the tests in a browser)", &["chromium"])?;
    found().context("Chromium or Chrome is needed on the PATH for the tests in a browser")
}

fn found() -> Option<PathBuf> {
    NAMES.iter().find_map(|name| on_path(name))
}
