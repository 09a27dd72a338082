//! A client whose bytes the HTTP server writes: what waits for it, between the hub's thread and the server's.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;

use super::Order;

/// How many bytes wait at most; with more the client is blocked.
const WAITING: usize = 64 * 1024;

/// What waits for one client.
#[derive(Debug)]
pub struct Mailbox {
    serial: u64,
    orders: UnboundedSender<Order>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    /// The hub was told to wait.
    blocked: bool,
    /// Nothing comes any more.
    closed: bool,
    reader: Option<Waker>,
}

impl Mailbox {
    /// An empty one of the client with this serial number.
    pub fn new(serial: u64, orders: UnboundedSender<Order>) -> Arc<Self> {
        Arc::new(Self { serial, orders, waiting: Mutex::default() })
    }

    /// Puts bytes in, or says that the client takes no more now.
    pub fn put(&self, bytes: Bytes) -> io::Result<usize> {
        let mut waiting = self.waiting();
        if waiting.bytes >= WAITING {
            waiting.blocked = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = bytes.len();
        waiting.bytes += length;
        waiting.chunks.push_back(bytes);
        if let Some(reader) = waiting.reader.take() {
            reader.wake();
        }
        Ok(length)
    }

    /// After what waits the stream ends.
    pub fn close(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        if let Some(reader) = waiting.reader.take() {
            reader.wake();
        }
    }

    /// The next bytes; `None` at the end.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut waiting = self.waiting();
        if let Some(bytes) = waiting.chunks.pop_front() {
            waiting.bytes -= bytes.len();
            if waiting.blocked && waiting.bytes < WAITING / 2 {
                waiting.blocked = false;
                // At the end nobody listens any more.
                let _ = self.orders.send(Order::Writable(self.serial));
            }
            return Poll::Ready(Some(bytes));
        }
        if waiting.closed {
            return Poll::Ready(None);
        }
        waiting.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The reader is gone.
    pub fn abandon(&self) {
        // At the end nobody listens any more.
        let _ = self.orders.send(Order::Gone(self.serial));
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A panic elsewhere leaves a queue that is still whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
