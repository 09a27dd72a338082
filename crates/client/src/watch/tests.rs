use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message as Out, WebSocketUpgrade};
use axum::routing::get;
use serde_json::{Value, json};

use super::*;
use crate::Client;

/// What the server says on each connection after the subscription; then it hangs up.
type Script = Arc<(AtomicUsize, Vec<Vec<Value>>)>;

async fn server(script: Vec<Vec<Value>>) -> String {
    let script: Script = Arc::new((AtomicUsize::new(0), script));
    let router = Router::new().route("/v1/ws", get(connect)).with_state(script);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn connect(State(script): State<Script>, upgrade: WebSocketUpgrade) -> axum::response::Response {
    let number = script.0.fetch_add(1, Ordering::SeqCst);
    upgrade.on_upgrade(move |mut socket| async move {
        assert!(matches!(socket.recv().await, Some(Ok(Out::Text(_)))));
        for message in script.1.get(number).into_iter().flatten() {
            socket.send(Out::text(message.to_string())).await.unwrap();
        }
    })
}

fn item(version: u64) -> Value {
    json!({"id": "i", "key": "ENG-1", "title": null, "lifecycle": "work", "status": "todo", "status_since": 0,
        "version": version, "held": null, "in_step": true, "records": []})
}

fn change(version: u64) -> Value {
    json!({"type": "change", "position": version, "kind": "status_changed", "item": "i", "version": version})
}

fn subscribed() -> Value {
    json!({"type": "subscribed", "rooms": ["all"]})
}

fn snapshot(version: u64) -> Value {
    json!({"type": "snapshot", "room": "all", "position": 1, "items": [item(version)], "more": false, "truncated": false})
}

#[tokio::test]
async fn a_broken_connection_is_made_again_and_nothing_is_told_twice() {
    let first = vec![subscribed(), snapshot(1), change(2)];
    let second = vec![subscribed(), snapshot(2), change(2), change(3)];
    let url = server(vec![first, second]).await;
    let mut watch = Client::new(&url).unwrap().watch(&["all"]).unwrap();
    let mut told = Vec::new();
    while told.len() < 4 {
        told.push(match watch.next().await.unwrap() {
            Message::Snapshot(snapshot) => ("snapshot", snapshot.items[0].version),
            Message::Change(change) => ("change", change.version),
            Message::Delivery(_) => unreachable!(),
        });
    }
    assert_eq!(told, [("snapshot", 1), ("change", 2), ("snapshot", 2), ("change", 3)]);
}

#[tokio::test]
async fn a_refusal_ends_the_watch_with_its_code() {
    let url = server(vec![vec![json!({"type": "error", "code": "bad_room", "reason": "no"})]]).await;
    let mut watch = Client::new(&url).unwrap().watch(&["nothing"]).unwrap();
    assert!(matches!(watch.next().await, Err(Error::Refused { code, .. }) if code == "bad_room"));
}

#[tokio::test]
async fn nobody_there_the_first_time_is_an_error() {
    let mut watch = Client::new("http://127.0.0.1:9").unwrap().watch(&["all"]).unwrap();
    assert!(matches!(watch.next().await, Err(Error::Unavailable { .. })));
}
