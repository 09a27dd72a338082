//! Reads what a client sends, whatever pieces it comes in.

use super::{Deflate, FINAL, RSV1, opcode};

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// A text.
    Text(String),
    /// Bytes.
    Binary,
    /// It asks for a sign of life, with these bytes in the answer.
    Ping(Vec<u8>),
    /// It gives one.
    Pong,
    /// It goes, with a code where it gave one.
    Close(Option<u16>),
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Against the protocol.
    Protocol(&'static str),
    /// A text is no UTF-8.
    NotUtf8,
    /// A message is larger than is taken.
    TooLarge,
}

/// What is left of a client's bytes until they are whole. Takes no memory while nothing is.
#[derive(Debug)]
pub struct Reader {
    partial: Vec<u8>,
    message: Option<Fragments>,
    deflate: Option<Deflate>,
}

#[derive(Debug)]
struct Fragments {
    opcode: u8,
    compressed: bool,
    payload: Vec<u8>,
}

struct Head {
    first: u8,
    mask: [u8; 4],
    start: usize,
    length: usize,
}

impl Reader {
    /// A reader of a client with which compression was agreed on, or not.
    pub fn new(deflate: Option<Deflate>) -> Self {
        Self { partial: Vec::new(), message: None, deflate }
    }

    /// Takes bytes, and hands over what they make whole, in order. After an error nothing more is read.
    pub fn take(&mut self, bytes: &[u8], max: usize, mut said: impl FnMut(Said)) -> Result<(), Broken> {
        let waited = std::mem::take(&mut self.partial);
        if waited.is_empty() {
            let used = self.frames(bytes, max, &mut said)?;
            self.partial = bytes[used..].to_vec();
            return Ok(());
        }
        let mut joined = waited;
        joined.extend_from_slice(bytes);
        let used = self.frames(&joined, max, &mut said)?;
        // Where nothing is whole yet the same bytes go on waiting: copied for each piece, a message in small ones would be dear.
        self.partial = if used == 0 { joined } else { joined[used..].to_vec() };
        Ok(())
    }

    /// Hands over what the frames at the beginning of some bytes make whole; how many bytes they are.
    fn frames(&mut self, bytes: &[u8], max: usize, said: &mut impl FnMut(Said)) -> Result<usize, Broken> {
        let mut rest = bytes;
        while let Some(head) = head(rest, max)? {
            let end = head.start + head.length;
            if rest.len() < end {
                break;
            }
            let mut payload = rest[head.start..end].to_vec();
            for (byte, mask) in payload.iter_mut().zip(head.mask.iter().cycle()) {
                *byte ^= mask;
            }
            rest = &rest[end..];
            if let Some(whole) = self.frame(head.first, payload, max)? {
                let last = matches!(whole, Said::Close(_));
                said(whole);
                if last {
                    // Nobody listens to what comes after it.
                    return Ok(bytes.len());
                }
            }
        }
        Ok(bytes.len() - rest.len())
    }

    fn frame(&mut self, first: u8, payload: Vec<u8>, max: usize) -> Result<Option<Said>, Broken> {
        let (fin, rsv1, code) = (first & FINAL != 0, first & RSV1 != 0, first & 0x0f);
        if code >= opcode::CLOSE {
            return control(fin, rsv1, code, payload).map(Some);
        }
        let mut message = match (code, self.message.take()) {
            (opcode::CONTINUATION, Some(_)) if rsv1 => {
                return Err(Broken::Protocol("only a message's first frame says that it is compressed"));
            }
            (opcode::CONTINUATION, Some(message)) => message,
            (opcode::CONTINUATION, None) => return Err(Broken::Protocol("there is no message to go on with")),
            (_, Some(_)) => return Err(Broken::Protocol("a message begins amid another")),
            (opcode::TEXT | opcode::BINARY, None) if rsv1 && self.deflate.is_none() => {
                return Err(Broken::Protocol("compression was not agreed on"));
            }
            (opcode::TEXT | opcode::BINARY, None) => Fragments { opcode: code, compressed: rsv1, payload: Vec::new() },
            _ => return Err(Broken::Protocol("there is no such opcode")),
        };
        if message.payload.len() + payload.len() > max {
            return Err(Broken::TooLarge);
        }
        if message.payload.is_empty() {
            message.payload = payload;
        } else {
            message.payload.extend_from_slice(&payload);
        }
        if !fin {
            self.message = Some(message);
            return Ok(None);
        }
        let payload = if message.compressed { Deflate::decompressed(&message.payload, max)? } else { message.payload };
        if message.opcode == opcode::BINARY {
            return Ok(Some(Said::Binary));
        }
        String::from_utf8(payload).map(|text| Some(Said::Text(text))).map_err(|_| Broken::NotUtf8)
    }
}

