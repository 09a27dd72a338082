//! What can be said after `lockstep dead`.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use bus::{Filter, REASONS};
use clap::{Args, Subcommand};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Dead letters.
#[derive(Debug, Subcommand)]
pub enum Dead {
    /// List them, oldest first
    List {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        which: Which,
        /// Print each as JSON, one a line
        #[arg(long)]
        json: bool,
        /// How many at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
        limit: u16,
    },
    /// Show one whole: why it is there, what it says, and what to do about it
    Show {
        #[command(flatten)]
        at: At,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        /// Its number, as `list` shows it
        number: u64,
    },
    /// Publish messages once more where they were, and take their letters away once that is stored
    Replay {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        chosen: Chosen,
    },
    /// Take letters away for good
    Discard {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        chosen: Chosen,
        /// Really do it; without this, only what would be discarded is shown
        #[arg(long)]
        yes: bool,
    },
}

/// Where the letters are.
#[derive(Debug, Clone, Args)]
pub struct At {
    /// The address of NATS; without it that of the configuration, or of `cargo xtask up`
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
}

/// Which letters: those that fit all that is said.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// About this system: linear, github, …
    #[arg(long)]
    system: Option<String>,
    /// Given up for this reason, by its code
    #[arg(long, value_parser = known_reason)]
    reason: Option<String>,
    /// Given up by this service: resolver, connector-github, …
    #[arg(long)]
    service: Option<String>,
    /// About this record: <system>/<kind>/<id>
    #[arg(long)]
    record: Option<model::RecordRef>,
    /// Given up since: 30m, 2h, 7d, or a moment such as 2026-01-31T12:00:00Z
    #[arg(long, value_parser = since)]
    since: Option<i64>,
}

/// The letters that something is done with.
#[derive(Debug, Clone, Args)]
pub struct Chosen {
    /// Their numbers, as `list` shows them
    #[arg(conflicts_with_all = ["system", "reason", "service", "record", "since", "all"])]
    pub numbers: Vec<u64>,
    #[command(flatten)]
    which: Which,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Print what became of each as JSON, one a line
    #[arg(long)]
    pub json: bool,
}

impl Which {
    /// The same for the bus.
    pub fn filter(&self) -> Filter {
        let Self { system, reason, service, record, since } = self.clone();
        let record = record.map(|record| record.to_string());
        Filter { service, reason, system, record, since_ms: since }
    }
}

impl Chosen {
    /// Which letters are meant, where they are not named by number. Nothing said is not everything meant.
    pub fn filter(&self) -> anyhow::Result<Filter> {
        let filter = self.which.filter();
        let said = self.all || !filter.is_empty() || !self.numbers.is_empty();
        ensure!(said, "say which: by number, by a filter such as --reason, or --all");
        Ok(filter)
    }
}

fn known_reason(code: &str) -> Result<String, String> {
    if bus::reason(code).is_some() {
        return Ok(code.to_owned());
    }
    let codes: Vec<&str> = REASONS.iter().map(|known| known.code).collect();
    Err(format!("there is no such reason; known are {}", codes.join(", ")))
}

/// A moment in milliseconds since 1970: as it stands, or so long before now.
fn since(text: &str) -> Result<i64, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
    since_at(text, i64::try_from(now.as_millis()).map_err(|error| error.to_string())?)
}

fn since_at(text: &str, now_ms: i64) -> Result<i64, String> {
    let unit_ms = match text.chars().last() {
        Some('s') => 1_000,
        Some('m') => 60_000,
        Some('h') => 3_600_000,
        Some('d') => 86_400_000,
        _ => 0,
    };
    let count = text.get(..text.len().saturating_sub(1)).and_then(|count| count.parse::<u32>().ok());
    if let (Some(count), 1..) = (count, unit_ms) {
        return Ok(now_ms.saturating_sub(i64::from(count).saturating_mul(unit_ms)));
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339);
    let moment =
        moment.map_err(|_| "must be 90s, 30m, 2h or 7d, or a moment such as 2026-01-31T12:00:00Z".to_owned())?;
    i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_named_by_itself_or_by_how_long_ago_it_was() {
        let now = 1_000_000_000;
        assert_eq!(since_at("90s", now), Ok(now - 90_000));
        assert_eq!(since_at("2h", now), Ok(now - 7_200_000));
        assert_eq!(since_at("1970-01-01T00:00:01Z", now), Ok(1_000));
        for wrong in ["", "h", "-2h", "2w", "yesterday", "2026-01-31", "ä"] {
            assert!(since_at(wrong, now).is_err(), "{wrong}");
        }
    }
}
