//! Decides whether a system that keeps failing is called at all.
//!
//! Pure: the time is an argument. Closed: all calls go. Open: none. Half open: one goes, to see.

use std::time::Duration;

use tokio::time::Instant;

/// So many failures in a row open it.
const FAILURES: u32 = 5;
/// How long it stays open the first time; doubled with each probe that fails.
const FIRST: Duration = Duration::from_secs(2);
/// The longest it stays open.
const LONGEST: Duration = Duration::from_mins(1);

/// A circuit breaker.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    until: Instant,
    lasts: Duration,
    probing: bool,
}

impl Breaker {
    /// How long to wait before asking again whether a call may go; `None` when one may go now.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let open = self.open?;
        let wait = open.until.checked_duration_since(now).filter(|wait| !wait.is_zero())?;
        // A probe mostly ends long before it must have: whoever waits for it looks again soon.
        Some(if open.probing { wait.min(FIRST) } else { wait })
    }

    /// Whether a call may go; else how long to wait before asking again. `probe_within` bounds a probe that never reports back.
    pub fn admit(&mut self, now: Instant, probe_within: Duration) -> Result<(), Duration> {
        if let Some(wait) = self.wait(now) {
            return Err(wait);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        // This call is the probe: the next may go when it has reported, or never came back.
        open.until = now + probe_within;
        open.probing = true;
        Ok(())
    }

    /// A call was answered, whatever the answer.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A call was not answered, or with a 5xx. How long until the next may go, when it was open already: then the call was the
    /// probe, or under way when it opened.
    pub fn failed(&mut self, now: Instant) -> Option<Duration> {
        let Some(open) = &mut self.open else {
            self.failures += 1;
            if self.failures >= FAILURES {
                self.open = Some(Open { until: now + FIRST, lasts: FIRST, probing: false });
            }
            return None;
        };
        // A call that was under way when it opened says nothing new.
        if open.probing {
            let lasts = (open.lasts * 2).min(LONGEST);
            *open = Open { until: now + lasts, lasts, probing: false };
        }
        Some(open.until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: Duration = Duration::from_secs(30);

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        (0..FAILURES).for_each(|_| assert_eq!(breaker.failed(now), None));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        (1..FAILURES).for_each(|_| assert_eq!(breaker.failed(now), None));
        assert_eq!(breaker.admit(now, PROBE), Ok(()));
        assert_eq!(breaker.failed(now), None);
        assert_eq!(breaker.admit(now, PROBE), Err(FIRST));
    }

    #[test]
    fn one_probe_goes_and_the_others_wait_for_it() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + FIRST;
        assert_eq!(breaker.admit(later, PROBE), Ok(()));
        assert_eq!(breaker.admit(later, PROBE), Err(FIRST), "to look again soon");
        assert!(breaker.admit(later + PROBE - FIRST / 2, PROBE).is_err(), "while the probe may yet report");
        breaker.succeeded();
        assert_eq!(breaker.admit(later, PROBE), Ok(()));
    }

    #[test]
    fn a_probe_that_fails_keeps_it_open_for_longer() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + FIRST;
        assert_eq!(breaker.admit(later, PROBE), Ok(()));
        assert_eq!(breaker.failed(later), Some(FIRST * 2));
        assert_eq!(breaker.admit(later, PROBE), Err(FIRST * 2));
    }

    #[test]
    fn a_call_that_was_under_way_when_it_opened_does_not_keep_it_open_for_longer() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.failed(now), Some(FIRST));
        assert_eq!(breaker.wait(now), Some(FIRST));
    }

    #[test]
    fn a_probe_that_never_comes_back_is_followed_by_another() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + FIRST;
        assert_eq!(breaker.admit(later, PROBE), Ok(()));
        assert_eq!(breaker.admit(later + PROBE, PROBE), Ok(()));
    }
}
