//! How long to wait before connecting again. Pure: the attempt and the jitter are arguments.

use std::time::Duration;

/// Draws from `0.0..1.0`.
pub(crate) type Draw = fn() -> f64;

/// The waits between attempts: each drawn from nothing up to a limit that doubles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The limit of the first wait. By default 500 ms.
    pub first: Duration,
    /// The limit of all later ones. By default 30 s.
    pub max: Duration,
    /// After how many attempts in a row that came to nothing it is given up; by default never, so that a watcher outlives
    /// any outage until it is dropped.
    pub attempts: Option<u32>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), max: Duration::from_secs(30), attempts: None }
    }
}

impl Backoff {
    /// The wait before attempt `attempt` (from 1); `None` when there is to be no further one. `jitter` is drawn by the caller from
    /// `0.0..1.0`: with full jitter the clients of a server that comes back do not all come at once.
    pub fn wait(&self, attempt: u32, jitter: f64) -> Option<Duration> {
        if self.attempts.is_some_and(|most| attempt > most) {
            return None;
        }
        let doublings = attempt.saturating_sub(1).min(31);
        let limit = self.first.saturating_mul(1 << doublings).min(self.max);
        Some(limit.mul_f64(jitter.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_doubles_from_half_a_second_to_thirty_and_the_jitter_is_full() {
        let backoff = Backoff::default();
        let limits: Vec<_> = (1..=9).map(|attempt| backoff.wait(attempt, 1.0).unwrap().as_millis()).collect();
        assert_eq!(limits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(backoff.wait(u32::MAX, 1.0), Some(backoff.max));
        assert_eq!(backoff.wait(3, 0.0), Some(Duration::ZERO));
        assert_eq!(backoff.wait(3, 0.5), Some(Duration::from_secs(1)));
    }

    #[test]
    fn it_ends_after_as_many_attempts_as_it_was_told() {
        let backoff = Backoff { attempts: Some(2), ..Backoff::default() };
        assert!(backoff.wait(2, 0.1).is_some() && backoff.wait(3, 0.1).is_none());
    }
}
