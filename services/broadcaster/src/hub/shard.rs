//! One thread of the hub: its clients, and the loop that looks after them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use slab::Slab;
use tokio::runtime;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::LocalSet;
use tokio::time::MissedTickBehavior;

use super::client::{Client, TRANSPORTS};
use super::index::{Index, Key};
use super::round::Mask;
use super::{Order, drive};
use crate::Shared;
use crate::filter::Filters;
use crate::position::Position;

/// What a thread is told.
pub type Orders = UnboundedReceiver<Order>;

/// One thread's clients.
pub struct Shard {
    pub(super) shared: Arc<Shared>,
    /// Which thread it is.
    pub(super) number: usize,
    /// Where what must be waited for is done.
    pub(super) main: runtime::Handle,
    pub(super) clients: Slab<Client>,
    pub(super) by_serial: HashMap<u64, Key>,
    pub(super) index: Index,
    pub(super) filters: Filters,
    /// By key of an item that is not known yet, those who follow it.
    pub(super) seekers: HashMap<Box<str>, Vec<Key>>,
    /// How often clients asked for rooms, or began anew in them.
    pub(super) askings: u64,
    /// The newest event that was handed out, and where a client is that was handed it.
    pub(super) applied: u64,
    pub(super) position: Position,
    /// By client, the events of a round that it is due; all 0 between rounds.
    pub(super) due: Vec<Mask>,
    /// Those who are due any.
    pub(super) wanted: Vec<Key>,
    /// Those for whom something waits that may be written.
    pub(super) dirty: Vec<Key>,
    /// Rings when a task that watches a socket leaves some of those to the loop.
    pub(super) work: Rc<Notify>,
    /// Where messages are joined.
    pub(super) scratch: Vec<u8>,
    /// Where sockets are read into.
    pub(super) inlet: Vec<u8>,
    /// Events handed to clients, by transport.
    pub(super) told: [u64; TRANSPORTS.len()],
    pub(super) now_ms: i64,
    pub(super) draining: bool,
    /// Sockets that were taken in and are not watched yet.
    pub(super) unwatched: Vec<(Key, u64)>,
}

/// How much is read from a socket at once.
const INLET: usize = 16 * 1024;
/// Idle clients need no clock finer than this.
const TICK_MAX: Duration = Duration::from_millis(250);

/// Runs a thread until it was drained.
pub fn run(of: Arc<Shared>, number: usize, orders: Orders, main: runtime::Handle) -> anyhow::Result<()> {
    let own = runtime::Builder::new_current_thread().enable_all().build().context("a hub's thread has no runtime")?;
    let local = LocalSet::new();
    local.block_on(&own, serve(of, number, orders, main));
    Ok(())
}

async fn serve(of: Arc<Shared>, number: usize, mut orders: Orders, main: runtime::Handle) {
    let mut newest = of.history.watch();
    let tick = (of.config.ping() / 4).clamp(Duration::from_millis(20), TICK_MAX);
    let mut clock = tokio::time::interval(tick);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let applied = of.history.last();
    let work = Rc::new(Notify::new());
    of.hub.shards[number].progress.set(applied);
    let shard = Rc::new(RefCell::new(Shard {
        position: of.history.position(),
        applied,
        number,
        main,
        now_ms: of.process.now_ms(),
        clients: Slab::new(),
        by_serial: HashMap::new(),
        index: Index::default(),
        filters: Filters::default(),
        seekers: HashMap::new(),
        askings: 0,
        due: Vec::new(),
        wanted: Vec::new(),
        dirty: Vec::new(),
        work: Rc::clone(&work),
        scratch: Vec::new(),
        inlet: vec![0; INLET],
        told: [0; TRANSPORTS.len()],
        draining: false,
        unwatched: Vec::new(),
        shared: of,
    }));
    loop {
        let busy = shard.borrow().has_work();
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(order) => shard.borrow_mut().obey(order),
                None => return,
            },
            _ = clock.tick() => shard.borrow_mut().tick(),
            // Whatever waits at the sockets gets its turn between two rounds.
            () = tokio::task::yield_now(), if busy => {}
            () = work.notified(), if !busy => {}
            changed = newest.changed(), if !busy => if changed.is_err() { return },
        }
        let mut this = shard.borrow_mut();
        this.now_ms = this.shared.process.now_ms();
        this.hand_out();
        for (key, serial) in std::mem::take(&mut this.unwatched) {
            tokio::task::spawn_local(drive::watch(Rc::clone(&shard), key, serial));
        }
        if this.draining && this.clients.is_empty() {
            return;
        }
    }
}

impl Shard {
    /// Whether there is something to hand out or to write at once.
    fn has_work(&self) -> bool {
        !self.dirty.is_empty() || self.applied < self.shared.history.last()
    }

    /// The client with this serial number, if it is still here.
    pub(super) fn key_of(&self, serial: u64) -> Option<Key> {
        self.by_serial.get(&serial).copied()
    }

    /// The number of one more asking for rooms, or beginning anew in them.
    pub(super) fn asking(&mut self) -> u64 {
        self.askings += 1;
        self.askings
    }
}
