use std::time::Duration;

use axum::Router;
use axum::routing::get;

use super::*;

const LOCAL: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

async fn ask(address: SocketAddr, path: &str) -> (u16, String) {
    crate::install_crypto();
    let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[test]
fn one_failure_is_told_for_a_moment_and_those_that_go_on_until_the_next_may_have_come() {
    let failing = |first_ms, last_ms| Failing { why: "500".into(), first_ms, last_ms };
    let once = failing(1_000, 1_000);
    assert!(once.is_told(1_000 + FAILED_MS) && !once.is_told(1_001 + FAILED_MS));
    let on_and_on = failing(1_000, 1_000 + MOMENT_MS);
    assert!(on_and_on.is_told(1_000 + MOMENT_MS + FAILING_MS) && !on_and_on.is_told(1_001 + MOMENT_MS + FAILING_MS));
    let in_one_moment = failing(1_000, 999 + MOMENT_MS);
    assert!(in_one_moment.is_told(1_000 + FAILED_MS) && !in_one_moment.is_told(1_001 + FAILED_MS));
}

#[test]
fn failures_are_one_row_as_long_as_the_sweeps_of_a_quiet_system_are_apart_and_begin_anew_after_that() {
    let first_ms = |at_ms: &[i64]| {
        let all = at_ms.iter().fold(None, |before, now| Some(Failing::and(before, "500".into(), *now, *now)));
        all.unwrap().first_ms
    };
    assert_eq!(first_ms(&[7, 330_000, 660_000]), 7);
    assert_eq!(first_ms(&[7, 7 + APART_MS]), 7);
    assert_eq!(first_ms(&[7, 8 + APART_MS]), 8 + APART_MS);
    let known_before = Failing::and(None, "refused".into(), 7, 7 + MOMENT_MS);
    assert!(known_before.is_told(7 + MOMENT_MS + FAILING_MS), "it lasts, though it is told for the first time");
}

#[tokio::test]
async fn every_listener_says_whether_it_lives_is_ready_and_what_it_counted() {
    let process = Process::new("ingest", None);
    let router = Router::new()
        .route("/hello/{name}", get(|| async { "hello" }))
        .route("/panic", get(|| async { panic!("on purpose") as &'static str }));
    let address = process.serve(LOCAL.into(), router).unwrap();
    assert_eq!(process.addresses()["ingest"], address);
    assert_eq!(ask(address, "/livez").await.0, 200);
    assert_eq!(ask(address, "/readyz").await.0, 200);
    process.ready("nats", Err("not connected".into()));
    let (status, body) = ask(address, "/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("not connected"), "{body}");
    process.ready("nats", Ok(()));
    assert_eq!(ask(address, "/readyz").await.0, 200);
    process.idle("there is no key");
    let (status, body) = ask(address, "/readyz").await;
    assert!(status == 200 && body.contains(r#""idle":"there is no key""#), "{status}: {body}");
    assert_eq!(ask(address, "/hello/you").await, (200, "hello".into()));
    assert_eq!(ask(address, "/panic").await.0, 500);
    let (status, body) = ask(address, "/nowhere").await;
    assert_eq!(status, 404);
    assert!(body.contains("no_such_path"), "{body}");
    let text = ask(address, "/metrics").await.1;
    for line in [
        r#"lockstep_http_requests_total{route="/hello/{name}",service="ingest",status="200"} 1"#,
        r#"lockstep_http_requests_total{route="/panic",service="ingest",status="500"} 1"#,
    ] {
        assert!(text.contains(line), "{text}");
    }
    process.shutdown().cancel();
    process.finished(Duration::from_secs(5)).await.unwrap();
    assert!(reqwest::get(format!("http://{address}/livez")).await.is_err());
}

/// What is written to it.
#[derive(Clone, Default)]
struct Written(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_an_address_says_after_its_path_is_written_nowhere() {
    use tracing_subscriber::fmt::format::FmtSpan;
    let written = Written::default();
    let writer = written.clone();
    // The client that asks here is of a library, and writes whom it asks.
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("runtime=trace")
        .with_span_events(FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let process = Process::new("broadcaster", None);
    let address = process.serve(LOCAL.into(), Router::new().route("/v1/ws", get(|| async { "hello" }))).unwrap();
    for path in ["/v1/ws?ticket=planted", "/v1/ws?token=planted&room=all", "/v1/sse?ticket=planted"] {
        ask(address, path).await;
    }
    let mut broken = tokio::net::TcpStream::connect(address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut broken, b"GET /v1/ws?ticket=planted HTTP/0.0\r\n\r\n").await.unwrap();
    let text = || String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let told = async {
        while !text().contains("a connection ended early") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), told).await.expect("what is told at DEBUG is looked at, too");
    let text = text();
    assert!(text.contains("http.route=\"/v1/ws\""), "{text}");
    assert!(!text.contains("planted"), "{text}");
    let metrics = ask(address, "/metrics").await.1;
    assert!(!metrics.contains("planted"), "{metrics}");
}

#[tokio::test]
async fn the_host_that_a_target_names_counts_and_what_is_refused_because_of_it_is_counted() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let process = Process::new("resolver", None);
    let keys = crate::access::Keys::new(&[], process.http());
    let admit = move |headers: http::HeaderMap| async move { keys.admit(&headers) };
    let address = process.serve(LOCAL.into(), Router::new().route("/v1", get(admit))).unwrap();
    let absolute = async |host: &str, header: &str| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!("GET http://{host}/v1 HTTP/1.1\r\nhost: {header}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said[9..12].to_owned()
    };
    assert_eq!(absolute("evil.example", "localhost").await, "403");
    assert_eq!(absolute("user@evil.example", "localhost").await, "403");
    assert_eq!(absolute("localhost", "evil.example").await, "200");
    crate::install_crypto();
    let client = reqwest::Client::builder().http2_prior_knowledge().resolve("evil.example", address).no_proxy();
    let client = client.build().unwrap();
    let status = async |host: &str| {
        client.get(format!("http://{host}:{}/v1", address.port())).send().await.unwrap().status().as_u16()
    };
    assert_eq!((status("evil.example").await, status("127.0.0.1").await), (403, 200));
    let text = ask(address, "/metrics").await.1;
    let line = r#"lockstep_http_refusals_total{code="host_not_allowed",service="resolver"} 3"#;
    assert!(text.contains(line), "{text}");
}

/// A body that nobody read ends the connection: a next request on it would be lost.
#[tokio::test]
async fn who_is_answered_before_the_body_was_read_is_told_that_the_connection_ends() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let process = Process::new("ingest", None);
    let read =
        |body: axum::body::Bytes| async move { (http::StatusCode::UNPROCESSABLE_ENTITY, body.len().to_string()) };
    let router = Router::new()
        .route("/unread", axum::routing::post(|| async { http::StatusCode::UNAUTHORIZED }))
        .route("/read", axum::routing::post(read));
    let address = process.serve(LOCAL.into(), router).unwrap();
    // What is answered to a head and the first part of its body; the rest follows only then.
    let answered = async |path: &str, head: &str, parts: [&[u8]; 2]| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{head}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), parts[0]].concat()).await.unwrap();
        if path == "/read" {
            stream.write_all(parts[1]).await.unwrap();
        }
        let mut said = String::new();
        while !said.contains("\r\n\r\n") {
            let mut some = [0; 1024];
            let count = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut some)).await.unwrap().unwrap();
            assert!(count > 0, "{path} {head} was answered {said}");
            said.push_str(&String::from_utf8_lossy(&some[..count]));
        }
        (said[9..12].to_owned(), said.to_ascii_lowercase().contains("connection: close"))
    };
    for size in [10, 4_000, 12_000, 100_000] {
        let body = vec![b'x'; size];
        let length = format!("content-length: {size}");
        let chunk = [format!("{size:x}\r\n").as_bytes(), &body, b"\r\n"].concat();
        let chunked = "transfer-encoding: chunked";
        let (unread, read) = (("401".to_owned(), true), ("422".to_owned(), false));
        assert_eq!(answered("/unread", &length, [&body, b""]).await, unread, "{size} at once");
        assert_eq!(answered("/unread", &length, [&body[..5], &body[5..]]).await, unread, "{size} in two parts");
        assert_eq!(answered("/unread", chunked, [&chunk, b"0\r\n\r\n"]).await, unread, "{size} in chunks");
        assert_eq!(answered("/read", &length, [&body, b""]).await, read, "{size} at once");
        assert_eq!(answered("/read", &length, [&body[..5], &body[5..]]).await, read, "{size} in two parts");
        assert_eq!(answered("/read", chunked, [&chunk, b"0\r\n\r\n"]).await, read, "{size} in chunks");
    }
    assert_eq!(
        answered("/unread", "content-length: 0", [b"", b""]).await,
        ("401".to_owned(), false),
        "nothing to read"
    );
    process.shutdown().cancel();
}

