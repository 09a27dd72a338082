//! `/v1/sse`: the same messages as server-sent events, for whoever only listens.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use hyper::body::Frame;
use runtime::Problem;

use crate::Broadcaster;
use crate::asked::{self, Asked};
use crate::auth::{Credential, Denied};
use crate::event::Form;
use crate::hub::{Carrier, Mailbox, Newcomer};
use crate::room::{Kind, Room};
use crate::ws::{admitted, may_follow};

/// How soon a browser comes back, in milliseconds.
const FIRST: &[u8] = b"retry: 2000\n\n";

/// The handler. Without `room` it follows `all`.
pub async fn connect(
    State(broadcaster): State<Broadcaster>,
    Query(parts): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    follow(broadcaster, parts, headers).await.unwrap_or_else(IntoResponse::into_response)
}

async fn follow(
    broadcaster: Broadcaster,
    parts: Vec<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut asked = Asked::read(parts, broadcaster.config.rooms_max)?;
    if asked.rooms.is_empty() {
        asked.rooms.push(Room::of(Kind::All));
    }
    // A browser sends it by itself when it comes back, with the address that the page once gave.
    if let Some(last) = headers.get("last-event-id").filter(|last| !last.is_empty()) {
        asked.position = Some(asked::position(last.to_str().unwrap_or_default())?);
    }
    let credential = Credential::of(&headers, asked.ticket.as_deref());
    let rights = crate::requests::rights(&broadcaster, &headers, credential).await?;
    let rights = rights.ok_or_else(Denied::missing)?;
    may_follow(&rights, &asked)?;
    let (permit, rights) = admitted(&broadcaster, Some(rights))?;
    let serial = broadcaster.hub.serial();
    let mailbox = Mailbox::new(serial, broadcaster.hub.orders(serial).clone());
    // An empty mailbox takes anything.
    let _ = mailbox.put(Bytes::from_static(FIRST));
    let Asked { rooms, filter, position, .. } = asked;
    let by = Carrier::Events(Arc::clone(&mailbox));
    broadcaster.hub.admit(Newcomer { serial, by, form: Form::Sse, rights, permit, rooms, filter, position });
    let mut response = Response::new(Body::new(Events(mailbox)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx holds streams back unless it is told.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// The body of the response: what comes out of a mailbox.
struct Events(Arc<Mailbox>);

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_next(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
