//! Lets all systems be swept anew where what is known may not be what is there: after a change of mappings, and where PostgreSQL or the
//! bus was brought back from an old copy, or lost, which a mark shows that stands in both.
//!
//! The mark is set in PostgreSQL first, then on the bus, and then PostgreSQL is told that it is there. Where the bus has a younger one,
//! PostgreSQL went back; where it has an older one than PostgreSQL saw there, the bus did. Then commands that are known to be on their
//! way may be gone, and edits that a sweep has seen are not known here any more.

use std::time::Duration;

use bus::Bus;
use model::{Link, Policy};
use runtime::Process;
use store::{Mark, Store};

/// How often the mark is looked at and set. What happened since the last one goes unnoticed.
const EVERY: Duration = Duration::from_secs(10);
/// So long after it was done all is swept once more: another resolver, which still went by what was known or meant before, may have
/// read what was seen, and will have been restarted as well by then.
const AGAIN_MS: i64 = 130_000;
/// The same after the bus was lost: with it, that an old copy of a system was noticed, and what it brought back must be known for so long.
const AGAIN_AFTER_BUS_MS: i64 = Link::OLD_COPY_MS + 60_000;

/// What became of the two since the mark was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    /// They went on together.
    Together,
    /// PostgreSQL is an older one, or empty.
    StoreWentBack,
    /// The bus is.
    BusWentBack,
}

fn since(store: Option<Mark>, bus: Option<i64>) -> Since {
    match (store, bus) {
        (None, None) => Since::Together,
        (None, Some(_)) => Since::StoreWentBack,
        (Some(store), bus) if bus == Some(store.at) || bus == store.before => Since::Together,
        (Some(store), bus) if bus > Some(store.at) => Since::StoreWentBack,
        _ => Since::BusWentBack,
    }
}

/// What one process does about it, over and over.
pub(crate) struct Keeper {
    process: Process,
    bus: Bus,
    store: Store,
    /// What statuses mean here, until it is noted: once, for others may still go by what they meant before.
    meaning: Option<String>,
    /// It looked, when it began, whether all is to be swept once more.
    looked: bool,
}

impl Keeper {
    pub(crate) fn new(process: Process, bus: Bus, store: Store, policy: &Policy) -> Self {
        Self { process, bus, store, meaning: Some(policy.meaning().to_string()), looked: false }
    }

    /// Runs until shutdown. Of several processes that do it each looks at the marks that the others set.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        loop {
            if let Err(error) = self.turn().await {
                // Another process set the mark meanwhile, or one of the two is away.
                tracing::debug!(error = format!("{error:#}"), "the mark was not set");
            }
            if self.process.shutdown().run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
                return Ok(());
            }
        }
    }

    async fn turn(&mut self) -> anyhow::Result<()> {
        if !self.looked {
            self.put_off().await?;
            self.looked = true;
        }
        self.sweep_anew_where_due().await?;
        self.compare().await?;
        if let Some(meaning) = self.meaning.clone() {
            let known = self.store.meaning().await?;
            if known.as_ref().is_some_and(|known| *known != meaning) {
                tracing::info!("lifecycles or mappings are not what they were; all systems are swept anew");
                self.sweep_anew_and_once_more(AGAIN_MS).await?;
            }
            self.store.set_meaning(&meaning).await?;
            self.meaning = None;
        }
        Ok(())
    }

    async fn compare(&self) -> anyhow::Result<()> {
        let there = self.bus.mark().await?;
        let here = self.store.mark().await?;
        let (at, revision) = there.unzip();
        let since = since(here, at);
        if since == Since::Together {
            if let Some(here) = here.filter(|here| at != Some(here.at)) {
                // Another process is about to do this, or died before it could.
                return self.set_on_the_bus(here, revision).await;
            }
        } else {
            // Else others set it between the two looks.
            anyhow::ensure!(self.bus.mark().await? == there, "the mark was set meanwhile");
            let (which, again_ms) =
                if since == Since::BusWentBack { ("the bus", AGAIN_AFTER_BUS_MS) } else { ("PostgreSQL", AGAIN_MS) };
            tracing::warn!("{which} was brought back from an old copy, or lost; all systems are swept anew");
            self.sweep_anew_and_once_more(again_ms).await?;
        }
        let newest = here.map_or(0, |here| here.at).max(at.unwrap_or(0));
        let mark = Mark { at: self.process.now_ms().max(newest + 1), before: at };
        if self.store.set_mark(here, mark).await? {
            self.set_on_the_bus(mark, revision).await?;
        }
        Ok(())
    }

    /// From then on the bus has no older one, unless it went back.
    async fn set_on_the_bus(&self, mark: Mark, revision: Option<u64>) -> anyhow::Result<()> {
        self.bus.set_mark(mark.at, revision).await?;
        self.store.set_mark(Some(mark), Mark { before: Some(mark.at), ..mark }).await?;
        Ok(())
    }

    /// Does so now, and once more.
    async fn sweep_anew_and_once_more(&self, again_ms: i64) -> anyhow::Result<()> {
        // First of all, and where a restart does not lose it: as soon as it is noted what this was for, nobody begins it again.
        self.store.sweep_again_from(self.process.now_ms() + again_ms).await?;
        self.sweep_anew().await
    }

    /// Others may be restarted after this process, one after another.
    async fn put_off(&self) -> sqlx::Result<()> {
        self.store.put_off_sweep_again(self.process.now_ms() + AGAIN_MS).await
    }

    /// Of several processes that find it due each may do it: then the sweeps begin anew twice.
    async fn sweep_anew_where_due(&self) -> anyhow::Result<()> {
        let due = self.store.sweep_again_at().await?.filter(|at| *at <= self.process.now_ms());
        if let Some(at) = due {
            self.sweep_anew().await?;
            self.store.swept_again(at).await?;
        }
        Ok(())
    }

    /// Lets the sweeps see everything again, and what they find out of step be told again.
    async fn sweep_anew(&self) -> anyhow::Result<()> {
        let records = self.store.void_commands().await?;
        self.bus.begin_sweeps_anew().await?;
        tracing::info!(records, "commands that were on their way to these records count as lost");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whichever_has_the_older_mark_went_back() {
        let here = |at, before| Some(Mark { at, before });
        assert_eq!(since(None, None), Since::Together, "nothing was marked yet");
        assert_eq!(since(here(5, Some(4)), Some(5)), Since::Together);
        assert_eq!(since(here(5, Some(4)), Some(4)), Since::Together, "the process died in between");
        assert_eq!(since(here(5, None), None), Since::Together, "so it did, the first time");
        assert_eq!(since(here(5, Some(4)), Some(6)), Since::StoreWentBack);
        assert_eq!(since(None, Some(6)), Since::StoreWentBack);
        assert_eq!(since(here(5, Some(4)), Some(3)), Since::BusWentBack);
        assert_eq!(since(here(5, Some(4)), None), Since::BusWentBack);
        assert_eq!(since(here(5, Some(5)), Some(4)), Since::BusWentBack, "the last one was there");
    }
}
