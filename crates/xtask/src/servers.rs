//! NATS and PostgreSQL for a run: ours on this machine, or those the environment names.

mod account;
mod external;
mod home;
mod nats;
mod ports;
mod postgres;

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::files;
use crate::process;
use crate::tools::{self, Tools, Wanted};

pub use external::{External, Named, OWN};
pub use nats::{Nats, STORAGE_MB, Setup};
pub use ports::{free, is_free};
pub use postgres::Postgres;

/// What the servers promise to keep, against how fast they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Tests: a power cut may take everything.
    Disposable,
    /// A power cut may take what NATS stored within the last second, and nothing of PostgreSQL.
    Lasting,
}

/// Ports to take if they are free; others are taken otherwise.
#[derive(Clone, Copy, Default)]
pub struct Preferred {
    /// NATS clients.
    pub nats: Option<u16>,
    /// NATS monitoring.
    pub nats_monitor: Option<u16>,
    /// PostgreSQL.
    pub postgres: Option<u16>,
}

/// Both servers. Dropping them stops those that are ours.
pub struct Servers {
    /// NATS with JetStream.
    pub nats: Nats,
    /// PostgreSQL.
    pub postgres: Postgres,
    /// Where the executables are, for those that are ours.
    pub tools: Tools,
}

impl Servers {
    /// The settings that name those that are ours.
    pub fn own_settings(&self) -> Vec<&'static str> {
        let nats = self.nats.process.as_ref().map(|_| external::NATS);
        let postgres = self.postgres.process.as_ref().map(|_| external::DATABASE);
        nats.into_iter().chain(postgres).collect()
    }

    /// Starts both on free ports with their state in `folder`, whatever the environment names.
    pub fn start(folder: &Path, durability: Durability, setup: &Setup) -> Result<Self> {
        let external = External { nats: None, postgres: None };
        Self::start_missing(external, folder, durability, Preferred::default(), setup)
    }

    /// Starts those that are not there already, with their state in `folder`.
    pub fn start_missing(
        external: External,
        folder: &Path,
        durability: Durability,
        preferred: Preferred,
        setup: &Setup,
    ) -> Result<Self> {
        let tools = tools::servers(Wanted { nats: external.nats.is_none(), postgres: external.postgres.is_none() })?;
        let nats = match external.nats {
            Some(nats) => nats,
            None => nats::start(&tools.nats_server, folder, durability, preferred, setup)?,
        };
        let postgres = match external.postgres {
            Some(postgres) => postgres,
            None => postgres::start(&tools.postgres_bin, folder, durability, preferred)?,
        };
        Ok(Self { nats, postgres, tools })
    }

    /// Fails if one of ours has ended.
    pub fn check(&mut self) -> Result<()> {
        for process in [&mut self.nats.process, &mut self.postgres.process].into_iter().flatten() {
            if let Some(status) = process.ended()? {
                return Err(process.why_ended(status));
            }
        }
        Ok(())
    }

    /// Stops those that are ours: NATS, then PostgreSQL.
    pub fn stop(mut self) {
        for process in [&mut self.nats.process, &mut self.postgres.process].into_iter().flatten() {
            process.stop();
        }
    }
}

/// Stops servers that a killed xtask left running with this folder.
pub fn stop_leftovers(folder: &Path) -> Result<()> {
    process::stop_leftovers(folder, &["nats", "postgres"])
}

/// Removes everything that servers of this folder have stored, and the secrets that were made for them.
pub fn wipe(folder: &Path) -> Result<()> {
    let data = folder.join("data");
    home::wipe(&data.join("postgres"))?;
    for name in ["nats", "credentials.json", "api.key", "nats.password"] {
        files::remove(&data.join(name))?;
    }
    // It stays where something else lies in it.
    let _ = fs::remove_dir(&data);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wipe_takes_what_was_made_here_and_leaves_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        for name in ["nats/jetstream", "postgres/cluster"] {
            fs::create_dir_all(data.join(name)).unwrap();
        }
        fs::write(data.join("thesis"), "").unwrap();
        wipe(folder.path()).unwrap();
        assert!(data.join("thesis").exists() && !data.join("nats").exists() && !data.join("postgres").exists());
        fs::remove_file(data.join("thesis")).unwrap();
        wipe(folder.path()).unwrap();
        assert!(!data.exists());
    }
}
