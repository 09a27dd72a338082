//! Reads a request's body within its limits of size and time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use runtime::Problem;
use tokio::sync::SemaphorePermit;

use crate::{Ingest, RETRY_AFTER};

/// Why a body was not read: the word to count it under, and the answer.
pub(crate) type Refusal = (&'static str, Problem);

impl Ingest {
    /// A place in memory for one request, while there is one.
    pub(crate) fn place(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        self.0.places.try_acquire().map_err(|_| {
            let problem = Problem::unavailable("overloaded", "too many requests are being stored; try again soon");
            ("overloaded", problem.retry_after(RETRY_AFTER))
        })
    }

    /// The whole body, byte for byte.
    pub(crate) async fn body(&self, request: Request, limit: usize) -> Result<Bytes, Refusal> {
        let declared =
            request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let mut arriving = request.into_body();
        if declared.is_some_and(|length: usize| length > limit) {
            pass_over(&mut arriving).await;
            return Err(too_large(limit));
        }
        let reading = Limited::new(&mut arriving, limit).collect();
        match tokio::time::timeout(self.0.config.body_wait(), reading).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                pass_over(&mut arriving).await;
                Err(too_large(limit))
            }
            Ok(Err(_)) => Err(("malformed", Problem::bad_request("body_incomplete", "the body ended early"))),
            Err(_) => Err((
                "malformed",
                Problem::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "body_slow",
                    "The request was too slow",
                    "the body took too long to arrive",
                ),
            )),
        }
    }
}

/// Lets a sender finish, within reason: one that is cut off while it sends does not read why.
async fn pass_over(body: &mut Body) {
    const BYTES_MAX: usize = 64 * 1024 * 1024;
    const PATIENCE: Duration = Duration::from_secs(2);
    let passing = async {
        let mut passed = 0;
        while let Some(Ok(frame)) = body.frame().await {
            passed += frame.data_ref().map_or(0, Bytes::len);
            if passed > BYTES_MAX {
                break;
            }
        }
    };
    // Whoever takes longer is cut off.
    let _ = tokio::time::timeout(PATIENCE, passing).await;
}

fn too_large(limit: usize) -> Refusal {
    ("too_large", Problem::too_large("body_too_large", format!("the body is over {limit} bytes")))
}

/// Refuses a body that does not say it is JSON. It also keeps web pages of other sites away from a server on a person's own
/// machine: a browser asks before it sends JSON there, and nobody answers.
pub(crate) fn want_json(headers: &HeaderMap) -> Result<(), Refusal> {
    if is_of_type(headers, "application/json") {
        return Ok(());
    }
    Err(("malformed", Problem::bad_media("not_json", "the Content-Type must be application/json")))
}

/// Whether a body says that it is of this type.
pub(crate) fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let said = headers.get(header::CONTENT_TYPE).and_then(|said| said.to_str().ok()).unwrap_or_default();
    said.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}
