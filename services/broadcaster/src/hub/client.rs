//! One client, as the hub's thread knows it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::admission::Permit;
use super::bucket::Bucket;
use super::by_key::Looks;
use super::close::Close;
use super::flow::{Flow, Subscription};
use super::mailbox::Mailbox;
use super::outbox::{Flushed, Outbox};
use super::rooms::Wanted;
use super::round::{Chunk, Mask};
use crate::auth::Rights;
use crate::event::Form;
use crate::wire::{self, Reader, opcode};

/// What carries a client's messages.
#[derive(Debug)]
pub enum Transport {
    /// A WebSocket, whose socket is ours since the handshake.
    Socket {
        /// The connection.
        stream: TcpStream,
        /// What is left of the client's bytes until they are whole.
        reader: Reader,
    },
    /// A response that the HTTP server writes.
    Events(Arc<Mailbox>),
}

/// How a client's name for its transport is written in metrics and on the status page.
pub const TRANSPORTS: [&str; 2] = ["websocket", "sse"];

/// One client.
#[derive(Debug)]
pub struct Client {
    /// Tells it from every other, also those before it.
    pub serial: u64,
    /// What carries its messages.
    pub transport: Transport,
    /// In which form it is told events.
    pub form: Form,
    /// What it may; `None` until it has said who it is.
    pub rights: Option<Arc<Rights>>,
    /// Its place among those that are served.
    pub permit: Permit,
    /// The rooms that it is in.
    pub rooms: Vec<Subscription>,
    /// Where it is among all events.
    pub flow: Flow,
    /// What waits to be written.
    pub outbox: Outbox,
    /// Wakes the task that watches its socket.
    pub waker: Option<Waker>,
    /// Since when it takes nothing, in milliseconds.
    pub blocked_since: Option<i64>,
    /// When it was heard last; of server-sent events, when it was written to last.
    pub heard_at: i64,
    /// When it came.
    pub since: i64,
    /// It was asked for a sign of life.
    pub pinged: bool,
    /// It was told that its token will expire.
    pub warned: bool,
    /// How many messages it may send.
    pub bucket: Bucket,
    /// How many of its messages are being worked on elsewhere.
    pub asked: u32,
    /// What it wants of rooms, in its order, where the first waits for what it has read elsewhere to be told here, too.
    pub wanted: VecDeque<Wanted>,
    /// Ends when what it asked for last of what counts in order is done.
    pub last_asked: Option<oneshot::Receiver<()>>,
    /// Dropped when it is gone.
    pub here: Arc<()>,
    /// How many rooms are being read for it.
    pub reading: usize,
    /// When items that it follows by their keys are looked up again, and how often they were.
    pub looks: Looks,
    /// It is being closed: when it is left at the latest.
    pub closing: Option<i64>,
    /// This broadcaster stops: when it is this client's turn to go.
    pub leaves_at: Option<i64>,
}

impl Client {
    /// One that has just come, and of whom nothing is known.
    pub fn new(serial: u64, transport: Transport, form: Form, permit: Permit, bucket: Bucket, now_ms: i64) -> Self {
        Self {
            serial,
            transport,
            form,
            rights: None,
            permit,
            rooms: Vec::new(),
            flow: Flow::default(),
            outbox: Outbox::default(),
            waker: None,
            blocked_since: None,
            heard_at: now_ms,
            since: now_ms,
            pinged: false,
            warned: false,
            bucket,
            asked: 0,
            wanted: VecDeque::new(),
            reading: 0,
            last_asked: None,
            here: Arc::default(),
            looks: Looks::default(),
            closing: None,
            leaves_at: None,
        }
    }

    /// The index of its transport in [`TRANSPORTS`].
    pub fn transport_index(&self) -> usize {
        match self.transport {
            Transport::Socket { .. } => 0,
            Transport::Events(_) => 1,
        }
    }

    /// Answers it.
    pub fn answer(&mut self, message: &Value) {
        let (text, name) = (message.to_string(), message["type"].as_str().unwrap_or("message"));
        self.outbox.answer(match self.transport {
            Transport::Events(_) => wire::event(name, &text),
            Transport::Socket { .. } => wire::frame(opcode::TEXT, text.as_bytes()).into(),
        });
    }

    /// Answers a ping.
    pub fn pong(&mut self, payload: &[u8]) {
        self.outbox.pong(wire::frame(opcode::PONG, payload).into());
    }

    /// Sends a frame that only WebSockets have.
    pub fn control(&mut self, code: u8, payload: &[u8]) {
        if matches!(self.transport, Transport::Socket { .. }) {
            self.outbox.answer(wire::frame(code, payload).into());
        }
    }

    /// Says why the connection ends. No event is written any more; what it was answered is, if it takes that.
    pub fn say_goodbye(&mut self, close: Close, until_ms: i64) {
        if self.blocked_since.is_some() {
            self.outbox.clear();
        } else {
            self.outbox.clear_events();
        }
        self.closing = Some(until_ms);
        match &self.transport {
            Transport::Socket { .. } => self.outbox.answer(wire::close(close.code, &close.reason()).into()),
            Transport::Events(_) => {
                self.answer(&serde_json::json!({"type": "error", "code": close.word, "reason": close.sentence}));
            }
        }
    }

    /// The task that watches its socket must learn that it should wait for it to take more.
    pub fn wait_until_writable(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Writes events of a round, where nothing waits. Yields those that it does not take now; it has the rest of what it began to take
    /// before it. An error means that the connection is broken.
    pub fn hand(&mut self, chunks: &[Chunk], told: &mut u64, now_ms: i64) -> io::Result<Mask> {
        for chunk in chunks {
            let written = match &self.transport {
                Transport::Socket { stream, .. } => stream.try_write(&chunk.bytes),
                Transport::Events(mailbox) => mailbox.put(chunk.bytes.clone()),
            };
            let written = match written {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            *told += u64::from(chunk.events);
            if written > 0 && matches!(self.transport, Transport::Events(_)) {
                self.heard_at = now_ms;
            }
            if written < chunk.bytes.len() {
                self.outbox.keep(chunk.bytes.slice(written..));
                self.blocked_since = Some(now_ms);
                self.wait_until_writable();
                return Ok(chunk.later);
            }
        }
        Ok(0)
    }

    /// Writes what waits. An error means that the connection is broken.
    pub fn flush(&mut self, scratch: &mut Vec<u8>, told: &mut u64, now_ms: i64) -> io::Result<Flushed> {
        let (transport, form) = (&self.transport, self.form);
        let mut moved = false;
        let flushed = self.outbox.flush(form, scratch, told, |one, joined| {
            let written = match transport {
                Transport::Socket { stream, .. } => stream.try_write(if joined.is_empty() { one } else { joined }),
                Transport::Events(mailbox) => {
                    mailbox.put(if joined.is_empty() { one.clone() } else { Bytes::copy_from_slice(joined) })
                }
            };
            moved |= written.as_ref().is_ok_and(|written| *written > 0);
            written
        })?;
        if moved && matches!(transport, Transport::Events(_)) {
            self.heard_at = now_ms;
        }
        self.blocked_since = match flushed {
            Flushed::Empty => None,
            Flushed::Blocked if moved => Some(now_ms),
            Flushed::Blocked => self.blocked_since.or(Some(now_ms)),
        };
        Ok(flushed)
    }
}
