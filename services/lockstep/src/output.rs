//! Lines for people and scripts: results on stdout, complaints on stderr.

use std::io::{self, Write};

/// Writes one line. Whoever reads it may have gone, as `head` does: that is no error, and false.
pub fn line(text: &str) -> bool {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
}

/// Writes one complaint.
pub fn complain(text: &str) {
    // There is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "lockstep: {text}");
}
