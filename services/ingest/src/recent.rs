//! Remembers what was stored lately, and no more of it than fits.
//!
//! A thing counts as seen only once it was stored: a sender that tries again after a failure must be heard.

use std::collections::{HashMap, VecDeque};

use sha2::{Digest, Sha256};

/// A thing seen: a digest, so that each takes the same little memory whatever a sender calls it.
pub(crate) type Mark = [u8; 32];

/// The mark of a text or body of one system.
pub(crate) fn mark(parts: &[&[u8]]) -> Mark {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// The newest marks, up to a limit.
#[derive(Debug)]
pub(crate) struct Recent {
    limit: usize,
    order: VecDeque<Mark>,
    /// When each was stored, in milliseconds since 1970.
    seen: HashMap<Mark, i64>,
}

impl Recent {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, order: VecDeque::new(), seen: HashMap::new() }
    }

    /// Whether this was stored, and at least `age_ms` ago.
    pub(crate) fn knows(&self, mark: &Mark, age_ms: i64, now_ms: i64) -> bool {
        // A clock that was set back must not make what is known unknown.
        self.seen.get(mark).is_some_and(|at| age_ms == 0 || now_ms - at >= age_ms)
    }

    /// Notes that these were stored, forgetting the oldest when there are too many.
    pub(crate) fn stored(&mut self, marks: &[Mark], now_ms: i64) {
        for mark in marks {
            self.seen.entry(*mark).or_insert_with(|| {
                self.order.push_back(*mark);
                now_ms
            });
        }
        while self.order.len() > self.limit {
            if let Some(oldest) = self.order.pop_front() {
                self.seen.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_are_known() {
        let marks: Vec<Mark> = (0..5_u8).map(|n| mark(&[&[n]])).collect();
        let mut recent = Recent::new(3);
        let known = |recent: &Recent| marks.iter().map(|mark| recent.knows(mark, 0, 0)).collect::<Vec<_>>();
        assert_eq!(known(&recent), [false; 5]);
        for one in &marks {
            recent.stored(&[*one], 0);
            recent.stored(&[*one], 0);
        }
        assert_eq!(known(&recent), [false, false, true, true, true]);
        assert_eq!(recent.seen.len(), 3);
    }

    #[test]
    fn a_thing_is_as_old_as_the_first_of_it() {
        let (mut recent, one) = (Recent::new(3), mark(&[b"one"]));
        recent.stored(&[one], 1_000);
        recent.stored(&[one], 5_000);
        assert!(recent.knows(&one, 0, 1_000));
        assert!(!recent.knows(&one, 10_000, 10_999));
        assert!(recent.knows(&one, 10_000, 11_000));
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(mark(&[b"ab", b"c"]), mark(&[b"a", b"bc"]));
    }
}
