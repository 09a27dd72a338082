//! Alerts, and what clients publish.

use bus::{Stream, Tail};

use super::*;

fn alert(id: &str, severity: &str) -> Value {
    json!({"id": id, "severity": severity, "component": "db", "message": "the disk is full"})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_critical_alert_is_kept_for_whoever_was_away_until_somebody_acknowledges_it() {
    let (world, running) = world(|_| ()).await;
    world.tell("system_alert", "a", alert("a", "critical")).await;
    world.tell("system_alert", "b", alert("b", "warning")).await;
    let mut watching = Client::to(&running).await;
    watching.subscribe(&["system_alerts"]).await;
    // One that was started afterwards knows it as well.
    let second = world.start(|_| ()).await.unwrap();
    for running in [&running, &second] {
        let mut late = Client::to(running).await;
        let shown = timeout(DEADLINE, async {
            loop {
                late.say(json!({"type": "subscribe", "rooms": ["system_alerts"]})).await;
                let shown = late.hear_of("snapshot").await["messages"].clone();
                if shown != json!([]) {
                    return shown;
                }
            }
        });
        let shown = shown.await.unwrap();
        assert_eq!((shown.as_array().map(Vec::len), &shown[0]["id"]), (Some(1), &json!("a")));
    }
    let mut person = Client::to(&second).await;
    // A subject made of the long one would have NATS close the connection.
    for alert in ["nothing", &"x".repeat(8_000)] {
        person.say(json!({"type": "acknowledge", "alert": alert, "ref": "1"})).await;
        let refused = person.hear().await;
        assert_eq!((refused["code"].as_str(), refused["ref"].as_str()), (Some("no_such_alert"), Some("1")));
    }
    person.say(json!({"type": "acknowledge", "alert": "a", "ref": "2"})).await;
    assert_eq!(person.hear().await, json!({"type": "acknowledged", "alert": "a", "ref": "2"}));
    let told = loop {
        let told = watching.hear_of("system_alert").await;
        if told["acknowledged_by"] != "" {
            break told;
        }
    };
    assert_eq!((told["id"].as_str(), told["acknowledged_by"].as_str()), (Some("a"), Some("anonymous")));
    let mut late = Client::to(&running).await;
    late.say(json!({"type": "subscribe", "rooms": ["system_alerts"]})).await;
    assert_eq!(late.hear_of("snapshot").await["messages"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_publishes_statuses_with_the_apis_validation() {
    let (world, running) = world(|_| ()).await;
    let mut observed =
        world.bus.tail(Stream::Observations, &["lockstep.observe.>".to_owned()], Tail::Sequence(1)).await.unwrap();
    let mut client = Client::to(&running).await;
    let update = |status: Value| json!({"type": "status_update", "ref": "7", "statuses": [status]});
    client.say(update(json!({"record": "agentapi/agent/a", "status": "running", "id": "one"}))).await;
    let accepted = client.hear().await;
    assert_eq!((accepted["type"].as_str(), accepted["ref"].as_str()), (Some("status_accepted"), Some("7")));
    assert_eq!(accepted["accepted"][0]["record"], "agentapi/agent/a");
    let stored = timeout(DEADLINE, observed.next()).await.unwrap().unwrap();
    assert_eq!(accepted["accepted"][0]["sequence"], stored.sequence);
    client.say(update(json!({"record": "agentapi/agent", "status": ""}))).await;
    let refused = client.hear().await;
    assert_eq!(
        (refused["type"].as_str(), refused["code"].as_str()),
        (Some("error"), Some("bad_statuses")),
        "{refused}"
    );
    assert_eq!(refused["errors"][0]["index"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_faces_say_how_it_stands_and_whether_it_works() {
    let (_world, running) = world(|_| ()).await;
    let mut client = Client::to(&running).await;
    client.subscribe(&["system_alerts", "agent:*"]).await;
    let (status, tested) = ask(&running, "POST", "/api/v1/websocket/broadcast/test", &[]).await;
    assert_eq!((status, tested["clients"].as_u64()), (200, Some(1)), "{tested}");
    assert_eq!(client.hear().await["id"], "broadcast-test");
    let standing = timeout(DEADLINE, async {
        loop {
            let (_, standing) = ask(&running, "GET", "/api/v1/websocket/status", &[]).await;
            if standing["messages"]["websocket"] == 1 {
                return standing;
            }
        }
    });
    let standing = standing.await.unwrap();
    assert_eq!(standing["connections"], json!({"websocket": 1, "sse": 0}));
    assert_eq!((&standing["subscriptions"]["agent"], &standing["subscriptions"]["all"]), (&json!(1), &json!(0)));
    assert_eq!(
        ask(&running, "GET", "/api/v1/health", &[]).await,
        (200, json!({"health": "healthy", "stopping": false, "faults": {}, "clients": 1}))
    );
    let metrics = reqwest::get(format!("http://{}/metrics", running.address)).await.unwrap().text().await.unwrap();
    for line in
        ["lockstep_broadcast_clients{transport=\"websocket\"} 1", "lockstep_broadcast_subscriptions{room=\"agent\"} 1"]
    {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_publishes_is_stored_in_its_order() {
    let (world, running) = world(|config| (config.messages_per_s, config.messages_burst) = (10_000, 10_000)).await;
    let mut observed =
        world.bus.tail(Stream::Observations, &["lockstep.observe.>".to_owned()], Tail::Sequence(1)).await.unwrap();
    let mut client = Client::to(&running).await;
    for round in 0..20 {
        for number in 0..16 {
            let id = format!("{round}-{number}");
            let status = json!({"record": "agentapi/agent/a", "status": "running", "id": id});
            client.say(json!({"type": "status_update", "ref": id, "statuses": [status]})).await;
        }
        for number in 0..16 {
            let accepted = client.hear().await;
            assert_eq!(accepted["ref"], format!("{round}-{number}"), "answers come in the order of what was asked");
            let stored = timeout(DEADLINE, observed.next()).await.unwrap().unwrap();
            assert_eq!(accepted["accepted"][0]["sequence"], stored.sequence);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_was_raised_again_is_not_acknowledged_unseen() {
    let (world, _running) = world(|_| ()).await;
    world.tell("system_alert", "a", alert("a", "critical")).await;
    let subject = bus::topology::alert("critical", "a");
    let seen = world.bus.last_message(Stream::Alerts, &subject).await.unwrap().unwrap();
    world.tell("system_alert", "a", alert("a", "critical")).await;
    let late = || crate::requests::in_place_of(&seen, &proto::v1::SystemAlert::default());
    assert_eq!(late().subject, subject);
    assert!(late().headers.contains(&("Nats-Expected-Last-Subject-Sequence".into(), seen.sequence.to_string())));
    assert!(matches!(world.bus.publish(late()).await, Err(bus::PublishError::Overtaken { .. })));
}
