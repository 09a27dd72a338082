//! `POST /v1/telemetry`: what agents, workflows and servers tell of themselves, one message or many, all of them checked before
//! any is stored.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bus::{Outgoing, Stream};
use http::StatusCode;
use intake::telemetry::{Ready, Telemetry, messages, ready};
use runtime::Problem;
use serde_json::json;
use tracing::Instrument;

use crate::Ingest;
use crate::asked::problem;

/// The handler.
pub(crate) async fn receive(State(ingest): State<Ingest>, request: Request) -> Response {
    accept(&ingest, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn accept(ingest: &Ingest, request: Request) -> Result<Response, Problem> {
    let asked = ingest.asked(request).await?;
    let list = messages(asked.json()?).map_err(problem)?;
    let ready = ready(list, &asked.context(ingest)?).map_err(problem)?;
    let span = tracing::info_span!("store telemetry", count = ready.len(), kind = ready[0].telemetry.kind());
    let messages: Vec<Outgoing> = ready.into_iter().map(outgoing).collect();
    let wait = ingest.0.config.publish_wait();
    let accepted = ingest.within(Stream::Live, wait, ingest.0.bus.publish_all(messages)).instrument(span).await?.len();
    Ok((StatusCode::ACCEPTED, Json(json!({"accepted": accepted}))).into_response())
}

fn outgoing(ready: Ready) -> Outgoing {
    let Ready { id, telemetry } = ready;
    let protobuf = telemetry.encode();
    match &telemetry {
        Telemetry::SystemAlert(alert) => Outgoing::alert(&alert.severity, &alert.id, id, protobuf),
        other => Outgoing::live(other.kind(), other.key(), id, protobuf),
    }
}