/// Without that header the client does not take it for an upgrade.
#[tokio::test]
async fn an_upgrade_is_answered_with_its_own_connection_header_whatever_body_came_with_it() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let process = Process::new("broadcaster", None);
    let upgraded = (http::StatusCode::SWITCHING_PROTOCOLS, [("connection", "upgrade"), ("upgrade", "websocket")]);
    let router = Router::new().route("/upgrade", get(move || async move { upgraded }));
    let address = process.serve(LOCAL.into(), router).unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let asked = "GET /upgrade HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                 content-length: 5\r\n\r\n";
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut said = String::new();
    while !said.contains("\r\n\r\n") {
        let mut some = [0; 1024];
        let count = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut some)).await.unwrap().unwrap();
        assert!(count > 0, "it was answered {said}");
        said.push_str(&String::from_utf8_lossy(&some[..count]));
    }
    let said = said.to_ascii_lowercase();
    assert!(said.starts_with("http/1.1 101") && said.contains("connection: upgrade"), "{said}");
    process.shutdown().cancel();
}

#[tokio::test]
async fn pages_of_named_origins_may_call_every_api() {
    use reqwest::Method;
    crate::install_crypto();
    let http = HttpConfig { origins: vec!["https://status.example".into()], ..HttpConfig::default() };
    let process = Process::new("ingest", None).with_http(http);
    let router = Router::new().route("/v1/telemetry", axum::routing::post(|| async { "taken" }));
    let address = process.serve(LOCAL.into(), router).unwrap();
    let ask = async |method: Method, origin: &str| {
        let request = reqwest::Client::new()
            .request(method, format!("http://{address}/v1/telemetry"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,idempotency-key,authorization");
        let response = request.send().await.unwrap();
        let says = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        (response.status().as_u16(), says("access-control-allow-origin"), says("access-control-allow-headers"))
    };
    let (status, origin, headers) = ask(Method::OPTIONS, "https://status.example").await;
    assert_eq!((status, origin.as_deref()), (200, Some("https://status.example")));
    assert!(headers.unwrap().contains("idempotency-key"));
    assert_eq!(ask(Method::POST, "https://status.example").await.1.as_deref(), Some("https://status.example"));
    assert_eq!(ask(Method::OPTIONS, "https://evil.example").await.1, None);
    process.shutdown().cancel();
}

#[tokio::test]
async fn a_connection_can_become_a_websocket_and_knows_its_peer() {
    use axum::extract::{ConnectInfo, WebSocketUpgrade, ws::Message};
    use futures_util::StreamExt;
    let greet = |ConnectInfo(peer): ConnectInfo<SocketAddr>, upgrade: WebSocketUpgrade| async move {
        upgrade.on_upgrade(move |mut socket| async move {
            let _ = socket.send(Message::text(peer.ip().to_string())).await;
        })
    };
    let process = Process::new("broadcaster", None);
    let address = process.serve(LOCAL.into(), Router::new().route("/ws", get(greet))).unwrap();
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/ws")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), "127.0.0.1");
}

#[tokio::test]
async fn a_request_that_was_begun_is_finished_before_the_end() {
    let begun = Arc::new(tokio::sync::Notify::new());
    let go_on = Arc::new(tokio::sync::Notify::new());
    let (says, waits) = (Arc::clone(&begun), Arc::clone(&go_on));
    let slow = move || async move {
        says.notify_one();
        waits.notified().await;
        "done"
    };
    let process = Process::new("ingest", None);
    let address = process.serve(LOCAL.into(), Router::new().route("/slow", get(slow))).unwrap();
    let asked = tokio::spawn(async move { ask(address, "/slow").await });
    begun.notified().await;
    process.shutdown().cancel();
    go_on.notify_one();
    assert_eq!(asked.await.unwrap(), (200, "done".into()));
    process.finished(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_gateway_serves_the_routers_of_all_services_on_one_address() {
    let process = Process::new("lockstep", Some(LOCAL.into()));
    let ingest = process.of("ingest").serve(LOCAL.into(), Router::new().route("/a", get(|| async { "a" }))).unwrap();
    process.of("resolver").serve(LOCAL.into(), Router::new().route("/b", get(|| async { "b" }))).unwrap();
    let twice = process.of("monitor").serve(LOCAL.into(), Router::new().route("/a", get(|| async { "c" })));
    assert!(format!("{:#}", twice.unwrap_err()).starts_with("monitor cannot share the gateway"));
    process.start_gateway().unwrap();
    let gateway = process.addresses()["gateway"];
    assert_eq!(ask(gateway, "/a").await.1, "a");
    assert_eq!(ask(gateway, "/b").await.1, "b");
    assert_eq!(ask(ingest, "/b").await.0, 404);
    process.of("resolver").ready("store", Err("away".into()));
    assert_eq!(ask(gateway, "/readyz").await.0, 503);
    assert_eq!(ask(ingest, "/readyz").await.0, 200);
    process.ready("nats", Err("away".into()));
    assert_eq!(ask(ingest, "/readyz").await.0, 503);
}

#[tokio::test]
async fn a_service_at_the_gateways_address_is_not_bound_twice() {
    let free = std::net::TcpListener::bind(SocketAddr::from(LOCAL)).unwrap().local_addr().unwrap();
    let process = Process::new("lockstep", Some(free));
    let router = Router::new().route("/a", get(|| async { "a" }));
    assert_eq!(process.of("ingest").serve(free, router).unwrap(), free);
    process.start_gateway().unwrap();
    assert_eq!(ask(free, "/a").await.1, "a");
}

#[tokio::test]
async fn a_task_that_fails_or_panics_ends_the_process_with_its_reason() {
    let process = Process::new("resolver", None);
    process.spawn("batches", async { anyhow::bail!("the disk is full") });
    let failed = process.finished(Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(format!("{failed:#}"), "resolver: batches: the disk is full");

    let process = Process::new("resolver", None);
    process.spawn("batches", async { panic!("on purpose") });
    let failed = process.finished(Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(format!("{failed:#}"), "resolver: batches: panicked: on purpose");
}

#[tokio::test]
async fn a_task_that_does_not_end_is_told_of_and_not_waited_for() {
    let process = Process::new("resolver", None);
    process.spawn("batches", std::future::pending());
    process.shutdown().cancel();
    let failed = process.finished(Duration::from_millis(10)).await.unwrap_err();
    assert!(failed.to_string().starts_with("1 tasks did not end"), "{failed}");
}

#[test]
fn instances_differ_and_are_safe_in_a_subject() {
    let (one, other) = (Process::new("a", None), Process::new("a", None));
    assert_ne!(one.instance(), other.instance());
    assert!(one.instance().chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)), "{}", one.instance());
}
