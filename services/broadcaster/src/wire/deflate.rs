//! permessage-deflate without context takeover: each message is compressed by itself, so it is compressed once for all clients.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Broken;

/// What a client and we agreed on: that no message refers to the one before it, in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflate;

/// What ends each compressed message, and is left out on the wire.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

impl Deflate {
    /// Looks for an offer that can be taken in the values of `Sec-WebSocket-Extensions`.
    pub fn offered<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut offers = headers.into_iter().flat_map(|header| header.split(','));
        offers.any(acceptable).then_some(Self)
    }

    /// The value of `Sec-WebSocket-Extensions` in the answer to an offer that was taken.
    pub const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    /// A message from its compressed bytes, of which at most `max` come out.
    pub fn decompressed(bytes: &[u8], max: usize) -> Result<Vec<u8>, Broken> {
        let mut inflate = Decompress::new(false);
        let mut out = Vec::with_capacity((bytes.len() * 4).clamp(64, 16 * 1024).min(max + 1));
        let mut ended = false;
        for part in [bytes, &TAIL] {
            let mut rest = part;
            while !ended {
                if out.len() == out.capacity() {
                    out.reserve(out.len().clamp(64, 64 * 1024));
                }
                let (read, written) = (inflate.total_in(), inflate.total_out());
                let status = inflate
                    .decompress_vec(rest, &mut out, FlushDecompress::Sync)
                    .map_err(|_| Broken::Protocol("the payload is no compressed message"))?;
                if out.len() > max {
                    return Err(Broken::TooLarge);
                }
                let read = usize::try_from(inflate.total_in() - read).unwrap_or(0);
                rest = &rest[read.min(rest.len())..];
                ended = status == Status::StreamEnd;
                let full = out.len() == out.capacity();
                if !full && (rest.is_empty() || (read == 0 && inflate.total_out() == written)) {
                    break;
                }
            }
        }
        Ok(out)
    }
}

/// Whether an offer asks for nothing that we do not do. A smaller window for us would cost every client a compression of its own.
fn acceptable(offer: &str) -> bool {
    let mut parts = offer.split(';').map(str::trim);
    if parts.next() != Some("permessage-deflate") {
        return false;
    }
    let mut seen = Vec::new();
    parts.all(|part| {
        let (name, value) =
            part.split_once('=').map_or((part, None), |(name, value)| (name.trim(), Some(value.trim())));
        if seen.contains(&name) {
            return false;
        }
        seen.push(name);
        match (name, value.map(|value| value.trim_matches('"'))) {
            ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => true,
            ("client_max_window_bits", Some(bits)) => matches!(bits.parse::<u8>(), Ok(8..=15)),
            // Who takes that must grant it in the answer, also where it is what we do anyway.
            _ => false,
        }
    })
}

/// A message compressed by itself; `None` where that saves nothing.
pub fn compressed(payload: &[u8]) -> Option<Vec<u8>> {
    let mut deflate = Compress::new(Compression::new(4), false);
    let mut out = Vec::with_capacity(payload.len() + 64);
    deflate.compress_vec(payload, &mut out, FlushCompress::Sync).ok()?;
    let whole = usize::try_from(deflate.total_in()).ok() == Some(payload.len()) && out.ends_with(&TAIL);
    out.truncate(out.len().saturating_sub(TAIL.len()));
    (whole && out.len() < payload.len()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_message_comes_back() {
        let payload = "{\"type\":\"status_changed\"}".repeat(500);
        let small = compressed(payload.as_bytes()).unwrap();
        assert!(small.len() < payload.len() / 10, "{}", small.len());
        assert_eq!(Deflate::decompressed(&small, payload.len()).unwrap(), payload.as_bytes());
        assert_eq!(Deflate::decompressed(&small, payload.len() - 1), Err(Broken::TooLarge));
    }

    #[test]
    fn what_gains_nothing_is_not_compressed() {
        assert!(compressed(b"x").is_none());
    }

    #[test]
    fn garbage_is_refused_and_a_bomb_stopped_at_the_limit() {
        assert!(matches!(Deflate::decompressed(&[0xff; 20], 1_000), Err(Broken::Protocol(_))));
        let bomb = compressed(&vec![0; 4_000_000]).unwrap();
        assert!(bomb.len() < 20_000);
        assert_eq!(Deflate::decompressed(&bomb, 64 * 1024), Err(Broken::TooLarge));
    }

    #[test]
    fn an_offer_is_taken_when_it_asks_for_nothing_we_do_not_do() {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_no_context_takeover; client_max_window_bits=10",
            "x-webkit-deflate-frame, permessage-deflate",
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        ] {
            assert!(Deflate::offered([offer]).is_some(), "{offer}");
        }
        for offer in [
            "",
            "permessage-bzip2",
            "permessage-deflate; server_max_window_bits=10",
            "permessage-deflate; server_max_window_bits=15",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; mystery",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        ] {
            assert!(Deflate::offered([offer]).is_none(), "{offer}");
        }
    }
}
