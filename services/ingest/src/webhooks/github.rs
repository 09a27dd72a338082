//! GitHub's webhooks: signed as `sha256=<hex>`; a redelivery keeps its delivery id.

use axum::extract::{Request, State};
use axum::response::Response;

use super::{Genuine, configured, optional, required, signed};
use crate::Ingest;
use crate::body::{Refusal, want_json};

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
    let place = ingest.place()?;
    let headers = request.headers().clone();
    let body = ingest.body(request, config.body_max_bytes).await?;
    let digest = headers.get("x-hub-signature-256").and_then(|value| value.to_str().ok()?.strip_prefix("sha256="));
    signed(&config.secrets, &body, digest)?;
    want_json(&headers)?;
    let id = required(&headers, "x-github-delivery")?;
    let event = required(&headers, "x-github-event")?;
    let mut kept = vec![("x-github-event", event.clone()), ("x-github-delivery", id.clone())];
    for name in ["x-github-hook-id", "x-github-hook-installation-target-id", "x-github-hook-installation-target-type"] {
        kept.extend(optional(&headers, name).map(|value| (name, value)));
    }
    Ok(Genuine { _place: place, id, event, headers: kept, body, twins_ms: TWINS_MS })
}
