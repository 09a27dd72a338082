//! Decides whether a call may go out now, from what the system's answers said about limits.
//!
//! Pure: the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::limits::Limit;

/// The wait after a refusal that names none; doubled each time.
const FIRST: Duration = Duration::from_secs(5);
/// The longest such wait, and the longest that any answer is believed.
const LONGEST: Duration = Duration::from_hours(1);

/// The pace for one credential.
#[derive(Debug, Default)]
pub struct Pacer {
    not_before: Option<Instant>,
    refusals: u32,
}

impl Pacer {
    /// How long to wait before the next call; `None` for not at all.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        self.not_before?.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    /// Takes note of an answer. The wait, when the call was turned away.
    pub fn saw(&mut self, limit: &Limit, now: Instant) -> Option<Duration> {
        if limit.refused {
            self.refusals = self.refusals.saturating_add(1);
            let grown = FIRST.saturating_mul(1 << (self.refusals - 1).min(16));
            let wait = limit.wait.unwrap_or(grown).min(LONGEST);
            self.hold(now + wait);
            return Some(wait);
        }
        self.refusals = 0;
        if let (Some(0), Some(resets_in)) = (limit.remaining, limit.resets_in) {
            self.hold(now + resets_in.min(LONGEST));
        }
        None
    }

    fn hold(&mut self, until: Instant) {
        self.not_before = Some(self.not_before.map_or(until, |held| held.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_budget_holds_the_next_call_until_the_reset() {
        let (mut pacer, now) = (Pacer::default(), Instant::now());
        let resets_in = Some(Duration::from_secs(9));
        let told = pacer.saw(&Limit { remaining: Some(0), resets_in, ..Limit::default() }, now);
        assert_eq!(told, None, "the call itself went through");
        assert_eq!(pacer.wait(now), resets_in);
        assert_eq!(pacer.wait(now + Duration::from_secs(9)), None);
    }

    #[test]
    fn refusals_without_a_wait_back_off_further_each_time() {
        let (mut pacer, now) = (Pacer::default(), Instant::now());
        let refused = Limit { refused: true, ..Limit::default() };
        let waits: Vec<_> = (0..3).filter_map(|_| pacer.saw(&refused, now)).collect();
        assert_eq!(waits, [5, 10, 20].map(Duration::from_secs));
        pacer.saw(&Limit::default(), now);
        assert_eq!(pacer.saw(&refused, now), Some(FIRST), "a call that went through ends the growth");
    }
}
