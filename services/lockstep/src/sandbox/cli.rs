//! What can be said after `lockstep sandbox`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The stand-ins, and a person's hand in them.
#[derive(Debug, Subcommand)]
pub enum SandboxTask {
    /// Run the stand-ins until they are told to stop
    Serve(Serve),
    /// Be a person in Linear
    Linear {
        /// The sandbox's address; without it that of `cargo xtask up`
        #[arg(long, global = true)]
        url: Option<String>,
        /// What the person does.
        #[command(subcommand)]
        edit: LinearEdit,
    },
    /// Be a person on GitHub
    Github {
        /// The sandbox's address; without it that of `cargo xtask up`
        #[arg(long, global = true)]
        url: Option<String>,
        /// What the person does.
        #[command(subcommand)]
        edit: GithubEdit,
    },
    /// Be an agent, or what makes it work
    Agent {
        /// The agent's address; without it that of `cargo xtask up`
        #[arg(long, global = true)]
        url: Option<String>,
        /// What happens.
        #[command(subcommand)]
        edit: AgentEdit,
    },
    /// Show or set how a stand-in misbehaves
    Faults(Faults),
    /// Show what a stand-in was asked for: reads, writes, and writes by record
    Counters(Counters),
}

/// The stand-ins.
#[derive(Debug, Args)]
pub struct Serve {
    /// The folder where they keep their state; without it they forget
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where Linear listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4010")]
    pub listen_linear: SocketAddr,
    /// Where GitHub listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4020")]
    pub listen_github: SocketAddr,
    /// Where the first agent listens; each further one a port above
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4030")]
    pub listen_agents: SocketAddr,
    /// How many agents there are
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub agents: u16,
    /// The address whose /webhooks/linear and /webhooks/github take webhooks
    #[arg(long, value_name = "URL")]
    pub webhooks_to: Option<String>,
    /// Write the addresses there, as JSON, once all listen
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Make the table public.tasks in this database where it is missing
    #[arg(long, env = "LOCKSTEP_SANDBOX_DATABASE", hide_env_values = true, value_name = "URL")]
    pub database: Option<String>,
}

/// What a person does in Linear.
#[derive(Debug, Subcommand)]
pub enum LinearEdit {
    /// Move an issue to another state: ENG-1 "In Review"
    Move {
        /// Its identifier
        issue: String,
        /// The state's name
        state: String,
    },
    /// Make an issue
    New {
        /// The team's key
        team: String,
        /// Its title
        title: String,
        /// Its state, in place of the team's first
        #[arg(long)]
        state: Option<String>,
    },
    /// Let Linear's own GitHub integration move a team's issues: ENG review="In Progress" merge=Done; no rules turn it off
    Automation {
        /// The team's key
        team: String,
        /// What it waits for (start, draft, review, mergeable, merge), and the state that it moves issues to
        #[arg(value_name = "EVENT=STATE", value_parser = rule)]
        rules: Vec<(String, String)>,
    },
}

fn rule(text: &str) -> Result<(String, String), String> {
    let (event, state) = text.split_once('=').ok_or("write EVENT=STATE, such as merge=Done")?;
    Ok((event.to_owned(), state.to_owned()))
}

/// What a person does on GitHub. References are owner/repository#number.
#[derive(Debug, Subcommand)]
pub enum GithubEdit {
    /// Close an issue or a pull request
    Close {
        /// Which
        reference: String,
        /// For an issue: completed or `not_planned`
        #[arg(long)]
        reason: Option<String>,
    },
    /// Open an issue or a pull request again
    Reopen {
        /// Which
        reference: String,
    },
    /// Merge a pull request
    Merge {
        /// Which
        reference: String,
    },
    /// Say that a draft is ready for review
    Ready {
        /// Which
        reference: String,
    },
    /// Make a pull request a draft again
    Draft {
        /// Which
        reference: String,
    },
    /// Review a pull request: approved or `changes_requested`
    Review {
        /// Which
        reference: String,
        /// The verdict
        state: String,
    },
    /// Open an issue: acme/web "Title"
    New {
        /// The repository
        repository: String,
        /// Its title
        title: String,
        /// Its body
        #[arg(long, default_value = "")]
        body: String,
    },
}

/// What happens to an agent.
#[derive(Debug, Subcommand)]
pub enum AgentEdit {
    /// It starts to work
    Run {
        /// Its name
        agent: String,
        /// What it was told
        message: String,
    },
    /// Its screen stands still
    Stop {
        /// Its name
        agent: String,
    },
    /// It reports an error
    Error {
        /// Its name
        agent: String,
        /// What it says
        message: String,
    },
}

/// How a stand-in misbehaves. Without any value it is shown; what is not named is reset.
#[derive(Debug, Args)]
pub struct Faults {
    /// linear, github, or an agent's name
    pub system: String,
    /// Its address; without it that of `cargo xtask up`
    #[arg(long)]
    pub url: Option<String>,
    /// Behave again
    #[arg(long)]
    pub none: bool,
    /// Probability that a webhook is lost, from 0 to 1
    #[arg(long, value_parser = share)]
    pub drop: Option<f64>,
    /// Probability that a webhook is sent twice
    #[arg(long, value_parser = share)]
    pub double: Option<f64>,
    /// A webhook waits up to so many milliseconds
    #[arg(long)]
    pub delay_ms: Option<u64>,
    /// Probability that a webhook comes after a later one
    #[arg(long, value_parser = share)]
    pub reorder: Option<f64>,
    /// Probability that a call meets the system's rate limit
    #[arg(long, value_parser = share)]
    pub limit: Option<f64>,
    /// Probability that a call is answered with a 5xx
    #[arg(long = "error-5xx", value_parser = share)]
    pub error_5xx: Option<f64>,
    /// How many milliseconds each call takes
    #[arg(long)]
    pub slow_ms: Option<u64>,
    /// Where the draws start
    #[arg(long)]
    pub seed: Option<u64>,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "must be from 0 to 1".to_owned())
}

/// What a stand-in was asked for.
#[derive(Debug, Args)]
pub struct Counters {
    /// linear, github, or an agent's name
    pub system: String,
    /// Its address; without it that of `cargo xtask up`
    #[arg(long)]
    pub url: Option<String>,
    /// Count from zero again
    #[arg(long)]
    pub reset: bool,
}
