//! The one task that sends what is due.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::{
    Outcome, RetryPolicy, Signed, Signer,
    queue::{Inner, Job},
};
use crate::clock;

/// Sends, one after the other.
pub struct Sender {
    pub inner: Arc<Inner>,
    pub policy: RetryPolicy,
    pub signer: Signer,
    pub client: reqwest::Client,
}

struct Answer {
    status: Option<u16>,
    error: Option<String>,
}

impl Sender {
    /// Sends until it is dropped.
    pub async fn run(&self) {
        let mut changed = self.inner.changed.subscribe();
        loop {
            changed.borrow_and_update();
            match self.next() {
                Next::Job(job, target) => self.attempt(job, target).await,
                Next::At(due) => {
                    // Either way the queue is looked at again.
                    let _ = timeout_at(due, changed.changed()).await;
                }
                Next::Nothing => {
                    if changed.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn next(&self) -> Next {
        let mut queue = self.inner.lock();
        let Some(((due, _), _)) = queue.jobs.first_key_value() else {
            return Next::Nothing;
        };
        if *due > Instant::now() {
            return Next::At(*due);
        }
        let Some((_, job)) = queue.jobs.pop_first() else {
            return Next::Nothing;
        };
        queue.sending = 1;
        let target = job.delivery.target.clone().or_else(|| queue.target.clone());
        Next::Job(job, target)
    }

    async fn attempt(&self, job: Job, target: Option<String>) {
        let signed = (self.signer)(&job.delivery);
        let headers = signed.headers.clone();
        let started = Instant::now();
        let answer = self.post(signed, target).await;
        let delivered = answer.status.is_some_and(|status| (200..300).contains(&status));
        let again = if delivered { None } else { self.policy.waits.get(job.attempt).copied() };
        let mut queue = self.inner.lock();
        queue.sending = 0;
        queue.settle(job.number, |logged| {
            logged.attempts += 1;
            logged.at_ms = clock::now_ms();
            logged.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            logged.status = answer.status;
            logged.error = answer.error;
            logged.headers = headers;
            logged.outcome = match (delivered, again) {
                (true, _) => Outcome::Delivered,
                (false, Some(_)) => Outcome::Pending,
                (false, None) => Outcome::Failed,
            };
        });
        if !job.held {
            queue.release();
        }
        if let Some(wait) = again {
            queue.push(Instant::now() + wait, Job { attempt: job.attempt + 1, held: false, ..job });
        }
        drop(queue);
        self.inner.wake();
    }

    async fn post(&self, signed: Signed, target: Option<String>) -> Answer {
        let Some(target) = target else {
            return Answer { status: None, error: Some("no address to send to".to_owned()) };
        };
        let mut request = self.client.post(target).header("content-type", "application/json");
        for (name, value) in signed.headers {
            request = request.header(name, value);
        }
        match request.body(signed.body).send().await {
            Ok(response) => Answer { status: Some(response.status().as_u16()), error: None },
            Err(error) => Answer { status: None, error: Some(error.to_string()) },
        }
    }
}

enum Next {
    Job(Job, Option<String>),
    At(Instant),
    Nothing,
}
