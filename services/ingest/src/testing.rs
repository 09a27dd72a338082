//! The judgements by which a webhook is taken or refused, without the requests: for those who try them with any bytes. Needs the
//! feature `testing`.

use runtime::Secret;

use crate::{signature, webhooks};

/// Whether the body was signed with one of the secrets.
pub fn is_signed(secrets: &[Secret], body: &[u8], hex_digest: &str) -> bool {
    signature::is_signed(secrets, body, hex_digest)
}

/// Whether a webhook of Linear's was sent within a minute of now, by its signed time.
pub fn is_fresh(body: &[u8], now_ms: i64) -> bool {
    webhooks::linear::fresh(body, now_ms, 60).is_ok()
}
