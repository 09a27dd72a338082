//! What can go wrong, by what to do next.

use serde::{Deserialize, Serialize};

/// Why a call did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The address makes no sense.
    #[error("{address:?} is not an address of Lockstep: {why}")]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server was not reached, or broke off: try again.
    #[error("Lockstep cannot be reached: {why}")]
    Unavailable {
        /// What failed.
        why: String,
    },
    /// The server said no.
    #[error("Lockstep refused ({}): {detail}", numbered(*status, code))]
    Refused {
        /// The HTTP status, or the close code of a WebSocket; 0 for an error message on one.
        status: u16,
        /// One word that the documentation explains; none where something between us and the server said no.
        code: String,
        /// What is wrong with the request.
        detail: String,
        /// The statuses or messages that are wrong, where the server names them.
        errors: Vec<Wrong>,
    },
    /// More statuses wait to be sent than may: wait until the connection is back.
    #[error("too many statuses wait to be sent: {why}")]
    QueueFull {
        /// How many wait, and may.
        why: String,
    },
    /// A newer status of its record took its place in a full queue.
    #[error(
        "a newer status took the place of the one of {record} while there was no connection and the queue was full"
    )]
    Replaced {
        /// Of which record it was.
        record: String,
    },
    /// A status was sent and may be stored; it is not sent again.
    #[error("the status of {record} was sent and may be stored: {why}")]
    AnswerLost {
        /// Of which record it is.
        record: String,
        /// Why it is not sent again.
        why: String,
    },
    /// The source of tokens gave none: try again.
    #[error("no token could be got: {why}")]
    Token {
        /// What it said.
        why: String,
    },
    /// The watch has ended before, by what `next` told then.
    #[error("the watch has ended: {why}")]
    Ended {
        /// Why.
        why: String,
    },
    /// The answer is not one of Lockstep's: another program listens there, or another version.
    #[error("the answer is not one that this client knows: {why}")]
    Unexpected {
        /// What was wrong with it.
        why: String,
    },
}

/// One of several statuses or messages that was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wrong {
    /// Its place in the call, from 0.
    pub index: usize,
    /// The field that is wrong; empty for the whole.
    pub field: String,
    /// What would be right.
    pub detail: String,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
    #[serde(default)]
    errors: Vec<Wrong>,
}

impl Error {
    pub(crate) fn address(address: &str, why: impl Into<String>) -> Self {
        Self::Address { address: address.to_owned(), why: why.into() }
    }

    pub(crate) fn refused(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<Problem>(body) {
            Ok(Problem { code, detail, errors }) => Self::Refused { status, code, detail, errors },
            Err(_) => Self::Refused {
                status,
                code: "unknown".into(),
                detail: String::from_utf8_lossy(body).chars().take(200).collect(),
                errors: Vec::new(),
            },
        }
    }

    /// Nothing came in time, or what came broke off.
    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable { why: why.into() }
    }

    /// Whether the server wants another key or token.
    pub(crate) fn wants_token(&self) -> bool {
        match self {
            Self::Refused { status: 401, .. } => true,
            Self::Refused { code, .. } => matches!(code.as_str(), "auth_failed" | "token_expired"),
            _ => false,
        }
    }

    /// Whether the same call may do later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Token { .. } | Self::QueueFull { .. } => true,
            Self::Refused { status: 0, code, .. } => matches!(code.as_str(), "unavailable" | "busy"),
            Self::Refused { status, .. } => matches!(status, 429 | 502..=504 | 1001 | 1011..=1013),
            Self::Address { .. }
            | Self::Unexpected { .. }
            | Self::Ended { .. }
            | Self::Replaced { .. }
            | Self::AnswerLost { .. } => false,
        }
    }
}

impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        // The library's own text stops at "error sending request"; the reason is underneath.
        let mut why = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(under) = source {
            why = under.to_string();
            source = under.source();
        }
        Self::Unavailable { why }
    }
}

/// The word of a refusal, with its number, where it has both: a proxy says no word.
fn numbered(status: u16, code: &str) -> String {
    match (status, code) {
        (0, code) => code.to_owned(),
        (status, "") => status.to_string(),
        (status, code) => format!("{status} {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_its_number_where_it_has_one() {
        let refused = |status, code: &str, detail: &str| {
            Error::Refused { status, code: code.into(), detail: detail.into(), errors: Vec::new() }.to_string()
        };
        assert_eq!(refused(0, "bad_room", "there is no room x"), "Lockstep refused (bad_room): there is no room x");
        assert_eq!(refused(1008, "", "not from here"), "Lockstep refused (1008): not from here");
        assert_eq!(refused(1008, "auth_missing", "show a key"), "Lockstep refused (1008 auth_missing): show a key");
    }
}
