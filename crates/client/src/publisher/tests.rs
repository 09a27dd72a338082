use std::sync::Mutex;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::OperationStep;

/// What a server got, by call; and how many calls it refuses first.
type Got = Arc<Mutex<(Vec<Vec<Value>>, u32, StatusCode)>>;

/// A step that no server takes.
const WRONG: &str = "13";

async fn server(refuses: u32, with: StatusCode) -> (Client, Got) {
    let got: Got = Arc::new(Mutex::new((Vec::new(), refuses, with)));
    let router = Router::new().route("/v1/telemetry", post(receive)).with_state(Arc::clone(&got));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (client, got)
}

async fn receive(State(got): State<Got>, Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
    let mut got = got.lock().unwrap();
    if got.1 > 0 {
        got.1 -= 1;
        return (got.2, Json(json!({"code": "no", "detail": "not now"})));
    }
    if body["messages"].as_array().unwrap().iter().any(|message| message["step"] == WRONG) {
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"code": "bad_messages", "detail": "1 is wrong"})));
    }
    got.0.push(body["messages"].as_array().unwrap().clone());
    (StatusCode::ACCEPTED, Json(json!({"accepted": []})))
}

fn step(number: usize) -> OperationStep {
    OperationStep { operation: "o".into(), step: number.to_string(), ..OperationStep::default() }
}

#[tokio::test]
async fn what_comes_together_goes_together_and_in_order() {
    let (client, got) = server(0, StatusCode::OK).await;
    let publisher = client.publisher();
    for number in 0..700 {
        assert!(publisher.publish(step(1_000 + number)));
    }
    publisher.flush().await;
    let calls = got.lock().unwrap().0.clone();
    assert_eq!(calls.iter().map(Vec::len).collect::<Vec<_>>(), [500, 200]);
    let steps: Vec<usize> =
        calls.iter().flatten().map(|message| message["step"].as_str().unwrap().parse().unwrap()).collect();
    assert!(steps.into_iter().eq(1_000..1_700));
    assert_eq!((publisher.published(), publisher.lost()), (700, 0));
}

#[tokio::test]
async fn a_server_that_is_away_for_a_moment_costs_nothing() {
    let (client, got) = server(2, StatusCode::SERVICE_UNAVAILABLE).await;
    let publisher = client.publisher();
    publisher.publish(step(1));
    publisher.flush().await;
    assert_eq!((got.lock().unwrap().0.len(), publisher.published(), publisher.lost()), (1, 1, 0));
}

#[tokio::test]
async fn what_is_refused_is_counted_as_lost_and_not_sent_again() {
    let (client, got) = server(1, StatusCode::UNPROCESSABLE_ENTITY).await;
    let publisher = client.publisher();
    publisher.publish(step(1));
    publisher.flush().await;
    publisher.publish(step(2));
    publisher.flush().await;
    assert_eq!((got.lock().unwrap().0.len(), publisher.published(), publisher.lost()), (1, 1, 1));
}

#[tokio::test]
async fn a_wrong_message_costs_none_of_those_beside_it() {
    let (client, got) = server(0, StatusCode::OK).await;
    let publisher = client.publisher();
    for number in 0..100 {
        publisher.publish(step(number));
    }
    publisher.flush().await;
    let steps: Vec<usize> = got
        .lock()
        .unwrap()
        .0
        .iter()
        .flatten()
        .map(|message| message["step"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(steps.into_iter().eq((0..100).filter(|number| number.to_string() != WRONG)));
    assert_eq!((publisher.published(), publisher.lost()), (99, 1));
}

#[tokio::test]
async fn a_full_queue_loses_what_comes_and_says_so() {
    let (client, _got) = server(0, StatusCode::OK).await;
    let publisher = client.publisher();
    // The task does not run before the first await.
    let queued = (0..WAITING + 7).filter(|number| publisher.publish(step(1_000 + *number))).count();
    assert_eq!((queued, publisher.lost()), (WAITING, 7));
    publisher.flush().await;
    assert_eq!(publisher.published(), WAITING as u64);
}
