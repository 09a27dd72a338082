//! Frames as a client writes them, right and wrong.

/// The first byte of a whole text.
pub const TEXT: u8 = 0x81;
/// The first byte of whole bytes.
pub const BINARY: u8 = 0x82;
/// The first byte of a close.
pub const CLOSE: u8 = 0x88;
/// The first byte of a ping.
pub const PING: u8 = 0x89;
/// The first byte of a pong.
pub const PONG: u8 = 0x8a;
/// The first byte of a text that goes on.
pub const TEXT_BEGINS: u8 = 0x01;
/// The first byte of what goes on and does not end.
pub const GOES_ON: u8 = 0x00;
/// The first byte of what goes on and ends.
pub const ENDS: u8 = 0x80;
/// The bit that says that a message is compressed.
pub const RSV1: u8 = 0x40;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// How a length is written.
#[derive(Debug, Clone, Copy)]
pub enum Length {
    /// As short as it can be.
    Shortest,
    /// In two bytes, whatever it is.
    Medium,
    /// In eight bytes, whatever it is.
    Long,
    /// In eight bytes, and another one than the payload has.
    Claimed(u64),
}

/// A masked frame.
pub fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame_as(first, payload.as_ref(), Length::Shortest, Some(MASK))
}

/// A frame that is not masked, which no client may send.
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    frame_as(first, payload, Length::Shortest, None)
}

/// A frame in all its possibilities.
pub fn frame_as(first: u8, payload: &[u8], length: Length, mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    let count = payload.len();
    let medium = |frame: &mut Vec<u8>| {
        frame.push(masked | 0x7e);
        frame.extend_from_slice(&u16::try_from(count).unwrap().to_be_bytes());
    };
    let long = |frame: &mut Vec<u8>, count: u64| {
        frame.push(masked | 0x7f);
        frame.extend_from_slice(&count.to_be_bytes());
    };
    match length {
        Length::Shortest if count < 126 => frame.push(masked | u8::try_from(count).unwrap()),
        Length::Shortest if count < 65_536 => medium(&mut frame),
        Length::Medium => medium(&mut frame),
        Length::Shortest | Length::Long => long(&mut frame, count as u64),
        Length::Claimed(claimed) => long(&mut frame, claimed),
    }
    let mask = mask.inspect(|mask| frame.extend_from_slice(mask)).unwrap_or_default();
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A text in parts of at most `size` bytes.
pub fn parts(payload: &[u8], size: usize) -> Vec<u8> {
    parts_of(TEXT, payload, size)
}

/// A message in parts; `first` is the first byte it would have as a whole.
pub fn parts_of(first: u8, payload: &[u8], size: usize) -> Vec<u8> {
    let chunks: Vec<&[u8]> = payload.chunks(size).collect();
    let last = chunks.len().saturating_sub(1);
    let each = chunks.iter().enumerate().flat_map(|(at, chunk)| {
        let begins = if at == 0 { first & 0x7f } else { GOES_ON };
        frame(if at == last { begins | 0x80 } else { begins }, chunk)
    });
    each.collect()
}

/// A close with a code and a reason.
pub fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    frame(CLOSE, [&code.to_be_bytes()[..], reason.as_ref()].concat())
}

/// The broadcaster's own ping, answered with the same `ref`: our message for "this was read".
pub fn asked(reference: &str) -> String {
    format!("{{\"type\":\"ping\",\"ref\":{}}}", serde_json::to_string(reference).unwrap())
}

/// The same with blanks, which JSON does not mind, up to a size.
pub fn asked_in(reference: &str, size: usize) -> Vec<u8> {
    let mut text = asked(reference).into_bytes();
    assert!(text.len() <= size, "a message of {size} bytes cannot hold a ping");
    text.resize(size, b' ');
    text
}
