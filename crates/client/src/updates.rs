//! Sends statuses in the background, by one connection that outlives breaks, and gives each call its answer.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use reqwest::Url;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use crate::credential::Credential;
use crate::outbox::{Next, Outbox};
use crate::propagation::{NotStored, Stored};
use crate::watch::Line;
use crate::{Accepted, Backoff, Error, Status};

/// The queue of one client. A clone is the same; when the last is dropped it ends.
#[derive(Debug, Clone)]
pub(crate) struct Updates {
    shared: Arc<Shared>,
    alive: mpsc::Sender<Infallible>,
}

#[derive(Debug)]
struct Shared {
    outbox: Mutex<Outbox>,
    /// There is something to send.
    added: Notify,
}

impl Shared {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // It is changed whole or not at all: what a panic elsewhere left is good.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Updates {
    /// Starts the task that sends; needs a Tokio runtime. It connects once there is something to send.
    pub(crate) fn start(url: Url, credential: Credential, queue_max: usize) -> Self {
        let shared = Arc::new(Shared { outbox: Mutex::new(Outbox::new(queue_max)), added: Notify::new() });
        let (alive, dropped) = mpsc::channel(1);
        tokio::spawn(Task { shared: Arc::clone(&shared), dropped, url, credential }.run());
        Self { shared, alive }
    }

    /// Whether its task is gone, with the runtime that it was started in.
    pub(crate) fn is_over(&self) -> bool {
        self.alive.is_closed()
    }

    /// Waits until each status is stored or will not be.
    pub(crate) async fn send(&self, statuses: &[Status]) -> Result<(Vec<Stored>, Vec<NotStored>), Error> {
        let named = |status: &Status| {
            let id = status.id.clone().unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
            Status { id: Some(id), ..status.clone() }
        };
        let statuses: Vec<Status> = statuses.iter().map(named).collect();
        let endings = self.shared.outbox().add(statuses.clone())?;
        self.shared.added.notify_one();
        let (mut stored, mut refused) = (Vec::new(), Vec::new());
        for (ending, status) in endings.into_iter().zip(statuses) {
            match ending.await.unwrap_or_else(|_| Err(stopped())) {
                Ok(one) => stored.push(one),
                Err(error) => {
                    let id = status.id.unwrap_or_default();
                    refused.push(NotStored { record: status.record, id, error });
                }
            }
        }
        Ok((stored, refused))
    }
}

struct Task {
    shared: Arc<Shared>,
    dropped: mpsc::Receiver<Infallible>,
    url: Url,
    credential: Credential,
}

impl Drop for Task {
    fn drop(&mut self) {
        // Its runtime may end while a call of another waits, which nobody else would answer. That this is over is known before.
        self.dropped.close();
        self.shared.outbox().end(stopped());
    }
}

/// Nothing is sent any more; the next call has a task of its own.
fn stopped() -> Error {
    Error::unavailable("the runtime in which statuses were sent has ended")
}

type Sending = Pin<Box<dyn Future<Output = Result<Vec<Accepted>, Error>> + Send>>;
type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Task {
    async fn run(mut self) {
        loop {
            if self.shared.outbox().len() == 0 {
                tokio::select! {
                    _ = self.dropped.recv() => return,
                    () = self.shared.added.notified() => continue,
                }
            }
            let line = Line::open(self.url.clone(), self.credential.clone(), Backoff::default());
            let error = match line {
                Ok(line) => self.serve(line).await,
                Err(error) => Some(error),
            };
            let Some(error) = error else { return };
            tracing::debug!(%error, "statuses cannot be sent");
            self.shared.outbox().close(&error);
        }
    }

    /// Sends what comes until the connection ends for good, by an error, or the last client is dropped.
    async fn serve(&mut self, mut line: Line) -> Option<Error> {
        let (mut sending, mut pause): (Option<Sending>, Option<Pause>) = (None, None);
        let mut attempt = 0;
        loop {
            let stands_at = line.stands_at();
            if stands_at.is_none() && sending.take().is_some() {
                self.shared.outbox().lost();
            }
            if let (Some(position), None, None) = (&stands_at, &sending, &pause) {
                let next = self.shared.outbox().next(line.message_max_bytes(), SystemTime::now(), position);
                sending = next.map(|statuses| -> Sending { Box::pin(line.speaker().update_status(statuses)) });
            }
            let next = tokio::select! {
                _ = self.dropped.recv() => return None,
                () = self.shared.added.notified() => Next::Now,
                changed = line.changed() => match changed {
                    Ok(()) => Next::Now,
                    Err(error) => return Some(error),
                },
                () = once(&mut pause) => Next::Now,
                answer = once(&mut sending) => self.answered(answer, &mut attempt),
            };
            if next == Next::Later {
                attempt += 1;
                let wait = Backoff::default().wait(attempt, rand::random()).unwrap_or_default();
                pause = Some(Box::pin(sleep(wait)));
            }
        }
    }

    fn answered(&self, answer: Result<Vec<Accepted>, Error>, attempt: &mut u32) -> Next {
        let mut outbox = self.shared.outbox();
        match answer {
            Ok(accepted) => {
                *attempt = 0;
                outbox.stored(&accepted);
                return Next::Now;
            }
            Err(ref error @ Error::Refused { ref code, ref errors, .. }) => return outbox.refused(code, error, errors),
            // Whether they are stored is not known: they are sent again, with their ids.
            Err(_) => outbox.lost(),
        }
        Next::Later
    }
}

/// What comes of a future, which empties its place; never while there is none.
async fn once<T>(place: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    let Some(future) = place else { return std::future::pending().await };
    let output = future.await;
    *place = None;
    output
}

#[cfg(test)]
mod tests;
