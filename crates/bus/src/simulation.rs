//! JetStream in memory, on virtual time: streams, consumers and buckets with the server's rules, and connections that lose,
//! delay and break as real ones do.
//!
//! A copy of the server's rules and of nothing else: what the bus makes of them is the same code as over NATS. Sequences,
//! message ids and their window, newest per subject, acknowledgement floors, redelivery after `ack_wait`, expiry of keys.

mod buckets;
mod connection;
mod consumer;
mod streams;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Stream;
use crate::topology::STREAMS;

use buckets::Bucket;
use streams::Log;

pub(crate) use buckets::Change;
pub use connection::Connection;
pub(crate) use connection::{Answer, Messages};
pub use streams::Stored;

/// A server. A clone is the same server.
#[derive(Clone)]
pub struct Jetstream(Arc<Mutex<State>>);

/// How badly the network does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// The longest that anything is under way, in milliseconds.
    pub lag_ms: u64,
    /// How many in a thousand requests are lost before the server has seen them.
    pub lost: u64,
    /// How many in a thousand answers are lost after the server has done what was asked.
    pub unanswered: u64,
}

/// What the server can leave out, to see that it is missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Duty {
    /// A message that is not acknowledged comes again.
    Redelivery,
    /// Of a record's commands only the newest is kept: without it, only the oldest.
    NewestCommand,
    /// A second message of the same id is a copy.
    Copies,
    /// A lease of commands has one holder.
    Leases,
}

struct State {
    left_out: Option<Duty>,
    logs: BTreeMap<&'static str, Log>,
    buckets: BTreeMap<&'static str, Bucket>,
    faults: Faults,
}

impl Jetstream {
    /// A server with our topology and nothing in it.
    pub fn new(partitions: u32) -> Self {
        let logs = STREAMS.iter().map(|spec| (spec.name, Log::new(spec, partitions))).collect();
        let buckets = BTreeMap::from([
            (crate::topology::LEASES, Bucket::new(Some(crate::lease::EXPIRES))),
            (crate::topology::CURSORS, Bucket::new(None)),
            (crate::topology::TICKETS, Bucket::new(Some(crate::ticket::EXPIRES))),
        ]);
        Self(Arc::new(Mutex::new(State { left_out: None, logs, buckets, faults: Faults::default() })))
    }

    /// From now on the network does so badly.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// From now on the server does not do this.
    pub fn leave_out(&self, duty: Duty) {
        let mut state = self.state();
        state.left_out = Some(duty);
        state.logs.values_mut().for_each(|log| log.leave_out(duty));
    }

    /// Whether every durable consumer was given all there is, and those that share messages out have everything acknowledged.
    pub fn is_idle(&self) -> bool {
        self.state().logs.values().all(Log::is_idle)
    }

    /// Everything that was ever stored in a stream, in order.
    pub fn stored(&self, stream: Stream) -> Vec<Stored> {
        self.state().logs.get(stream.name()).map(Log::stored).unwrap_or_default()
    }

    /// Begins again after a crash: what consumers had acknowledged of late may have been forgotten, and what was kept in memory is.
    pub fn forget(&self) {
        let mut state = self.state();
        state.logs.values_mut().for_each(Log::forget_acknowledgements);
        for name in [crate::topology::LEASES, crate::topology::TICKETS] {
            state.buckets.get_mut(name).into_iter().for_each(Bucket::forget);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> Faults {
        self.state().faults
    }
}

impl State {
    fn log(&mut self, name: &str) -> Result<&mut Log, String> {
        self.logs.get_mut(name).ok_or_else(|| format!("there is no stream {name}"))
    }
}

/// The world's clock, in milliseconds since 1970.
fn now_ms() -> i64 {
    runtime::simulation::now_ms().unwrap_or_default()
}
