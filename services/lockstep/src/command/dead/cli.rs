//! What can be said after `lockstep dead`.

use bus::{Filter, REASONS};
use clap::{ArgGroup, Args, Subcommand};

use crate::since::Since;

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

const WAYS_TO_SAY: [&str; 7] = ["numbers", "all", "system", "reason", "service", "record", "since"];

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
    /// Given up since: a time (2026-11-20T09:30:00Z), a day (2026-11-20), or a while ago (90m, 12h, 7d)
    #[arg(long, value_name = "WHEN")]
    since: Option<Since>,
}

/// The letters that something is done with. Nothing said is not everything meant.
#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("which letters").required(true).multiple(true).args(WAYS_TO_SAY)))]
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
        Filter { service, reason, system, record, since_ms: since.map(|since| since.at.0) }
    }
}

impl Chosen {
    /// Which letters are meant, where they are not named by number.
    pub fn filter(&self) -> Filter {
        self.which.filter()
    }
}

fn known_reason(code: &str) -> Result<String, String> {
    if bus::reason(code).is_some() {
        return Ok(code.to_owned());
    }
    let codes: Vec<&str> = REASONS.iter().map(|known| known.code).collect();
    Err(format!("there is no such reason; known are {}", codes.join(", ")))
}
