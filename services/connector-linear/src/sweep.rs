//! Where a sweep of the issues is, and where the next one begins.
//!
//! Pure. A page holds the newest changes first, so an issue that changes meanwhile is seen again and none is passed over.

use connector::Failure;
use connector::moment::{newest_before, overlapping, unreadable_place as unreadable};
use model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A sweep between two pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// What changed since then is asked for; everything where there is none.
    pub since: Option<String>,
    /// The page's place in the list.
    pub after: Option<String>,
    /// The newest change seen so far.
    newest: Option<String>,
    /// Where sweeps were when a team was first missing, while one is.
    #[serde(default)]
    lacked: Option<Lacked>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursor {
    newest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lacked: Option<Lacked>,
}

/// Up to where all teams are known; nowhere where one was missing from the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Lacked {
    newest: Option<String>,
}

/// The cursor of a sweep through what changed since a moment.
pub fn cursor_since(since: Timestamp) -> Option<Value> {
    serde_json::to_value(Cursor { newest: Some(newest_before(since)?), lacked: None }).ok()
}

impl Place {
    /// Where a sweep goes on, or begins after the one that left `cursor`.
    pub fn of(cursor: Option<Value>, next: Option<Value>) -> Result<Self, Failure> {
        if let Some(next) = next {
            return serde_json::from_value(next).map_err(|error| unreadable(&error));
        }
        let cursor: Cursor =
            cursor.map(serde_json::from_value).transpose().map_err(|error| unreadable(&error))?.unwrap_or_default();
        let since = cursor.newest.as_deref().map(overlapping).transpose()?;
        Ok(Self { since, after: None, newest: cursor.newest, lacked: cursor.lacked })
    }

    /// Notes at the first page whether a team is missing. Once none is any more, what it missed is asked for, too.
    pub fn lacks(&mut self, is_team_missing: bool) -> Result<(), Failure> {
        match self.lacked.take() {
            None if is_team_missing => self.lacked = Some(Lacked { newest: self.newest.clone() }),
            Some(lacked) if is_team_missing => self.lacked = Some(lacked),
            Some(lacked) => self.since = lacked.newest.as_deref().map(overlapping).transpose()?,
            None => {}
        }
        Ok(())
    }

    /// Notes a change that was seen.
    pub fn saw(&mut self, updated_at: &str) {
        // Linear writes all times alike, so the order of the texts is the order of the times.
        if self.newest.as_deref().is_none_or(|newest| newest < updated_at) {
            self.newest = Some(updated_at.to_owned());
        }
    }

    /// What the next page begins with, or what the next sweep does.
    pub fn then(mut self, after: Option<String>) -> (Option<Value>, Option<Value>) {
        if after.is_some() {
            self.after = after;
            return (serde_json::to_value(self).ok(), None);
        }
        (None, serde_json::to_value(Cursor { newest: self.newest, lacked: self.lacked }).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sweep_asks_for_everything_and_the_next_for_what_came_since_with_an_overlap() {
        let mut place = Place::of(None, None).unwrap();
        assert_eq!(place.since, None);
        place.saw("2026-11-20T09:30:00.125Z");
        place.saw("2026-11-20T09:29:00.000Z");
        let (next, cursor) = place.then(None);
        assert_eq!(next, None);
        let second = Place::of(cursor.clone(), None).unwrap();
        assert_eq!(second.since.as_deref(), Some("2026-11-20T09:29:00.125Z"));
        assert_eq!(second.then(None).1, cursor, "a sweep that saw nothing leaves the cursor where it was");
    }

    #[test]
    fn a_sweep_since_a_moment_asks_for_what_changed_from_then_on() {
        let cursor = cursor_since(Timestamp(1_795_167_000_000));
        assert_eq!(Place::of(cursor, None).unwrap().since.as_deref(), Some("2026-11-20T09:30:00Z"));
    }

    #[test]
    fn a_team_that_was_missing_is_swept_from_where_it_was_once_it_is_found() {
        let swept = |cursor: Option<Value>, is_team_missing: bool, saw: &str| {
            let mut place = Place::of(cursor, None).unwrap();
            place.lacks(is_team_missing).unwrap();
            place.saw(saw);
            (place.since.clone(), place.then(None).1)
        };
        let (_, cursor) = swept(None, false, "2026-11-20T09:00:00.000Z");
        let (since, cursor) = swept(cursor, true, "2026-11-20T10:00:00.000Z");
        assert_eq!(since.as_deref(), Some("2026-11-20T08:59:00Z"));
        let (since, cursor) = swept(cursor, true, "2026-11-20T11:00:00.000Z");
        assert_eq!(since.as_deref(), Some("2026-11-20T09:59:00Z"), "the others go on");
        let (since, cursor) = swept(cursor, false, "2026-11-20T11:00:00.000Z");
        assert_eq!(since.as_deref(), Some("2026-11-20T08:59:00Z"));
        assert_eq!(swept(cursor, false, "2026-11-20T11:00:00.000Z").0.as_deref(), Some("2026-11-20T10:59:00Z"));
        let (_, cursor) = swept(None, true, "2026-11-20T11:00:00.000Z");
        assert_eq!(
            swept(cursor, false, "2026-11-20T11:00:00.000Z").0,
            None,
            "of a team that was never seen everything"
        );
    }

    #[test]
    fn a_page_goes_on_where_the_one_before_ended() {
        let mut place = Place::of(None, None).unwrap();
        place.saw("2026-11-20T09:30:00.125Z");
        let (next, cursor) = place.then(Some("c1".to_owned()));
        assert_eq!(cursor, None);
        let place = Place::of(None, next).unwrap();
        assert_eq!((place.after.as_deref(), place.newest.as_deref()), (Some("c1"), Some("2026-11-20T09:30:00.125Z")));
    }
}
