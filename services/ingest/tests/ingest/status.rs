use futures_util::StreamExt;
use proto::v1;
use serde_json::{Value, json};

use crate::world::{World, answer, body};

fn status(id: u32, native: &str) -> Value {
    json!({"record": format!("ci/build/{id}"), "status": native})
}

#[tokio::test]
async fn statuses_are_stored_in_their_order_each_with_an_id() {
    let world = World::new().await;
    let mut urgent = status(2, "failed");
    urgent["priority"] = json!(0);
    let batch = json!({"statuses": [status(1, "running"), urgent, status(1, "passed")]});
    let (code, said) = answer(world.post("/v1/status", batch.to_string())).await;
    assert_eq!(code, 202, "{said}");
    let accepted = said["accepted"].as_array().unwrap();
    assert_eq!(
        accepted.iter().map(|one| one["record"].as_str().unwrap()).collect::<Vec<_>>(),
        ["ci/build/1", "ci/build/2", "ci/build/1"]
    );
    let mut seen = Vec::new();
    for one in accepted {
        let stored = world.message("OBSERVATIONS", one["sequence"].as_u64().unwrap()).await;
        let observation: v1::Observation = proto::decode(None, &stored.payload).unwrap();
        assert!(observation.id.ends_with(one["id"].as_str().unwrap()));
        seen.push((stored.subject.to_string(), observation.native));
    }
    let lane = |lane: &str, index: usize| seen[index].0.contains(&format!(".{lane}."));
    assert!(lane("normal", 0) && lane("critical", 1) && lane("normal", 2), "{seen:?}");
    assert_eq!(seen.iter().map(|(_, native)| native.as_str()).collect::<Vec<_>>(), ["running", "failed", "passed"]);
    assert!(accepted[0]["sequence"].as_u64() < accepted[2]["sequence"].as_u64());
}

/// Stands in for a stream that refuses the first message that it is sent. What it stored, in its order.
async fn refusing_stream(world: &World) -> tokio::sync::mpsc::UnboundedReceiver<String> {
    let client = async_nats::connect(world.server.url()).await.unwrap();
    async_nats::jetstream::new(client.clone()).delete_stream("OBSERVATIONS").await.unwrap();
    let mut sent = client.subscribe("lockstep.observe.>").await.unwrap();
    client.flush().await.unwrap();
    let (stored, all) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut refused = false;
        while let Some(message) = sent.next().await {
            let observation: v1::Observation = proto::decode(None, &message.payload).unwrap();
            let answer = if refused {
                stored.send(observation.native).unwrap();
                json!({"stream": "OBSERVATIONS", "seq": 1})
            } else {
                json!({"error": {"code": 503, "err_code": 10_008, "description": "temporarily unavailable"}})
            };
            refused = true;
            client.publish(message.reply.unwrap(), answer.to_string().into()).await.unwrap();
        }
    });
    all
}

#[tokio::test]
async fn a_status_that_must_be_stored_again_does_not_come_behind_the_next_one_of_its_record() {
    let world = World::new().await;
    let mut stored = refusing_stream(&world).await;
    let batch = json!([status(1, "running"), status(1, "failed"), status(1, "passed")]);
    let (code, said) = answer(world.post("/v1/status", batch.to_string())).await;
    assert_eq!(code, 202, "{said}");
    let mut natives = vec![];
    stored.recv_many(&mut natives, 9).await;
    assert_eq!(natives, ["running", "failed", "passed"]);
}

#[tokio::test]
async fn many_statuses_of_one_record_may_take_longer_than_a_few() {
    let world = World::with(|config| config.publish_wait_ms = 2_000).await;
    let client = async_nats::connect(world.server.url()).await.unwrap();
    async_nats::jetstream::new(client.clone()).delete_stream("OBSERVATIONS").await.unwrap();
    let mut sent = client.subscribe("lockstep.observe.>").await.unwrap();
    client.flush().await.unwrap();
    // A disk that takes its time for each.
    tokio::spawn(async move {
        while let Some(message) = sent.next().await {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            let answer = json!({"stream": "OBSERVATIONS", "seq": 1}).to_string();
            client.publish(message.reply.unwrap(), answer.into()).await.unwrap();
        }
    });
    let batch: Vec<Value> = (0..480).map(|_| status(1, "running")).collect();
    let (code, said) = answer(world.post("/v1/status", Value::from(batch).to_string())).await;
    assert_eq!(code, 202, "{said}");
}

#[tokio::test]
async fn the_same_request_twice_is_stored_once() {
    let world = World::new().await;
    let send = |key: &str| {
        let batch = json!([status(1, "running"), status(2, "running")]);
        world.post("/v1/status", batch.to_string()).header("idempotency-key", key)
    };
    let first = answer(send("k-1")).await;
    assert_eq!(answer(send("k-1")).await, first);
    assert_eq!(world.held("OBSERVATIONS").await, 2);
    assert_eq!(answer(send("k-2")).await.0, 202);
    assert_eq!(world.held("OBSERVATIONS").await, 4);
    assert_eq!(answer(send("two words")).await.0, 400);
    let other = world.post("/v1/status", json!([status(1, "passed")]).to_string()).header("idempotency-key", "k-1");
    assert_eq!(answer(other).await.0, 202);
    assert_eq!(world.held("OBSERVATIONS").await, 5, "a key for something else is no copy");
}

#[tokio::test]
async fn one_bad_status_keeps_all_out_and_each_is_named() {
    let world = World::new().await;
    let batch = json!([status(1, "running"), {"record": "nonsense", "status": "x"}, {"record": "ci/build/3", "status": "x", "lane": 9}]);
    let response = world.post("/v1/status", batch.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 422);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let said = body(response).await;
    let errors: Vec<_> = said["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["index"].as_u64().unwrap(), one["field"].as_str().unwrap()))
        .collect();
    assert_eq!(errors, [(1, "record"), (2, "lane")]);
    assert_eq!(world.held("OBSERVATIONS").await, 0);
}

#[tokio::test]
async fn a_request_in_a_wrong_form_is_told_so() {
    let world = World::with(|config| config.body_max_bytes = 100_000).await;
    assert_eq!(answer(world.post("/v1/status", "{")).await.0, 400);
    assert_eq!(answer(world.post("/v1/status", " ".repeat(100_001))).await.0, 413);
    let many: Vec<Value> = (0..501).map(|id| status(id, "open")).collect();
    assert_eq!(answer(world.post("/v1/status", json!(many).to_string())).await.1["code"], "too_many_statuses");
    let plain = world.post_as("text/plain", "/v1/status", status(1, "open").to_string());
    assert_eq!(answer(plain).await.0, 415);
}

#[tokio::test]
async fn where_keys_are_set_one_of_them_is_needed() {
    let world = World::with(|config| config.api_keys = vec!["key-one".into(), "key-two".into()]).await;
    let send = || world.post("/v1/status", status(1, "open").to_string());
    assert_eq!(answer(send()).await.0, 401);
    assert_eq!(answer(send().bearer_auth("anything")).await.0, 401);
    assert_eq!(world.held("OBSERVATIONS").await, 0);
    assert_eq!(answer(send().bearer_auth("key-two")).await.0, 202);
    assert_eq!(answer(send().header("x-api-key", "key-one")).await.0, 202);
}

#[tokio::test]
async fn without_jetstream_a_status_is_not_accepted() {
    let mut world = World::new().await;
    world.server.kill();
    let refused = world.post("/v1/status", status(1, "open").to_string()).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
}
