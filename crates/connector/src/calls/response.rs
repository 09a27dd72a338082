//! An answer, and the failure that its status may stand for.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use crate::Failure;
use crate::finding::date_ms;

/// An answer that came: it may still say no.
#[derive(Debug, Clone)]
pub struct Response {
    /// Its status; never a 5xx, and never one that the system's limits explain.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub bytes: Bytes,
}

impl Response {
    /// The answer if it is a success; else the failure that its status stands for. `what` was asked for, for a person.
    pub fn success(self, what: &str) -> Result<Self, Failure> {
        if self.status.is_success() { Ok(self) } else { Err(self.refusal(what)) }
    }

    /// The body as JSON. A body that is not what it should be is refused: no attempt makes it right.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.bytes).map_err(|error| {
            Failure::refused("unexpected_answer", format!("the answer is not what was expected: {error}"))
        })
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// When it was made, by the system's clock, in milliseconds since 1970.
    pub fn date_ms(&self) -> Option<i64> {
        date_ms(self.header("date")?)
    }

    /// The failure that a status which is no success stands for.
    pub fn refusal(&self, what: &str) -> Failure {
        let why = format!("{what}: answered with {}", self.status);
        match self.status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Failure::gone(why),
            StatusCode::UNAUTHORIZED => Failure::refused("unauthorized", format!("{why}; check the credentials")),
            StatusCode::FORBIDDEN => Failure::refused("forbidden", format!("{why}; the credentials lack a right")),
            StatusCode::CONFLICT => Failure::unavailable(why),
            _ => Failure::refused("rejected", why),
        }
    }
}
