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
