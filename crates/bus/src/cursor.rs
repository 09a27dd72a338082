//! Small values that survive a restart: where a sweep begins next time.

use anyhow::Context;
use bytes::Bytes;

use crate::server::Keys;
use crate::{Bus, topology};

/// What the names of the cursors of sweeps begin with; the system follows.
pub const SWEEPS: &str = "sweep/";
const MARK: &str = "mark";
/// Attempts at changing a value that others change as well.
const AMEND_ATTEMPTS: u32 = 5;

impl Bus {
    /// The value stored under a name.
    pub async fn cursor(&self, name: &str) -> anyhow::Result<Option<Bytes>> {
        Ok(self.cursors().await?.entry(&key(name)).await?.map(|entry| entry.value))
    }

    /// The value stored under a name, and its revision, which is another each time that one is stored.
    pub async fn cursor_at(&self, name: &str) -> anyhow::Result<Option<(Bytes, u64)>> {
        Ok(self.cursors().await?.entry(&key(name)).await?.map(|entry| (entry.value, entry.revision)))
    }

    /// Stores a value under a name, and waits until it is stored.
    pub async fn store_cursor(&self, name: &str, value: Bytes) -> anyhow::Result<()> {
        self.cursors().await?.put(&key(name), value).await?;
        Ok(())
    }

    /// Stores a value in place of the one of this revision, and says whether that was still there: it is left alone where another was
    /// stored since.
    pub async fn replace_cursor(&self, name: &str, value: Bytes, revision: u64) -> anyhow::Result<bool> {
        let (cursors, key) = (self.cursors().await?, key(name));
        let Err(error) = cursors.update(&key, value.clone(), revision).await else { return Ok(true) };
        match cursors.entry(&key).await? {
            Some(entry) if entry.revision == revision => Err(error),
            // The answer may have been lost, and nothing else.
            Some(entry) => Ok(entry.value == value),
            None => Ok(false),
        }
    }

    /// Changes the value stored under a name, whoever else does so meanwhile. `change` answers with nothing where it is right as it is,
    /// and is asked again where another was faster.
    pub async fn amend_cursor(
        &self,
        name: &str,
        mut change: impl FnMut(Option<Bytes>) -> anyhow::Result<Option<Bytes>>,
    ) -> anyhow::Result<()> {
        let (cursors, key) = (self.cursors().await?, key(name));
        for attempt in 1.. {
            let (known, revision) = cursors.entry(&key).await?.map(|entry| (entry.value, entry.revision)).unzip();
            let Some(value) = change(known)? else { break };
            let stored = match revision {
                Some(revision) => cursors.update(&key, value, revision).await,
                None => cursors.create(&key, value).await,
            };
            match stored {
                Ok(_) => break,
                Err(error) if attempt == AMEND_ATTEMPTS => return Err(error),
                Err(error) => tracing::debug!(name, error = format!("{error:#}"), "another was faster, it seems"),
            }
        }
        Ok(())
    }

    /// The mark that stands here and in PostgreSQL, and its revision.
    pub async fn mark(&self) -> anyhow::Result<Option<(i64, u64)>> {
        let Some(entry) = self.cursors().await?.entry(MARK).await? else { return Ok(None) };
        let at = std::str::from_utf8(&entry.value)?.parse().context("the mark on the bus is no number")?;
        Ok(Some((at, entry.revision)))
    }

    /// Sets the mark in place of the one of this revision. An error where another process set it meanwhile.
    pub async fn set_mark(&self, at: i64, revision: Option<u64>) -> anyhow::Result<()> {
        let (cursors, value) = (self.cursors().await?, Bytes::from(at.to_string()));
        match revision {
            Some(revision) => cursors.update(MARK, value, revision).await?,
            None => cursors.create(MARK, value).await?,
        };
        Ok(())
    }

    /// Lets every sweep begin anew, as if there had been none.
    pub async fn begin_sweeps_anew(&self) -> anyhow::Result<()> {
        let (cursors, sweeps) = (self.cursors().await?, key(SWEEPS));
        for name in cursors.names().await?.into_iter().filter(|name| name.starts_with(&sweeps)) {
            cursors.put(&name, Bytes::from_static(b"null")).await?;
        }
        Ok(())
    }

    async fn cursors(&self) -> anyhow::Result<Keys> {
        self.server.keys(topology::CURSORS).await
    }
}

fn key(name: &str) -> String {
    topology::token(name).replace(['#', ':', '@'], "_")
}
