//! Linear's webhooks: signed as bare hex; the signed body says when it was sent.

use axum::extract::{Request, State};
use axum::response::Response;
use runtime::Problem;
use serde::Deserialize;

use super::{Genuine, configured, digest, required, signed};
use crate::Ingest;
use crate::body::{Arrived, Refusal, want_json};

const SYSTEM: &str = "linear";

/// The one thing of the body that is looked at here.
#[derive(Deserialize)]
struct Sent {
    #[serde(rename = "webhookTimestamp")]
    at_ms: i64,
}

/// `POST /webhooks/linear`
pub(crate) async fn receive(State(ingest): State<Ingest>, request: Request) -> Response {
    let judged = judge(&ingest, request).await;
    ingest.answer(SYSTEM, judged).await
}

async fn judge(ingest: &Ingest, request: Request) -> Result<Genuine<'_>, Refusal> {
    let config = &ingest.0.config.linear;
    configured(SYSTEM, &config.secrets)?;
    let headers = request.headers().clone();
    let digest = digest(&headers, "linear-signature", "")?;
    let Arrived { bytes: body, room } = ingest.webhook(request, config.body_max_bytes).await?;
    signed(&config.secrets, &body, digest)?;
    want_json(&headers)?;
    fresh(&body, ingest.0.process.now_ms(), config.window_s)?;
    let id = required(&headers, "linear-delivery")?;
    let event = required(&headers, "linear-event")?;
    let kept = vec![("linear-event", event.clone()), ("linear-delivery", id.clone())];
    Ok(Genuine { _room: room, id, event, headers: kept, body, twins_ms: 0 })
}

/// Freshness is judged here and never again: what waits in the stream afterwards grows old honestly.
pub(crate) fn fresh(body: &[u8], now_ms: i64, window_s: u64) -> Result<(), Refusal> {
    let sent: Sent = serde_json::from_slice(body).map_err(|_| {
        let detail = "the body must be JSON with the number webhookTimestamp";
        ("malformed", Problem::bad_request("body_malformed", detail))
    })?;
    if sent.at_ms.abs_diff(now_ms) <= window_s.saturating_mul(1_000) {
        return Ok(());
    }
    let detail = format!("the webhook was sent more than {window_s} s from now, by its signed time");
    Err(("stale", Problem::unauthorized("stale", detail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(body: &str) -> Result<(), &'static str> {
        fresh(body.as_bytes(), 1_000_000, 60).map_err(|(outcome, _)| outcome)
    }

    #[test]
    fn the_signed_time_must_be_near_on_either_side() {
        assert_eq!(judged(r#"{"webhookTimestamp": 1000000, "more": 1}"#), Ok(()));
        assert_eq!(judged(r#"{"webhookTimestamp": 940000}"#), Ok(()));
        assert_eq!(judged(r#"{"webhookTimestamp": 1060000}"#), Ok(()));
        assert_eq!(judged(r#"{"webhookTimestamp": 939999}"#), Err("stale"));
        assert_eq!(judged(r#"{"webhookTimestamp": 1060001}"#), Err("stale"));
        assert_eq!(judged(r#"{"webhookTimestamp": -9223372036854775808}"#), Err("stale"));
    }

    #[test]
    fn a_body_without_a_time_is_malformed() {
        for body in ["", "null", "{}", r#"{"webhookTimestamp": "1000000"}"#, r#"{"webhookTimestamp": null}"#] {
            assert_eq!(judged(body), Err("malformed"), "{body}");
        }
    }
}
