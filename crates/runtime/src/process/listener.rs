//! Serves a router on an address, with what every listener has: liveness, readiness, metrics, and limits.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::tasks::caught;
use super::{Process, layers};
use crate::Problem;

/// How long a client may take to send the head of a request, and may leave a connection idle.
const HEAD: Duration = Duration::from_secs(20);
/// How long open requests may go on once the process stops.
const DRAIN: Duration = Duration::from_secs(10);
/// How much of a request's head is held, in bytes; a longer one is refused.
const BUFFER: usize = 64 * 1024;
/// How many connections one listener holds.
const CONNECTIONS: usize = 16_384;
/// How many connections may wait until they are taken, if the system allows as many (`net.core.somaxconn`). When thousands come
/// back at once, whoever finds no room asks again only after a second.
const WAITING: u32 = 16_384;
/// How much the system holds for a client that does not read, in bytes (it takes twice as much memory). Left to itself it gives each some
/// megabytes.
const UNREAD: u32 = 192 * 1024;
/// For how long a client may take nothing of what is sent to it: the system then ends the connection, which else waits for ever and keeps
/// its place. Longer than a watcher may be stalled, unless that was set to more.
#[cfg(target_os = "linux")]
const UNTAKEN: Duration = Duration::from_mins(1);
/// How many requests one connection of HTTP/2 may have open at once.
const STREAMS: u32 = 100;
/// The pause after the system had no file for another connection.
const EXHAUSTED: Duration = Duration::from_millis(100);

impl Process {
    /// Serves a service's router on `listen` (port 0 takes a free one), and on the gateway where there is one. Adds
    /// `/livez`, `/readyz` and `/metrics`, CORS, tracing, a request id, and answers for panics and unknown paths: the router
    /// must not bring a fallback; `ConnectInfo<SocketAddr>` is there for its handlers. Returns the bound address; the serving ends with the shutdown.
    pub fn serve(&self, listen: SocketAddr, router: Router) -> anyhow::Result<SocketAddr> {
        let router = layers::around(self, router);
        self.shared.gateway.add(self.service(), router.clone())?;
        if self.shared.gateway.is_at(listen) {
            self.state().addresses.insert(self.service().to_owned(), listen);
            return Ok(listen);
        }
        let listener = bind(listen)?;
        let address = listener.local_addr().context("a listener has no address")?;
        let router = with_admin(self, router)?;
        self.state().addresses.insert(self.service().to_owned(), address);
        self.spawn("http", run(listener, router, self.shutdown().clone()));
        tracing::info!(service = self.service(), %address, "listens");
        Ok(address)
    }
}

pub(super) fn bind(listen: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = || {
        let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        // Connections have it of their listener.
        socket.set_send_buffer_size(UNREAD)?;
        #[cfg(target_os = "linux")]
        SockRef::from(&socket).set_tcp_user_timeout(Some(UNTAKEN))?;
        socket.bind(listen)?;
        socket.listen(WAITING)
    };
    bound().with_context(|| format!("cannot listen on {listen}"))
}

pub(super) fn with_admin(process: &Process, router: Router) -> anyhow::Result<Router> {
    let admin = Router::new()
        .route("/livez", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(process.clone());
    let all = caught(|| router.merge(admin)).with_context(|| format!("{} cannot be served", process.service()))?;
    let all = all
        .fallback(|| async { Problem::not_found("no_such_path", "there is nothing at this path") })
        .method_not_allowed_fallback(|| async { Problem::bad_method("bad_method", "this path has other methods") });
    // Around the refusals as well: a browser asks before it calls, with a method that no path has.
    Ok(match process.http().cors() {
        Some(cors) => all.layer(cors),
        None => all,
    })
}

async fn readyz(State(process): State<Process>) -> Response {
    let parts = process.readiness();
    let stopping = process.shutdown().is_cancelled();
    let ready = !stopping && parts.values().all(Result::is_ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let parts: serde_json::Map<_, _> = parts
        .into_iter()
        .map(|(part, state)| {
            (part, state.map_or_else(|reason| json!({"ready": false, "reason": reason}), |()| json!({"ready": true})))
        })
        .collect();
    let mut body = json!({"ready": ready, "stopping": stopping, "service": process.service(), "instance": process.instance(), "parts": parts});
    if let Some(why) = process.is_idle() {
        body["idle"] = why.into();
    }
    (status, Json(body)).into_response()
}

async fn metrics(State(process): State<Process>) -> Response {
    match process.metrics().encode() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            Problem::internal("metrics_failed", "the metrics cannot be written").into_response()
        }
    }
}

/// Takes connections until the shutdown, then lets them finish for a moment.
pub(super) async fn run(listener: TcpListener, router: Router, shutdown: CancellationToken) -> anyhow::Result<()> {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) if connections.len() < CONNECTIONS => {
                connections.spawn(connection(stream, peer, router.clone(), shutdown.clone()));
            }
            // Over the limit the connection is closed: a client sees it and can come back.
            Ok(_) => tracing::warn!(limit = CONNECTIONS, "a connection was refused: too many are open"),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections were still open at the end");
    }
    Ok(())
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, shutdown: CancellationToken) {
    let service = router.map_request(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    });
    // Small answers must not wait for more to send.
    let _ = stream.set_nodelay(true);
    if speaks_http2(&stream).await {
        return connection_http2(stream, service, shutdown).await;
    }
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades();
    until_ended(serving, http1::UpgradeableConnection::graceful_shutdown, shutdown).await;
}

/// How a client begins that speaks HTTP/2 without having asked (RFC 9113, section 3.4), as far as it must be seen: no method of
/// HTTP/1.1 begins so.
const PREFACE: &[u8] = b"PRI ";
/// How often it is looked again whether a client that sends its first bytes one by one speaks it.
const LOOKS: u32 = 50;
const LOOK: Duration = Duration::from_millis(20);

/// Whether a client speaks HTTP/2. Takes nothing of what it sent; one that is slow is taken for one that does not.
async fn speaks_http2(stream: &TcpStream) -> bool {
    let mut first = [0; PREFACE.len()];
    for _ in 0..LOOKS {
        let seen = match tokio::time::timeout(HEAD, stream.peek(&mut first)).await {
            Ok(Ok(seen)) => &first[..seen],
            Ok(Err(_)) | Err(_) => return false,
        };
        if seen.is_empty() || !PREFACE.starts_with(seen) {
            return false;
        }
        if seen == PREFACE {
            return true;
        }
        // What is there already would be seen again at once.
        tokio::time::sleep(LOOK).await;
    }
    false
}

async fn connection_http2<S>(stream: TcpStream, service: S, shutdown: CancellationToken)
where
    S: tower::Service<http::Request<Incoming>, Response = Response, Error = std::convert::Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let serving = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(HEAD))
        .max_concurrent_streams(STREAMS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    until_ended(serving, http2::Connection::graceful_shutdown, shutdown).await;
}

/// Serves a connection to its end; at the shutdown it is asked to end, and may finish for a moment.
async fn until_ended<C>(serving: C, ask: impl FnOnce(Pin<&mut C>), shutdown: CancellationToken)
where
    C: Future<Output = hyper::Result<()>>,
{
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = shutdown.cancelled() => {
            ask(serving.as_mut());
            match tokio::time::timeout(DRAIN, serving).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_client_that_takes_nothing_does_not_keep_its_connection() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert_eq!(SockRef::from(&accepted).tcp_user_timeout().unwrap(), Some(UNTAKEN));
    }
}
