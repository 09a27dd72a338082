//! Everyone who watches, and the handing of events to all of them.
//!
//! A hub is one or a few threads. Each owns its clients alone, sockets included, so nothing of a client is locked; what the threads
//! share is the history. What must be waited for (the database, the bus, a ticket) is done on the process's runtime, and
//! comes back as an order.
//!
//! The way of an event: `Hub::tell` puts it into the history, which wakes each thread's loop (`shard`). `dispatch` takes what is new as a
//! round, asks the `index` who is due which of it, and hands a client that is live its events, joined once for all who are told the same
//! (`round`), straight to its socket. What a client does not take, or is not live for, it goes on with by itself: its `flow` pulls from the
//! history into its `outbox` whenever that is empty, until it is live again.
//!
//! The way of a subscribe: `drive` reads the socket, `session` the message, and `rooms` lets the client in, in its order: with a position
//! the flow goes back to what was missed; without one the flow is held, the rooms are read elsewhere, and come back as `Order::Read`:
//! then their pages go into the outbox, the flow remembers which versions they told, and goes on. `by_key` follows an item by its id
//! beside its key. `tick` does what is due by the clock, and `admission` counts who is here.

mod admission;
mod bucket;
mod by_key;
mod client;
mod close;
mod dispatch;
mod drive;
mod flow;
mod index;
mod mailbox;
mod outbox;
mod rooms;
mod round;
mod session;
mod shard;
mod tick;

use std::net;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, oneshot};

pub use admission::{Admission, Permit};
pub use client::TRANSPORTS;
pub use close::Close;
pub use flow::Versions;
pub use mailbox::Mailbox;

use crate::Shared;
use crate::auth::{Denied, Rights};
use crate::event::{Draft, Form};
use crate::filter::Filter;
use crate::history::Progress;
use crate::position::{Feed, Place, Position};
use crate::room::{Kind, Room};
use crate::snapshot::Snapshot;
use crate::wire::Deflate;

/// Somebody who has just come.
#[derive(Debug)]
pub struct Newcomer {
    /// Tells it from every other.
    pub serial: u64,
    /// What carries its messages.
    pub by: Carrier,
    /// In which form it is told events.
    pub form: Form,
    /// What it may, where that is known already.
    pub rights: Option<Arc<Rights>>,
    /// Its place.
    pub permit: Permit,
    /// The rooms that its address named.
    pub rooms: Vec<Room>,
    /// What of them.
    pub filter: Filter,
    /// Where it goes on.
    pub position: Option<Position>,
}

/// What carries a newcomer's messages.
#[derive(Debug)]
pub enum Carrier {
    /// A WebSocket after its handshake, with what of its first message came with that.
    Socket(net::TcpStream, Bytes, Option<Deflate>),
    /// A response that the HTTP server writes.
    Events(Arc<Mailbox>),
}

/// What the hub's threads are told to do.
#[derive(Debug)]
pub enum Order {
    /// Take somebody in.
    Admit(Box<Newcomer>),
    /// It is known who a client is, or that it is nobody.
    Known {
        /// Which client.
        serial: u64,
        /// What it may.
        rights: Result<Arc<Rights>, Denied>,
        /// What the answer refers to.
        reference: Option<String>,
    },
    /// How rooms stand is there.
    Read {
        /// Which client.
        serial: u64,
        /// Whether the client is told nothing before it.
        held: bool,
        /// Whether it is shown; else only the items' ids are wanted.
        show: bool,
        /// From which event on the rooms were joined.
        from: u64,
        /// Where a client is that was handed all before that.
        at: Position,
        /// For which asking.
        asking: u64,
        /// By room.
        found: Vec<(Room, Result<Arc<Snapshot>, String>)>,
    },
    /// What a client has read elsewhere was told here, too, or was waited for in vain: it can come back to its rooms.
    Resume {
        /// Which client.
        serial: u64,
        /// Whether it was told here.
        reached: bool,
    },
    /// Answer something that was waited for.
    Answer(u64, Value),
    /// A client takes more again.
    Writable(u64),
    /// A client is gone.
    Gone(u64),
    /// Let everyone go, one after another, within so many milliseconds; then end.
    Drain(u64),
}

/// How one thread stands.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Clients by transport.
    pub clients: [usize; TRANSPORTS.len()],
    /// Clients that are not live.
    pub behind: usize,
    /// Clients that take nothing now.
    pub blocked: usize,
    /// Subscriptions by kind of room.
    pub rooms: [usize; Kind::ALL.len()],
    /// Events handed to clients since the start, by transport.
    pub told: [u64; TRANSPORTS.len()],
    /// Events handed to clients in a second, lately.
    pub per_second: u64,
    /// Of how many events, and when, that rate was last counted.
    counted: u64,
    counted_at: i64,
}

