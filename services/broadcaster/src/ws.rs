//! `/v1/ws`: opens a WebSocket, and hands its socket to the hub.

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use runtime::Problem;
use tokio::net::TcpStream;

use crate::asked::Asked;
use crate::auth::{Credential, Rights};
use crate::handshake::agree;
use crate::hub::{Carrier, Newcomer, Permit};
use crate::wire::Deflate;
use crate::{Broadcaster, full};

/// The handler.
pub async fn connect(
    State(broadcaster): State<Broadcaster>,
    Query(parts): Query<Vec<(String, String)>>,
    request: Request,
) -> Response {
    open(broadcaster, parts, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn open(
    broadcaster: Broadcaster,
    parts: Vec<(String, String)>,
    mut request: Request,
) -> Result<Response, Problem> {
    let agreed = agree(request.method(), request.headers())?;
    broadcaster.process.http().admit_origin(request.headers())?;
    let asked = Asked::read(parts, broadcaster.config.rooms_max)?;
    let credential = Credential::of(request.headers(), asked.ticket.as_deref());
    let rights = crate::requests::rights(&broadcaster, request.headers(), credential).await?;
    if rights.is_none() && !asked.rooms.is_empty() {
        let detail = "rooms in the address need a key, a token or a ticket; or leave them out, and send auth first";
        return Err(Problem::unauthorized("auth_missing", detail));
    }
    if let Some(rights) = &rights {
        may_follow(rights, &asked)?;
    }
    let (permit, rights) = admitted(&broadcaster, rights)?;
    let upgrade = request
        .extensions_mut()
        .remove::<OnUpgrade>()
        .ok_or_else(|| Problem::bad_request("bad_handshake", "a WebSocket is opened over HTTP/1.1"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, agreed.accept);
    if let Some(protocol) = agreed.protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    if agreed.deflate.is_some() {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(Deflate::ANSWER));
    }
    let Asked { rooms, filter, position, .. } = asked;
    let (form, deflate) = (agreed.form, agreed.deflate);
    tokio::spawn(async move {
        match socket(upgrade).await {
            Ok((stream, first)) => broadcaster.hub.admit(Newcomer {
                serial: broadcaster.hub.serial(),
                by: Carrier::Socket(stream, first, deflate),
                form,
                rights,
                permit,
                rooms,
                filter,
                position,
            }),
            Err(error) => tracing::debug!(error = format!("{error:#}"), "a WebSocket was not opened after all"),
        }
    });
    Ok(response)
}

/// A place for a client, which counts as its key's where that is known.
pub fn admitted(
    broadcaster: &Broadcaster,
    rights: Option<std::sync::Arc<Rights>>,
) -> Result<(Permit, Option<std::sync::Arc<Rights>>), Problem> {
    let permit = match &rights {
        Some(rights) => broadcaster.admission.admit_of(&rights.subject),
        None => broadcaster.admission.admit(),
    };
    Ok((permit.map_err(full)?, rights))
}

/// Whether a client may follow all the rooms that its address names.
pub fn may_follow(rights: &Rights, asked: &Asked) -> Result<(), Problem> {
    match asked.rooms.iter().find(|room| !rights.rooms.covers(&room.to_string())) {
        Some(room) => Err(Problem::forbidden("forbidden", format!("your key or token does not grant the room {room}"))),
        None => Ok(()),
    }
}

/// The socket under a connection that was upgraded, and what was read of it already. What HTTP kept for it is given back.
async fn socket(upgrade: OnUpgrade) -> anyhow::Result<(std::net::TcpStream, Bytes)> {
    let parts = upgrade
        .await?
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_| anyhow::anyhow!("the connection is no plain TCP connection"))?;
    Ok((parts.io.into_inner().into_std()?, parts.read_buf))
}
