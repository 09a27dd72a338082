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

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    /// A mailbox, and what the hub is told of it.
    fn mailbox() -> (Arc<Mailbox>, UnboundedReceiver<Order>) {
        let (orders, told) = unbounded_channel();
        (Mailbox::new(7, orders), told)
    }

    /// Puts pieces of so many bytes in, until no more are taken; how many were.
    fn fill(mailbox: &Mailbox, size: usize) -> usize {
        let put = || mailbox.put(vec![0; size].into());
        let taken = (0..=WAITING).take_while(|_| put().is_ok()).count();
        assert_eq!(put().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        taken
    }

    fn read(mailbox: &Mailbox) -> Poll<Option<Bytes>> {
        mailbox.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_waits_is_bounded_and_the_hub_is_told_once_when_half_is_read() {
        const SIZE: usize = 1_024;
        let (mailbox, mut told) = mailbox();
        for _ in 0..3 {
            assert_eq!(fill(&mailbox, SIZE), WAITING / SIZE);
            for _ in 0..WAITING / SIZE / 2 {
                assert!(matches!(read(&mailbox), Poll::Ready(Some(_))));
                assert!(told.try_recv().is_err(), "half of it waits still");
            }
            assert!(matches!(read(&mailbox), Poll::Ready(Some(_))));
            assert!(matches!(told.try_recv(), Ok(Order::Writable(7))));
            while read(&mailbox).is_ready() {}
            assert!(told.try_recv().is_err(), "it was told already");
        }
    }

    #[test]
    fn of_a_mailbox_that_was_never_full_the_hub_is_told_nothing() {
        let (mailbox, mut told) = mailbox();
        mailbox.put(Bytes::from_static(b"one")).unwrap();
        assert!(matches!(read(&mailbox), Poll::Ready(Some(_))));
        assert!(read(&mailbox).is_pending() && told.try_recv().is_err());
    }

    #[test]
    fn what_waits_is_read_before_the_end() {
        let (mailbox, _told) = mailbox();
        mailbox.put(Bytes::from_static(b"last words")).unwrap();
        mailbox.close();
        assert_eq!(read(&mailbox), Poll::Ready(Some(Bytes::from_static(b"last words"))));
        assert_eq!(read(&mailbox), Poll::Ready(None));
    }
}
