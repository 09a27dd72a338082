//! What xtask tells the person in front of it: one line a step. It does not know what the steps are.

use std::fmt::Display;
use std::io::Write as _;

/// A step begins or has something to tell.
pub fn step(line: impl Display) {
    line_out(format_args!("• {line}"));
}

/// A step is done.
pub fn done(line: impl Display) {
    line_out(format_args!("✓ {line}"));
}

/// A line without a mark.
pub fn plain(line: impl Display) {
    line_out(format_args!("{line}"));
}

/// The sentence that the program ends with.
pub fn failed(error: &anyhow::Error) {
    let _ = std::io::stdout().flush();
    // A closed terminal is no reason to fail twice.
    let _ = writeln!(std::io::stderr(), "✗ {error:#}");
}

fn line_out(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    // A closed pipe must not stop the servers from being stopped.
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
