//! What waits to be sent, in the order it is due, and what became of the last deliveries.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::watch, time::Instant};

use super::{Delivery, Logged, Outcome};
use crate::{clock, faults::SharedFaults};

/// How many webhooks may wait; of more, the oldest is dropped and counted.
const QUEUE_MAX: usize = 100_000;
/// How many deliveries are remembered.
const LOG_MAX: usize = 1_000;

/// The queue, and who is told when it changes.
pub struct Inner {
    pub queue: Mutex<Queue>,
    pub faults: SharedFaults,
    /// Counts up whenever the queue changed: wakes the task, and those who wait until it is drained.
    pub changed: watch::Sender<u64>,
}

impl Inner {
    pub fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wake(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// What waits, and the log.
#[derive(Default)]
pub struct Queue {
    pub target: Option<String>,
    /// By when they are due and then by arrival.
    pub jobs: BTreeMap<(Instant, u64), Job>,
    pub next_job: u64,
    pub sending: usize,
    pub log: VecDeque<Logged>,
    pub next_number: u64,
    pub overflowed: u64,
}

/// One sending of a delivery.
pub struct Job {
    pub number: u64,
    pub delivery: Delivery,
    pub attempt: usize,
    pub held: bool,
}

impl Queue {
    /// Enters a delivery in the log.
    pub fn enter(&mut self, delivery: &Delivery, redelivery: bool) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.log.push_back(Logged {
            number,
            guid: delivery.guid.clone(),
            hook: delivery.hook.clone(),
            event: delivery.event.clone(),
            action: delivery.action.clone(),
            outcome: Outcome::Pending,
            status: None,
            error: None,
            attempts: 0,
            redelivery,
            at_ms: clock::now_ms(),
            duration_ms: 0,
            headers: Vec::new(),
            body: delivery.payload.clone(),
            target: delivery.target.clone(),
        });
        if self.log.len() > LOG_MAX {
            self.log.pop_front();
        }
        number
    }

    pub fn find(&self, number: u64) -> Option<&Logged> {
        let first = self.log.front()?.number;
        self.log.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    pub fn settle(&mut self, number: u64, change: impl FnOnce(&mut Logged)) {
        let place = self.log.front().and_then(|first| number.checked_sub(first.number));
        if let Some(logged) = place.and_then(|place| self.log.get_mut(usize::try_from(place).ok()?)) {
            change(logged);
        }
    }

    pub fn push(&mut self, due: Instant, job: Job) {
        if self.jobs.len() >= QUEUE_MAX
            && let Some((_, lost)) = self.jobs.pop_first()
        {
            self.overflowed += 1;
            self.settle(lost.number, |logged| logged.outcome = Outcome::Dropped);
        }
        self.next_job += 1;
        self.jobs.insert((due, self.next_job), job);
    }

    pub fn pending(&self) -> usize {
        self.sending + self.jobs.values().filter(|job| job.attempt == 0).count()
    }

    /// Makes the held-back ones due, now that another has gone.
    pub fn release(&mut self) {
        let held: Vec<_> = self.jobs.iter().filter(|(_, job)| job.held).map(|(key, _)| *key).collect();
        for key in held {
            if let Some(mut job) = self.jobs.remove(&key) {
                job.held = false;
                self.jobs.insert((Instant::now(), key.1), job);
            }
        }
    }
}
