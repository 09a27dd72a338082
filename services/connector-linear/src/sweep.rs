//! Where a sweep of the issues is, and where the next one begins.
//!
//! Pure. A page holds the newest changes first, so an issue that changes meanwhile is seen again and none is passed over.

use connector::Failure;
use model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// How far before the newest change seen the next sweep begins: what was committed late is older than what was seen.
const OVERLAP: Duration = Duration::seconds(60);

/// A sweep between two pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// What changed since then is asked for; everything where there is none.
    pub since: Option<String>,
    /// The page's place in the list.
    pub after: Option<String>,
    /// The newest change seen so far.
    newest: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursor {
    newest: Option<String>,
}

/// The cursor of a sweep through what changed since a moment.
pub fn cursor_since(since: Timestamp) -> Option<Value> {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(since.0) * 1_000_000).ok()?;
    // The overlap, which every sweep takes off, was not meant.
    let newest = (at + OVERLAP).format(&Rfc3339).ok()?;
    serde_json::to_value(Cursor { newest: Some(newest) }).ok()
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
        Ok(Self { since, after: None, newest: cursor.newest })
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
        (None, serde_json::to_value(Cursor { newest: self.newest }).ok())
    }
}

fn overlapping(newest: &str) -> Result<String, Failure> {
    let at = OffsetDateTime::parse(newest, &Rfc3339).map_err(|error| unreadable(&error))?;
    (at - OVERLAP).format(&Rfc3339).map_err(|error| unreadable(&error))
}

fn unreadable(error: &impl ToString) -> Failure {
    Failure::Refused {
        why: format!("the sweep's stored place cannot be read: {}", error.to_string()),
        code: "malformed",
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
    fn a_page_goes_on_where_the_one_before_ended() {
        let mut place = Place::of(None, None).unwrap();
        place.saw("2026-11-20T09:30:00.125Z");
        let (next, cursor) = place.then(Some("c1".to_owned()));
        assert_eq!(cursor, None);
        let place = Place::of(None, next).unwrap();
        assert_eq!((place.after.as_deref(), place.newest.as_deref()), (Some("c1"), Some("2026-11-20T09:30:00.125Z")));
    }
}
