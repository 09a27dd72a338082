//! `POST /v1/status`: statuses of any records, one or many, all of them checked before any is stored.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bus::{Outgoing, Stream};
use http::StatusCode;
use intake::Ready;
use runtime::Problem;
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::Instrument;

use crate::Ingest;
use crate::asked::problem;

/// The handler.
pub(crate) async fn receive(State(ingest): State<Ingest>, request: Request) -> Response {
    accept(&ingest, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn accept(ingest: &Ingest, request: Request) -> Result<Response, Problem> {
    let asked = ingest.asked(request).await?;
    let list = intake::statuses(asked.json()?).map_err(problem)?;
    let ready = intake::ready(list, &asked.context(ingest)?).map_err(problem)?;
    ingest.observed(ready).await
}

impl Ingest {
    /// Stores what was observed, and answers with what became of each.
    pub(crate) async fn observed(&self, ready: Vec<Ready>) -> Result<Response, Problem> {
        let messages: Vec<Outgoing> =
            ready.iter().map(|ready| Outgoing::observation(ready.lane, &ready.observation)).collect();
        let wait = bus::time_in_order(&messages, self.0.config.publish_wait());
        let span = tracing::info_span!("store statuses", count = ready.len(), record = %ready[0].observation.record);
        // Of those without a position the later one counts; a copy of the request finds them in the order in which they were stored.
        let storing = self.0.bus.publish_in_order(&messages, Instant::now() + wait);
        let sequences = self.within(Stream::Observations, wait, storing).instrument(span).await?;
        let accepted: Vec<Value> = ready
            .iter()
            .zip(sequences)
            .map(|(ready, sequence)| json!({"id": ready.id, "record": ready.observation.record, "sequence": sequence}))
            .collect();
        Ok((StatusCode::ACCEPTED, Json(json!({"accepted": accepted}))).into_response())
    }
}
