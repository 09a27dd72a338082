//! A fair share of a group's leases: each of its live members holds at most its part, and gives back when somebody new comes.
//!
//! Members are counted in the bucket of leases, where each says every two seconds that it lives. A count that is off for a
//! moment costs a partition's time, never its safety: each partition is still a lease of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::bail;
use runtime::Process;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::lease::{Lease, RENEW, key, look_again, try_lease};
use crate::server::Keys;
use crate::{Bus, topology};

/// How the names begin of the leases of partitions: the resolvers', and the connectors'.
const GROUPS: [&str; 2] = ["observations/", "commands/"];
/// How many who hold partitions are named.
const NAMED_MAX: usize = 4;

/// One process's part in a group that divides partitions among its members.
#[derive(Clone)]
pub struct Share {
    keys: Keys,
    process: Process,
    group: Arc<str>,
    /// How many partitions it may hold; none until the members are counted.
    quota: watch::Receiver<usize>,
    held: Held,
}

/// The partitions that are held or being asked for, and what tells their holders to give them back.
#[derive(Debug, Clone, Default)]
struct Held(Arc<Mutex<BTreeMap<u32, CancellationToken>>>);

/// A partition among those held, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    held: Held,
    partition: u32,
}

impl Bus {
    /// Joins a group that divides this bus's partitions; the membership ends with the process.
    pub async fn share(&self, group: &str, process: &Process) -> anyhow::Result<Share> {
        let keys = self.leases().await?;
        let (allow, quota) = watch::channel(0);
        let held = Held::default();
        let members = Members {
            keys: keys.clone(),
            prefix: key(&format!("member/{group}")),
            instance: format!("{}-{}", process.instance(), runtime::unique().simple()),
            partitions: self.partitions(),
            bus: self.clone(),
        };
        process.spawn("share", members.keep_counting(process.shutdown().clone(), allow, held.clone()));
        Ok(Share { keys, process: process.clone(), group: group.into(), quota, held })
    }

    /// Who holds partitions now, for a person; `None` where nobody does.
    pub(crate) async fn partition_readers(&self) -> anyhow::Result<Option<String>> {
        let Some(keys) = self.server.known_keys(topology::LEASES).await? else { return Ok(None) };
        let mut readers = BTreeSet::new();
        for name in keys.names().await? {
            if GROUPS.iter().any(|group| name.starts_with(group))
                && let Some(holder) = keys.entry(&name).await?
            {
                readers.insert(shown(&String::from_utf8_lossy(&holder.value)));
            }
        }
        let others = readers.len().saturating_sub(NAMED_MAX);
        let mut named: Vec<String> = readers.into_iter().take(NAMED_MAX).collect();
        named.extend((others > 0).then(|| format!("{others} others")));
        Ok((!named.is_empty()).then(|| named.join(", ")))
    }
}

/// An error where the streams are divided into other partitions than this process reads.
fn is_ours(ours: u32, known: Option<u32>) -> anyhow::Result<()> {
    match known {
        Some(known) if known != ours => bail!(
            "nats.partitions is {ours}, and the streams were divided into {known} meanwhile: this process would read what is another's. \
             Start all resolvers and connectors with the same number"
        ),
        Some(_) | None => Ok(()),
    }
}

/// A lease's holder (its process, its service, and what tells its leases apart) for a person.
fn shown(holder: &str) -> String {
    let mut parts = holder.rsplitn(3, '/').skip(1);
    match (parts.next(), parts.next()) {
        (Some(service), Some(instance)) => format!("{service} ({instance})"),
        _ => holder.to_owned(),
    }
}

impl Share {
    /// Waits until the partition is held and within this member's part. `None` when the process ends first.
    ///
    /// [`Lease::lost`] also says that the partition is wanted back: finish what is in hand, then drop the lease.
    pub async fn lease(&self, partition: u32) -> Option<Lease> {
        let name = format!("{}/{partition}", self.group);
        // Whoever ends takes nothing any more: what it has just given back would be its own again.
        while !self.process.shutdown().is_cancelled() {
            let quota = *self.quota.borrow();
            if let Some((place, asked_back)) = self.held.take(partition, quota)
                && let Some(lease) = try_lease(&self.keys, &name, &self.process, asked_back).await
            {
                return Some(lease.within(place));
            }
            look_again(&self.process).await?;
        }
        None
    }
}

