//! The one table from what went wrong to what is done about it, with the sentence that an operator needs.
//!
//! Pure: time and randomness are arguments.

use std::time::Duration;

use model::{Backoff, DeliveryOutcome};

/// Why a connector could not do what it was asked. Each kind is a decision, not a description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Worth another attempt: a timeout, a broken connection, a 5xx.
    #[error("unavailable: {why}")]
    Unavailable {
        /// What happened, for a person.
        why: String,
        /// The wait that the system asks for, where it says.
        retry_after: Option<Duration>,
    },
    /// The system, our budget for it or its open circuit says "later". It is no attempt.
    #[error("limited: {why}")]
    Limited {
        /// Which limit, for a person.
        why: String,
        /// How long to wait at least.
        retry_after: Duration,
    },
    /// The record takes nothing now, and will by itself: it is waited for however long that is. It is no attempt.
    #[error("busy: {why}")]
    Busy {
        /// Who is at what, for a person.
        why: String,
        /// How long it is left alone.
        retry_after: Duration,
    },
    /// No attempt will do better: credentials, rights, a status that does not exist there.
    #[error("refused: {why}")]
    Refused {
        /// What was refused and what would be right, for a person.
        why: String,
        /// A word for it, stable and short: `unauthorized`, `unknown_state`. It is the dead letter's reason.
        code: &'static str,
    },
    /// The record is not there any more, or the credential may not see it: some systems answer alike.
    #[error("gone: {why}")]
    Gone {
        /// What was looked for, for a person.
        why: String,
    },
}

impl Failure {
    /// Worth another attempt, with no wait of the system's own.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable { why: why.into(), retry_after: None }
    }

    /// No attempt will do better.
    pub fn refused(code: &'static str, why: impl Into<String>) -> Self {
        Self::Refused { why: why.into(), code }
    }

    /// Something that a system said is not what it should be. `system` is its name for a person.
    pub fn malformed(system: &str, error: &impl ToString) -> Self {
        Self::refused("malformed", format!("{system} said something that cannot be read: {}", error.to_string()))
    }

    /// The record is not there any more.
    pub fn gone(why: impl Into<String>) -> Self {
        Self::Gone { why: why.into() }
    }

    /// A word for the kind of failure, for metrics and dead letters.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Limited { .. } => "limited",
            Self::Busy { .. } => "busy",
            Self::Refused { code, .. } => code,
            Self::Gone { .. } => "gone",
        }
    }

    /// The table: what is done after attempt `attempt` (from 1) failed like this.
    ///
    /// `jitter` is drawn by the caller from `0.0..1.0` and only ever lengthens a wait.
    pub fn action(&self, backoff: &Backoff, attempt: u32, jitter: f64) -> Action {
        match self {
            Self::Limited { retry_after, .. } | Self::Busy { retry_after, .. } => {
                Action::Wait { wait: *retry_after + spread(*retry_after, jitter), counts: false }
            }
            Self::Unavailable { retry_after, .. } if !backoff.is_last(attempt) => {
                Action::Wait { wait: backoff.wait(attempt, *retry_after, jitter), counts: true }
            }
            Self::Unavailable { .. } => {
                Action::GiveUp { outcome: DeliveryOutcome::Failed, reason: "attempts_exhausted" }
            }
            Self::Refused { code, .. } => Action::GiveUp { outcome: DeliveryOutcome::Rejected, reason: code },
            Self::Gone { .. } => Action::GiveUp { outcome: DeliveryOutcome::Rejected, reason: "gone" },
        }
    }

    /// What an operator should know and do.
    pub fn advice(&self) -> String {
        match self {
            Self::Unavailable { .. } => format!("{self}; when the system answers again, replay the dead letter"),
            Self::Limited { .. } => format!("{self}; it goes on by itself, a larger budget makes it sooner"),
            Self::Busy { .. } => format!("{self}; it goes on by itself"),
            Self::Refused { .. } => format!("{self}; mend the cause, then replay the dead letter"),
            Self::Gone { .. } => {
                format!(
                    "{self}; restore it in its system, or let the credential see it; if it is gone for good, untie it"
                )
            }
        }
    }
}

