//! One WebSocket to the broadcaster: opened, written and read, each within a time.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::Url;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error as Wire, Message as Frame, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::ending::End;
use crate::{Error, credential};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a write may take.
const WRITE: Duration = Duration::from_secs(10);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

pub(super) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// The WebSocket form of an HTTP address.
pub(super) fn address(mut url: Url) -> Result<Url, Error> {
    let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
    url.set_scheme(scheme).map_err(|()| Error::address(url.as_str(), "it has no WebSocket form"))?;
    Ok(url)
}

impl Socket {
    pub(super) async fn open(url: &Url, shown: Option<&str>) -> Result<Self, Error> {
        let request = url.as_str().into_client_request();
        let mut request = request.map_err(|error| Error::address(url.as_str(), error.to_string()))?;
        if let Some(shown) = shown {
            request.headers_mut().insert(http::header::AUTHORIZATION, credential::header(shown)?);
        }
        let opened = timeout(CONNECT, connect_async(request)).await;
        match opened.map_err(|_| Error::unavailable(format!("no answer within {} s", CONNECT.as_secs())))? {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Wire::Http(response)) => {
                Err(Error::refused(response.status().as_u16(), response.body().as_deref().unwrap_or_default()))
            }
            Err(Wire::Url(why)) => Err(Error::address(url.as_str(), why.to_string())),
            Err(other) => Err(Error::unavailable(other.to_string())),
        }
    }

    pub(super) async fn say(&mut self, what: &Value) -> Result<(), End> {
        match timeout(WRITE, self.0.send(Frame::text(what.to_string()))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Lost(error.to_string())),
            Err(_) => Err(End::Lost(format!("nothing could be written for {} s", WRITE.as_secs()))),
        }
    }

    /// The next frame: a text, or `None` for any other sign of life. Cancelling it loses nothing.
    pub(super) async fn hear(&mut self, until: Instant) -> Result<Option<Utf8Bytes>, End> {
        match timeout_at(until, self.0.next()).await {
            Ok(Some(Ok(Frame::Text(text)))) => Ok(Some(text)),
            Ok(Some(Ok(Frame::Close(Some(frame))))) => {
                Err(End::Closed { code: frame.code.into(), reason: frame.reason.to_string() })
            }
            Ok(Some(Ok(Frame::Close(None))) | None) => Err(End::Lost("closed without a reason".into())),
            Ok(Some(Ok(_))) => Ok(None),
            Ok(Some(Err(error))) => Err(End::Lost(error.to_string())),
            Err(_) => Err(End::Silence),
        }
    }

    /// Ends it. Who does not answer is left.
    pub(super) async fn close(mut self) {
        let _ = timeout(FAREWELL, self.0.close(None)).await;
    }
}
