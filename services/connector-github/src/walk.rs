//! Where a sweep through the repositories is, and where the next one begins.
//!
//! Pure. A list is read by what changed since the last one seen, not by page numbers: an issue that changes meanwhile moves to
//! the end, and would make a numbered page pass over another.

use std::collections::BTreeMap;

use connector::Failure;
use connector::moment::{newest_before, overlapping, unreadable_place as unreadable};
use model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::decode::moment;
use crate::sights::is_unsettled;

/// A sweep between two pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// Which of the repositories.
    pub repository: usize,
    /// What changed since then is asked for; everything where there is none.
    pub since: Option<String>,
    /// The page, from 1.
    pub page: u32,
    /// The newest change seen in this repository.
    newest: Option<String>,
    /// By repository, what is known of it.
    cursor: Cursor,
}

type Cursor = BTreeMap<String, Seen>;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    newest: Option<String>,
    etag: Option<String>,
}

/// The cursor of a sweep through what changed in the repositories since a moment.
pub fn cursor_since(repositories: &[String], since: Timestamp) -> Option<Value> {
    // In whole seconds, as all of GitHub's times.
    let newest = Some(newest_before(Timestamp(since.0.div_euclid(1_000) * 1_000))?);
    let seen = Seen { newest, etag: None };
    let cursor: Cursor = repositories.iter().map(|name| (name.clone(), seen.clone())).collect();
    serde_json::to_value(cursor).ok()
}

/// Every repository with the time since which a sweep asks for what changed in it.
pub fn starts(repositories: &[String], cursor: Option<Value>) -> Result<Vec<(&String, Option<String>)>, Failure> {
    let cursor: Cursor =
        cursor.map(serde_json::from_value).transpose().map_err(|error| unreadable(&error))?.unwrap_or_default();
    let start = |name| {
        let newest = cursor.get(name).and_then(|seen| seen.newest.as_deref());
        Ok((name, newest.map(overlapping).transpose()?))
    };
    repositories.iter().map(start).collect()
}

impl Walk {
    /// Where a sweep goes on, or begins after the one that left `cursor`.
    pub fn of(repositories: &[String], cursor: Option<Value>, next: Option<Value>) -> Result<Self, Failure> {
        if let Some(next) = next {
            return serde_json::from_value(next).map_err(|error| unreadable(&error));
        }
        let cursor =
            cursor.map(serde_json::from_value).transpose().map_err(|error| unreadable(&error))?.unwrap_or_default();
        let mut walk = Self { cursor, ..Self::default() };
        walk.enter(repositories)?;
        Ok(walk)
    }

    /// The version of the page that is known already: only a first page that was also the last is asked for again.
    pub fn etag(&self, repositories: &[String]) -> Option<&str> {
        let seen = self.cursor.get(repositories.get(self.repository)?)?;
        let first = self.page == 1 && self.newest == seen.newest;
        seen.etag.as_deref().filter(|_| first)
    }

    /// The page is as it was: the repository is done.
    pub fn unchanged(mut self, repositories: &[String]) -> Result<(Option<Value>, Option<Value>), Failure> {
        self.leave(repositories)
    }

    /// Takes note of a page: when each thing on it last changed, oldest first; whether it was full; and its version.
    ///
    /// Yields what the next page begins with, or what the next sweep does.
    pub fn read(
        mut self,
        repositories: &[String],
        changed: &[String],
        full: bool,
        etag: Option<&str>,
        now_ms: i64,
    ) -> Result<(Option<Value>, Option<Value>), Failure> {
        let Some(name) = repositories.get(self.repository) else {
            return self.leave(repositories);
        };
        let first = self.page == 1 && self.newest == self.cursor.get(name).and_then(|seen| seen.newest.clone());
        let last = changed.iter().max();
        // GitHub writes all times alike, so the order of the texts is the order of the times.
        self.newest = self.newest.take().max(last.cloned());
        if full {
            match last {
                Some(last) if self.since.as_ref().is_none_or(|since| since < last) => {
                    self.since = Some(last.clone());
                    self.page = 1;
                }
                // A whole page within one second.
                _ => self.page += 1,
            }
            return Ok((serde_json::to_value(self).ok(), None));
        }
        let newest = last.map(|last| moment(last)).transpose()?.map_or(Timestamp(0), |(_, at)| at);
        let seen = self.cursor.entry(name.clone()).or_default();
        seen.newest.clone_from(&self.newest);
        // While the newest second may still hold another edit, the page has to be read again.
        seen.etag = etag.filter(|_| first && !is_unsettled(newest, now_ms)).map(str::to_owned);
        self.leave(repositories)
    }

