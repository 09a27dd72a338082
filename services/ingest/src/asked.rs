//! What the faces for people and scripts have in common: who may speak, the JSON that they send, and how it is refused.

use axum::extract::Request;
use bytes::Bytes;
use http::HeaderMap;
use intake::{Context, Fault, Refused};
use runtime::Problem;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::SemaphorePermit;
use uuid::Uuid;

use crate::Ingest;
use crate::body::want_json;

/// A request of somebody who may ask.
pub(crate) struct Asked<'a> {
    /// Held until it is answered.
    _place: SemaphorePermit<'a>,
    headers: HeaderMap,
    body: Bytes,
}

impl Ingest {
    /// A request, if whoever sends it may, and when it is here whole.
    pub(crate) async fn asked(&self, request: Request) -> Result<Asked<'_>, Problem> {
        let headers = request.headers().clone();
        self.0.keys.admit(&headers)?;
        let problem = |(_, problem)| problem;
        want_json(&headers).map_err(problem)?;
        let place = self.place().map_err(problem)?;
        let body = self.body(request, self.0.config.body_max_bytes, None).await.map_err(problem)?;
        Ok(Asked { _place: place, headers, body: body.bytes })
    }
}

impl Asked<'_> {
    /// Its body.
    pub(crate) fn json(&self) -> Result<Value, Problem> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Problem::bad_request("body_malformed", format!("the body is not JSON: {error}")))
    }

    /// What it is judged by.
    pub(crate) fn context<'a>(&self, ingest: &'a Ingest) -> Result<Context<'a>, Problem> {
        Ok(Context {
            now_ms: ingest.0.process.now_ms(),
            request_key: self.key()?,
            lifecycles: &ingest.0.policy.lifecycles,
            fresh_id: Uuid::now_v7,
        })
    }

    /// The `Idempotency-Key` and what was sent with it, from which what has no id of its own gets one: a key that is used again for
    /// something else takes nothing away.
    fn key(&self) -> Result<Option<String>, Problem> {
        let Some(key) = self.headers.get("idempotency-key") else { return Ok(None) };
        let plain = key.to_str().ok().filter(|key| intake::is_id(key));
        let key = plain.ok_or_else(|| {
            Problem::bad_request("bad_idempotency_key", format!("the Idempotency-Key {}", intake::ID))
        })?;
        let digest = Sha256::digest(&self.body);
        Ok(Some(format!("{key}:{}", hex::encode(&digest[..8]))))
    }
}

/// The answer that says what intake refused.
pub(crate) fn problem(refused: Refused) -> Problem {
    let Refused { fault, code, detail, errors } = refused;
    match fault {
        Fault::Form => Problem::bad_request(code, detail),
        Fault::Count => Problem::too_large(code, detail),
        Fault::Content => Problem::unprocessable(code, detail).with("errors", errors),
    }
}
