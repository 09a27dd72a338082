//! Small values that survive a restart: where a sweep begins next time.

use bytes::Bytes;

use crate::server::Keys;
use crate::{Bus, topology};

impl Bus {
    /// The value stored under a name.
    pub async fn cursor(&self, name: &str) -> anyhow::Result<Option<Bytes>> {
        Ok(self.cursors().await?.entry(&key(name)).await?.map(|entry| entry.value))
    }

    /// Stores a value under a name, and waits until it is stored.
    pub async fn store_cursor(&self, name: &str, value: Bytes) -> anyhow::Result<()> {
        self.cursors().await?.put(&key(name), value).await?;
        Ok(())
    }

    async fn cursors(&self) -> anyhow::Result<Keys> {
        self.server.keys(topology::CURSORS).await
    }
}

fn key(name: &str) -> String {
    topology::token(name).replace(['#', ':', '@'], "_")
}
