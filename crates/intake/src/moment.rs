//! Reads a moment as people and programs write it.

use model::Timestamp;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Below this a number of milliseconds lies before 1974 and is surely one of seconds.
const MS_MIN: i64 = 100_000_000_000;

/// How far ahead of our clock something may have happened, in milliseconds: clocks differ, by minutes at most.
const AHEAD_MAX_MS: i64 = 24 * 3_600_000;

const FORMS: &str = "must be a moment such as \"2026-01-31T12:00:00Z\" (RFC 3339), or milliseconds since 1970";

/// Milliseconds since 1970, from RFC 3339 or from a number of them.
pub(crate) fn read(value: &Value) -> Result<i64, String> {
    let ms = match value {
        Value::String(text) => {
            let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| FORMS.to_owned())?;
            i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).map_err(|_| FORMS.to_owned())?
        }
        Value::Number(number) => number.as_i64().ok_or(FORMS)?,
        _ => return Err(FORMS.into()),
    };
    of_our_time(ms)
}

/// The same milliseconds, unless they are no moment of our time.
pub(crate) fn of_our_time(ms: i64) -> Result<i64, String> {
    if (MS_MIN..=Timestamp::MAX.0).contains(&ms) {
        return Ok(ms);
    }
    Err(format!("{FORMS}; {ms} ms is not a moment of our time"))
}

/// The same milliseconds, unless they lie too far ahead: whatever is decided by time would be theirs for as long.
pub(crate) fn not_ahead(ms: i64, now_ms: i64) -> Result<i64, String> {
    if ms > now_ms.saturating_add(AHEAD_MAX_MS) {
        return Err("is more than a day ahead of this machine's clock".into());
    }
    Ok(ms)
}