/// Everybody waits for the same reset, so nobody should come back in the same instant: up to a tenth more, at most 5 s.
fn spread(wait: Duration, jitter: f64) -> Duration {
    wait.mul_f64(jitter.clamp(0.0, 1.0) / 10.0).min(Duration::from_secs(5))
}

/// What is done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Wait and try again.
    Wait {
        /// How long.
        wait: Duration,
        /// Whether the failure was an attempt.
        counts: bool,
    },
    /// Report it, put it among the dead letters, and go on with the next.
    GiveUp {
        /// What the delivery says.
        outcome: DeliveryOutcome,
        /// The dead letter's reason.
        reason: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first_ms: 1_000, max_ms: 10_000, attempts: 3 };

    #[test]
    fn a_limit_and_a_busy_record_are_never_an_attempt_however_often_they_come() {
        let (why, retry_after) = ("later".to_owned(), Duration::from_mins(1));
        for failure in [Failure::Limited { why: why.clone(), retry_after }, Failure::Busy { why, retry_after }] {
            let action = failure.action(&BACKOFF, 1_000, 0.0);
            assert_eq!(action, Action::Wait { wait: retry_after, counts: false });
        }
    }

    #[test]
    fn the_last_attempt_gives_up() {
        let failure = Failure::unavailable("connection reset");
        assert_eq!(failure.action(&BACKOFF, 2, 0.0), Action::Wait { wait: Duration::from_secs(2), counts: true });
        let last = failure.action(&BACKOFF, 3, 0.0);
        assert_eq!(last, Action::GiveUp { outcome: DeliveryOutcome::Failed, reason: "attempts_exhausted" });
    }

    #[test]
    fn what_is_refused_or_gone_is_not_tried_again() {
        let refused = Failure::refused("unauthorized", "the token was revoked").action(&BACKOFF, 1, 0.0);
        assert_eq!(refused, Action::GiveUp { outcome: DeliveryOutcome::Rejected, reason: "unauthorized" });
        let gone = Failure::gone("issue 7").action(&BACKOFF, 1, 0.0);
        assert_eq!(gone, Action::GiveUp { outcome: DeliveryOutcome::Rejected, reason: "gone" });
    }

    #[test]
    fn whoever_waits_for_a_limit_comes_back_after_it_and_not_all_at_once() {
        for (asked_s, jitter, wait_ms) in
            [(10, 0.0, 10_000), (10, 1.0, 11_000), (10, 0.5, 10_500), (60, 1.0, 65_000), (3_600, 1.0, 3_605_000)]
        {
            let limited = Failure::Limited { why: "hourly budget".into(), retry_after: Duration::from_secs(asked_s) };
            let wait = Duration::from_millis(wait_ms);
            assert_eq!(
                limited.action(&BACKOFF, 1, jitter),
                Action::Wait { wait, counts: false },
                "{asked_s} s, {jitter}"
            );
        }
    }

    #[test]
    fn each_kind_of_failure_has_a_word_and_tells_an_operator_what_to_do() {
        let limited = Failure::Limited { why: "hourly budget".into(), retry_after: Duration::ZERO };
        for (failure, code, to_do) in [
            (Failure::unavailable("connection reset"), "unavailable", "replay the dead letter"),
            (limited, "limited", "goes on by itself"),
            (Failure::Busy { why: "at work".into(), retry_after: Duration::ZERO }, "busy", "goes on by itself"),
            (Failure::refused("unauthorized", "the token was revoked"), "unauthorized", "mend the cause"),
            (Failure::gone("issue 7"), "gone", "let the credential see it; if it is gone for good, untie it"),
        ] {
            assert_eq!(failure.code(), code);
            let advice = failure.advice();
            assert!(advice.starts_with(&failure.to_string()) && advice.contains(to_do), "{advice}");
        }
    }

    #[test]
    fn a_systems_own_wait_is_never_undercut() {
        let retry_after = Some(Duration::from_secs(30));
        for jitter in [0.0, 0.5, 1.0] {
            let failure = Failure::Unavailable { why: "503".into(), retry_after };
            let Action::Wait { wait, .. } = failure.action(&BACKOFF, 1, jitter) else { panic!("gave up") };
            assert!(wait >= Duration::from_secs(30));
        }
    }
}
