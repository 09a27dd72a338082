//! What is found wrong, or will go wrong, before it bites: a fact, what it means, and what to do.
//!
//! Pure. The connector looks; here is how it says what it saw.

use model::{Kind, System, Vocabulary};
use serde::Serialize;

use crate::{Failure, moment};

/// A clock that differs by more makes edits look newer or older than they are, and short-lived credentials invalid.
const SKEW_MS_MAX: i64 = 5_000;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Lockstep cannot do its work.
    Error,
    /// It works, and something will surprise people.
    Warning,
    /// Good to know.
    Info,
}

/// Something found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A word for the kind of finding.
    pub code: &'static str,
    /// What it is about: a system, a server, a part of one.
    pub about: String,
    /// What is so, and what that means.
    pub message: String,
    /// What to do; empty where nothing need be done.
    pub action: String,
}

impl Finding {
    /// A finding.
    pub fn new(
        severity: Severity,
        code: &'static str,
        about: impl Into<String>,
        message: impl Into<String>,
        action: impl Into<String>,
    ) -> Self {
        Self { severity, code, about: about.into(), message: message.into(), action: action.into() }
    }

    /// A call that failed: the system is of no use to us as long as it does.
    pub fn failed(about: impl Into<String>, failure: &Failure) -> Self {
        let action = match failure {
            Failure::Refused { code: "unauthorized", .. } => "set a credential that is valid",
            Failure::Refused { code: "forbidden", .. } => "give the credential the right that is missing",
            Failure::Refused { .. } | Failure::Gone { .. } => {
                "compare the section of the configuration with the system"
            }
            Failure::Unavailable { .. } | Failure::Limited { .. } | Failure::Busy { .. } => {
                "see whether the address is right and the system can be reached from here, then look again"
            }
        };
        Self::new(Severity::Error, failure.code(), about, failure.to_string(), action)
    }
}

/// The words that some of a system's records can show.
#[derive(Debug, Clone, PartialEq)]
pub struct Words {
    /// Whose words they are, for a person: `team ENG`.
    pub whose: String,
    /// The system.
    pub system: System,
    /// The kind of record.
    pub kind: Kind,
    /// The words.
    pub vocabulary: Vocabulary,
}

/// What came of looking at a system.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Examined {
    /// What was found.
    pub findings: Vec<Finding>,
    /// The words that its owners chose, for a mapping to be held against.
    pub words: Vec<Words>,
}

/// How far a system's clock, by the header `Date` of an answer that came at `now_ms`, is from ours, if that is too far.
pub fn clock_skew(about: &str, date: Option<&str>, now_ms: i64) -> Option<Finding> {
    let apart = date_ms(date?)? - now_ms;
    (apart.abs() > SKEW_MS_MAX).then(|| {
        let (by, way) = (apart.abs() / 1_000, if apart > 0 { "ahead of" } else { "behind" });
        let message = format!("its clock is {by} s {way} this machine's: edits look newer or older than they are");
        Finding::new(Severity::Warning, "clock_skew", about, message, "let this machine keep its time by NTP")
    })
}

/// What a header `Date` says, in milliseconds since 1970. It has whole seconds: half of one more is the best guess.
pub(crate) fn date_ms(date: &str) -> Option<i64> {
    Some(moment::http_date_ms(date)? + 500)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_compared_by_the_date_of_an_answer() {
        let at = 784_111_777_000;
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(clock_skew("x", date, at), None);
        assert_eq!(clock_skew("x", date, at + 5_000), None);
        assert!(clock_skew("x", date, at + 60_000).unwrap().message.contains("59 s behind"));
        assert!(clock_skew("x", date, at - 60_000).unwrap().message.contains("60 s ahead of"));
        assert_eq!(clock_skew("x", Some("yesterday"), at), None);
        assert_eq!(clock_skew("x", None, at), None);
    }
}
