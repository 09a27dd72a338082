//! How server-sent events end: with a last event that says why.

use super::listening::{listen, read_until};
use super::rights::{guarded, token};
use super::*;

/// All events of a stream to its end: the type of each, and what it says.
async fn to_the_end(response: reqwest::Response) -> Vec<(String, Value)> {
    let text = timeout(DEADLINE, response.text()).await.expect("the stream ends").unwrap();
    let event = |event: &str| {
        let of = |name: &str| event.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        Some((of("event: ")?, serde_json::from_str(&of("data: ")?).unwrap()))
    };
    text.split("\n\n").filter_map(event).collect()
}

/// What is said about the end: the types of the events, and the word of the last one.
fn said(events: &[(String, Value)]) -> Vec<&str> {
    let types = events.iter().map(|(kind, _)| kind.as_str()).filter(|kind| !["subscribed", "snapshot"].contains(kind));
    types.chain(events.last().and_then(|(_, said)| said["code"].as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_whose_token_expires_is_warned_and_told_so_at_the_end() {
    let (_world, running) = guarded(|config| {
        config.auth.jwt.hs256_secrets = vec!["k".repeat(32).as_str().into()];
        config.auth.jwt.leeway_s = 0;
        config.ping_ms = 100;
    })
    .await;
    let bearer = format!("Bearer {}", token(&["*"], 8_000));
    let response = listen(&running, "?room=health", &[("authorization", &bearer)]).await;
    assert_eq!(response.status(), 200);
    assert_eq!(said(&to_the_end(response).await), ["token_expiring", "error", "token_expired"]);
    metrics_when(&running, "lockstep_broadcast_closed_total{word=\"token_expired\"} 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_told_that_its_broadcaster_goes_and_that_it_went() {
    let (_world, running) = world(|_| ()).await;
    let mut response = listen(&running, "?room=health", &[]).await;
    assert_eq!(response.status(), 200);
    read_until(&mut response, "\"truncated\":false").await;
    running.process.shutdown().cancel();
    assert_eq!(said(&to_the_end(response).await), ["going_away", "error", "going_away"]);
}
