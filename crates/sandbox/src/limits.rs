//! A budget per window of time: how much is left, and when it is whole again.
//!
//! It only keeps the count. The servers turn it into their system's headers and error.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock;

/// What a budget stood at when it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether what was asked for was there; if not, nothing was taken.
    pub allowed: bool,
    /// What a whole window allows.
    pub limit: u64,
    /// What is left of this window.
    pub remaining: u64,
    /// When the next window starts, in milliseconds since 1970.
    pub reset_ms: i64,
}

impl Standing {
    /// When the next window starts, in whole seconds since 1970, never early.
    pub fn reset_seconds(&self) -> i64 {
        (self.reset_ms + 999) / 1000
    }

    /// How many whole seconds there are until the next window starts, at least one.
    pub fn retry_after_seconds(&self) -> i64 {
        ((self.reset_ms - clock::now_ms() + 999) / 1000).max(1)
    }
}

/// A budget that is whole again at the start of each window.
#[derive(Clone, Debug)]
pub struct Budget {
    inner: Arc<Mutex<Window>>,
}

#[derive(Debug)]
struct Window {
    limit: u64,
    used: u64,
    length_ms: i64,
    reset_ms: i64,
}

impl Budget {
    /// A budget of `limit` for each `window`, the first one starting now.
    pub fn new(limit: u64, window: Duration) -> Self {
        let length_ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX / 2).max(1);
        let reset_ms = clock::now_ms() + length_ms;
        Self { inner: Arc::new(Mutex::new(Window { limit, used: 0, length_ms, reset_ms })) }
    }

    /// Takes `cost` if it is there.
    pub fn take(&self, cost: u64) -> Standing {
        let mut window = self.turned();
        let allowed = window.limit.saturating_sub(window.used) >= cost;
        if allowed {
            window.used += cost;
        }
        window.standing(allowed)
    }

    /// What the budget stands at, taking nothing.
    pub fn standing(&self) -> Standing {
        self.turned().standing(true)
    }

    /// Replaces the budget and the length of its windows; a new window starts now.
    pub fn set(&self, limit: u64, window: Duration) {
        let mut inner = self.lock();
        inner.limit = limit;
        inner.used = 0;
        inner.length_ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX / 2).max(1);
        inner.reset_ms = clock::now_ms() + inner.length_ms;
    }

    fn turned(&self) -> MutexGuard<'_, Window> {
        let mut window = self.lock();
        let now = clock::now_ms();
        if now >= window.reset_ms {
            window.used = 0;
            window.reset_ms = now + window.length_ms;
        }
        window
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn standing(&self, allowed: bool) -> Standing {
        Standing {
            allowed,
            limit: self.limit,
            remaining: self.limit.saturating_sub(self.used),
            reset_ms: self.reset_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_refuses_what_is_not_left_and_takes_nothing_for_it() {
        let budget = Budget::new(3, Duration::from_hours(1));
        assert!(budget.take(2).allowed);
        let refused = budget.take(2);
        assert!(!refused.allowed);
        assert_eq!(refused.remaining, 1);
        assert!(budget.take(1).allowed);
        budget.set(1, Duration::from_secs(1));
        assert_eq!(budget.standing().remaining, 1);
    }
}
