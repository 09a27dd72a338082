//! Tickets: made for rights that were shown in another way, and counting once.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bus::Bus;
use rand::TryRngCore;
use rand::rngs::OsRng;
use runtime::Secret;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::{Denied, Rights};

/// By this an `auth` message's ticket is told from a key.
const PREFIX: &str = "ticket_";
/// 256 bits in base64url.
const RANDOM_CHARS: usize = 43;
/// How long the bus may take.
const WAIT: Duration = Duration::from_secs(5);

/// A ticket, as its client gets it.
#[derive(Clone, Serialize)]
pub struct Ticket {
    /// What to show.
    pub ticket: String,
    /// From when on it counts no longer, in milliseconds since 1970.
    pub expires_at: i64,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("ticket", &"***").field("expires_at", &self.expires_at).finish()
    }
}

/// Whether this could be a ticket.
pub(super) fn looks_like_one(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(|random| {
        random.len() == RANDOM_CHARS && random.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    })
}

/// A ticket that stands for these rights.
pub(super) async fn issue(bus: &Bus, rights: &Rights, now_ms: i64) -> Result<Ticket, Denied> {
    still_counts(rights, now_ms)?;
    let mut random = [0; 32];
    // A client can do nothing about either of these, and a ticket may do later.
    OsRng.try_fill_bytes(&mut random).map_err(|error| unavailable(&error))?;
    let value = serde_json::to_vec(rights).map_err(|error| unavailable(&error))?;
    let ticket = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    match timeout(WAIT, bus.put_ticket(&digest(&ticket), value.into())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(unavailable(&format!("{error:#}"))),
        Err(_) => return Err(unavailable(&format!("no answer within {WAIT:?}"))),
    }
    let counts_ms = i64::try_from(Bus::TICKET_EXPIRES.as_millis()).unwrap_or(i64::MAX);
    let expires_at = now_ms.saturating_add(counts_ms).min(rights.expires_at.unwrap_or(i64::MAX));
    Ok(Ticket { ticket, expires_at })
}

/// The rights that a ticket stands for. It counts no more after this.
pub(super) async fn redeem(bus: &Bus, ticket: &Secret, now_ms: i64) -> Result<Rights, Denied> {
    let unknown = || Denied::failed("the ticket is unknown, was used, or is older than 30 s; get another");
    // What is none is not worth a question.
    if !looks_like_one(ticket.expose()) {
        return Err(unknown());
    }
    let taken = match timeout(WAIT, bus.take_ticket(&digest(ticket.expose()))).await {
        Ok(Ok(taken)) => taken,
        Ok(Err(error)) => return Err(unavailable(&format!("{error:#}"))),
        Err(_) => return Err(unavailable(&format!("no answer within {WAIT:?}"))),
    };
    let rights: Rights = serde_json::from_slice(&taken.ok_or_else(unknown)?).map_err(|error| unavailable(&error))?;
    still_counts(&rights, now_ms)?;
    Ok(rights)
}

fn still_counts(rights: &Rights, now_ms: i64) -> Result<(), Denied> {
    match rights.expires_at {
        Some(end) if end <= now_ms => Err(Denied::expired("the token behind the ticket has expired; get a new one")),
        _ => Ok(()),
    }
}

fn digest(ticket: &str) -> [u8; 32] {
    Sha256::digest(ticket).into()
}

fn unavailable(why: &dyn std::fmt::Display) -> Denied {
    // The sentence for clients does not tell what failed inside.
    tracing::warn!(%why, "a ticket cannot be made or looked up");
    Denied::unavailable("tickets cannot be made or looked up now; get another, or show a key or a token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_does_not_print_itself() {
        let ticket = Ticket { ticket: "hidden".into(), expires_at: 7 };
        assert_eq!(format!("{ticket:?}"), r#"Ticket { ticket: "***", expires_at: 7 }"#);
    }

    #[test]
    fn only_the_form_of_a_ticket_is_one() {
        assert!(looks_like_one(&format!("ticket_{}", "aZ0-_".repeat(9).get(..43).unwrap())));
        for wrong in
            ["", "ticket_", "key", &format!("ticket_{}", "a".repeat(44)), &format!("ticket_{}.", "a".repeat(42))]
        {
            assert!(!looks_like_one(wrong), "{wrong}");
        }
    }
}
