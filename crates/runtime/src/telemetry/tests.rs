use std::io::{Read as _, Seek as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_is_carried_on_and_sent_when_the_process_ends() {
    let received = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&received);
    let collector = Router::new().route(
        "/v1/traces",
        post(move |body: Bytes| async move {
            counted.fetch_add(body.len(), Ordering::SeqCst);
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, collector).await });

    let config = TelemetryConfig { otlp_endpoint: format!("http://{address}/"), ..TelemetryConfig::default() };
    let guard = init(&config, "ingest").unwrap();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let span = tracing::info_span!("webhook");
    extract(&|name| (name == "traceparent").then(|| format!("00-{trace}-b7ad6b7169203331-01")), &span);
    let mut sent = Vec::new();
    span.in_scope(|| inject(&mut |name, value| sent.push((name.to_owned(), value))));
    drop(span);
    let parent = &sent.iter().find(|(name, _)| name == "traceparent").unwrap().1;
    assert!(parent.contains(trace) && !parent.contains("b7ad6b7169203331"), "{parent}");
    drop(guard);
    assert!(received.load(Ordering::SeqCst) > 0);
}

#[test]
fn each_line_for_machines_is_an_object_that_says_when_how_grave_and_what() {
    let file = Arc::new(tempfile::tempfile().unwrap());
    let lines = tracing_subscriber::registry().with(lines(Format::Json, Arc::clone(&file), true));
    tracing::subscriber::with_default(lines, || {
        let _span = tracing::info_span!("batch", record = "linear/issue/1").entered();
        tracing::info!(attempt = 2, record = "a \"quoted\" one", "several\nlines");
        tracing::error!(error = %std::fmt::Error, "it failed");
    });
    let mut text = String::new();
    (&*file).rewind().unwrap();
    (&*file).read_to_string(&mut text).unwrap();
    let told: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let what = |line: &serde_json::Value| (line["level"].clone(), line["message"].clone());
    assert_eq!(
        told.iter().map(what).collect::<Vec<_>>(),
        [("INFO".into(), "several\nlines".into()), ("ERROR".into(), "it failed".into())]
    );
    assert_eq!((&told[0]["attempt"], &told[0]["record"]), (&2.into(), &"a \"quoted\" one".into()));
    assert!(told.iter().all(|line| line["timestamp"].is_string() && line["target"].is_string()), "{text}");
}

#[test]
fn without_a_receiver_no_header_is_made_up() {
    let _guard = init(&TelemetryConfig::default(), "ingest").unwrap();
    let span = tracing::info_span!("webhook");
    extract(&|_| Some("nonsense".into()), &span);
    span.in_scope(|| inject(&mut |name, value| panic!("{name}: {value}")));
}

#[test]
fn a_wrong_setting_is_named() {
    let config = TelemetryConfig { otlp_endpoint: "localhost:4318".into(), ..TelemetryConfig::default() };
    assert!(init(&config, "ingest").unwrap_err().to_string().contains("telemetry.otlp_endpoint: must start with"));
    let config = TelemetryConfig { level: "a=b=c".into(), ..TelemetryConfig::default() };
    assert!(init(&config, "ingest").unwrap_err().to_string().contains("telemetry.level: is not a log filter"));
    let config = TelemetryConfig { trace_ratio: 7.0, ..TelemetryConfig::default() };
    assert!(config.check().unwrap_err().to_string().contains("telemetry.trace_ratio: must be from"));
}
