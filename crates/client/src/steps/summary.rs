//! What came of the steps of an operation. Pure.

use super::operation::{Forgotten, State, Step};

/// How the steps of an operation stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// How many steps there are, those included that were announced and not named.
    pub total: usize,
    /// Not begun, or reset.
    pub pending: usize,
    /// Being worked on.
    pub executing: usize,
    /// Done.
    pub completed: usize,
    /// Failed.
    pub failed: usize,
    /// Of the steps that ended, the part that is completed, from 0 to 1; 0 while none has.
    pub success_rate: f64,
    /// Of the steps that ended, the part that failed, from 0 to 1; 0 while none has.
    pub failure_rate: f64,
    /// Completed steps of all, from 0 to 1, where the number of steps is known.
    pub progress: Option<f64>,
    /// How long the steps took that began and ended, of those that are remembered; `None` while there is none.
    pub durations: Option<Durations>,
}

/// How long steps took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Durations {
    /// The shortest.
    pub min_ms: u64,
    /// The mean.
    pub mean_ms: f64,
    /// The longest.
    pub max_ms: u64,
    /// 95 of 100 took no longer.
    pub p95_ms: u64,
}

impl Summary {
    #[expect(clippy::cast_precision_loss, reason = "a part of a whole needs no more digits")]
    /// Adds up. `announced` is how many steps there will be at least. Durations are those of remembered steps.
    pub(super) fn of<'a>(
        steps: impl Iterator<Item = &'a Step>,
        forgotten: Forgotten,
        announced: usize,
        progress: Option<f64>,
    ) -> Self {
        let (mut counts, mut took) = ([0, 0, forgotten.completed, forgotten.failed], Vec::new());
        for step in steps {
            let place = match step.state {
                State::Pending => 0,
                State::Executing => 1,
                State::Completed => 2,
                State::Failed => 3,
            };
            counts[place] += 1;
            took.extend(step.took);
        }
        let [named, executing, completed, failed] = counts;
        let known: usize = counts.iter().sum();
        let total = known.max(announced);
        let pending = named + total - known;
        let rate = |part: usize| if completed + failed == 0 { 0.0 } else { part as f64 / (completed + failed) as f64 };
        Self {
            total,
            pending,
            executing,
            completed,
            failed,
            success_rate: rate(completed),
            failure_rate: rate(failed),
            progress,
            durations: Durations::of(took),
        }
    }
}

impl Durations {
    #[expect(clippy::cast_precision_loss, reason = "a mean of milliseconds needs no more digits")]
    fn of(mut took: Vec<u64>) -> Option<Self> {
        took.sort_unstable();
        let (min_ms, max_ms) = (*took.first()?, *took.last()?);
        let mean_ms = took.iter().map(|ms| *ms as f64).sum::<f64>() / took.len() as f64;
        // The nearest rank: the smallest that at least 95 of 100 do not exceed.
        let rank = (took.len() * 95).div_ceil(100);
        Some(Self { min_ms, mean_ms, max_ms, p95_ms: took[rank - 1] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_95th_percentile_is_a_duration_that_occurred() {
        let p95 = |took: Vec<u64>| Durations::of(took).unwrap().p95_ms;
        assert_eq!(p95(vec![7]), 7);
        assert_eq!(p95((1..=20).collect()), 19);
        assert_eq!(p95((1..=100).rev().collect()), 95);
        assert_eq!(p95((1..=21).collect()), 20);
        assert_eq!(Durations::of(Vec::new()), None);
    }
}
