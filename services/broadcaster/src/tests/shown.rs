//! What a snapshot says of itself, and what is said in its place.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_goes_on_from_the_position_of_a_snapshot_without_a_gap() {
    let (world, running) = world(|_| ()).await;
    let mut other = Client::to(&running).await;
    other.subscribe(&["agent_states"]).await;
    // The first time nothing was ever told before.
    for (before, now) in [("", "a"), ("a", "b")] {
        let mut client = Client::to(&running).await;
        let held = world.rows.hold().await;
        client.say(json!({"type": "subscribe", "rooms": ["all"]})).await;
        assert_eq!(client.hear().await["type"], "subscribed");
        world.tell("agent_state", now, json!({"agent": now, "status": "idle"})).await;
        assert_eq!(other.hear().await["agent"], now);
        drop(held);
        let snapshot = client.hear().await;
        let shown: Vec<_> = snapshot["messages"].as_array().unwrap().iter().map(|one| one["agent"].clone()).collect();
        assert_eq!(json!(shown), if before.is_empty() { json!([]) } else { json!([before]) }, "{snapshot}");
        assert_eq!(client.hear().await["agent"], now, "it came after the client was let in");
        let mut back = Client::to(&running).await;
        back.say(json!({"type": "subscribe", "rooms": ["all"], "position": snapshot["position"]})).await;
        assert_eq!(back.hear().await["resumed"], true);
        assert_eq!(back.hear().await["agent"], now, "after {:?}", snapshot["position"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_nothing_can_be_shown_is_told_so_and_may_ask_again() {
    let (world, running) = world(|_| ()).await;
    world.rows.commit(1, 1);
    world.rows.be_away(true);
    let mut client = Client::to(&running).await;
    client.say(json!({"type": "subscribe", "rooms": ["all"]})).await;
    assert_eq!(client.hear().await["type"], "subscribed");
    let refused = client.hear().await;
    let parts = ["type", "code", "room"].map(|part| refused[part].as_str().unwrap_or_default());
    assert_eq!(parts, ["error", "unavailable", "all"], "{refused}");
    // It is not in the room: what comes after nothing means nothing.
    client.say(json!({"type": "unsubscribe", "rooms": ["all"]})).await;
    assert_eq!(client.hear().await["code"], "not_subscribed");
    assert_eq!(client.hear().await["type"], "unsubscribed");
    world.rows.be_away(false);
    client.say(json!({"type": "subscribe", "rooms": ["all"]})).await;
    assert_eq!(client.hear().await["type"], "subscribed");
    assert_eq!(client.hear().await["items"][0]["version"], 1);
}
