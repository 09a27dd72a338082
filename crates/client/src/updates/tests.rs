//! Statuses that are sent in the background: through breaks, in order, each once, and no more than may wait.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Duration, timeout};

use super::*;
use crate::watch::tests::peer::{Peer, serve, server};
use crate::{Client, Propagation};

const DEADLINE: Duration = Duration::from_secs(20);

fn build(number: usize) -> Status {
    Status::new(format!("ci/build/{number}"), "running")
}

/// The records of a message.
fn records(update: &Value) -> Vec<String> {
    let statuses = update["statuses"].as_array().unwrap();
    statuses.iter().map(|status| status["record"].as_str().unwrap().to_owned()).collect()
}

/// An address at which nobody listens yet.
async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Begins a call, and waits until its statuses are in the queue.
async fn said(client: &Client, statuses: Vec<Status>) -> tokio::task::JoinHandle<Result<Propagation, Error>> {
    let (calls, sizes) = (client.clone(), statuses.len());
    let before = client.updates().unwrap().shared.outbox().len();
    let call = tokio::spawn(async move { calls.update_status(&statuses).await });
    while client.updates().unwrap().shared.outbox().len() < before + sizes && !call.is_finished() {
        tokio::task::yield_now().await;
    }
    call
}

async fn ended(call: tokio::task::JoinHandle<Result<Propagation, Error>>) -> Result<Propagation, Error> {
    timeout(DEADLINE, call).await.expect("the call did not end").unwrap()
}

#[tokio::test]
async fn a_status_is_stored_with_an_id_and_is_to_be_followed_from_before_it_was_sent() {
    let url = server(|mut peer| async move {
        peer.welcomes("p3").await;
        peer.stores(7).await;
        peer.stays().await;
    })
    .await;
    let update = Client::new(&url).unwrap().update_status(&[build(1)]).await.unwrap();
    let stored = &update.accepted[0];
    assert_eq!((stored.sequence, stored.record.as_str(), stored.lane.as_str()), (7, "ci/build/1", "normal"));
    assert_eq!((stored.id.len(), stored.from.as_deref()), (32, Some("p3")));
    assert!(update.refused.is_empty());
}

#[tokio::test]
async fn without_a_server_statuses_wait_and_a_full_queue_says_to_whom_it_did_what() {
    let address = nowhere().await;
    let client = Client::new(&format!("http://{address}")).unwrap().with_queue_max(3);
    let mut waiting = Vec::new();
    for number in 1..=3 {
        waiting.push(said(&client, vec![build(number)]).await);
    }
    let refused = client.update_status(&[build(4)]).await;
    assert!(matches!(refused, Err(Error::QueueFull { .. })), "who comes is refused, and those who wait do");
    let calls = client.clone();
    let newer = tokio::spawn(async move { calls.update_status(&[Status::new("ci/build/2", "success")]).await });
    let replaced = ended(waiting.remove(1)).await;
    assert!(matches!(replaced, Err(Error::Replaced { record }) if record == "ci/build/2"));
    serve(TcpListener::bind(address).await.unwrap(), |mut peer: Peer| async move {
        peer.welcomes("p0").await;
        let update = peer.stores(1).await;
        assert_eq!(records(&update), ["ci/build/1", "ci/build/3", "ci/build/2"]);
        peer.stays().await;
    });
    for (call, sequence) in waiting.into_iter().chain([newer]).zip(1..) {
        assert_eq!(ended(call).await.unwrap().accepted[0].sequence, sequence);
    }
}

