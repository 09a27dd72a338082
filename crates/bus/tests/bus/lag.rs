//! What JetStream tells of how far a reader has come.

use std::time::Duration;

use bus::{Lag, Outgoing, ack_all};
use model::System;

use super::{DEADLINE, take, world};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_again_later_keeps_what_is_acknowledged_where_it_is_and_not_what_is_given() {
    let world = world(1).await;
    let github = System::new("github").unwrap();
    let publish = async |id: &str| {
        world.bus.publish(Outgoing::webhook(&github, id, "issues", vec![], "{}".into())).await.unwrap();
    };
    let mut feed = world.bus.webhooks(&github).await.unwrap();
    publish("1").await;
    take(&mut feed, 1).await[0].nak(Duration::from_mins(10)).await.unwrap();
    for (id, given) in [("2", 2), ("3", 3)] {
        publish(id).await;
        ack_all(take(&mut feed, 1).await).await.unwrap();
        let expected =
            Lag { stream: "WEBHOOKS", consumer: "webhooks-github".into(), pending: 0, ack_pending: 1, acked: 0, given };
        // The server counts an acknowledgement some time after it has it.
        let is_so = async { while world.bus.consumer_lag().await.unwrap() != [expected.clone()] {} };
        let told = tokio::time::timeout(DEADLINE, is_so).await;
        assert!(told.is_ok(), "{:?}", world.bus.consumer_lag().await);
    }
}
