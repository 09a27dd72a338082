//! The judgements by which a request is taken or refused, without the requests: for those who try them with any bytes. Needs
//! the feature `testing`.

use model::{Lifecycles, Observation};
use runtime::{Problem, Secret};

use crate::status::{Context, all_ready, statuses as listed};
use crate::{signature, webhooks};

/// The observations that the body of a status request stands for.
pub fn statuses(body: &[u8], now_ms: i64, lifecycles: &Lifecycles) -> Result<Vec<Observation>, Problem> {
    let context = Context { now_ms, request_key: Some("key".into()), lifecycles };
    let ready = all_ready(listed(body)?, &context)?;
    Ok(ready.into_iter().map(|ready| ready.observation).collect())
}

/// Whether the body was signed with one of the secrets.
pub fn is_signed(secrets: &[Secret], body: &[u8], hex_digest: &str) -> bool {
    signature::is_signed(secrets, body, hex_digest)
}

/// Whether a webhook of Linear's was sent within a minute of now, by its signed time.
pub fn is_fresh(body: &[u8], now_ms: i64) -> bool {
    webhooks::linear::fresh(body, now_ms, 60).is_ok()
}
