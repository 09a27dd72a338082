//! The limit: a loop that sends the bytes it is given to every connection, and does nothing else.
//!
//! Runs as a process of its own (`bench raw-tcp`). It knows neither rooms nor rights, answers every request for an upgrade with
//! the same bytes, and ends who is too far behind.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use anyhow::{Context, Result};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::load::frames;

/// The word that the program is called with to be this server.
pub const WORD: &str = "raw-tcp";

const CLIENTS: Token = Token(usize::MAX - 2);
const SOURCES: Token = Token(usize::MAX - 3);
const SOURCE: Token = Token(usize::MAX - 4);
/// How much one write joins.
const JOINED: usize = 32 * 1024;
/// Who is further behind is ended.
const BEHIND: u64 = 16 * 1024 * 1024;
/// How much is kept that everyone has.
const KEPT: u64 = 4 * 1024 * 1024;
const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Serves until it is ended. `arguments`: where clients connect, where the source does, and `joined` or `single`.
pub fn serve(arguments: &[OsString]) -> Result<()> {
    let address = |at: usize| -> Result<SocketAddr> {
        let text = arguments.get(at).and_then(|argument| argument.to_str());
        text.and_then(|text| text.parse().ok()).context("raw-tcp CLIENTS SOURCE joined|single")
    };
    let joined = arguments.get(2).is_some_and(|word| word == "joined");
    Server::new(address(0)?, address(1)?, joined)?.run()
}

struct Server {
    poll: Poll,
    clients: TcpListener,
    sources: TcpListener,
    source: Option<(TcpStream, Vec<u8>)>,
    connected: Vec<Option<Client>>,
    log: Log,
    joined: bool,
}

struct Client {
    stream: TcpStream,
    upgraded: bool,
    blocked: bool,
    /// The byte and the frame that come next.
    next: (u64, u64),
}

/// The frames that somebody still needs, one after the other.
#[derive(Default)]
struct Log {
    bytes: Vec<u8>,
    /// What stood before them.
    dropped: u64,
    /// Where frames end, the first of them being frame `first`.
    ends: VecDeque<u64>,
    first: u64,
}

impl Log {
    fn end(&self) -> (u64, u64) {
        (self.dropped + self.bytes.len() as u64, self.first + self.ends.len() as u64)
    }

    fn append(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.ends.push_back(self.dropped + self.bytes.len() as u64);
    }

    /// What to write next, and whether that ends the frame.
    fn next(&self, (byte, frame): (u64, u64), joined: bool) -> &[u8] {
        let start = usize::try_from(byte - self.dropped).unwrap_or(usize::MAX);
        let rest = self.bytes.get(start..).unwrap_or_default();
        if joined {
            return &rest[..rest.len().min(JOINED)];
        }
        let end = usize::try_from(frame - self.first).ok().and_then(|at| self.ends.get(at)).copied().unwrap_or(byte);
        &rest[..usize::try_from(end - byte).unwrap_or(0).min(rest.len())]
    }

    /// Forgets what ends before a byte.
    fn forget(&mut self, byte: u64) {
        let count = usize::try_from(byte - self.dropped).unwrap_or(0);
        self.bytes.drain(..count);
        self.dropped = byte;
        while self.ends.front().is_some_and(|end| *end <= byte) {
            self.ends.pop_front();
            self.first += 1;
        }
    }
}

/// With as much room for those that wait as our own servers have.
fn listener(address: SocketAddr) -> Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(16_384)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

impl Server {
    fn new(clients: SocketAddr, sources: SocketAddr, joined: bool) -> Result<Self> {
        let poll = Poll::new()?;
        let (mut clients, mut sources) = (listener(clients)?, listener(sources)?);
        poll.registry().register(&mut clients, CLIENTS, Interest::READABLE)?;
        poll.registry().register(&mut sources, SOURCES, Interest::READABLE)?;
        Ok(Self { poll, clients, sources, source: None, connected: Vec::new(), log: Log::default(), joined })
    }

