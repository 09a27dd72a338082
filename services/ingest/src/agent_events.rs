//! `POST /v1/agent-events`: what agents' runtimes tell, one event or many, all of them checked before any is stored.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use intake::agent_events::{events, ready};
use runtime::Problem;

use crate::Ingest;
use crate::asked::problem;

/// The handler.
pub(crate) async fn receive(State(ingest): State<Ingest>, request: Request) -> Response {
    accept(&ingest, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn accept(ingest: &Ingest, request: Request) -> Result<Response, Problem> {
    let asked = ingest.asked(request).await?;
    let list = events(asked.json()?).map_err(problem)?;
    let ready = ready(list, &asked.context(ingest)?).map_err(problem)?;
    ingest.observed(ready).await
}
