//! Reads a request's body within its limits of size and time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use runtime::Problem;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{Ingest, RETRY_AFTER};

/// Why a body was not read: the word to count it under, and the answer.
pub(crate) type Refusal = (&'static str, Problem);

/// How many bytes one permit of room is for.
pub(crate) const KIB: usize = 1024;

/// A body that is here whole.
#[derive(Debug)]
pub(crate) struct Arrived<'a> {
    pub(crate) bytes: Bytes,
    /// Held until it is stored.
    pub(crate) room: Option<SemaphorePermit<'a>>,
}

impl Ingest {
    /// A place in memory for one request, while there is one.
    pub(crate) fn place(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        self.0.places.try_acquire().map_err(|_| overloaded())
    }

    /// A webhook's whole body, byte for byte, while there is room for webhooks.
    pub(crate) async fn webhook(&self, request: Request, limit: usize) -> Result<Arrived<'_>, Refusal> {
        self.body(request, limit, Some(&self.0.room)).await
    }

    /// The whole body, byte for byte, while there is room for it.
    pub(crate) async fn body<'a>(
        &self,
        request: Request,
        limit: usize,
        room: Option<&'a Semaphore>,
    ) -> Result<Arrived<'a>, Refusal> {
        let declared =
            request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let mut arriving = request.into_body();
        if declared.is_some_and(|length: usize| length > limit) {
            pass_over(&mut arriving).await;
            return Err(too_large(limit));
        }
        match tokio::time::timeout(self.0.config.body_wait(), whole(&mut arriving, limit, room)).await {
            Ok(Err(refusal @ ("too_large" | "overloaded", _))) => {
                pass_over(&mut arriving).await;
                Err(refusal)
            }
            Ok(read) => read,
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

/// Reads it, and takes room as it comes.
async fn whole<'a>(arriving: &mut Body, limit: usize, room: Option<&'a Semaphore>) -> Result<Arrived<'a>, Refusal> {
    let (mut bytes, mut held): (BytesMut, Option<SemaphorePermit<'a>>) = (BytesMut::new(), None);
    while let Some(frame) = arriving.frame().await {
        let frame =
            frame.map_err(|_| ("malformed", Problem::bad_request("body_incomplete", "the body ended early")))?;
        let Some(data) = frame.data_ref() else { continue };
        let length = bytes.len() + data.len();
        if length > limit {
            return Err(too_large(limit));
        }
        let missing = length.div_ceil(KIB) - bytes.len().div_ceil(KIB);
        if let Some(room) = room
            && missing > 0
        {
            let more = u32::try_from(missing).ok().and_then(|missing| room.try_acquire_many(missing).ok());
            let more = more.ok_or_else(overloaded)?;
            match &mut held {
                Some(held) => held.merge(more),
                None => held = Some(more),
            }
        }
        bytes.extend_from_slice(data);
    }
    Ok(Arrived { bytes: bytes.freeze(), room: held })
}

fn overloaded() -> Refusal {
    let problem = Problem::unavailable("overloaded", "too many requests are being stored; try again soon");
    ("overloaded", problem.retry_after(RETRY_AFTER))
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
