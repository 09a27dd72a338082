//! Messages and rooms.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_gets_the_snapshot_and_then_each_change_in_order() {
    let (world, running) = world(|_| ()).await;
    world.rows.commit(1, 3);
    let mut client = Client::to(&running).await;
    client.say(json!({"type": "subscribe", "rooms": ["all"], "ref": "r"})).await;
    let answer = client.hear().await;
    assert_eq!((answer["type"].as_str(), answer["ref"].as_str()), (Some("subscribed"), Some("r")));
    assert_eq!((&answer["rooms"], &answer["resumed"]), (&json!(["all"]), &json!(false)));
    let snapshot = client.hear().await;
    assert_eq!((snapshot["type"].as_str(), snapshot["items"][0]["version"].as_u64()), (Some("snapshot"), Some(3)));
    // The database is ahead of the bus: what the snapshot told is not told again, what it did not tell is.
    world.announce_all(1, 1..=5).await;
    world.announce(2, 1).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        let change = client.hear().await;
        assert_eq!(change["type"], "status_changed");
        told.push((change["key"].as_str().unwrap().to_owned(), change["version"].as_u64().unwrap()));
    }
    assert_eq!(told, [("K1".into(), 4), ("K1".into(), 5), ("K2".into(), 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_in_several_matching_rooms_gets_one_copy() {
    let (world, running) = world(|_| ()).await;
    world.rows.commit(1, 1);
    let mut client = Client::to(&running).await;
    client.subscribe(&["all", "item:K1", "record:x/y/1", "record:x/*", "lifecycle:work"]).await;
    world.announce_all(1, 2..=3).await;
    assert_eq!(client.hear().await["version"], 2);
    assert_eq!(client.hear().await["version"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_room_can_be_joined_and_hears_its_own_and_no_other() {
    let (world, running) = world(|config| config.metrics_wait_ms = 1).await;
    let told = [
        ("agent_state", "a", json!({"agent": "a", "status": "working"})),
        ("workflow_execution", "w", json!({"workflow": "w", "status": "running", "stage": "build", "progress": 0.5})),
        ("memory_timeline", "a", json!({"agent": "a", "action": "created", "memory": "m", "importance": 0.5})),
        ("health_changed", "db", json!({"target": "db", "health": "unhealthy"})),
        ("operation_step", "o", json!({"operation": "o", "step": "s", "state": "executing"})),
        ("performance_metric", "p", json!({"name": "p", "value": 1.5, "unit": "ms", "category": "latency"})),
        ("system_alert", "x", json!({"id": "x", "severity": "warning", "component": "c", "message": "m"})),
    ];
    let rooms = [
        ("agent_states", vec!["agent_state"]),
        ("agent:a", vec!["agent_state", "memory_timeline"]),
        ("agent:b", vec![]),
        ("agent:*", vec!["agent_state", "memory_timeline"]),
        ("workflow_executions", vec!["workflow_execution"]),
        ("workflow:w", vec!["workflow_execution"]),
        ("memory_timeline", vec!["memory_timeline"]),
        ("health", vec!["health_changed"]),
        ("operations", vec!["operation_step"]),
        ("operation:o", vec!["operation_step"]),
        ("performance_metrics", vec!["performance_metrics"]),
        ("system_alerts", vec!["system_alert"]),
        ("conflicts", vec!["conflict_opened"]),
        ("deliveries", vec!["delivery"]),
        ("project:ENG", vec!["conflict_opened"]),
        ("lifecycle:work", vec!["conflict_opened"]),
        ("lifecycle:agent", vec![]),
        ("all", vec!["agent_state", "workflow_execution", "health_changed", "system_alert", "conflict_opened"]),
    ];
    let mut clients = Vec::new();
    for (room, expected) in rooms {
        let mut client = Client::to(&running).await;
        client.subscribe(&[room]).await;
        clients.push((room, expected, client));
    }
    for (kind, key, fields) in told {
        world.tell(kind, key, fields).await;
    }
    let item = uuid::Uuid::from_u128(1).to_string();
    let delivery = proto::v1::Delivery {
        id: "d".into(),
        record: "x/y/1".into(),
        item: item.clone(),
        outcome: "failed".into(),
        ..Default::default()
    };
    let opened = proto::v1::Change {
        id: "c".into(),
        kind: "conflict_opened".into(),
        item,
        key: "ENG-1".into(),
        lifecycle: "work".into(),
        record: "x/y/1".into(),
        ..Default::default()
    };
    world.publish_all(vec![bus::Outgoing::delivery(&delivery).unwrap(), bus::Outgoing::change(&opened).unwrap()]).await;
    let mut last = Client::to(&running).await;
    for (room, expected, client) in &mut clients {
        let mut heard: Vec<String> = Vec::new();
        for _ in 0..expected.len() {
            heard.push(client.hear().await["type"].as_str().unwrap().to_owned());
        }
        heard.sort_unstable();
        expected.sort_unstable();
        assert_eq!(heard, *expected, "{room}");
    }
    last.hears_nothing().await;
    for (_, _, client) in &mut clients {
        client.hears_nothing().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_an_earlier_system_is_understood() {
    let (world, running) = world(|_| ()).await;
    let mut client = Client::to(&running).await;
    client.say(json!({"type": "join_room", "timestamp": 1, "data": {"room": "health_status"}})).await;
    assert_eq!(client.hear().await["rooms"], json!(["health"]));
    assert_eq!(client.hear().await["room"], "health");
    world.tell("health_changed", "db", json!({"target": "db", "health": "degraded"})).await;
    assert_eq!(client.hear().await["target"], "db");
    client.say(json!({"type": "leave_room", "room": "health_status"})).await;
    assert_eq!(client.hear().await["type"], "unsubscribed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_lets_through_what_its_client_wants() {
    let (world, running) = world(|_| ()).await;
    let mut client = Client::to(&running).await;
    let filter = json!({"on": ["error_state", "recovery"], "ids": ["a", "db"]});
    client.say(json!({"type": "subscribe", "rooms": ["all"], "filter": filter, "snapshot": false})).await;
    assert_eq!(client.hear().await["type"], "subscribed");
    for (agent, previous, status) in
        [("a", "idle", "working"), ("b", "idle", "error"), ("a", "working", "error"), ("a", "error", "idle")]
    {
        let fields = json!({"agent": agent, "previous": previous, "status": status});
        world.tell("agent_state", agent, fields).await;
    }
    let heard =
        [client.hear().await, client.hear().await].map(|message| message["status"].as_str().unwrap().to_owned());
    assert_eq!(heard, ["error", "idle"]);
    // Joining again replaces the filter.
    client
        .say(json!({"type": "subscribe", "rooms": ["all"], "filter": {"statuses": ["working"]}, "snapshot": false}))
        .await;
    assert_eq!(client.hear().await["type"], "subscribed");
    world.tell("agent_state", "a", json!({"agent": "a", "status": "error"})).await;
    world.tell("agent_state", "c", json!({"agent": "c", "status": "working"})).await;
    assert_eq!(client.hear().await["agent"], "c");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_is_shown_to_whoever_comes_later() {
    let (world, running) = world(|_| ()).await;
    let mut first = Client::to(&running).await;
    first.subscribe(&["agent_states", "health"]).await;
    for status in ["idle", "working"] {
        world.tell("agent_state", "a", json!({"agent": "a", "status": status})).await;
    }
    world.tell("health_changed", "db", json!({"target": "db", "health": "degraded"})).await;
    first.hear_of("health_changed").await;
    for (room, field, value) in
        [("agent_states", "status", "working"), ("agent:a", "status", "working"), ("health", "health", "degraded")]
    {
        let mut later = Client::to(&running).await;
        later.say(json!({"type": "subscribe", "rooms": [room]})).await;
        let snapshot = later.hear_of("snapshot").await;
        assert_eq!(snapshot["messages"].as_array().map(Vec::len), Some(1), "{snapshot}");
        assert_eq!(snapshot["messages"][0][field], value);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_asked_for_by_one_key_is_followed_under_another() {
    let (world, running) = world(|_| ()).await;
    world.rows.commit(1, 1);
    let mut client = Client::to(&running).await;
    client.subscribe(&["item:K1"]).await;
    let item = uuid::Uuid::from_u128(1).to_string();
    let change = |id: &str| proto::v1::Change {
        id: id.into(),
        kind: "linked".into(),
        item: item.clone(),
        key: "OTHER".into(),
        lifecycle: "work".into(),
        ..Default::default()
    };
    world.publish_all(vec![bus::Outgoing::change(&change("1")).unwrap()]).await;
    assert_eq!(client.hear().await["key"], "OTHER");
    client.say(json!({"type": "unsubscribe", "rooms": ["item:K1"]})).await;
    assert_eq!(client.hear().await, json!({"type": "unsubscribed", "rooms": ["item:K1"]}));
    world.publish_all(vec![bus::Outgoing::change(&change("2")).unwrap()]).await;
    client.subscribe(&["deliveries"]).await;
    client.hears_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_message_is_answered_and_ends_nothing() {
    let (_world, running) = world(|_| ()).await;
    let mut client = Client::to(&running).await;
    for (frame, code) in [
        ("null", "malformed"),
        ("{", "malformed"),
        ("{\"type\":null}", "malformed"),
        ("{\"type\":\"subscribe\",\"rooms\":[]}", "malformed"),
        ("{\"type\":\"fly\"}", "unknown_type"),
        ("{\"type\":\"subscribe\",\"rooms\":[\"\"]}", "bad_room"),
        ("{\"type\":\"subscribe\",\"rooms\":[\"all\"],\"filter\":{\"on\":[\"x\"]}}", "bad_filter"),
        ("{\"type\":\"subscribe\",\"rooms\":[\"all\"],\"position\":\"7\"}", "bad_position"),
    ] {
        client.text(frame).await;
        let answer = client.hear().await;
        assert_eq!((answer["type"].as_str(), answer["code"].as_str()), (Some("error"), Some(code)), "{frame}");
        assert!(answer["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    }
    client.say(json!({"type": "unsubscribe", "rooms": ["all"]})).await;
    assert_eq!(client.hear().await["code"], "not_subscribed");
    assert_eq!(client.hear().await["rooms"], json!([]));
    client.hears_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_room_does_not_keep_the_others_out() {
    let (_world, running) = world(|_| ()).await;
    let mut client = Client::to(&running).await;
    client.say(json!({"type": "subscribe", "rooms": ["nowhere", "all"]})).await;
    let refused = client.hear().await;
    assert_eq!((refused["code"].as_str(), refused["room"].as_str()), (Some("bad_room"), Some("nowhere")));
    assert_eq!(client.hear().await["rooms"], json!(["all"]));
    assert_eq!(client.hear().await["type"], "snapshot");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_can_name_the_rooms_and_their_filter() {
    let (world, running) = world(|_| ()).await;
    let mut client = Client::with(&running, "?room=all&room=item:K1&on=recovery", &[]).await.unwrap();
    assert_eq!(client.hear().await["rooms"], json!(["all", "item:K1"]));
    let query = "?room=health&id=db&id=cache&health=unhealthy";
    let mut choosy = Client::with(&running, query, &[]).await.unwrap();
    choosy.hear_of("snapshot").await;
    for (target, health) in [("db", "degraded"), ("web", "unhealthy"), ("cache", "unhealthy"), ("db", "unhealthy")] {
        world.tell("health_changed", target, json!({"target": target, "health": health})).await;
    }
    for target in ["cache", "db"] {
        let heard = choosy.hear().await;
        assert_eq!((&heard["target"], &heard["health"]), (&json!(target), &json!("unhealthy")));
    }
    assert_eq!(Client::with(&running, "?room=nowhere", &[]).await.err().unwrap().0, 400);
    assert_eq!(Client::with(&running, "?rooms=all", &[]).await.err().unwrap().1["code"], "bad_query");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_in_protobuf_to_whoever_asks_for_it() {
    use prost::Message as _;
    let (world, running) = world(|_| ()).await;
    let mut client = Client::with(&running, "", &[("sec-websocket-protocol", "lockstep.v1.protobuf")]).await.unwrap();
    client.subscribe(&["all"]).await;
    world.announce(1, 1).await;
    let Message::Binary(bytes) = client.raw().await else { panic!("not binary") };
    let told = proto::v1::Told::decode(bytes).unwrap();
    let Some(proto::v1::told::Event::Change(change)) = told.event else { panic!("{told:?}") };
    assert_eq!((change.key.as_str(), change.version), ("K1", 1));
    assert!(told.position.parse::<crate::position::Position>().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_snapshot_of_one_room_told_is_still_told_in_another() {
    let (world, running) = world(|_| ()).await;
    let mut client = Client::to(&running).await;
    client.subscribe(&["all"]).await;
    // The database is ahead of the bus.
    world.rows.commit(1, 5);
    client.subscribe(&["item:K1"]).await;
    world.announce_all(1, 1..=6).await;
    for version in 1..=6 {
        assert_eq!(client.hear().await["version"], version);
    }
    client.hears_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_client_is_not_lost_when_it_joins_the_room_again() {
    let (world, running) = world(|_| ()).await;
    let (mut client, mut other) = (Client::to(&running).await, Client::to(&running).await);
    client.subscribe(&["all"]).await;
    other.subscribe(&["all"]).await;
    let held = world.rows.hold().await;
    client.say(json!({"type": "subscribe", "rooms": ["item:K1"]})).await;
    assert_eq!(client.hear().await["rooms"], json!(["item:K1"]));
    world.announce_all(2, 1..=3).await;
    while other.hear().await["version"] != 3 {}
    client.say(json!({"type": "subscribe", "rooms": ["all"], "snapshot": false})).await;
    assert_eq!(client.hear().await["rooms"], json!(["all"]));
    drop(held);
    assert_eq!(client.hear().await["type"], "snapshot");
    for version in 1..=3 {
        assert_eq!(client.hear().await["version"], version);
    }
    client.hears_nothing().await;
}
