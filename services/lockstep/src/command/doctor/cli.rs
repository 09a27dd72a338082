//! What can be said after `lockstep doctor`.

use clap::Args;

/// A look at everything.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
}
