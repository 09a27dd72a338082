//! Bytes on the bus: protobuf, or JSON where the content type says so.

use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The content type of protobuf, and of messages that name none.
pub const PROTOBUF: &str = "application/x-protobuf";
/// The content type of the JSON form.
pub const JSON: &str = "application/json";

/// Bytes that are not the message they should be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not that protobuf message.
    #[error("not a protobuf message of this type: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// Not that JSON.
    #[error("not the JSON form of this message: {0}")]
    Json(#[from] serde_json::Error),
    /// A content type that nobody speaks.
    #[error("content type {0:?} is neither {PROTOBUF} nor {JSON}")]
    ContentType(String),
}

/// A message of the bus from its bytes; `content_type` as in the header, `None` for protobuf.
pub fn decode<M: Message + Default + DeserializeOwned>(
    content_type: Option<&str>,
    bytes: &[u8],
) -> Result<M, DecodeError> {
    match content_type {
        None | Some(PROTOBUF) => Ok(M::decode(bytes)?),
        Some(JSON) => Ok(serde_json::from_slice(bytes)?),
        Some(other) => Err(DecodeError::ContentType(other.chars().take(80).collect())),
    }
}

/// The protobuf form.
pub fn encode<M: Message>(message: &M) -> Vec<u8> {
    message.encode_to_vec()
}

/// The JSON form.
pub fn encode_json<M: Serialize>(message: &M) -> Result<Vec<u8>, DecodeError> {
    Ok(serde_json::to_vec(message)?)
}
