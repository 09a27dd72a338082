use proto::v1;
use serde_json::{Value, json};

use crate::world::{World, answer};

fn event(name: &str, at: &str) -> Value {
    json!({"agentId": "coder.1", "historyId": "h1", "eventName": name, "type": "agent", "additionalData": {"timestamp": at}})
}

#[tokio::test]
async fn events_are_stored_as_observations_and_each_once() {
    let world = World::new().await;
    let events = json!([event("agent:start", "2026-09-21T14:13:20Z"), event("agent:success", "2026-09-21T14:14:20Z")]);
    let (code, said) = answer(world.post("/v1/agent-events", events.to_string())).await;
    assert_eq!(code, 202, "{said}");
    assert_eq!(answer(world.post("/v1/agent-events", events.to_string())).await, (202, said.clone()));
    assert_eq!(world.held("OBSERVATIONS").await, 2);
    let mut natives = Vec::new();
    for one in said["accepted"].as_array().unwrap() {
        assert_eq!(one["record"], "agent/session/coder.1");
        let stored = world.message("OBSERVATIONS", one["sequence"].as_u64().unwrap()).await;
        natives.push(proto::decode::<v1::Observation>(None, &stored.payload).unwrap().native);
    }
    assert_eq!(natives, ["working", "completed"]);
}

#[tokio::test]
async fn one_wrong_event_keeps_all_out_and_says_why() {
    let world = World::with(|config| config.api_keys = vec!["key-one".into()]).await;
    let events = json!({"events": [event("agent:start", "x"), event("memory:write", "x")]}).to_string();
    assert_eq!(answer(world.post("/v1/agent-events", events.clone())).await.0, 401);
    let (code, said) = answer(world.post("/v1/agent-events", events).bearer_auth("key-one")).await;
    assert_eq!((code, &said["code"]), (422, &json!("bad_events")));
    assert_eq!((&said["errors"][0]["index"], &said["errors"][0]["field"]), (&json!(1), &json!("status")));
    assert!(said["errors"][0]["detail"].as_str().unwrap().contains("memory:write"), "{said}");
    assert_eq!(world.held("OBSERVATIONS").await, 0);
}
