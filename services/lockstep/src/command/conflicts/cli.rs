//! What can be said after `lockstep conflicts`.

use clap::{ArgGroup, Args, Subcommand};

use crate::cli::At;

/// Conflicts: two systems changed one item without having seen each other's change.
#[derive(Debug, Subcommand)]
pub enum Conflicts {
    /// List the conflicts that wait for a person, newest first
    List {
        #[command(flatten)]
        at: At,
        /// Those that are resolved, too
        #[arg(long)]
        all: bool,
        /// Print the API's answer
        #[arg(long)]
        json: bool,
        /// How many at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Show what a held item can become, and who wants it so
    Show {
        #[command(flatten)]
        at: At,
        /// Print the API's answer
        #[arg(long)]
        json: bool,
        /// The item, by its id, key, or record; or the conflict's id
        name: String,
    },
    /// End a hold: every system follows what is chosen
    Resolve(Resolve),
}

/// The end of a hold.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("choice").required(true)))]
pub struct Resolve {
    #[command(flatten)]
    pub at: At,
    /// The candidate that wins, by its number in `list` and `show`: with the newest edit of its record
    #[arg(long, value_name = "N", group = "choice")]
    pub pick: Option<usize>,
    /// A status that the item takes instead
    #[arg(long, value_name = "STATUS", group = "choice")]
    pub status: Option<String>,
    /// Who decides, for the history
    #[arg(long, env = "USER", value_name = "NAME")]
    pub actor: Option<String>,
    /// Print the item afterwards as the API shows it
    #[arg(long)]
    pub json: bool,
    /// The item, by its id, key, or record; or the conflict's id
    pub name: String,
}
