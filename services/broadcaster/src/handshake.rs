//! The WebSocket's handshake (RFC 6455, section 4.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use runtime::Problem;
use sha1::{Digest, Sha1};

use crate::event::Form;
use crate::wire::Deflate;

/// What the key is joined with before it is digested.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The subprotocols: what the events are written in.
const JSON: &str = "lockstep.v1.json";
const PROTOBUF: &str = "lockstep.v1.protobuf";

/// What was agreed on.
#[derive(Debug, PartialEq)]
pub struct Agreed {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: HeaderValue,
    /// The subprotocol, where one was asked for that we speak.
    pub protocol: Option<HeaderValue>,
    /// How events are written.
    pub form: Form,
    /// Compression.
    pub deflate: Option<Deflate>,
}

/// What a request to open a WebSocket agrees on with us, or why it is none.
pub fn agree(method: &Method, headers: &HeaderMap) -> Result<Agreed, Problem> {
    let wrong = |detail: &str| Problem::bad_request("bad_handshake", detail);
    if *method != Method::GET {
        return Err(Problem::bad_method("bad_method", "a WebSocket is opened with GET"));
    }
    let words =
        |name| headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
    let says = |name, word: &str| words(name).any(|known| known.trim().eq_ignore_ascii_case(word));
    if !says(header::UPGRADE, "websocket") || !says(header::CONNECTION, "upgrade") {
        let detail = "this path speaks WebSocket over HTTP/1.1: it needs Connection: Upgrade and Upgrade: websocket";
        let problem =
            Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", "This path speaks WebSocket only", detail);
        return Err(problem.with_header(header::UPGRADE, HeaderValue::from_static("websocket")));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let problem = Problem::new(
            StatusCode::UPGRADE_REQUIRED,
            "bad_version",
            "This version is not spoken",
            "the version must be 13",
        );
        return Err(problem.with_header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")));
    }
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let key = match (keys.next().and_then(|key| key.to_str().ok()), keys.next()) {
        (Some(key), None) if STANDARD.decode(key.trim()).is_ok_and(|key| key.len() == 16) => key.trim(),
        _ => return Err(wrong("Sec-WebSocket-Key must be there once, with 16 bytes in base64")),
    };
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let accept = HeaderValue::from_str(&STANDARD.encode(digest)).map_err(|_| wrong("the key cannot be answered"))?;
    let spoken = [(JSON, Form::Json), (PROTOBUF, Form::Protobuf)];
    let offered = words(header::SEC_WEBSOCKET_PROTOCOL)
        .find_map(|word| spoken.into_iter().find(|(name, _)| *name == word.trim()));
    let extensions = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter().filter_map(|value| value.to_str().ok());
    let deflate = Deflate::offered(extensions);
    let form = match (offered, deflate) {
        (Some((_, Form::Protobuf)), _) => Form::Protobuf,
        (_, Some(_)) => Form::JsonDeflated,
        _ => Form::Json,
    };
    let protocol = offered.map(|(name, _)| HeaderValue::from_static(name));
    Ok(Agreed { accept, protocol, form, deflate })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: &[(&'static str, &str)]) -> Result<Agreed, Problem> {
        let mut headers = HeaderMap::new();
        let usual = [
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in usual.iter().chain(change) {
            headers.insert(*name, value.parse().unwrap());
        }
        agree(&Method::GET, &headers)
    }

    #[test]
    fn the_key_of_the_standard_is_answered_as_there() {
        let agreed = request(&[]).unwrap();
        assert_eq!(agreed.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!((agreed.protocol, agreed.form, agreed.deflate), (None, Form::Json, None));
    }

    #[test]
    fn the_first_subprotocol_that_we_speak_is_taken() {
        let agreed = request(&[("sec-websocket-protocol", "mqtt, lockstep.v1.protobuf, lockstep.v1.json")]).unwrap();
        assert_eq!((agreed.protocol.unwrap().to_str().unwrap(), agreed.form), (PROTOBUF, Form::Protobuf));
        assert_eq!(request(&[("sec-websocket-protocol", "mqtt")]).unwrap().protocol, None);
        let deflated = request(&[("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")]).unwrap();
        assert_eq!(deflated.form, Form::JsonDeflated);
        let both = [("sec-websocket-protocol", PROTOBUF), ("sec-websocket-extensions", "permessage-deflate")];
        let both = request(&both).unwrap();
        assert!(both.deflate.is_some(), "answers and snapshots are texts all the same");
        assert_eq!((both.protocol.unwrap().to_str().unwrap(), both.form), (PROTOBUF, Form::Protobuf));
    }

    #[test]
    fn what_is_no_handshake_is_refused_with_what_would_be_right() {
        let status = |change: &[(&'static str, &str)]| request(change).unwrap_err().status.as_u16();
        assert_eq!(status(&[("sec-websocket-version", "8")]), 426);
        assert_eq!(status(&[("upgrade", "h2c")]), 426);
        assert_eq!(status(&[("connection", "close")]), 426);
        assert_eq!(status(&[("sec-websocket-key", "short")]), 400);
        assert_eq!(agree(&Method::POST, &HeaderMap::new()).unwrap_err().status, 405);
    }
}
