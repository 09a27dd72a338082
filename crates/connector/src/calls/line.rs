//! The line before one credential's calls: who waits, who goes next, and what is known of the limits.

use std::collections::HashMap;
use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use runtime::Metrics;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::asking::Asking;
use super::limits::Limit;
use super::pacer::{Drawn, Ended, Need, Pacer};
use crate::Failure;
use crate::lanes::Lanes;

/// Whoever would have to wait for longer leaves the line, and is told when to come again.
const PATIENCE: Duration = Duration::from_secs(30);

/// The line of one credential. It is as long as there are tasks that ask: the loop bounds those.
pub(super) struct Line {
    system: &'static str,
    metrics: Metrics,
    state: Mutex<State>,
    /// Nobody went though there was room: those who wait should look how long it will be.
    stuck: Notify,
}

struct State {
    pacer: Pacer,
    waiting: Lanes<Waiting>,
    turn_taken: bool,
    last_id: u64,
}

struct Waiting {
    id: u64,
    need: Need,
    wants: Wants,
    told: oneshot::Sender<Place>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// To make one call.
    Call,
    /// The turn to write, which one has at a time.
    Turn,
}

/// What was waited for, until it is dropped.
pub(super) struct Place {
    line: Arc<Line>,
    held: Option<Held>,
    sent: bool,
}

enum Held {
    Call(Drawn),
    Turn,
}

impl Line {
    pub(super) fn new(system: &'static str, metrics: Metrics, pacer: Pacer) -> Arc<Self> {
        let state = State { pacer, waiting: Lanes::default(), turn_taken: false, last_id: 0 };
        Arc::new(Self { system, metrics, state: Mutex::new(state), stuck: Notify::new() })
    }

    /// Whether writes go one at a time, and so by turns.
    pub(super) fn has_turns(&self) -> bool {
        self.state().pacer.spaces_writes()
    }

    /// Waits for a place. [`Failure::Limited`] when that would take too long, or when nobody wants it any more.
    pub(super) async fn wait(self: &Arc<Self>, need: Need, wants: Wants, asking: &Asking) -> Result<Place, Failure> {
        let limited =
            |why: &str, retry_after| Err(Failure::Limited { why: format!("{}{why}", self.system), retry_after });
        let (told, mut place) = oneshot::channel();
        let _waits = Waits::new(self, Waiting { id: 0, need, wants, told });
        loop {
            let mut stuck = std::pin::pin!(self.stuck.notified());
            stuck.as_mut().enable();
            let wait = self.look(&need);
            if let Ok(place) = place.try_recv() {
                return Ok(place);
            }
            if let Some(wait) = wait.filter(|wait| *wait > PATIENCE) {
                return limited("'s limits leave no room for this now", wait);
            }
            let in_time = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    // Somebody's end is what this waits for.
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                Ok(place) = &mut place => return Ok(place),
                () = asking.ends.cancelled() => return limited(": nobody waits for this any more", Duration::ZERO),
                () = stuck => {}
                () = in_time => {}
            }
        }
    }

    /// Lets go whoever may, and says how long a call like this has to wait for the system.
    fn look(self: &Arc<Self>, need: &Need) -> Option<Duration> {
        let now = Instant::now();
        let (unwanted, wait) = {
            let mut state = self.state();
            let (_, unwanted) = self.let_go(&mut state, now);
            (unwanted, state.pacer.wait(need, now))
        };
        drop(unwanted);
        wait
    }

    /// How many went. The places that nobody took are to be dropped without the lock.
    fn let_go(self: &Arc<Self>, state: &mut State, now: Instant) -> (usize, Vec<Place>) {
        let (mut went, mut unwanted) = (0, Vec::new());
        loop {
            let State { pacer, waiting, turn_taken, .. } = state;
            let room = |wants| if wants == Wants::Turn { !*turn_taken } else { !pacer.is_full() };
            let may = |one: &Waiting| room(one.wants) && pacer.wait(&one.need, now).is_none();
            let Some(next) = waiting.pick(may) else { return (went, unwanted) };
            let held = match next.wants {
                Wants::Turn => {
                    *turn_taken = true;
                    Held::Turn
                }
                Wants::Call => {
                    let labels = [self.system, next.need.lane.as_str()];
                    self.metrics.pacer_granted_total.with_label_values(&labels).inc();
                    Held::Call(pacer.begin(&next.need, now))
                }
            };
            went += 1;
            let place = Place { line: Arc::clone(self), held: Some(held), sent: false };
            unwanted.extend(next.told.send(place).err());
        }
    }

    /// Takes back what was held, and lets others go.
    fn end(self: &Arc<Self>, held: &Held, ended: Ended<'_>) -> Option<Duration> {
        let now = Instant::now();
        let (refused, unwanted) = {
            let mut state = self.state();
            let refused = match held {
                Held::Call(drawn) => state.pacer.end(drawn, ended, now),
                Held::Turn => {
                    state.turn_taken = false;
                    None
                }
            };
            let (went, unwanted) = self.let_go(&mut state, now);
            if went == 0 && !state.waiting.is_empty() {
                self.stuck.notify_waiters();
            }
            (refused, unwanted)
        };
        drop(unwanted);
        if refused.is_some() {
            self.metrics.pacer_refused_total.with_label_values(&[self.system]).inc();
        }
        refused
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The call goes out now.
    pub(super) fn sends(&mut self) {
        self.sent = true;
    }

    /// The call was answered. How long to wait, when it was turned away.
    pub(super) fn answered(mut self, limit: &Limit) -> Option<Duration> {
        self.held.take().and_then(|held| self.line.end(&held, Ended::Answered(limit)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.line.end(&held, if self.sent { Ended::Unanswered } else { Ended::Unsent });
        }
    }
}

/// Somebody's being in the line; dropped, they wait no longer.
struct Waits<'a> {
    line: &'a Line,
    id: u64,
    lane: &'static str,
}

impl<'a> Waits<'a> {
    fn new(line: &'a Line, waiting: Waiting) -> Self {
        let mut state = line.state();
        state.last_id += 1;
        let id = state.last_id;
        let waits = Self { line, id, lane: waiting.need.lane.as_str() };
        state.waiting.push(waiting.need.lane, Waiting { id, ..waiting });
        waits.count(1);
        waits
    }

    fn count(&self, more: i64) {
        self.line.metrics.pacer_waiting.with_label_values(&[self.line.system, self.lane]).add(more);
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        // Not in the line any more when the place was given.
        let left = self.line.state().waiting.remove(|one| one.id == self.id);
        drop(left);
        self.count(-1);
    }
}

/// The lines of a process, by credential: whoever comes with the same one stands in the same line.
#[derive(Default)]
pub(super) struct Credentials {
    hasher: RandomState,
    /// By the credential's hash, for the credential itself is nothing to keep.
    lines: Mutex<HashMap<(&'static str, u64), Weak<Line>>>,
}

impl Credentials {
    /// The line of a system's credential; `new` where there is none yet.
    pub(super) fn line(&self, system: &'static str, credential: &str, new: impl FnOnce() -> Arc<Line>) -> Arc<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|_, line| line.strong_count() > 0);
        let key = (system, self.hasher.hash_one(credential));
        if let Some(line) = lines.get(&key).and_then(Weak::upgrade) {
            return line;
        }
        let line = new();
        lines.insert(key, Arc::downgrade(&line));
        line
    }
}

#[cfg(test)]
mod tests;
