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

    /// The commits that were the head before this one, and of which nobody said yet that they are settled; the newest first.
    pub fn before(&self, record: &RecordRef, head: &str) -> Vec<String> {
        self.0.get(record).into_iter().flatten().filter(|known| *known != head).cloned().collect()
    }

    /// What was shown on these commits stands on the head that followed. Of the newest that is not known: it may have been noted since.
    pub fn settle(&mut self, record: &RecordRef, before: &[String]) {
        let Some(commits) = self.0.get_mut(record) else { return };
        let newest = commits.first().cloned();
        commits.retain(|known| Some(known) == newest.as_ref() || !before.contains(known));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: usize) -> RecordRef {
        format!("github/pull_request/acme/web#{number}").parse().unwrap()
    }

    #[test]
    fn those_that_were_before_a_head_are_told_until_they_are_settled() {
        let mut heads = Heads::default();
        assert_eq!(heads.before(&record(1), "a"), [""; 0]);
        heads.note(&record(1), "a");
        assert_eq!(heads.before(&record(1), "a"), [""; 0]);
        heads.note(&record(1), "b");
        heads.note(&record(1), "c");
        for _ in 0..2 {
            assert_eq!(heads.before(&record(1), "c"), ["b", "a"]);
        }
        assert_eq!(heads.before(&record(2), "c"), [""; 0], "another's");
        heads.note(&record(1), "d");
        heads.settle(&record(1), &["b".to_owned(), "a".to_owned()]);
        assert_eq!(heads.before(&record(1), "d"), ["c"], "which was not looked at");
        heads.settle(&record(1), &["d".to_owned()]);
        assert_eq!(heads.before(&record(1), "e"), ["d", "c"], "who read an older head does not know");
    }

    #[test]
    fn neither_records_nor_commits_are_remembered_without_end() {
        let mut heads = Heads::default();
        (0..20).for_each(|commit| heads.note(&record(1), &commit.to_string()));
        assert_eq!(heads.before(&record(1), "head").len(), COMMITS_MAX);
        (0..=RECORDS_MAX).for_each(|number| heads.note(&record(number), "a"));
        assert!(heads.0.len() <= RECORDS_MAX);
    }
}
