//! What can be said on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use connector_postgres::Name;

pub use crate::command::claim::Claim;
pub use crate::command::conflicts::cli::Conflicts;
pub use crate::command::dead::cli::Dead;
pub use crate::command::doctor::cli::Doctor;
use crate::connectors;
pub use crate::sandbox::cli::SandboxTask;
use crate::since::Since;

/// Keeps the status of a piece of work the same in Linear, GitHub, PostgreSQL and coding agents.
#[derive(Debug, Parser)]
#[command(name = "lockstep", version)]
pub struct Arguments {
    /// The configuration file; without it, lockstep.toml in this folder where there is one
    #[arg(long, global = true, env = "LOCKSTEP_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub task: Task,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Run one service
    Serve(Serve),
    /// Run every service in this process, all on one address
    Up(Up),
    /// Stand-ins for Linear, GitHub and agents: run them, and be the person who uses them
    #[command(subcommand)]
    Sandbox(SandboxTask),
    /// Show items: each record's status side by side, and what is not in step
    Status(Status),
    /// Show what happened to an item, and why, newest first
    History(History),
    /// Show every change as it happens, one line each
    Watch(Watch),
    /// Read a system from its beginning, or from a moment on, and bring everything in step with it
    Sync(Resync),
    /// Ask an address for its health: success when it answers 2xx
    Health(Health),
    /// Conflicts that hold an item: see them, and end them
    #[command(subcommand)]
    Conflicts(Conflicts),
    /// Look at everything that Lockstep works with, and say what is or will be wrong
    Doctor(Doctor),
    /// Dead letters: messages that could not be understood or exhausted their attempts
    #[command(subcommand)]
    Dead(Dead),
    /// What PostgreSQL needs for the tracked tables
    #[command(subcommand)]
    Postgres(Postgres),
    /// Read the configuration, the lifecycles and the mappings, and say what is wrong
    Check,
    /// Note on the servers of which systems their data is, and refuse those with the data of others; for `cargo xtask up`
    #[command(hide = true)]
    Claim(Claim),
}

/// One service.
#[derive(Debug, Args)]
pub struct Serve {
    /// Which
    pub service: Service,
    /// Where it listens, in place of what the configuration says
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
}

/// The services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Service {
    Ingest,
    Resolver,
    Broadcaster,
    Monitor,
    ConnectorLinear,
    ConnectorGithub,
    ConnectorPostgres,
    ConnectorAgentapi,
}

impl Service {
    /// Its name, in the configuration and in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Resolver => "resolver",
            Self::Broadcaster => "broadcaster",
            Self::Monitor => "monitor",
            Self::ConnectorLinear => "connector-linear",
            Self::ConnectorGithub => "connector-github",
            Self::ConnectorPostgres => "connector-postgres",
            Self::ConnectorAgentapi => "connector-agentapi",
        }
    }
}

/// All services.
#[derive(Debug, Args)]
pub struct Up {
    /// Write the addresses there, as JSON, once everything listens
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// Where a running Lockstep is.
#[derive(Debug, Clone, Args)]
pub struct At {
    /// The address of the gateway; without it that of `cargo xtask up`, else http://127.0.0.1:8080
    #[arg(long, env = "LOCKSTEP_URL", value_name = "URL")]
    pub url: Option<String>,
    /// The key that it wants, where it wants one
    #[arg(long, env = "LOCKSTEP_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub key: Option<String>,
}

/// Items, side by side.
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    pub at: At,
    /// Print the API's answer, and in `failing` the systems that do not answer
    #[arg(long)]
    pub json: bool,
    /// The address of the monitor, where it is not the gateway's: it knows which systems do not answer
    #[arg(long, env = "LOCKSTEP_MONITOR_URL", value_name = "URL")]
    pub monitor: Option<String>,
    /// How many items at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
    /// All items, however many
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
    /// Only items of which not every record shows what it should
    #[arg(long, conflicts_with = "item")]
    pub not_in_step: bool,
    /// One item, by its id, key, or record
    pub item: Option<String>,
}

/// What happened to one item.
#[derive(Debug, Args)]
pub struct History {
    #[command(flatten)]
    pub at: At,
    /// Print the API's answer
    #[arg(long)]
    pub json: bool,
    /// How many lines at most, the newest
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
    /// The item, by its id, key, or record
    pub item: String,
}

/// What happens, as it happens.
#[derive(Debug, Args)]
pub struct Watch {
    #[command(flatten)]
    pub at: At,
    /// Print each message as JSON
    #[arg(long)]
    pub json: bool,
    /// Print states that are only told again, too: agents and health are told every few minutes
    #[arg(long)]
    pub all: bool,
    /// Rooms: all, item:<id or key>, record:<system>/<kind>/<id>, project:<key>, agent:<name>, workflow:<name>, system_alerts, health,
    /// deliveries, …; a name may end with *
    #[arg(default_value = "all")]
    pub rooms: Vec<String>,
}

/// A backfill. It speaks to NATS and to the system itself, with the configuration of the services.
#[derive(Debug, Args)]
pub struct Resync {
    /// Which
    #[arg(value_parser = PossibleValuesParser::new(connectors::names()))]
    pub system: String,
    /// Only what changed since: a time (2026-11-20T09:30:00Z), a day (2026-11-20), or a while ago (90m, 12h, 7d)
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Since>,
    /// Say what would change and what would be written, and change and write nothing
    #[arg(long, conflicts_with = "fresh")]
    pub dry_run: bool,
    /// Begin at the beginning, whatever an interrupted run left
    #[arg(long)]
    pub fresh: bool,
    /// Print each line as JSON
    #[arg(long)]
    pub json: bool,
}

/// A health check.
#[derive(Debug, Args)]
pub struct Health {
    /// The whole address, such as http://127.0.0.1:8080/readyz
    #[arg(long)]
    pub url: String,
}

/// The tracked tables.
#[derive(Debug, Subcommand)]
pub enum Postgres {
    /// Print the SQL that makes the tracked tables tell of their changes
    Install {
        /// Run it instead of printing it
        #[arg(long)]
        apply: bool,
        /// Grant this role what the connector needs, where it signs in as one that does not own the tables
        #[arg(long = "for", value_name = "ROLE", value_parser = |role: &str| Name::new(role))]
        role: Option<Name>,
    },
}