    fn run(mut self) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                match event.token() {
                    CLIENTS => self.accept()?,
                    SOURCES => self.accept_source()?,
                    SOURCE => self.take(&mut buffer)?,
                    Token(at) => self.client(at, event.is_readable(), event.is_writable(), &mut buffer),
                }
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        while let Ok((mut stream, _)) = self.clients.accept() {
            stream.set_nodelay(true)?;
            let many = self.connected.len() > 20_000;
            let free = many.then(|| self.connected.iter().rposition(Option::is_none)).flatten();
            let at = free.unwrap_or(self.connected.len());
            self.poll.registry().register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE)?;
            let client = Some(Client { stream, upgraded: false, blocked: false, next: (0, 0) });
            if at == self.connected.len() {
                self.connected.push(client);
            } else {
                self.connected[at] = client;
            }
        }
        Ok(())
    }

    fn accept_source(&mut self) -> Result<()> {
        while let Ok((mut stream, _)) = self.sources.accept() {
            self.poll.registry().register(&mut stream, SOURCE, Interest::READABLE)?;
            self.source = Some((stream, Vec::new()));
        }
        Ok(())
    }

    /// Takes lines of the source, and sends them to all.
    fn take(&mut self, buffer: &mut [u8]) -> Result<()> {
        let Some((stream, line)) = &mut self.source else { return Ok(()) };
        loop {
            let read = match stream.read(buffer) {
                Ok(0) => {
                    self.source = None;
                    return Ok(());
                }
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("the source broke"),
            };
            for piece in buffer[..read].split_inclusive(|byte| *byte == b'\n') {
                match piece.split_last() {
                    Some((b'\n', rest)) => {
                        line.extend_from_slice(rest);
                        self.log.append(&frames::text(line));
                        line.clear();
                    }
                    _ => line.extend_from_slice(piece),
                }
            }
            let mut needed = self.log.end().0;
            let oldest = needed.saturating_sub(BEHIND);
            for slot in &mut self.connected {
                let Some(client) = slot else { continue };
                if !push(client, &self.log, self.joined) || (client.upgraded && client.next.0 < oldest) {
                    *slot = None;
                } else if client.upgraded {
                    needed = needed.min(client.next.0);
                }
            }
            if needed - self.log.dropped > KEPT {
                self.log.forget(needed);
            }
        }
    }

    fn client(&mut self, at: usize, readable: bool, writable: bool, buffer: &mut [u8]) {
        let Some(client) = self.connected.get_mut(at).and_then(Option::as_mut) else { return };
        let mut open = true;
        if readable {
            open = hear(client, buffer, self.log.end());
        }
        if writable {
            client.blocked = false;
            open = open && push(client, &self.log, self.joined);
        }
        if !open {
            self.connected[at] = None;
        }
    }
}

/// Reads what a client says: the request, which is answered once it is whole, and nothing that matters. Whether it is still there.
fn hear(client: &mut Client, buffer: &mut [u8], end: (u64, u64)) -> bool {
    loop {
        match client.stream.read(buffer) {
            Ok(0) => return false,
            // The load sends its request in one piece.
            Ok(read) if !client.upgraded && buffer[..read].ends_with(b"\r\n\r\n") => {
                (client.upgraded, client.next) = (true, end);
                if client.stream.write_all(UPGRADED).is_err() {
                    return false;
                }
            }
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// Writes what waits for a client, as far as its socket takes it. Whether it is still there.
fn push(client: &mut Client, log: &Log, joined: bool) -> bool {
    let end = log.end();
    while client.upgraded && !client.blocked && client.next.0 < end.0 {
        let bytes = log.next(client.next, joined);
        match client.stream.write(bytes) {
            Ok(written) => {
                if !joined && written == bytes.len() {
                    client.next.1 += 1;
                }
                client.next.0 += written as u64;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => client.blocked = true,
            Err(_) => return false,
        }
    }
    true
}
