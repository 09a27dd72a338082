//! Tickets: a value that whoever shows the right secret may take once, and soon.
//!
//! Knows only digests of the secrets: who reads the bucket cannot make a ticket of what is in it.

use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;

use crate::Bus;

/// A ticket that nobody took is gone after this, by the server's clock.
pub(crate) const EXPIRES: Duration = Duration::from_secs(30);

impl Bus {
    /// How long a ticket counts.
    pub const TICKET_EXPIRES: Duration = EXPIRES;

    /// Keeps a value, which must not be empty, for whoever brings the ticket of this digest within
    /// [`TICKET_EXPIRES`](Self::TICKET_EXPIRES).
    pub async fn put_ticket(&self, digest: &[u8; 32], value: Bytes) -> anyhow::Result<()> {
        ensure!(!value.is_empty(), "a ticket stands for something");
        self.server.tickets().await?.put(&hex::encode(digest), value).await?;
        Ok(())
    }

    /// The value behind the ticket of this digest, once: of several who ask, on any connection, one has it. None where there
    /// is no such ticket, or none any more. After an error it may be there or not.
    pub async fn take_ticket(&self, digest: &[u8; 32]) -> anyhow::Result<Option<Bytes>> {
        self.server.tickets().await?.take(&hex::encode(digest)).await
    }
}