    fn leave(&mut self, repositories: &[String]) -> Result<(Option<Value>, Option<Value>), Failure> {
        self.repository += 1;
        if self.repository < repositories.len() {
            self.enter(repositories)?;
            return Ok((serde_json::to_value(&*self).ok(), None));
        }
        self.cursor.retain(|name, _| repositories.contains(name));
        Ok((None, serde_json::to_value(&self.cursor).ok()))
    }

    fn enter(&mut self, repositories: &[String]) -> Result<(), Failure> {
        let seen = repositories.get(self.repository).and_then(|name| self.cursor.get(name));
        self.newest = seen.and_then(|seen| seen.newest.clone());
        self.since = self.newest.as_deref().map(overlapping).transpose()?;
        self.page = 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "2026-11-20T12:00:00Z";
    const LATER: &str = "2026-11-20T12:05:00Z";
    const LONG_AFTER: i64 = 1_900_000_000_000;

    fn two() -> Vec<String> {
        vec!["acme/api".to_owned(), "acme/web".to_owned()]
    }

    fn changed(times: &[&str]) -> Vec<String> {
        times.iter().map(|&time| time.to_owned()).collect()
    }

    fn next(walk: Walk, times: &[&str], full: bool) -> Walk {
        let (next, cursor) = walk.read(&two(), &changed(times), full, Some("tag"), LONG_AFTER).unwrap();
        assert_eq!(cursor, None);
        Walk::of(&two(), None, next).unwrap()
    }

    #[test]
    fn a_sweep_goes_through_all_repositories_and_the_next_begins_a_little_before_the_newest() {
        let first = Walk::of(&two(), None, None).unwrap();
        assert_eq!((first.repository, first.since.as_deref(), first.page), (0, None, 1));
        let second = next(first, &[NOON, LATER], false);
        assert_eq!((second.repository, second.since.as_deref()), (1, None));
        let (end, cursor) = second.read(&two(), &[], false, None, LONG_AFTER).unwrap();
        assert_eq!(end, None);
        let again = Walk::of(&two(), cursor, None).unwrap();
        assert_eq!(again.since.as_deref(), Some("2026-11-20T12:04:00Z"));
        assert_eq!(again.etag(&two()), Some("tag"));
    }

    #[test]
    fn a_full_page_is_followed_by_what_changed_since_its_last() {
        let walk = next(Walk::of(&two(), None, None).unwrap(), &[NOON, LATER], true);
        assert_eq!((walk.repository, walk.since.as_deref(), walk.page), (0, Some(LATER), 1));
        let walk = next(walk, &[LATER, LATER], true);
        assert_eq!((walk.since.as_deref(), walk.page), (Some(LATER), 2), "a whole page within one second");
    }

    #[test]
    fn a_page_whose_last_second_is_not_over_is_read_again() {
        let now = moment(NOON).unwrap().1.0 + 1_000;
        let one = vec!["acme/web".to_owned()];
        let walk = Walk::of(&one, None, None).unwrap();
        let (_, cursor) = walk.read(&one, &changed(&[NOON]), false, Some("tag"), now).unwrap();
        assert_eq!(Walk::of(&one, cursor, None).unwrap().etag(&one), None);
    }

    #[test]
    fn an_unchanged_page_leaves_the_cursor_as_it_was() {
        let one = vec!["acme/web".to_owned()];
        let walk = Walk::of(&one, None, None).unwrap();
        let (_, cursor) = walk.read(&one, &changed(&[NOON]), false, Some("tag"), LONG_AFTER).unwrap();
        let again = Walk::of(&one, cursor.clone(), None).unwrap();
        assert_eq!(again.unchanged(&one).unwrap(), (None, cursor));
    }

    #[test]
    fn a_sweep_since_a_moment_asks_every_repository_for_what_changed_from_then_on() {
        let cursor = cursor_since(&two(), moment(NOON).unwrap().1);
        let first = Walk::of(&two(), cursor, None).unwrap();
        assert_eq!(first.since.as_deref(), Some(NOON));
        let second = next(first, &[LATER], false);
        assert_eq!((second.repository, second.since.as_deref()), (1, Some(NOON)));
    }

    #[test]
    fn without_repositories_a_sweep_ends_at_once() {
        let walk = Walk::of(&[], None, None).unwrap();
        assert_eq!(walk.unchanged(&[]).unwrap().0, None);
    }
}