/// Where the threads are reached.
#[derive(Debug)]
pub struct Hub {
    shards: Vec<Handle>,
    serial: AtomicU64,
    /// Rings whenever a thread has read on.
    read_on: Notify,
    /// How far ahead of the slowest thread events may be told.
    lead: u64,
}

#[derive(Debug)]
struct Handle {
    orders: UnboundedSender<Order>,
    progress: Progress,
    standing: Mutex<Standing>,
}

impl Hub {
    /// A hub of so many threads, not started yet; and what each is told.
    pub fn new(threads: usize, lead: u64) -> (Self, Vec<shard::Orders>) {
        let (shards, orders) = (0..threads.max(1))
            .map(|_| {
                let (orders, told) = unbounded_channel();
                (Handle { orders, progress: Progress::default(), standing: Mutex::default() }, told)
            })
            .unzip();
        let lead = lead.max(1);
        let hub = Self { shards, serial: AtomicU64::new(1), read_on: Notify::new(), lead };
        (hub, orders)
    }

    /// Starts the threads. They end after [`Hub::drain`], or with the process.
    pub fn start(shared: &Arc<Shared>, orders: Vec<shard::Orders>) -> anyhow::Result<()> {
        let mut ends = Vec::new();
        for (index, orders) in orders.into_iter().enumerate() {
            let (ended, end) = oneshot::channel();
            let (of, main) = (Arc::clone(shared), tokio::runtime::Handle::current());
            let run = move || {
                // Nobody waits for it any more when the process ends early.
                let _ = ended.send(shard::run(of, index, orders, main));
            };
            std::thread::Builder::new()
                .name(format!("hub-{index}"))
                .spawn(run)
                .context("a thread cannot be started")?;
            ends.push(async { end.await.unwrap_or_else(|_| anyhow::bail!("a hub's thread panicked")) });
        }
        let drained = shared.drained.clone();
        shared.process.spawn("hub", async move {
            let ended = try_join_all(ends).await;
            drained.cancel();
            ended.map(drop)
        });
        Ok(())
    }

    /// A number that tells a client from every other.
    pub fn serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// Where the client with this number is looked after.
    pub fn orders(&self, serial: u64) -> &UnboundedSender<Order> {
        let index = usize::try_from(serial).unwrap_or(0) % self.shards.len();
        &self.shards[index].orders
    }

    /// Takes somebody in.
    pub fn admit(&self, newcomer: Newcomer) {
        // A thread that has ended takes nobody in, and dropping the newcomer closes its connection.
        let _ = self.orders(newcomer.serial).send(Order::Admit(Box::new(newcomer)));
    }

    /// Lets everyone go within so many milliseconds.
    pub fn drain(&self, within_ms: u64) {
        for shard in &self.shards {
            let _ = shard.orders.send(Order::Drain(within_ms));
        }
    }

    /// How each thread stands.
    pub fn standing(&self) -> Vec<Standing> {
        let of = |shard: &Handle| shard.standing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.shards.iter().map(of).collect()
    }

    /// Tells what a feed brought, when the threads are not too far behind: what they have not read must not be forgotten.
    pub async fn tell(&self, shared: &Shared, drafts: Vec<Draft>, feed: Feed, upto: Option<Place>) {
        let mut rest = drafts.into_iter();
        loop {
            let some: Vec<Draft> = rest.by_ref().take(usize::try_from(self.lead).unwrap_or(usize::MAX)).collect();
            let whole = rest.len() == 0;
            if self.have_read(shared, || shared.history.last().saturating_sub(self.lead)).await.is_err() {
                return;
            }
            shared.history.tell(some, feed, upto.filter(|_| whole));
            if whole {
                return;
            }
        }
    }

    /// Waits until all threads have handed out this event; an `Err` when they have all ended.
    pub async fn have_read(&self, shared: &Shared, number: impl Fn() -> u64) -> Result<(), ()> {
        loop {
            let read_on = self.read_on.notified();
            if number() <= self.slowest() {
                return Ok(());
            }
            tokio::select! {
                () = read_on => {}
                // The threads end before what feeds them.
                () = shared.drained.cancelled() => return Err(()),
            }
        }
    }

    /// Up to which event all threads have handed out.
    fn slowest(&self) -> u64 {
        self.shards.iter().map(|shard| shard.progress.get()).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_thread_has_not_handed_out_not_all_have() {
        let (hub, _orders) = Hub::new(3, 1);
        let progress = |all: [u64; 3]| {
            for (shard, number) in hub.shards.iter().zip(all) {
                shard.progress.set(number);
            }
            hub.slowest()
        };
        assert_eq!(progress([3, 2, 1]), 1);
        assert_eq!(progress([3, 2, 5]), 2);
        assert_eq!(progress([4, 9, 5]), 4);
    }
}
