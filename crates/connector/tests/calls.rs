//! Calls over HTTP, against a server that answers as it is told.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::time::Duration;

use connector::calls::{CallSettings, limits};
use connector::{Calls, Failure, Response};
use runtime::Process;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers one connection after another with these; then no more.
async fn server(answers: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        // Accepts and says nothing.
        let (stream, _) = listener.accept().await.unwrap();
        std::future::pending::<()>().await;
        drop(stream);
    });
    address
}

fn calls(reader: limits::Limits, settings: CallSettings) -> (Calls, Process) {
    let process = Process::new("test", None);
    (Calls::new("fake", reader, settings, process.clone()).unwrap(), process)
}

async fn get(calls: &Calls, address: &str) -> Result<Response, Failure> {
    calls.send(calls.client().get(address), "read").await
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
const BROKEN: &str = "HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\nretry-after: 3\r\nconnection: close\r\n\r\n";
const MISSING: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const TOO_MANY: &str =
    "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\nretry-after: 60\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn answers_are_told_apart() {
    let address = server(&[OK, BROKEN, MISSING]).await;
    let (calls, process) = calls(limits::STANDARD, CallSettings::default());
    let answer = get(&calls, &address).await.unwrap().success("the thing").unwrap();
    assert_eq!(answer.json::<serde_json::Value>().unwrap(), serde_json::json!({}));
    assert!(process.last_success().contains_key("fake"));
    let Err(Failure::Unavailable { retry_after, .. }) = get(&calls, &address).await else {
        panic!("a 503 is no answer")
    };
    assert_eq!(retry_after, Some(Duration::from_secs(3)));
    assert_eq!(process.failing()["fake"], "fake answered read with 503 Service Unavailable");
    let missing = get(&calls, &address).await.unwrap().success("the thing");
    assert!(matches!(missing, Err(Failure::Gone { .. })));
    assert_eq!(process.failing()["fake"], "fake answered read with 404 Not Found");
    let count =
        |outcome: &str| process.metrics().connector_calls_total.with_label_values(&["fake", "read", outcome]).get();
    assert_eq!(["ok", "unavailable", "refused"].map(count), [1, 1, 1]);
}

#[tokio::test]
async fn a_system_that_refuses_the_first_call_is_seen() {
    let address = server(&[MISSING]).await;
    let (calls, process) = calls(limits::STANDARD, CallSettings::default());
    let missing = get(&calls, &address).await.unwrap().success("the thing");
    assert!(matches!(missing, Err(Failure::Gone { .. })));
    assert_eq!(process.last_success().get("fake"), Some(&0));
}

#[tokio::test]
async fn after_a_limit_nothing_is_sent_until_it_is_over() {
    let address = server(&[TOO_MANY, OK]).await;
    let (calls, _) = calls(limits::STANDARD, CallSettings::default());
    for _ in 0..2 {
        let Err(Failure::Limited { retry_after, .. }) = get(&calls, &address).await else { panic!("not limited") };
        assert!(retry_after > Duration::from_secs(50));
    }
    // Another credential has a budget of its own, and the second answer is still there for it.
    assert!(get(&calls.scoped(), &address).await.is_ok());
}

#[tokio::test]
async fn whoever_has_the_same_credential_shares_its_limits() {
    let address = server(&[TOO_MANY, OK]).await;
    let process = Process::new("test", None);
    // Two connectors, each with calls of its own.
    let [one, two] =
        [(); 2].map(|()| Calls::new("fake", limits::STANDARD, CallSettings::default(), process.clone()).unwrap());
    assert!(matches!(get(&one.for_credential("ours"), &address).await, Err(Failure::Limited { .. })));
    let shared = two.for_credential("ours");
    assert!(get(&shared, &address).await.is_ok(), "a line that nobody stands in is forgotten");
    let [first, second] = [one.for_credential("kept"), two.for_credential("kept")];
    let address = server(&[TOO_MANY, OK]).await;
    assert!(matches!(get(&first, &address).await, Err(Failure::Limited { .. })));
    assert!(matches!(get(&second, &address).await, Err(Failure::Limited { .. })), "the second answer is still there");
    assert!(matches!(get(&second.drawing_on(&["graphql"]), &address).await, Err(Failure::Limited { .. })));
    assert!(get(&two.for_credential("theirs"), &address).await.is_ok());
}

#[tokio::test]
async fn what_fails_while_the_circuit_is_open_is_no_attempt() {
    let address = server(&[BROKEN; 6]).await;
    let (calls, _) = calls(limits::STANDARD, CallSettings::default());
    for _ in 0..5 {
        assert!(matches!(get(&calls, &address).await, Err(Failure::Unavailable { .. })));
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(2_010)).await;
    tokio::time::resume();
    let Err(Failure::Limited { retry_after, .. }) = get(&calls, &address).await else {
        panic!("the probe's failure says nothing of its own call")
    };
    assert!(retry_after > Duration::from_secs(3), "longer than the first time: {retry_after:?}");
}

#[tokio::test]
async fn a_system_that_keeps_failing_is_left_alone() {
    let address = server(&[BROKEN; 6]).await;
    let (calls, _) = calls(limits::STANDARD, CallSettings::default());
    for _ in 0..5 {
        assert!(matches!(get(&calls, &address).await, Err(Failure::Unavailable { .. })));
    }
    let held = get(&calls, &address).await;
    assert!(matches!(held, Err(Failure::Limited { .. })), "an open circuit is no attempt");
}

#[tokio::test]
async fn silence_ends_with_the_timeout() {
    let address = server(&[]).await;
    let settings = CallSettings { timeout_ms: 50, ..CallSettings::default() };
    let (calls, _) = calls(limits::STANDARD, settings);
    assert!(matches!(get(&calls, &address).await, Err(Failure::Unavailable { .. })));
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused() {
    let address = server(&[OK]).await;
    let (calls, _) = calls(limits::STANDARD, CallSettings { body_bytes_max: 1, ..CallSettings::default() });
    assert!(matches!(get(&calls, &address).await, Err(Failure::Refused { code: "answer_too_large", .. })));
}
