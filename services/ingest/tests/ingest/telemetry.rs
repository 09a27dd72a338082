use intake::telemetry::{Telemetry, from_bus};
use model::Lifecycles;
use proto::v1;
use serde_json::{Value, json};

use crate::world::{World, answer, body};

fn one_of_each() -> Vec<Value> {
    vec![
        json!({"type": "agent_state", "agent": "coder.1", "status": "busy", "task": "ENG-1"}),
        json!({"type": "performance_metric", "name": "latency", "value": 12.5, "unit": "ms"}),
        json!({"type": "workflow_execution", "workflow": "release", "status": "running", "progress": 0.4}),
        json!({"type": "memory_timeline", "agent": "coder.1", "action": "created", "memory": "m1"}),
        json!({"type": "system_alert", "severity": "critical", "component": "db1", "message": "the disk is full"}),
        json!({"type": "health_changed", "target": "db1", "health": "unhealthy", "previous": "healthy"}),
        json!({"type": "operation_step", "operation": "import", "state": "completed", "data": {"rows": 7}}),
    ]
}

/// What a stream holds, as its readers understand it.
async fn read(world: &World, stream: &str) -> Vec<(String, Telemetry)> {
    let lifecycles = Lifecycles::built_in().unwrap();
    let mut read = Vec::new();
    for sequence in 1..=world.held(stream).await {
        let message = world.message(stream, sequence).await;
        assert!(message.headers.get("Content-Type").is_none(), "protobuf names no content type");
        assert!(message.headers.get("Nats-Msg-Id").is_some());
        let subject = message.subject.to_string();
        let telemetry = from_bus(&subject, None, &message.payload, world.process.now_ms(), &lifecycles).unwrap();
        read.push((subject, telemetry));
    }
    read
}

#[tokio::test]
async fn telemetry_arrives_on_live_and_alerts_on_theirs() {
    let world = World::new().await;
    let sent = json!({"messages": one_of_each()}).to_string();
    assert_eq!(answer(world.post("/v1/telemetry", sent)).await, (202, json!({"accepted": 7})));
    let live = read(&world, "LIVE").await;
    let subjects: Vec<&str> = live.iter().map(|(subject, _)| subject.as_str()).collect();
    let expected = [
        "lockstep.live.agent_state.coder=2E1",
        "lockstep.live.performance_metric.latency",
        "lockstep.live.workflow_execution.release",
        "lockstep.live.memory_timeline.coder=2E1",
        "lockstep.live.health_changed.db1",
        "lockstep.live.operation_step.import",
    ];
    assert_eq!(subjects, expected);
    let Telemetry::AgentState(v1::AgentState { agent, status, task, at, .. }) = &live[0].1 else {
        panic!("another kind")
    };
    assert_eq!((agent.as_str(), status.as_str(), task.as_str()), ("coder.1", "working", "ENG-1"));
    assert!((world.process.now_ms() - at).abs() < 60_000, "{at}");
    let Telemetry::OperationStep(step) = &live[5].1 else { panic!("another kind") };
    assert_eq!(step.data, r#"{"rows":7}"#);
    let alerts = read(&world, "ALERTS").await;
    let Telemetry::SystemAlert(alert) = &alerts[0].1 else { panic!("another kind") };
    assert_eq!(alerts[0].0, format!("lockstep.alert.critical.{}", alert.id));
    assert_eq!((alerts.len(), alert.message.as_str()), (1, "the disk is full"));
}

#[tokio::test]
async fn the_same_alert_told_again_takes_its_place() {
    let world = World::new().await;
    let alert = |action: &str| {
        let message = "the disk is full";
        json!({"type": "system_alert", "severity": "error", "component": "db1", "message": message, "action": action})
    };
    for action in ["look", "make room"] {
        assert_eq!(answer(world.post("/v1/telemetry", alert(action).to_string())).await.0, 202);
    }
    assert_eq!(world.held("ALERTS").await, 1);
    let stored = world.message("ALERTS", 2).await;
    assert_eq!(proto::decode::<v1::SystemAlert>(None, &stored.payload).unwrap().action, "make room");
}

#[tokio::test]
async fn one_wrong_message_keeps_all_out_and_each_is_named() {
    let world = World::new().await;
    let mut list = one_of_each();
    list[2]["progress"] = json!(40);
    list[5]["healht"] = json!("good");
    list.push(json!({"type": "weather"}));
    let response = world.post("/v1/telemetry", json!(list).to_string()).send().await.unwrap();
    assert_eq!(response.status(), 422);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let said = body(response).await;
    assert_eq!(said["code"], "bad_messages");
    let named: Vec<_> = said["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["index"].as_u64().unwrap(), one["field"].as_str().unwrap()))
        .collect();
    assert_eq!(named, [(2, "progress"), (5, "healht"), (7, "type")]);
    assert_eq!((world.held("LIVE").await, world.held("ALERTS").await), (0, 0));
}

#[tokio::test]
async fn the_same_request_twice_is_stored_once() {
    let world = World::new().await;
    let send = |key: &str| world.post("/v1/telemetry", json!(one_of_each()).to_string()).header("idempotency-key", key);
    for (key, held) in [("k-1", 6), ("k-1", 6), ("k-2", 12)] {
        assert_eq!(answer(send(key)).await, (202, json!({"accepted": 7})));
        assert_eq!(world.held("LIVE").await, held);
    }
    assert_eq!(answer(send("two words")).await.0, 400);
    let without = || world.post("/v1/telemetry", one_of_each()[0].to_string());
    for held in [13, 14] {
        assert_eq!(answer(without()).await.0, 202);
        assert_eq!(world.held("LIVE").await, held, "without a key each is news");
    }
}

#[tokio::test]
async fn a_request_in_a_wrong_form_or_without_a_key_is_told_so() {
    let world = World::with(|config| {
        config.body_max_bytes = 100_000;
        config.api_keys = vec!["key-one".into()];
    })
    .await;
    let send = |body: String| world.post("/v1/telemetry", body).header("x-api-key", "key-one");
    assert_eq!(answer(world.post("/v1/telemetry", one_of_each()[0].to_string())).await.0, 401);
    assert_eq!(answer(send("{".into())).await.0, 400);
    assert_eq!(answer(send("[]".into())).await.0, 400);
    assert_eq!(answer(send(" ".repeat(100_001))).await.0, 413);
    let many = vec![json!({"type": "performance_metric", "name": "m", "value": 1}); 501];
    assert_eq!(answer(send(json!(many).to_string())).await.1["code"], "too_many_messages");
    let plain = world.post_as("text/plain", "/v1/telemetry", one_of_each()[0].to_string());
    assert_eq!(answer(plain.header("x-api-key", "key-one")).await.0, 415);
    assert_eq!(world.held("LIVE").await, 0);
    assert_eq!(answer(send(json!(many[..500]).to_string())).await, (202, json!({"accepted": 500})));
    assert_eq!(world.held("LIVE").await, 100, "of one metric the newest are kept");
}

#[tokio::test]
async fn without_jetstream_telemetry_is_not_accepted() {
    let mut world = World::new().await;
    world.server.kill();
    let refused = world.post("/v1/telemetry", one_of_each()[0].to_string()).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
}