#[tokio::test]
async fn a_status_that_waits_is_sent_once_though_the_server_restarts_twice_before_it_greets() {
    let (told, mut heard) = mpsc::unbounded_channel();
    let url = server(move |mut peer| {
        let told = told.clone();
        async move {
            if peer.number < 2 {
                return;
            }
            peer.welcomes("p0").await;
            told.send(peer.stores(7).await).unwrap();
            while let Some(message) = peer.hears().await {
                told.send(message).unwrap();
            }
            told.send(Value::Null).unwrap();
        }
    })
    .await;
    let client = Client::new(&url).unwrap();
    let first = ended(said(&client, vec![build(1)]).await).await.unwrap();
    client.update_status(&[]).await.unwrap_err();
    assert_eq!(first.accepted[0].sequence, 7);
    drop((client, first));
    assert_eq!(records(&heard.recv().await.unwrap()), ["ci/build/1"]);
    assert_eq!(timeout(DEADLINE, heard.recv()).await.unwrap(), Some(Value::Null), "it was sent again");
}

#[tokio::test]
async fn a_status_whose_answers_are_lost_twice_is_sent_again_with_its_id_and_counts_once() {
    let ids: Arc<Mutex<Vec<Value>>> = Arc::default();
    let kept = Arc::clone(&ids);
    let url = server(move |mut peer| {
        let ids = Arc::clone(&kept);
        async move {
            peer.welcomes(&format!("p{}", peer.number)).await;
            let update = peer.hears_a("status_update").await;
            ids.lock().unwrap().push(update["statuses"][0]["id"].clone());
            if peer.number == 2 {
                peer.accepts(&update, 7).await;
                peer.stays().await;
            }
        }
    })
    .await;
    let client = Client::new(&url).unwrap();
    let update = timeout(DEADLINE, client.update_status(&[build(1)])).await.unwrap().unwrap();
    let ids = ids.lock().unwrap().clone();
    assert!(ids.len() == 3 && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(update.accepted[0].from.as_deref(), Some("p0"), "the first may have been stored");
}

#[tokio::test]
async fn what_is_refused_is_told_beside_what_is_stored_and_a_call_of_which_nothing_is_fails() {
    let url = server(|mut peer| async move {
        peer.welcomes("p0").await;
        let refuses = async |peer: &mut Peer, index: usize| {
            let update = peer.hears_a("status_update").await;
            let errors = json!([{"index": index, "field": "status", "detail": "is empty"}]);
            peer.says(&json!({"type": "error", "code": "bad_statuses", "reason": "one", "errors": errors, "ref": update["ref"]})).await;
        };
        refuses(&mut peer, 1).await;
        peer.stores(7).await;
        refuses(&mut peer, 0).await;
        peer.stays().await;
    })
    .await;
    let client = Client::new(&url).unwrap();
    let update = client.update_status(&[build(1), Status::new("ci/build/2", "")]).await.unwrap();
    assert_eq!((update.accepted.len(), update.refused.len()), (1, 1));
    assert_eq!(update.refused[0].error.to_string(), "Lockstep refused (bad_statuses): ci/build/2, status: is empty");
    assert!(
        matches!(client.update_status(&[build(3)]).await, Err(Error::Refused { code, .. }) if code == "bad_statuses")
    );
}

#[tokio::test]
async fn a_server_that_lets_nobody_in_is_told_to_all_who_wait_and_asked_again_by_who_comes_later() {
    let url = server(|mut peer| async move {
        if peer.number == 0 {
            return peer.closes(1008, "auth_failed: no such key").await;
        }
        peer.welcomes("p0").await;
        peer.stores(7).await;
        peer.stays().await;
    })
    .await;
    let client = Client::new(&url).unwrap().with_key("stranger");
    let refused = timeout(DEADLINE, client.update_status(&[build(1)])).await.unwrap();
    assert!(matches!(refused, Err(Error::Refused { code, .. }) if code == "auth_failed"));
    assert!(timeout(DEADLINE, client.update_status(&[build(2)])).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_key_that_is_refused_at_the_door_is_told_to_all_who_wait() {
    let url = server(|peer: Peer| async move { peer.stays().await }).await;
    let client = Client::new(&url).unwrap().with_key("stale");
    let refused = timeout(DEADLINE, client.update_status(&[build(1)])).await.unwrap();
    assert!(matches!(refused, Err(Error::Refused { status: 401, code, .. }) if code == "auth_failed"));
}

#[tokio::test]
async fn a_status_that_was_sent_before_nobody_is_let_in_any_more_is_not_said_to_be_refused() {
    let url = server(|mut peer| async move {
        if peer.number > 0 {
            return peer.closes(1008, "auth_failed: this key was withdrawn").await;
        }
        peer.welcomes("p0").await;
        peer.hears_a("status_update").await;
    })
    .await;
    let client = Client::new(&url).unwrap().with_key("key");
    let lost = timeout(DEADLINE, client.update_status(&[build(1)])).await.unwrap();
    assert!(
        matches!(&lost, Err(Error::AnswerLost { record, why }) if record == "ci/build/1" && why.contains("auth_failed")),
        "{lost:?}"
    );
}

/// A client whose queue was started in a runtime of its own.
fn elsewhere(url: &str) -> (Client, tokio::runtime::Runtime) {
    let (client, runtime) = (Client::new(url).unwrap(), tokio::runtime::Runtime::new().unwrap());
    let entered = runtime.enter();
    client.updates().unwrap();
    drop(entered);
    (client, runtime)
}

#[tokio::test]
async fn a_call_ends_when_the_runtime_that_sends_it_does_and_the_next_is_sent_by_another() {
    let address = nowhere().await;
    let (client, runtime) = elsewhere(&format!("http://{address}"));
    let (call, started) = (said(&client, vec![build(1)]).await, client.updates().unwrap());
    runtime.shutdown_background();
    let unsent = ended(call).await;
    assert!(matches!(&unsent, Err(error @ Error::Unavailable { .. }) if error.is_passing()), "{unsent:?}");
    let late = timeout(DEADLINE, started.send(&[build(1)])).await.expect("who came too late to the old queue waits");
    assert!(matches!(late, Err(Error::Unavailable { .. })), "{late:?}");
    serve(TcpListener::bind(address).await.unwrap(), |mut peer: Peer| async move {
        peer.welcomes("p0").await;
        peer.stores(7).await;
        peer.stays().await;
    });
    assert!(timeout(DEADLINE, client.update_status(&[build(1)])).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_status_that_was_sent_before_its_runtime_ended_may_be_stored() {
    let (told, mut heard) = mpsc::unbounded_channel();
    let url = server(move |mut peer| {
        let told = told.clone();
        async move {
            peer.welcomes("p0").await;
            peer.hears_a("status_update").await;
            told.send(()).unwrap();
            peer.stays().await;
        }
    })
    .await;
    let (client, runtime) = elsewhere(&url);
    let call = said(&client, vec![build(1)]).await;
    heard.recv().await.unwrap();
    runtime.shutdown_background();
    let sent = ended(call).await;
    assert!(matches!(&sent, Err(Error::AnswerLost { record, .. }) if record == "ci/build/1"), "{sent:?}");
}

#[tokio::test]
async fn a_call_of_which_one_status_is_refused_and_another_may_be_stored_says_that_it_may() {
    let url = server(|mut peer| async move {
        if peer.number > 0 {
            return peer.closes(1008, "auth_failed: this key was withdrawn").await;
        }
        peer.welcomes("p0").await;
        let update = peer.hears_a("status_update").await;
        let errors = json!([{"index": 0, "field": "status", "detail": "is empty"}]);
        peer.says(
            &json!({"type": "error", "code": "bad_statuses", "reason": "one", "errors": errors, "ref": update["ref"]}),
        )
        .await;
        peer.hears_a("status_update").await;
    })
    .await;
    let client = Client::new(&url).unwrap().with_key("key");
    let statuses = [Status::new("ci/build/1", ""), build(2)];
    let ended = timeout(DEADLINE, client.update_status(&statuses)).await.unwrap();
    let said = match &ended {
        Err(error @ Error::AnswerLost { record, .. }) if record == "ci/build/2" => error.to_string(),
        _ => panic!("{ended:?}"),
    };
    assert!(said.ends_with("; of 2 statuses 1 may be stored, and none is known to be"), "{said}");
}
