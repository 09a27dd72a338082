//! What clients publish while the bus stands still.

use bus::{Stream, Tail};

use super::*;

fn update(id: &str) -> Value {
    let status = json!({"record": "agentapi/agent/a", "status": "running", "id": id});
    json!({"type": "status_update", "ref": id, "statuses": [status]})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_had_no_turn_when_its_connection_ended_is_not_stored() {
    let (world, running) = world(|_| ()).await;
    let mut observed =
        world.bus.tail(Stream::Observations, &["lockstep.observe.>".to_owned()], Tail::Sequence(1)).await.unwrap();
    let (mut client, mut other) = (Client::to(&running).await, Client::to(&running).await);
    world.nats.freeze().unwrap();
    for id in ["first", "second", "third"] {
        client.say(update(id)).await;
    }
    client.hears_nothing().await;
    drop(client);
    until_clients(&running, 1).await;
    world.nats.thaw().unwrap();
    // By then the second would have been stored long ago.
    let mut expected = vec!["first".to_owned()];
    for number in 0..10 {
        let id = format!("other-{number}");
        other.say(update(&id)).await;
        assert_eq!(other.hear().await["type"], "status_accepted");
        expected.push(id);
    }
    let mut stored = Vec::new();
    for _ in &expected {
        let observation: proto::v1::Observation =
            timeout(DEADLINE, observed.next()).await.unwrap().unwrap().decode().unwrap();
        stored.push(observation.id);
    }
    assert!(stored.iter().zip(&expected).all(|(stored, id)| stored.ends_with(id.as_str())), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_messages_of_one_client_are_worked_on_at_once() {
    let (world, running) = world(|_| ()).await;
    let mut client = Client::to(&running).await;
    world.nats.freeze().unwrap();
    for number in 1..=17 {
        client.say(update(&number.to_string())).await;
    }
    let refused = client.hear().await;
    assert_eq!((refused["code"].as_str(), refused["ref"].as_str()), (Some("busy"), Some("17")), "{refused}");
    world.nats.thaw().unwrap();
}
