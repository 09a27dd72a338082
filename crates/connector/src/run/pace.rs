//! How soon the next sweep comes: soon after changes that no webhook told of, seldom while there are none.
//!
//! Pure.

use std::time::Duration;

use model::Timestamp;

/// What a sweep came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing that the sweep before did not see, or nothing is known of that.
    Nothing,
    /// Something new, and webhooks tell of such things.
    Told,
    /// Something new, of which no webhook told: there are none, or they are lost.
    Untold,
}

/// A webhook stored no earlier than so long before a change may have told of it: clocks differ.
const CLOCKS_MS: i64 = 60_000;

impl Found {
    /// What a sweep came to whose newest news was made at `newest`, when the last webhook was stored at `last_webhook_ms`.
    pub(super) fn of(newest: Option<Timestamp>, last_webhook_ms: Option<i64>) -> Self {
        match (newest, last_webhook_ms) {
            (None, _) => Self::Nothing,
            (Some(newest), Some(last)) if last >= newest.0 - CLOCKS_MS => Self::Told,
            (Some(_), _) => Self::Untold,
        }
    }
}

/// The waits between sweeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    least: Duration,
    most: Duration,
    wait: Duration,
}

impl Pace {
    /// Waits from `least` to `most`, where `most` wins; the first is the shortest.
    pub(super) fn new(least: Duration, most: Duration) -> Self {
        let least = least.min(most);
        Self { least, most, wait: least }
    }

    /// The wait after a sweep: the longest while webhooks tell, the shortest after a change that none told of, and twice the
    /// last one while there is nothing.
    pub(super) fn after(&mut self, found: Found) -> Duration {
        self.wait = match found {
            Found::Told => self.most,
            Found::Untold => self.least,
            Found::Nothing => self.wait.saturating_mul(2).min(self.most),
        };
        self.wait
    }
}

/// The least rest between two sweeps, however long one took.
const REST_LEAST: Duration = Duration::from_millis(10);

/// What is left of a wait that began with a sweep that took so long. `jitter`, from `0.0..1.0`, lengthens it by a tenth at most:
/// processes that started together should not ask together.
pub(super) fn rest(wait: Duration, took: Duration, jitter: f64) -> Duration {
    (wait + wait.mul_f64(jitter / 10.0)).saturating_sub(took).max(REST_LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(pace: &mut Pace, all: &[Found]) -> Vec<u64> {
        all.iter().map(|found| pace.after(*found).as_secs()).collect()
    }

    #[test]
    fn a_change_that_nobody_told_of_makes_sweeps_frequent_and_quiet_makes_them_rare() {
        let mut pace = Pace::new(Duration::from_secs(15), Duration::from_mins(5));
        let waits = seconds(&mut pace, &[Found::Nothing; 7]);
        assert_eq!(waits, [30, 60, 120, 240, 300, 300, 300]);
        assert_eq!(seconds(&mut pace, &[Found::Untold, Found::Untold, Found::Nothing]), [15, 15, 30]);
    }

    #[test]
    fn while_webhooks_tell_sweeps_stay_rare() {
        let mut pace = Pace::new(Duration::from_secs(15), Duration::from_mins(5));
        assert_eq!(seconds(&mut pace, &[Found::Told, Found::Nothing, Found::Told]), [300, 300, 300]);
    }

    #[test]
    fn a_change_is_told_of_by_a_webhook_that_came_with_it_or_after_it() {
        let at = |minutes: i64| minutes * 60_000;
        let newest = Some(Timestamp(at(10)));
        assert_eq!(Found::of(None, Some(at(10))), Found::Nothing);
        assert_eq!(Found::of(newest, None), Found::Untold, "there are no webhooks");
        assert_eq!(Found::of(newest, Some(at(8))), Found::Untold, "they have stopped, or this one is lost");
        assert_eq!(Found::of(newest, Some(at(11))), Found::Told);
    }

    #[test]
    fn the_longest_wait_wins_over_the_shortest() {
        let mut pace = Pace::new(Duration::from_secs(15), Duration::from_secs(2));
        assert_eq!(seconds(&mut pace, &[Found::Untold, Found::Nothing]), [2, 2]);
    }

    #[test]
    fn a_sweep_begins_no_later_than_a_tenth_after_its_wait_however_long_the_one_before_took() {
        let ms = Duration::from_millis;
        for (took, jitter, left) in
            [(0, 0.0, 4_000), (0, 1.0, 4_400), (1_500, 0.5, 2_700), (4_000, 0.0, 10), (9_000, 1.0, 10)]
        {
            assert_eq!(rest(ms(4_000), ms(took), jitter), ms(left), "{took} ms, {jitter}");
        }
    }
}
