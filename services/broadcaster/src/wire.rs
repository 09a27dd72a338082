//! WebSocket frames (RFC 6455) and their compression (RFC 7692), as a server reads and writes them. Pure.

mod deflate;
mod reader;

use bytes::Bytes;

pub use deflate::{Deflate, compressed};
pub use reader::{Broken, Reader, Said};

/// What a frame is.
pub mod opcode {
    /// Goes on with the message before it.
    pub const CONTINUATION: u8 = 0x0;
    /// Begins a text.
    pub const TEXT: u8 = 0x1;
    /// Begins bytes.
    pub const BINARY: u8 = 0x2;
    /// Ends the connection.
    pub const CLOSE: u8 = 0x8;
    /// Asks for a sign of life.
    pub const PING: u8 = 0x9;
    /// Gives it.
    pub const PONG: u8 = 0xa;
}

/// On a message's first frame: its payload is compressed.
const RSV1: u8 = 0x40;
const FINAL: u8 = 0x80;

/// A whole message as one frame. A server's frames are not masked, so all clients can be sent the same bytes.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    framed(FINAL | opcode, payload)
}

/// The same of a payload that is compressed.
pub fn frame_compressed(opcode: u8, payload: &[u8]) -> Vec<u8> {
    framed(FINAL | RSV1 | opcode, payload)
}

fn framed(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(first);
    let length = payload.len();
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => frame.push(short),
        (_, Ok(medium)) => {
            frame.push(126);
            frame.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// A server-sent event without a position.
pub fn event(name: &str, text: &str) -> Bytes {
    format!("event: {name}\ndata: {text}\n\n").into()
}

/// The longest reason of a close, in bytes.
const REASON_MAX: usize = 123;

/// The frame that ends a connection: a code, and a reason that begins with a word for programs.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut end = reason.len().min(REASON_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    frame(opcode::CLOSE, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frames_length_is_written_in_the_shortest_form() {
        for (length, head) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let frame = frame(opcode::TEXT, &vec![b'x'; length]);
            assert_eq!(frame.len(), head + length);
            assert_eq!(frame[0], 0x81);
        }
        assert_eq!(frame_compressed(opcode::BINARY, b"x")[0], 0xc2);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let frame = close(1013, &"é".repeat(100));
        assert_eq!(frame[1], 2 + 122);
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
    }
}
