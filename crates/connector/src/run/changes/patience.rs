//! How long a record that should be told of a change may be out of reach.
//!
//! Pure: the time is an argument.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::RecordRef;
use tokio::time::Instant;

use crate::Failure;

/// After this it is not waited for any longer: an agent whose work is done does not come back.
const OUT_OF_REACH: Duration = Duration::from_mins(10);

/// Since when the record has been out of reach.
#[derive(Debug, Default)]
pub(super) struct Patience(Mutex<Option<Instant>>);

impl Patience {
    /// What an attempt came to, `now`. While the circuit to a record is open no failure counts as an attempt, so time must end it.
    pub(super) fn judge(&self, told: Result<(), Failure>, record: &RecordRef, now: Instant) -> Result<(), Failure> {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &told {
            Err(Failure::Unavailable { why, .. } | Failure::Limited { why, .. }) => {
                if now.duration_since(*since.get_or_insert(now)) >= OUT_OF_REACH {
                    let why = format!("{record} was out of reach for {} minutes: {why}", OUT_OF_REACH.as_secs() / 60);
                    return Err(Failure::refused("out_of_reach", why));
                }
            }
            Ok(()) | Err(Failure::Busy { .. } | Failure::Refused { .. } | Failure::Gone { .. }) => *since = None,
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_out_of_reach_is_given_up_in_time_and_a_busy_one_never() {
        let record: RecordRef = "fake/thing/one".parse().unwrap();
        let (patience, start) = (Patience::default(), Instant::now());
        let limited = || Failure::Limited { why: "calls are held back".into(), retry_after: Duration::ZERO };
        let busy = || Failure::Busy { why: "at work".into(), retry_after: Duration::ZERO };
        let judge = |failure: Failure, minutes: u64| {
            patience.judge(Err(failure), &record, start + Duration::from_mins(minutes)).expect_err("a failure").code()
        };
        assert_eq!(judge(busy(), 0), "busy");
        assert_eq!(judge(busy(), 6_000), "busy", "it answers");
        assert_eq!(judge(limited(), 6_001), "limited");
        assert_eq!(judge(Failure::unavailable("no answer"), 6_010), "unavailable");
        assert_eq!(judge(busy(), 6_011), "busy");
        assert_eq!(judge(limited(), 6_012), "limited", "it answered a minute ago");
        assert_eq!(judge(limited(), 6_021), "limited");
        assert_eq!(judge(limited(), 6_022), "out_of_reach");
    }
}
