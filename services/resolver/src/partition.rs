//! One partition of the observations: whoever holds its lease reads it, and hands on what is there, batch by batch.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::bail;
use bus::{Bus, Received, Share};
use runtime::Process;
use store::Store;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::worker::RETRY;

/// Everything one partition's task needs.
pub(crate) struct Reader {
    pub(crate) partition: u32,
    /// The most messages handed on at once.
    pub(crate) batch: usize,
    pub(crate) process: Process,
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) share: Share,
    pub(crate) read: mpsc::Sender<Read>,
}

/// What was read of one partition at once.
pub(crate) struct Read {
    pub(crate) messages: Vec<Received>,
    pub(crate) source: Source,
    /// Until it is dropped nothing more is read: meanwhile the next batch grows.
    pub(crate) turn: OwnedSemaphorePermit,
}

/// Where messages were read. The partition is held until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Source {
    lost: CancellationToken,
    given_up: CancellationToken,
    #[expect(dead_code, reason = "held, not used: the reader waits until all of them are gone")]
    open: Option<mpsc::Sender<Infallible>>,
}

impl Source {
    /// Whether somebody else reads the partition now, or should.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Not all that was read will be carried out: it must be read anew.
    pub(crate) fn give_up(&self) {
        self.given_up.cancel();
    }

    /// Whether something that was read before will not be carried out.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.is_cancelled()
    }
}

impl Reader {
    /// Runs until shutdown. Whoever holds the partition's lease reads it; the order of a record's observations is the
    /// stream's, and the item rows' locks keep it safe whoever reads.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let shutdown = self.process.shutdown();
        while let Some(lease) = self.share.lease(self.partition).await {
            let ended = self.hold(lease.lost()).await;
            // Before any wait: somebody else may be waiting for it.
            drop(lease);
            if let Err(error) = ended {
                tracing::warn!(partition = self.partition, error = format!("{error:#}"), "the partition is read anew");
                shutdown.run_until_cancelled(tokio::time::sleep(RETRY.wait(1, None, runtime::jitter()))).await;
            }
        }
        Ok(())
    }

    /// Reads the partition for as long as the lease is held and the process goes on, and waits for what was read to be done.
    async fn hold(&self, lost: &CancellationToken) -> anyhow::Result<()> {
        // The stream may have been made anew: what was read of the old one says nothing of this one.
        crate::enter_epoch(&self.bus, &self.store).await?;
        let (open, mut all_done) = mpsc::channel(1);
        let ended = self.read_all(lost, open).await;
        all_done.recv().await;
        ended
    }

    async fn read_all(&self, lost: &CancellationToken, open: mpsc::Sender<Infallible>) -> anyhow::Result<()> {
        let mut feed = self.bus.observations(self.partition).await?;
        let given_up = CancellationToken::new();
        let turns = Arc::new(Semaphore::new(1));
        loop {
            let next = async {
                let turn = Arc::clone(&turns).acquire_owned().await?;
                anyhow::Ok((feed.next_batch(self.batch).await?, turn))
            };
            let (messages, turn) = tokio::select! {
                biased;
                () = self.process.shutdown().cancelled() => return Ok(()),
                () = lost.cancelled() => return Ok(()),
                () = given_up.cancelled() => bail!("what was read could not be carried out"),
                next = next => next?,
            };
            let source = Source { lost: lost.clone(), given_up: given_up.clone(), open: Some(open.clone()) };
            if self.read.send(Read { messages, source, turn }).await.is_err() {
                // Nobody carries anything out any more: the process ends.
                return Ok(());
            }
        }
    }
}
