use serde_json::json;
use tokio::time::timeout;

use super::*;
use crate::Status;
use crate::watch::tests::peer::server;

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_delivery_of_each_record_is_waited_for_from_before_the_status_was_sent() {
    let url = server(|mut peer| async move {
        peer.welcomes("p3").await;
        let first = peer.hears().await.unwrap();
        if first["type"] == "status_update" {
            peer.accepts(&first, 7).await;
            return peer.stays().await;
        }
        assert_eq!((&first["rooms"], &first["position"]), (&json!(["record:linear/issue/a"]), &json!("p3")));
        peer.says(&json!({"type": "subscribed", "rooms": first["rooms"], "position": "p3", "ref": first["ref"]})).await;
        peer.pongs().await;
        let change = json!({"type": "status_changed", "position": "p4", "item": "i1", "version": 2, "cause": 7, "reason": "edited",
            "record": "linear/issue/a", "records": ["linear/issue/a", "github/issue/b", "postgres/task/c"]});
        peer.says(&change).await;
        let item = peer.joins("p3", &[]).await;
        assert_eq!((&item["rooms"], &item["position"]), (&json!(["item:i1"]), &json!("p3")));
        for (record, outcome, reason) in [("github/issue/b", "applied", ""), ("postgres/task/c", "rejected", "a constraint")] {
            peer.says(&json!({"type": "delivery", "position": "p5", "item": "i1", "version": 2, "record": record,
                "outcome": outcome, "reason": reason}))
                .await;
        }
        peer.stays().await;
    })
    .await;
    let client = Client::new(&url).unwrap();
    let update = client.update_status(&[Status::new("linear/issue/a", "Done")]).await.unwrap();
    let propagated =
        timeout(DEADLINE, update.propagated(DEADLINE * 2)).await.expect("it went on though all is settled");
    assert!(propagated.settled && !propagated.complete, "{propagated:?}");
    let records = propagated.statuses[0].records.iter();
    let said: Vec<_> = records.map(|record| (record.record.as_str(), record.outcome, record.reason.as_str())).collect();
    assert_eq!(
        said,
        [("github/issue/b", Outcome::Applied, ""), ("postgres/task/c", Outcome::Rejected, "a constraint")]
    );
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_waited_for_until_the_time_is_over_and_nothing_fails() {
    let url = server(|mut peer| async move {
        peer.welcomes("p0").await;
        let first = peer.hears().await.unwrap();
        if first["type"] == "status_update" {
            peer.accepts(&first, 7).await;
        }
        // Whoever asks for rooms hears nothing.
        while peer.hears().await.is_some() {}
    })
    .await;
    let update = Client::new(&url).unwrap().update_status(&[Status::new("ci/build/1", "done")]).await.unwrap();
    let propagated = timeout(Duration::from_secs(5), update.propagated(Duration::from_millis(100))).await;
    let propagated = propagated.expect("it went on after its time");
    assert!(!propagated.settled && !propagated.complete);
    assert_eq!(propagated.statuses[0].outcome, Outcome::Pending);
}
