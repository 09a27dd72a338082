//! A setting that is missing or wrong: one sentence and an exit code of its own.

use std::env;

/// What the process ends with when a setting is missing or wrong (`EX_USAGE`).
pub const EXIT_CODE: u8 = 64;

/// A setting that is missing or wrong; the sentence names it and says what to do.
#[derive(Debug)]
pub struct Wrong(String);

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

/// The error for a wrong setting.
pub fn wrong(sentence: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Wrong(sentence.into()))
}

/// An environment variable, if it is set to something.
pub fn given(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}
