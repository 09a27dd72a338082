//! Leases: at most one holder of a name at a time, as well as clocks and networks allow. What must be safe is made safe
//! elsewhere; a lease keeps two readers from doing the same work.

use std::time::Duration;

use runtime::Process;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::server::Keys;
use crate::share::Place;
use crate::{Bus, topology};

/// A lease that is not renewed is gone after this, by the server's clock.
pub(crate) const EXPIRES: Duration = Duration::from_secs(6);
pub(crate) const RENEW: Duration = Duration::from_secs(2);
/// A holder believes itself no longer than this after its last renewal began.
const BELIEVED: Duration = Duration::from_secs(5);
/// How long one attempt at a renewal waits for its answer: one that is lost must not cost the lease.
const ATTEMPT: Duration = Duration::from_secs(1);
/// How often a waiting one looks.
const LOOK: Duration = Duration::from_millis(500);

/// A lease that is held. It is given back when it is dropped.
#[derive(Debug)]
pub struct Lease {
    lost: CancellationToken,
    released: CancellationToken,
    place: Option<Place>,
}

impl Lease {
    /// Cancelled when the lease could not be renewed in time: somebody else may hold it now. A lease of a [`Share`](crate::Share)
    /// also when it is wanted back.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// The same, counted among those of a share.
    pub(crate) fn within(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.released.cancel();
        drop(self.place.take());
    }
}

impl Bus {
    /// Waits until the lease is held, through outages of the bus, too. `None` when the process ends first.
    pub async fn lease(&self, name: &str, process: &Process) -> Option<Lease> {
        let keys = loop {
            match self.leases().await {
                Ok(keys) => break keys,
                Err(error) => tracing::warn!(lease.name = name, error = format!("{error:#}"), "cannot ask for a lease"),
            }
            look_again(process).await?;
        };
        // Whoever ends takes nothing any more: what it has just given back would be its own again.
        while !process.shutdown().is_cancelled() {
            if let Some(lease) = try_lease(&keys, name, process, CancellationToken::new()).await {
                return Some(lease);
            }
            look_again(process).await?;
        }
        None
    }

    /// The bucket of leases.
    pub(crate) async fn leases(&self) -> anyhow::Result<Keys> {
        self.server.keys(topology::LEASES).await
    }
}

/// Waits before the next look; `None` when the process ends.
pub(crate) async fn look_again(process: &Process) -> Option<()> {
    let pause = LOOK + LOOK.mul_f64(runtime::jitter() / 2.0);
    process.shutdown().run_until_cancelled(tokio::time::sleep(pause)).await
}

/// The lease, unless somebody holds it or the bus does not answer. `lost` is cancelled when it is lost.
pub(crate) async fn try_lease(keys: &Keys, name: &str, process: &Process, lost: CancellationToken) -> Option<Lease> {
    let key = key(name);
    // Another lease of this process is another holder.
    let holder = format!("{}/{}/{}", process.instance(), process.service(), runtime::unique());
    let since = Instant::now();
    // An error is a holder, or an outage: either way look again.
    let revision = keys.create(&key, holder.clone().into()).await.ok()?;
    let lease = Lease { lost, released: CancellationToken::new(), place: None };
    let (lost, released, name, keys) = (lease.lost.clone(), lease.released.clone(), name.to_owned(), keys.clone());
    process.spawn("lease", async move {
        if !keep(&keys, &key, holder, revision, since, &released).await {
            tracing::warn!(lease.name = name, "lease lost");
            lost.cancel();
        }
        Ok(())
    });
    Some(lease)
}

/// A lease's key in the bucket.
pub(crate) fn key(name: &str) -> String {
    topology::token(name).replace(['#', ':', '@'], "_")
}

/// Renews until the lease is given back; `false` when it is lost before.
async fn keep(
    keys: &Keys,
    key: &str,
    holder: String,
    mut revision: u64,
    mut since: Instant,
    released: &CancellationToken,
) -> bool {
    let mut pause = RENEW;
    loop {
        tokio::select! {
            biased;
            () = released.cancelled() => {
                // If this fails the lease expires by itself.
                let give_back = keys.delete(key, revision);
                let _ = tokio::time::timeout(RENEW, give_back).await;
                return true;
            }
            () = tokio::time::sleep(pause) => {}
        }
        let began = Instant::now();
        let left = BELIEVED.saturating_sub(since.elapsed()).min(ATTEMPT);
        match tokio::time::timeout(left, keys.update(key, holder.clone().into(), revision)).await {
            Ok(Ok(renewed)) => (revision, since, pause) = (renewed, began, RENEW),
            _ if since.elapsed() >= BELIEVED => return false,
            // It may have been renewed, and only the answer lost: then the revision is another now, and ours by its value.
            _ => {
                pause = LOOK;
                match tokio::time::timeout(left, keys.entry(key)).await {
                    Ok(Ok(Some(entry))) if entry.value != holder.as_bytes() => return false,
                    Ok(Ok(Some(entry))) => revision = entry.revision,
                    // A server that was restarted knows no leases: whoever is first has it, and it is still believed to be ours.
                    Ok(Ok(None)) => {
                        let again = tokio::time::timeout(left, keys.create(key, holder.clone().into())).await;
                        if let Ok(Ok(created)) = again {
                            (revision, since, pause) = (created, began, RENEW);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}
