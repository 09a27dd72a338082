//! The sandboxes' one reading of the wall clock: what they stamp records and headers with.

use time::{OffsetDateTime, format_description::well_known::Iso8601};

/// Now, in UTC.
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// Now, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    millis(now())
}

/// `at` in milliseconds since 1970.
pub fn millis(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970 as `2026-01-02T03:04:05.678Z`.
pub fn iso(ms: i64) -> String {
    let at =
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    )
}

/// An ISO 8601 time in milliseconds since 1970; a date alone is its midnight.
pub fn parse(text: &str) -> Option<i64> {
    let full = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    OffsetDateTime::parse(&full, &Iso8601::DEFAULT).ok().map(millis)
}