/// The head of the next frame, when it is there.
fn head(bytes: &[u8], max: usize) -> Result<Option<Head>, Broken> {
    let &[first, second, ..] = bytes else { return Ok(None) };
    if first & 0x30 != 0 {
        return Err(Broken::Protocol("a reserved bit is set"));
    }
    if second & 0x80 == 0 {
        return Err(Broken::Protocol("a client's frames must be masked"));
    }
    let short = second & 0x7f;
    if first & 0x08 != 0 && short > 125 {
        return Err(Broken::Protocol("a control frame has at most 125 bytes"));
    }
    let (length, at) = match short {
        126 => {
            let Some(length) = bytes.get(2..4) else { return Ok(None) };
            let length = u64::from(u16::from_be_bytes([length[0], length[1]]));
            if length < 126 {
                return Err(Broken::Protocol("a length must be written in the shortest form"));
            }
            (length, 4)
        }
        127 => {
            let Some(length) = bytes.get(2..10).and_then(|length| <[u8; 8]>::try_from(length).ok()) else {
                return Ok(None);
            };
            let length = u64::from_be_bytes(length);
            if length < 65_536 || length >> 63 != 0 {
                return Err(Broken::Protocol("a length must be written in the shortest form, and be below 2^63"));
            }
            (length, 10)
        }
        short => (u64::from(short), 2),
    };
    // Said before the payload is there: it is not waited for, and no memory is kept for it.
    let length = usize::try_from(length).ok().filter(|length| *length <= max.max(125)).ok_or(Broken::TooLarge)?;
    let Some(mask) = bytes.get(at..at + 4).and_then(|mask| <[u8; 4]>::try_from(mask).ok()) else { return Ok(None) };
    Ok(Some(Head { first, mask, start: at + 4, length }))
}

fn control(fin: bool, rsv1: bool, code: u8, payload: Vec<u8>) -> Result<Said, Broken> {
    if !fin || rsv1 {
        return Err(Broken::Protocol("a control frame is neither in parts nor compressed"));
    }
    match code {
        opcode::PING => Ok(Said::Ping(payload)),
        opcode::PONG => Ok(Said::Pong),
        opcode::CLOSE => match payload.as_slice() {
            [] => Ok(Said::Close(None)),
            [_] => Err(Broken::Protocol("a close has no code of one byte")),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                    return Err(Broken::Protocol("nobody may close with that code"));
                }
                std::str::from_utf8(reason).map_err(|_| Broken::NotUtf8)?;
                Ok(Said::Close(Some(code)))
            }
        },
        _ => Err(Broken::Protocol("there is no such opcode")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = super::super::framed(first, payload);
        frame[1] |= 0x80;
        let at = frame.len() - payload.len();
        let mask = [1, 2, 3, 4];
        for (byte, mask) in frame[at..].iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        frame.splice(at..at, mask);
        frame
    }

    fn read(bytes: &[u8], piece: usize) -> Result<Vec<Said>, Broken> {
        let mut reader = Reader::new(Some(Deflate));
        let mut all = Vec::new();
        for piece in bytes.chunks(piece.max(1)) {
            reader.take(piece, 1_000, |said| all.push(said))?;
        }
        Ok(all)
    }

    #[test]
    fn messages_come_whole_whatever_pieces_they_come_in() {
        let long = "é".repeat(300);
        let mut bytes = masked(0x81, b"one");
        bytes.extend(masked(0x01, &long.as_bytes()[..101]));
        bytes.extend(masked(0x89, b"there?"));
        bytes.extend(masked(0x80, &long.as_bytes()[101..]));
        bytes.extend(masked(0xc1, &super::super::compressed("x".repeat(500).as_bytes()).unwrap()));
        bytes.extend(masked(0x8a, b""));
        bytes.extend(masked(0x88, &[3, 232]));
        let expected = || {
            vec![
                Said::Text("one".into()),
                Said::Ping(b"there?".to_vec()),
                Said::Text(long.clone()),
                Said::Text("x".repeat(500)),
                Said::Pong,
                Said::Close(Some(1000)),
            ]
        };
        for piece in [1, 2, 7, 100, 10_000] {
            assert_eq!(read(&bytes, piece), Ok(expected()), "{piece}");
        }
    }

    #[test]
    fn what_is_against_the_protocol_is_refused() {
        let unmasked = super::super::frame(opcode::TEXT, b"x");
        let mut long_form = masked(0x81, &[b'x'; 200]);
        long_form[2..4].copy_from_slice(&[0, 5]);
        let cases = [
            unmasked,
            long_form,
            masked(0xa1, b"x"),
            masked(0x91, b"x"),
            masked(0x83, b"x"),
            masked(0x8b, b""),
            masked(0x80, b"x"),
            masked(0x09, b"x"),
            masked(0xc9, b"x"),
            masked(0x88, &[3]),
            masked(0x88, &[0, 1]),
            masked(0x88, &[3, 237]),
            masked(0x89, &[b'x'; 126]),
            [masked(0x01, b"a"), masked(0x81, b"b")].concat(),
            [masked(0x01, b"a"), masked(0xc0, b"b")].concat(),
        ];
        for case in cases {
            assert!(matches!(read(&case, 1), Err(Broken::Protocol(_))), "{case:?}");
        }
        assert_eq!(read(&masked(0x81, &[0xff]), 9), Err(Broken::NotUtf8));
        assert_eq!(read(&masked(0x88, &[3, 232, 0xff]), 9), Err(Broken::NotUtf8));
    }

    #[test]
    fn a_message_over_the_limit_is_refused_before_it_is_there() {
        assert_eq!(read(&masked(0x81, &[b'x'; 1_001])[..8], 8), Err(Broken::TooLarge));
        let parts = [masked(0x01, &[b'x'; 600]), masked(0x80, &[b'x'; 600])].concat();
        assert_eq!(read(&parts, 50), Err(Broken::TooLarge));
    }
}
