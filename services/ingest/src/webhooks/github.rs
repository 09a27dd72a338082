//! GitHub's webhooks: signed as `sha256=<hex>`; a redelivery keeps its delivery id. A hook is made with forms as its content type
//! unless somebody chooses JSON.

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use runtime::Problem;

use super::{Genuine, configured, digest, optional, required, signed};
use crate::Ingest;
use crate::body::{Arrived, Refusal, is_of_type, want_json};

const SYSTEM: &str = "github";

/// GitHub's times have whole seconds: an issue that is closed, opened and closed again within one is told of three times, and
/// the first body is the third. An older one that comes again is read again rather than believed, so it could do no harm.
const TWINS_MS: i64 = 10_000;

/// `POST /webhooks/github`
pub(crate) async fn receive(State(ingest): State<Ingest>, request: Request) -> Response {
    let judged = judge(&ingest, request).await;
    ingest.answer(SYSTEM, judged).await
}

async fn judge(ingest: &Ingest, request: Request) -> Result<Genuine<'_>, Refusal> {
    let config = &ingest.0.config.github;
    configured(SYSTEM, &config.secrets)?;
    let headers = request.headers().clone();
    let digest = digest(&headers, "x-hub-signature-256", "sha256=")?;
    let Arrived { bytes: body, room } = ingest.webhook(request, config.body_max_bytes).await?;
    signed(&config.secrets, &body, digest)?;
    let body = payload(&headers, body)?;
    let id = required(&headers, "x-github-delivery")?;
    let event = required(&headers, "x-github-event")?;
    let mut kept = vec![("x-github-event", event.clone()), ("x-github-delivery", id.clone())];
    for name in ["x-github-hook-id", "x-github-hook-installation-target-id", "x-github-hook-installation-target-type"] {
        kept.extend(optional(&headers, name).map(|value| (name, value)));
    }
    Ok(Genuine { _room: room, id, event, headers: kept, body, twins_ms: TWINS_MS })
}

/// The event itself: the body, or the field `payload` of a form. The signature is over the form.
fn payload(headers: &HeaderMap, body: Bytes) -> Result<Bytes, Refusal> {
    if !is_of_type(headers, "application/x-www-form-urlencoded") {
        want_json(headers)?;
        return Ok(body);
    }
    let payload = form_urlencoded::parse(&body).find(|(name, _)| name == "payload");
    let (_, payload) = payload.ok_or_else(|| {
        ("malformed", Problem::bad_request("payload_missing", "a form must have the event in the field payload"))
    })?;
    Ok(payload.into_owned().into())
}
