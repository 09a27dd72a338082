//! Remembers which commits were the head of a pull request: what was shown on one of them belongs on the head that followed.
//!
//! Pure. Nothing else notices that a head has moved, for the pull request shows what it showed. A webhook says what the head was
//! before, so what is remembered here only has to last from there to the reading that follows; without webhooks, between readings.

use std::collections::HashMap;

use model::RecordRef;

/// How many pull requests are remembered; past it all are forgotten.
const RECORDS_MAX: usize = 10_000;
/// How many commits of each.
const COMMITS_MAX: usize = 8;

/// The commits at which each pull request was last seen, the newest first.
#[derive(Debug, Default)]
pub struct Heads(HashMap<RecordRef, Vec<String>>);

impl Heads {
    /// Notes a commit that was the head.
    pub fn note(&mut self, record: &RecordRef, commit: &str) {
        if self.0.len() >= RECORDS_MAX && !self.0.contains_key(record) {
            self.0.clear();
        }
        let commits = self.0.entry(record.clone()).or_default();
        commits.retain(|known| known != commit);
        commits.insert(0, commit.to_owned());
        commits.truncate(COMMITS_MAX);
    }

    /// Notes what the head is now. The commits that were it before, of which nobody was told yet.
    pub fn moved(&mut self, record: &RecordRef, head: &str) -> Vec<String> {
        let mut before = self.0.remove(record).unwrap_or_default();
        before.retain(|known| known != head);
        self.note(record, head);
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: usize) -> RecordRef {
        format!("github/pull_request/acme/web#{number}").parse().unwrap()
    }

    #[test]
    fn a_head_that_moved_is_told_of_once_with_all_that_were_before_it() {
        let mut heads = Heads::default();
        assert_eq!(heads.moved(&record(1), "a"), [""; 0]);
        assert_eq!(heads.moved(&record(1), "a"), [""; 0]);
        heads.note(&record(1), "b");
        assert_eq!(heads.moved(&record(1), "c"), ["b", "a"]);
        assert_eq!(heads.moved(&record(1), "c"), [""; 0]);
        assert_eq!(heads.moved(&record(2), "c"), [""; 0], "another's");
    }

    #[test]
    fn neither_records_nor_commits_are_remembered_without_end() {
        let mut heads = Heads::default();
        (0..20).for_each(|commit| heads.note(&record(1), &commit.to_string()));
        assert_eq!(heads.moved(&record(1), "head").len(), COMMITS_MAX);
        (0..=RECORDS_MAX).for_each(|number| heads.note(&record(number), "a"));
        assert!(heads.0.len() <= RECORDS_MAX);
    }
}
