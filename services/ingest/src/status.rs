//! `POST /v1/status`: statuses of any records, one or many, all of them checked before any is stored.

mod entry;
mod moment;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bus::Outgoing;
use http::{HeaderMap, StatusCode};
use runtime::Problem;
use serde_json::{Value, json};
use tracing::Instrument;

use crate::Ingest;
use crate::body::want_json;
pub(crate) use entry::Context;
use entry::{Ready, Wrong};

/// How many statuses one request may bring.
const STATUSES_MAX: usize = 500;

/// The handler.
pub(crate) async fn receive(State(ingest): State<Ingest>, request: Request) -> Response {
    accept(&ingest, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn accept(ingest: &Ingest, request: Request) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    ingest.0.keys.admit(&headers)?;
    let problem = |(_, problem)| problem;
    want_json(&headers).map_err(problem)?;
    let _place = ingest.place().map_err(problem)?;
    let body = ingest.body(request, ingest.0.config.body_max_bytes).await.map_err(problem)?;
    let statuses = statuses(&body)?;
    let context = Context {
        now_ms: ingest.0.process.now_ms(),
        request_key: request_key(&headers)?,
        lifecycles: &ingest.0.policy.lifecycles,
    };
    let ready = all_ready(statuses, &context)?;
    let messages = ready.iter().map(|ready| Outgoing::observation(ready.lane, &ready.observation)).collect();
    let span = tracing::info_span!("store statuses", count = ready.len(), record = %ready[0].observation.record);
    let sequences = ingest.within(ingest.0.bus.publish_all(messages)).instrument(span).await?;
    let accepted: Vec<Value> = ready
        .iter()
        .zip(sequences)
        .map(|(ready, sequence)| json!({"id": ready.id, "record": ready.observation.record, "sequence": sequence}))
        .collect();
    Ok((StatusCode::ACCEPTED, Json(json!({"accepted": accepted}))).into_response())
}

/// The statuses of a body: one object, a list, or a list under `statuses`. At least one.
pub(crate) fn statuses(body: &[u8]) -> Result<Vec<Value>, Problem> {
    let malformed = |detail: String| Problem::bad_request("body_malformed", detail);
    let body = serde_json::from_slice(body).map_err(|error| malformed(format!("the body is not JSON: {error}")))?;
    let list = match body {
        Value::Array(list) => list,
        Value::Object(mut object) if object.contains_key("statuses") => match (object.remove("statuses"), object.len())
        {
            (Some(Value::Array(list)), 0) => list,
            (_, 0) => return Err(malformed("statuses must be a list".into())),
            _ => return Err(malformed("beside statuses there must be nothing else".into())),
        },
        one @ Value::Object(_) => vec![one],
        _ => return Err(malformed("the body must be a status, a list of them, or {\"statuses\": […]}".into())),
    };
    match list.len() {
        0 => Err(malformed("there must be at least one status".into())),
        1..=STATUSES_MAX => Ok(list),
        count => {
            let detail = format!("{count} statuses are too many for one request; send at most {STATUSES_MAX}");
            Err(Problem::too_large("too_many_statuses", detail))
        }
    }
}

/// The `Idempotency-Key`, from which statuses without an id of their own get one.
fn request_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let plain = key.to_str().ok().filter(|key| entry::is_id(key));
    let key = plain
        .ok_or_else(|| Problem::bad_request("bad_idempotency_key", format!("the Idempotency-Key {}", entry::ID)))?;
    Ok(Some(key.to_owned()))
}

pub(crate) fn all_ready(statuses: Vec<Value>, context: &Context<'_>) -> Result<Vec<Ready>, Problem> {
    let count = statuses.len();
    let mut ready: Vec<Ready> = Vec::with_capacity(count);
    let mut wrong: Vec<Value> = Vec::new();
    let mut ids = std::collections::HashSet::new();
    for (index, status) in statuses.into_iter().enumerate() {
        let checked = entry::ready(status, index, context).and_then(|checked| {
            // The bus keeps one of two messages of an id: the other would be lost in silence.
            let fresh = ids.insert(checked.observation.id.clone());
            if fresh {
                Ok(checked)
            } else {
                Err(Wrong::new("id", "is used for this record by an earlier status of the request"))
            }
        });
        match checked {
            Ok(checked) => ready.push(checked),
            Err(error) => wrong.push(json!({"index": index, "field": error.field, "detail": error.why})),
        }
    }
    if wrong.is_empty() {
        return Ok(ready);
    }
    let detail = format!("{} of {count} statuses are wrong; nothing was stored", wrong.len());
    Err(Problem::unprocessable("bad_statuses", detail).with("errors", wrong))
}

#[cfg(test)]
mod tests;