/// How the members of one group are counted.
struct Members {
    keys: Keys,
    prefix: String,
    instance: String,
    partitions: u32,
    bus: Bus,
}

impl Members {
    async fn keep_counting(
        self,
        shutdown: CancellationToken,
        allow: watch::Sender<usize>,
        held: Held,
    ) -> anyhow::Result<()> {
        loop {
            match tokio::time::timeout(RENEW, self.count()).await {
                Ok(Ok(members)) => {
                    let quota = part(self.partitions, members);
                    allow.send_replace(quota);
                    held.give_back(quota);
                }
                // As many as were counted last: the leases themselves keep two from holding one partition.
                Ok(Err(error)) => tracing::debug!(error = format!("{error:#}"), "the members were not counted"),
                Err(_) => tracing::debug!("the members were not counted in time"),
            }
            // Who looked before us may have found nobody, and divided the streams anew.
            if let Ok(Ok(known)) = tokio::time::timeout(RENEW, self.bus.server.partitions()).await {
                is_ours(self.partitions, known)?;
            }
            let pause = RENEW.mul_f64(0.5 + runtime::jitter() / 2.0);
            if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                // If this fails the sign of life expires by itself.
                let _ = tokio::time::timeout(RENEW, self.leave()).await;
                return Ok(());
            }
        }
    }

    /// Says that this one lives, and counts all that do.
    async fn count(&self) -> anyhow::Result<usize> {
        let alive = format!("{}.{}", self.prefix, self.instance);
        self.keys.put(&alive, "".into()).await?;
        self.keys.count(&self.prefix).await
    }

    /// Takes the sign of life away, without a trace that would count as one.
    async fn leave(&self) -> anyhow::Result<()> {
        self.keys.purge(&format!("{}.{}", self.prefix, self.instance)).await
    }
}

/// How many partitions each of so many members may hold.
fn part(partitions: u32, members: usize) -> usize {
    usize::try_from(partitions).unwrap_or(usize::MAX).div_ceil(members.max(1))
}

impl Held {
    /// Room for one more partition, unless there are as many as allowed.
    fn take(&self, partition: u32, quota: usize) -> Option<(Place, CancellationToken)> {
        let mut held = self.lock();
        if held.len() >= quota || held.contains_key(&partition) {
            return None;
        }
        let asked_back = CancellationToken::new();
        held.insert(partition, asked_back.clone());
        drop(held);
        Some((Place { held: self.clone(), partition }, asked_back))
    }

    /// Asks for those back that are too many.
    fn give_back(&self, quota: usize) {
        for (partition, asked_back) in self.lock().iter().skip(quota) {
            if !asked_back.is_cancelled() {
                tracing::info!(partition, "the partition is given to another member");
                asked_back.cancel();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.held.lock().remove(&self.partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_all_partitions_and_differ_by_one_at_most() {
        for partitions in 1..=64_u32 {
            for members in 1..=70 {
                let part = part(partitions, members);
                assert!(part * members >= partitions as usize && (part - 1) * members < partitions as usize);
            }
        }
    }

    #[test]
    fn what_is_too_much_is_asked_back_and_its_place_is_free_when_it_is_dropped() {
        let held = Held::default();
        let (first, keeps) = held.take(0, 2).unwrap();
        let (second, returns) = held.take(1, 2).unwrap();
        assert!(held.take(2, 2).is_none(), "no more than allowed");
        held.give_back(1);
        assert!(!keeps.is_cancelled() && returns.is_cancelled());
        assert!(held.take(2, 2).is_none(), "what is asked back is held until it is given");
        drop(second);
        assert!(held.take(2, 2).is_some());
        drop(first);
        assert!(held.take(0, 2).is_some());
    }
}
