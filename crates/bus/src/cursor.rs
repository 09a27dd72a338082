//! Small values that survive a restart: where a sweep begins next time.

use anyhow::Context;
use async_nats::jetstream::kv::Store;
use bytes::Bytes;

use crate::{Bus, topology};

impl Bus {
    /// The value stored under a name.
    pub async fn cursor(&self, name: &str) -> anyhow::Result<Option<Bytes>> {
        Ok(self.cursors().await?.get(key(name)).await?)
    }

    /// Stores a value under a name, and waits until it is stored.
    pub async fn store_cursor(&self, name: &str, value: Bytes) -> anyhow::Result<()> {
        self.cursors().await?.put(key(name), value).await?;
        Ok(())
    }

    async fn cursors(&self) -> anyhow::Result<Store> {
        self.jetstream.get_key_value(topology::CURSORS).await.context("the bucket of cursors is missing")
    }
}

fn key(name: &str) -> String {
    topology::token(name).replace(['#', ':', '@'], "_")
}
