//! One connection of the load: asks for the upgrade, settles, and then counts.

use std::io::{ErrorKind, Read as _, Write as _};

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;

use super::frames::{self, Frame};

/// When a connection has what it came for, and everything after it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// Once it is upgraded.
    Upgraded,
    /// After the last page of a snapshot.
    Snapshot,
    /// After Socket.IO's own handshake.
    SocketIo,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is being made.
    Connecting,
    /// The upgrade is asked for.
    Asked,
    /// It is upgraded, and not ready yet.
    Settling,
    /// It counts.
    Ready,
    /// It is over.
    Closed,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    pub stream: TcpStream,
    pub state: State,
    ready: Ready,
    /// The beginning of what is not whole yet.
    carried: Vec<u8>,
}

/// What a connection heard at once.
#[derive(Debug, Default)]
pub struct Heard {
    /// How many messages since it was ready.
    pub messages: u64,
    /// Whether the server took compression.
    pub deflate: bool,
    /// Why it is over, if it is.
    pub end: Option<String>,
}

impl Connection {
    pub fn new(stream: TcpStream, ready: Ready) -> Self {
        Self { stream, state: State::Connecting, ready, carried: Vec::new() }
    }

    /// Asks for the upgrade once the connection stands.
    pub fn ask(&mut self, request: &[u8]) -> Result<()> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error).context("a connection was refused");
        }
        match self.stream.write(request) {
            Ok(written) if written == request.len() => self.state = State::Asked,
            Ok(_) => bail!("a request did not fit into the socket's buffer"),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {}
            Err(error) => return Err(error).context("a request cannot be sent"),
        }
        Ok(())
    }

    /// Reads all that is there. `each` sees the messages since it was ready.
    pub fn read(&mut self, buffer: &mut [u8], mut each: impl FnMut(&[u8])) -> Heard {
        let mut heard = Heard::default();
        while heard.end.is_none() {
            let carried = self.carried.len();
            buffer[..carried].copy_from_slice(&self.carried);
            let space = buffer.len() - carried;
            if space == 0 {
                heard.end = Some("a message was larger than the load's buffer".into());
                break;
            }
            let read = match self.stream.read(&mut buffer[carried..]) {
                Ok(0) => {
                    heard.end = Some("the server closed the connection".into());
                    break;
                }
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    heard.end = Some(format!("the connection broke: {error}"));
                    break;
                }
            };
            let whole = &buffer[..carried + read];
            match self.take(whole, &mut heard, &mut each) {
                Ok(used) => {
                    self.carried.clear();
                    self.carried.extend_from_slice(&whole[used..]);
                }
                Err(error) => heard.end = Some(format!("{error:#}")),
            }
            // A read that did not fill the buffer has emptied the socket: more of it is announced anew.
            if read < space {
                break;
            }
        }
        if heard.end.is_some() {
            self.state = State::Closed;
        }
        heard
    }

    /// How much of the bytes was whole.
    fn take(&mut self, bytes: &[u8], heard: &mut Heard, each: &mut impl FnMut(&[u8])) -> Result<usize> {
        let mut used = 0;
        if self.state == State::Asked {
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(0) };
            let answer = String::from_utf8_lossy(&bytes[..end]);
            if !answer.starts_with("HTTP/1.1 101 ") {
                bail!("the server did not upgrade: {}", answer.lines().next().unwrap_or_default());
            }
            heard.deflate = answer.to_ascii_lowercase().contains("permessage-deflate");
            self.state = if self.ready == Ready::Upgraded { State::Ready } else { State::Settling };
            used = end + 4;
        }
        while let Some((frame, length)) = frames::first(&bytes[used..]) {
            self.frame(&frame, heard, each)?;
            used += length;
        }
        Ok(used)
    }

    fn frame(&mut self, frame: &Frame, heard: &mut Heard, each: &mut impl FnMut(&[u8])) -> Result<()> {
        match (frame.opcode, self.state) {
            (frames::TEXT | frames::BINARY, State::Ready) => {
                if self.ready == Ready::SocketIo && frame.payload == b"2" {
                    return self.say(frames::TEXT, b"3");
                }
                heard.messages += 1;
                each(frame.payload);
            }
            (frames::TEXT, _) => match (self.ready, frame.payload.first()) {
                (Ready::SocketIo, Some(b'0')) => self.say(frames::TEXT, b"40")?,
                (Ready::SocketIo, _) => self.state = State::Ready,
                _ if has(frame.payload, b"\"type\":\"error\"") => {
                    bail!("the server refused: {}", String::from_utf8_lossy(frame.payload));
                }
                // Of all that comes before events only snapshots are compressed, and the benchmark's has one page.
                _ if frame.compressed || is_last_page(frame.payload) => self.state = State::Ready,
                _ => {}
            },
            (frames::PING, _) => self.say(frames::PONG, frame.payload)?,
            (frames::CLOSE, _) => {
                let reason = String::from_utf8_lossy(frame.payload.get(2..).unwrap_or_default());
                bail!("the server said farewell: {reason}");
            }
            _ => {}
        }
        Ok(())
    }

    /// Says something short.
    pub fn say(&mut self, opcode: u8, payload: &[u8]) -> Result<()> {
        // The load says next to nothing: it fits, or the server does not read at all.
        self.stream.write_all(&frames::short(opcode, payload)).context("an answer cannot be sent")
    }
}

fn is_last_page(payload: &[u8]) -> bool {
    has(payload, b"\"type\":\"snapshot\"") && has(payload, b"\"more\":false")
}

fn has(payload: &[u8], wanted: &[u8]) -> bool {
    payload.windows(wanted.len()).any(|window| window == wanted)
}
