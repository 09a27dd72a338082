//! The load: many WebSocket connections read by one thread, which counts messages by their frames' heads.
//!
//! Frugal, because it shares the machine with what it measures: one buffer for all, and nothing is parsed but the time in a
//! message, and that only where latency is asked for.

mod connection;
pub mod frames;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use connection::{Connection, State};

pub use connection::Ready;

/// What to connect to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where.
    pub address: SocketAddr,
    /// What is asked for, with the query.
    pub path: String,
    /// More heads of the request, each with its line end.
    pub heads: String,
    /// When a connection counts.
    pub ready: Ready,
}

impl Target {
    fn request(&self) -> Vec<u8> {
        let Self { address, path, heads, .. } = self;
        format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{heads}\r\n"
        )
        .into_bytes()
    }
}

/// All connections.
pub struct Load {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    connections: Vec<Connection>,
    /// Shared with the source, which keeps its lead by it.
    delivered: Arc<AtomicU64>,
    /// When the last message came.
    pub last: Instant,
    /// Microseconds from the stamp to here, while they are asked for.
    waits: Option<Vec<u32>>,
    /// How long the longest message was, among those whose waits were noted.
    pub longest: usize,
    /// How many are ready.
    ready: usize,
    /// How many servers' answers took compression.
    pub deflating: usize,
    /// Why connections ended that should not have.
    pub ends: Vec<String>,
}

/// How many connections are being made at once: less than any server's backlog.
const IN_FLIGHT: usize = 256;
const BUFFER: usize = 256 * 1024;
/// Longer than this nothing may stand still while connections are made.
const PATIENCE: Duration = Duration::from_secs(20);

impl Load {
    /// Makes connections, and returns when all are ready.
    pub fn connect(target: &Target, count: usize) -> Result<Self> {
        let mut load = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            buffer: vec![0; BUFFER],
            connections: Vec::with_capacity(count),
            delivered: Arc::default(),
            last: Instant::now(),
            waits: None,
            longest: 0,
            ready: 0,
            deflating: 0,
            ends: Vec::new(),
        };
        load.add(target, count)?;
        Ok(load)
    }

    fn add(&mut self, target: &Target, count: usize) -> Result<()> {
        let request = target.request();
        let (mut progress, mut seen) = (Instant::now(), 0);
        while self.ready < count {
            while self.connections.len() < count && self.connections.len() - self.ready < IN_FLIGHT {
                self.open(target)?;
            }
            self.turn(Duration::from_millis(100), Some(&request))?;
            if let Some(end) = self.ends.first() {
                bail!("{}: connection {} of {count}: {end}", target.address, self.ready + 1);
            }
            if self.ready > seen {
                (progress, seen) = (Instant::now(), self.ready);
            } else if progress.elapsed() > PATIENCE {
                bail!("{}: {seen} of {count} connections were ready, and then none for {PATIENCE:?}", target.address);
            }
        }
        self.delivered.store(0, Ordering::Release);
        Ok(())
    }

    fn open(&mut self, target: &Target) -> Result<()> {
        let mut stream = TcpStream::connect(target.address).context("a connection cannot be made")?;
        // Closing resets: thousands of connections in TIME-WAIT would leave no ports for the next.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        stream.set_nodelay(true)?;
        let token = Token(self.connections.len());
        self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.connections.push(Connection::new(stream, target.ready));
        Ok(())
    }

    /// Never reads the first `count` connections again. Their buffers are made small, so that they are full soon.
    pub fn deafen(&mut self, count: usize) -> Result<()> {
        for connection in &mut self.connections[..count] {
            SockRef::from(&connection.stream).set_recv_buffer_size(4096)?;
            self.poll.registry().deregister(&mut connection.stream)?;
        }
        Ok(())
    }

    /// What has been delivered, for the source to read.
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.delivered)
    }

    /// How many messages have come since all were ready, or since the last [`Self::restart`].
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Acquire)
    }

    /// Counts from zero, and notes waits from now on or does not.
    pub fn restart(&mut self, waits: bool) {
        self.delivered.store(0, Ordering::Release);
        self.waits = waits.then(Vec::new);
        self.last = Instant::now();
    }

    /// The waits noted since [`Self::restart`], shortest first, in microseconds.
    pub fn waits(&mut self) -> Vec<u32> {
        let mut waits = self.waits.take().unwrap_or_default();
        waits.sort_unstable();
        waits
    }

    /// Reads until `done`.
    pub fn read_until(&mut self, mut done: impl FnMut(&Self) -> bool) -> Result<()> {
        while !done(self) {
            self.turn(Duration::from_millis(5), None)?;
        }
        Ok(())
    }

    /// Waits for what comes, and reads it. With a request, connections that stand ask for their upgrade.
    fn turn(&mut self, wait: Duration, request: Option<&[u8]>) -> Result<()> {
        let Self { poll, events, buffer, connections, .. } = self;
        match poll.poll(events, Some(wait)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        let mut messages = 0;
        for event in events.iter() {
            let connection = &mut connections[event.token().0];
            if connection.state == State::Connecting
                && let Some(request) = request
            {
                connection.ask(request)?;
            }
            if connection.state == State::Closed || !event.is_readable() {
                continue;
            }
            let before = connection.state;
            let heard = match &mut self.waits {
                None => connection.read(buffer, |_| ()),
                Some(waits) => connection.read(buffer, |payload| {
                    self.longest = self.longest.max(payload.len());
                    if let Some(stamp) = frames::stamp(payload) {
                        waits.push(u32::try_from(micros().saturating_sub(stamp)).unwrap_or(u32::MAX));
                    }
                }),
            };
            messages += heard.messages;
            self.ready += usize::from(before != State::Ready && connection.state == State::Ready);
            self.deflating += usize::from(heard.deflate);
            self.ends.extend(heard.end);
        }
        if messages > 0 {
            self.delivered.fetch_add(messages, Ordering::AcqRel);
            self.last = Instant::now();
        }
        Ok(())
    }
}

/// Microseconds since 1970: the clock of the stamps, the same in all processes of this machine.
pub fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
