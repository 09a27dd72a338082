//! Walks over a server's WebSocket frames. Pure.

/// A whole frame of a server; those are not masked.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is.
    pub opcode: u8,
    /// Whether what it carries is compressed.
    pub compressed: bool,
    /// What it carries.
    pub payload: &'a [u8],
}

/// A text.
pub const TEXT: u8 = 0x1;
/// Bytes.
pub const BINARY: u8 = 0x2;
/// The end.
pub const CLOSE: u8 = 0x8;
/// Asks for a pong.
pub const PING: u8 = 0x9;
/// Answers a ping.
pub const PONG: u8 = 0xa;

/// The first frame of `bytes`, and how long it is with its head; `None` while it is not whole.
pub fn first(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let (opcode, compressed) = (bytes.first()? & 0x0f, bytes.first()? & 0x40 != 0);
    let (start, length): (usize, usize) = match *bytes.get(1)? & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let end = start.checked_add(length)?;
    let payload = bytes.get(start..end)?;
    Some((Frame { opcode, compressed, payload }, end))
}

/// A client's frame of at most 125 bytes. Its mask is zero: what is masked so stays as it is.
pub fn short(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len().min(125);
    let mut frame = vec![0x80 | opcode, 0x80 | u8::try_from(length).unwrap_or(125), 0, 0, 0, 0];
    frame.extend_from_slice(&payload[..length]);
    frame
}

/// A server's frame with a text, for servers that know nothing of WebSockets.
pub fn text(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | TEXT];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < 126 => frame.push(short),
        (_, Ok(medium)) => {
            frame.push(126);
            frame.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// The microseconds since 1970 that stand after the first `@` of a message.
pub fn stamp(payload: &[u8]) -> Option<u64> {
    let at = payload.iter().position(|byte| *byte == b'@')?;
    let digits = payload.get(at + 1..at + 17)?;
    digits.iter().try_fold(0_u64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_found_once_it_is_whole_whatever_its_length() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut bytes = text(&payload);
            let whole = bytes.len();
            for cut in [0, 1, 3, whole - 1] {
                assert!(cut >= whole || first(&bytes[..cut]).is_none(), "{length}, cut at {cut}");
            }
            bytes.push(0x89);
            assert_eq!(first(&bytes), Some((Frame { opcode: TEXT, compressed: false, payload: &payload }, whole)));
        }
    }

    #[test]
    fn a_stamp_is_sixteen_digits_after_the_sign() {
        assert_eq!(stamp(b"{\"task\":\"@1700000000000001\"}"), Some(1_700_000_000_000_001));
        assert_eq!(stamp(b"{\"task\":\"@17000000\"}"), None);
        assert_eq!(stamp(b"{}"), None);
    }
}
