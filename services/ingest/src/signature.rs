//! Decides whether a body was signed with one of our secrets.
//!
//! Pure. Takes as long for a wrong signature as for a right one.

use hmac::{Hmac, KeyInit, Mac};
use runtime::Secret;
use sha2::Sha256;

/// Whether `hex_digest` (64 hexadecimal digits) is the HMAC-SHA256 of the body under one of the secrets.
pub(crate) fn is_signed(secrets: &[Secret], body: &[u8], hex_digest: &str) -> bool {
    let mut digest = [0; 32];
    if hex::decode_to_slice(hex_digest, &mut digest).is_err() {
        return false;
    }
    // Every secret is tried, so that the time does not tell which of them was the right one.
    secrets.iter().fold(false, |signed, secret| {
        let matches = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).is_ok_and(|mut mac| {
            mac.update(body);
            mac.verify_slice(&digest).is_ok()
        });
        signed | matches
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that GitHub publishes for implementations to check themselves with.
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const DIGEST: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn the_published_example_verifies() {
        assert!(is_signed(&[SECRET.into()], BODY, DIGEST));
        assert!(is_signed(&["the new one".into(), SECRET.into()], BODY, DIGEST));
    }

    #[test]
    fn anything_else_does_not() {
        let changed = DIGEST.replacen('7', "8", 1);
        assert!(!is_signed(&[SECRET.into()], BODY, &changed));
        assert!(!is_signed(&[SECRET.into()], b"Hello, World", DIGEST));
        assert!(!is_signed(&["It's a secret to everybody".into()], BODY, DIGEST));
        assert!(!is_signed(&[], BODY, DIGEST));
        for digest in ["", "757107", "sha256=", &DIGEST[..62], &format!("{DIGEST}00"), &"z".repeat(64)] {
            assert!(!is_signed(&[SECRET.into()], BODY, digest), "{digest}");
        }
    }
}
