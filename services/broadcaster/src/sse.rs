//! `/v1/sse`: the same messages as server-sent events, for whoever only listens.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderValue, header};
use runtime::Problem;

use crate::event::sse;
use crate::frame::Refusal;
use crate::room::Room;
use crate::session::Session;
use crate::{Broadcaster, Rooms};

/// How long the connection may be silent: shorter than the shortest wait of common proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How many waiting messages are joined in one write.
const JOINED: usize = 256;

/// The handler. Without `room` it follows `all`.
pub async fn connect(State(broadcaster): State<Broadcaster>, Query(asked): Query<Rooms>) -> Response {
    follow(broadcaster, asked.names()).await.unwrap_or_else(IntoResponse::into_response)
}

async fn follow(broadcaster: Broadcaster, names: Vec<String>) -> Result<Response, Problem> {
    let names = if names.is_empty() { vec!["all".to_owned()] } else { names };
    let place = broadcaster.admit().ok_or_else(|| {
        Problem::unavailable("too_many_clients", "as many clients as are served are here").retry_after(KEEP_ALIVE)
    })?;
    let mut session = Session::new(broadcaster, place);
    let mut first = VecDeque::from([Bytes::from_static(b"retry: 2000\n\n")]);
    for name in names {
        let room =
            Room::named(&name).map_err(|reason| Problem::bad_request("bad_room", format!("{name}: {reason}")))?;
        let snapshot = session.subscribe(room).await.map_err(problem)?;
        first.extend(snapshot.iter().map(|message| sse(None, "snapshot", message)));
    }
    let body = Body::from_stream(stream::unfold(Some(Listener { session, first }), next));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx holds streams back unless it is told.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn problem(refusal: Refusal) -> Problem {
    match refusal.code {
        "unavailable" => Problem::unavailable(refusal.code, refusal.reason).retry_after(Duration::from_secs(2)),
        code => Problem::bad_request(code, refusal.reason),
    }
}

struct Listener {
    session: Session,
    first: VecDeque<Bytes>,
}

/// The next bytes; after the last ones there is no listener left.
async fn next(listener: Option<Listener>) -> Option<(Result<Bytes, Infallible>, Option<Listener>)> {
    let mut listener = listener?;
    if let Some(first) = listener.first.pop_front() {
        return Some((Ok(first), Some(listener)));
    }
    let inbox = listener.session.inbox();
    let shared = listener.session.broadcaster().clone();
    loop {
        let last = tokio::select! {
            () = shared.0.process.shutdown().cancelled() => Refusal::new("going_away", "the broadcaster is going down; connect again"),
            () = inbox.cut().cancelled() => {
                Refusal::new("too_slow", "you read more slowly than things change; connect again for a fresh snapshot")
            }
            () = inbox.filled() => {
                let events = listener.session.take(JOINED);
                if events.is_empty() {
                    continue;
                }
                listener.session.sent(events.len());
                let mut joined = BytesMut::with_capacity(events.iter().map(|event| event.sse().len()).sum());
                for event in &events {
                    joined.extend_from_slice(event.sse());
                }
                return Some((Ok(joined.freeze()), Some(listener)));
            }
            () = tokio::time::sleep(KEEP_ALIVE) => {
                return Some((Ok(Bytes::from_static(b": still here\n\n")), Some(listener)));
            }
        };
        return Some((Ok(sse(None, "error", &last.message())), None));
    }
}
