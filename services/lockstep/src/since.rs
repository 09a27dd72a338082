//! What `--since` means.

use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

/// A moment that lies behind, and how somebody said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// As it was said.
    pub words: String,
    /// The moment.
    pub at: Timestamp,
}

impl FromStr for Since {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
        Ok(Self { words: words.to_owned(), at: moment(words, now)? })
    }
}

/// The moment that the words name: a time, a day in UTC, or a while before now.
fn moment(words: &str, now: Timestamp) -> Result<Timestamp, String> {
    let day = || Date::parse(words, format_description!("[year]-[month]-[day]")).ok();
    let time = OffsetDateTime::parse(words, &Rfc3339).ok().or_else(|| Some(day()?.midnight().assume_utc()));
    let moment = match time {
        Some(time) => i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok(),
        None => ago_ms(words).and_then(|ago| now.0.checked_sub(ago)),
    };
    let moment =
        moment.ok_or("it is no time (2026-11-20T09:30:00Z), no day (2026-11-20) and no while (90m, 12h, 7d)")?;
    if moment <= now.0 { Ok(Timestamp(moment)) } else { Err("it lies ahead".to_owned()) }
}

fn ago_ms(words: &str) -> Option<i64> {
    let (number, unit) = words.split_at_checked(words.len().checked_sub(1)?)?;
    let unit: i64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    let number: u32 = number.parse().ok()?;
    i64::from(number).checked_mul(unit * 1_000)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Arguments;

    /// 2026-11-20T12:00:00Z
    const NOON: i64 = 1_795_176_000_000;

    fn ago_s(words: &str) -> i64 {
        (NOON - moment(words, Timestamp(NOON)).unwrap().0) / 1_000
    }

    #[test]
    fn a_time_a_day_and_a_while_name_a_moment() {
        assert_eq!(ago_s("2026-11-20T11:00:00Z"), 3_600);
        assert_eq!(ago_s("2026-11-20T12:00:00+02:00"), 7_200);
        assert_eq!(ago_s("2026-11-20"), 12 * 3_600);
        assert_eq!([ago_s("90m"), ago_s("12h"), ago_s("7d"), ago_s("0s")], [5_400, 43_200, 604_800, 0]);
    }

    #[test]
    fn what_names_none_is_refused() {
        for words in ["", "d", "7", "yesterday", "-7d", "2026-13-01", "99999999999d", "7ü", "2026-11-20T13:00:00Z"] {
            assert!(moment(words, Timestamp(NOON)).is_err(), "{words}");
        }
        for words in ["d", "7", "yesterday", "-7d", "2026-13-01", "99999999999d", "7ü", "9999-01-01"] {
            let said = ["lockstep", "sync", "linear", &format!("--since={words}")];
            let refused = Arguments::try_parse_from(said).unwrap_err().to_string();
            assert!(refused.contains(words) && refused.contains("--since"), "{refused}");
        }
    }
}
