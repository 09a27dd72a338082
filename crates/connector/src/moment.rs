//! Times as systems write them, and where a sweep begins that goes on from one.
//!
//! Pure.

use model::{Position, Timestamp};
use time::format_description::well_known::{Rfc2822, Rfc3339};
use time::{Duration, OffsetDateTime};

use crate::Failure;

/// How far before the newest change seen the next sweep begins: what was committed late is older than what was seen, two changes can
/// share a moment, and lists can lag.
const OVERLAP: Duration = Duration::seconds(60);

/// A time in RFC 3339, in milliseconds since 1970.
pub fn rfc3339_ms(text: &str) -> Result<i64, String> {
    OffsetDateTime::parse(text, &Rfc3339).map(milliseconds).map_err(|error| error.to_string())
}

/// What a header `Date` says, in milliseconds since 1970. It has whole seconds.
pub fn http_date_ms(date: &str) -> Option<i64> {
    OffsetDateTime::parse(date, &Rfc2822).ok().map(milliseconds)
}

/// When a record changed, as its position. Before 1970 there is none, and the record's edits would lose their order.
pub fn position(changed_ms: i64) -> Result<(Position, Timestamp), &'static str> {
    match u64::try_from(changed_ms) {
        Ok(_) if changed_ms > Timestamp::MAX.0 => Err("is after the year 9999"),
        Ok(ms @ 1..) => Ok((Position(ms), Timestamp(changed_ms))),
        _ => Err("is before 1970"),
    }
}

/// The time since which a sweep asks for what changed, where the newest change that was seen is of `newest`.
pub fn overlapping(newest: &str) -> Result<String, Failure> {
    let at = OffsetDateTime::parse(newest, &Rfc3339).map_err(|error| unreadable_place(&error))?;
    (at - OVERLAP).format(&Rfc3339).map_err(|error| unreadable_place(&error))
}

/// The newest change that would have to be seen for a sweep to ask for what changed since just that moment.
pub fn newest_before(since: Timestamp) -> Option<String> {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(since.0) * 1_000_000).ok()?;
    at.checked_add(OVERLAP)?.format(&Rfc3339).ok()
}

/// A sweep's place or cursor is not what the connector stored.
pub fn unreadable_place(error: &impl ToString) -> Failure {
    Failure::refused("malformed", format!("the sweep's stored place cannot be read: {}", error.to_string()))
}

fn milliseconds(at: OffsetDateTime) -> i64 {
    // The years that can be written have no more.
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_written() {
        assert_eq!(rfc3339_ms("2026-09-21T13:33:20.5Z"), Ok(1_789_997_600_500));
        assert_eq!(rfc3339_ms("2026-09-21T15:33:20+02:00"), Ok(1_789_997_600_000));
        assert_eq!(http_date_ms("Mon, 21 Sep 2026 13:33:20 GMT"), Some(1_789_997_600_000));
        assert!(rfc3339_ms("yesterday").is_err() && http_date_ms("").is_none());
    }

    #[test]
    fn there_is_no_position_before_1970() {
        assert_eq!(position(1), Ok((Position(1), Timestamp(1))));
        assert!(position(0).is_err() && position(-1).is_err());
    }

    #[test]
    fn a_sweep_begins_a_little_before_what_was_seen_and_just_at_what_is_asked_for() {
        assert_eq!(overlapping("2026-11-20T09:30:00.125Z").unwrap(), "2026-11-20T09:29:00.125Z");
        let since = Timestamp(rfc3339_ms("2026-11-20T09:30:00Z").unwrap());
        assert_eq!(overlapping(&newest_before(since).unwrap()).unwrap(), "2026-11-20T09:30:00Z");
        assert_eq!(newest_before(Timestamp(i64::MAX)), None);
        assert!(matches!(overlapping("noon"), Err(Failure::Refused { code: "malformed", .. })));
    }
}
