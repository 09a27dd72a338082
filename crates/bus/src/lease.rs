//! Leases: at most one holder of a name at a time, as well as clocks and networks allow. What must be safe is made safe
//! elsewhere; a lease keeps two readers from doing the same work.

use std::time::Duration;

use anyhow::{Context, bail};
use async_nats::jetstream::kv::Store;
use runtime::Process;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Bus, topology};

/// A lease that is not renewed is gone after this, by the server's clock.
pub(crate) const EXPIRES: Duration = Duration::from_secs(6);
const RENEW: Duration = Duration::from_secs(2);
/// A holder believes itself no longer than this after its last renewal began.
const BELIEVED: Duration = Duration::from_secs(5);
/// How often a waiting one looks.
const LOOK: Duration = Duration::from_millis(500);

/// A lease that is held. It is given back when it is dropped.
#[derive(Debug)]
pub struct Lease {
    lost: CancellationToken,
    released: CancellationToken,
}

impl Lease {
    /// Cancelled when the lease could not be renewed in time: somebody else may hold it now.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.released.cancel();
    }
}

impl Bus {
    /// Waits until the lease is held. An error when the process ends first.
    pub async fn lease(&self, name: &str, process: &Process) -> anyhow::Result<Lease> {
        let store = self.jetstream.get_key_value(topology::LEASES).await.context("the bucket of leases is missing")?;
        let key = topology::token(name).replace(['#', ':', '@'], "_");
        // Another lease of this process is another holder.
        let holder = format!("{}/{}/{}", process.instance(), process.service(), uuid::Uuid::new_v4());
        let (revision, since) = loop {
            let began = Instant::now();
            // An error is a holder, or an outage: either way look again.
            if let Ok(revision) = store.create(&key, holder.clone().into()).await {
                break (revision, began);
            }
            let pause = LOOK + LOOK.mul_f64(runtime::jitter() / 2.0);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = process.shutdown().cancelled() => bail!("stopped while waiting for the lease {name}"),
            }
        };
        let lease = Lease { lost: CancellationToken::new(), released: CancellationToken::new() };
        let (lost, released, name) = (lease.lost.clone(), lease.released.clone(), name.to_owned());
        process.spawn("lease", async move {
            keep(&store, &key, holder, revision, since, &lost, &released).await;
            if lost.is_cancelled() {
                tracing::warn!(lease.name = name, "lease lost");
            }
            Ok(())
        });
        Ok(lease)
    }
}

async fn keep(
    store: &Store,
    key: &str,
    holder: String,
    mut revision: u64,
    mut since: Instant,
    lost: &CancellationToken,
    released: &CancellationToken,
) {
    let mut pause = RENEW;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = released.cancelled() => {
                // If this fails the lease expires by itself.
                let give_back = store.delete_expect_revision(key, Some(revision));
                let _ = tokio::time::timeout(RENEW, give_back).await;
                return;
            }
        }
        let began = Instant::now();
        let left = BELIEVED.saturating_sub(since.elapsed());
        match tokio::time::timeout(left, store.update(key, holder.clone().into(), revision)).await {
            Ok(Ok(renewed)) => (revision, since, pause) = (renewed, began, RENEW),
            _ if since.elapsed() >= BELIEVED => return lost.cancel(),
            // It may have been renewed, and only the answer lost: then the revision is another now, and ours by its value.
            _ => {
                pause = LOOK;
                if let Ok(Ok(Some(entry))) = tokio::time::timeout(left, store.entry(key)).await {
                    if entry.value != holder.as_bytes() {
                        return lost.cancel();
                    }
                    revision = entry.revision;
                }
            }
        }
    }
}
