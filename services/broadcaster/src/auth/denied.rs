//! Why somebody is not let in: a code for programs, a sentence for people, and nothing of what was shown.

use runtime::Problem;

/// A refusal. The codes are those of `docs/realtime.md`, and never change their meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// `auth_missing`, `auth_failed`, `token_expired`, or `auth_unavailable`: then the same credential may do later.
    pub code: &'static str,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl Denied {
    /// Nothing was shown, and something must be.
    pub fn missing() -> Self {
        let reason = "show a key or a token as Authorization: Bearer … or X-API-Key, or a ticket as ?ticket=…";
        Self { code: "auth_missing", reason: reason.into() }
    }

    pub(super) fn failed(reason: impl Into<String>) -> Self {
        Self { code: "auth_failed", reason: reason.into() }
    }

    pub(super) fn unknown_key() -> Self {
        Self::failed("the key is not one of ours")
    }

    pub(super) fn expired(reason: impl Into<String>) -> Self {
        Self { code: "token_expired", reason: reason.into() }
    }

    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self { code: "auth_unavailable", reason: reason.into() }
    }
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)
    }
}

impl std::error::Error for Denied {}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied.code {
            "auth_unavailable" => Problem::unavailable(denied.code, denied.reason),
            code => Problem::unauthorized(code, denied.reason),
        }
    }
}
