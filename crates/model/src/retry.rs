//! How long to wait before another attempt.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Exponential backoff with an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backoff {
    /// The wait after the first attempt, in milliseconds.
    pub first_ms: u64,
    /// The longest wait, in milliseconds.
    pub max_ms: u64,
    /// How many attempts there are in all.
    pub attempts: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first_ms: 1_000, max_ms: 60_000, attempts: 8 }
    }
}

impl Backoff {
    /// The wait before attempt `attempt` + 1, once `attempt` (from 1) has failed.
    ///
    /// `jitter` is drawn by the caller from `0.0..1.0` and only ever lengthens the wait, by at most half, so a server's own
    /// `retry_after` is never undercut.
    pub fn wait(&self, attempt: u32, retry_after: Option<Duration>, jitter: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(32);
        let wait = self.first_ms.saturating_mul(1 << doublings).min(self.max_ms);
        let wait = Duration::from_millis(wait).max(retry_after.unwrap_or_default());
        wait + wait.mul_f64(jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// Whether attempt `attempt` (from 1) was the last.
    pub fn is_last(&self, attempt: u32) -> bool {
        attempt >= self.attempts
    }
}
