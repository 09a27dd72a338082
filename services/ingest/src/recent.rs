//! Remembers what was stored lately, and no more of it than fits.
//!
//! A thing counts as seen only once it was stored: a sender that tries again after a failure must be heard.

use std::collections::{HashSet, VecDeque};

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
    seen: HashSet<Mark>,
}

impl Recent {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, order: VecDeque::new(), seen: HashSet::new() }
    }

    /// Whether any of these was stored.
    pub(crate) fn knows(&self, marks: &[Mark]) -> bool {
        marks.iter().any(|mark| self.seen.contains(mark))
    }

    /// Notes that these were stored, forgetting the oldest when there are too many.
    pub(crate) fn stored(&mut self, marks: &[Mark]) {
        for mark in marks {
            if self.seen.insert(*mark) {
                self.order.push_back(*mark);
            }
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
        assert!(!recent.knows(&marks));
        for one in &marks {
            recent.stored(&[*one]);
            recent.stored(&[*one]);
        }
        assert!(!recent.knows(&marks[..2]));
        for one in &marks[2..] {
            assert!(recent.knows(&[*one]));
        }
        assert_eq!(recent.seen.len(), 3);
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(mark(&[b"ab", b"c"]), mark(&[b"a", b"bc"]));
    }
}
