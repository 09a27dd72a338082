use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::Client;
use crate::watch::tests::peer::server;

const DEADLINE: Duration = Duration::from_secs(20);

fn execution(name: &str, status: &str, position: &str) -> Value {
    json!({"type": "workflow_execution", "position": position, "workflow": "nightly", "execution": name, "status": status})
}

fn snapshot(room: &str, messages: &[Value]) -> Value {
    json!({"type": "snapshot", "room": room, "position": "p0", "items": [], "messages": messages, "more": false, "truncated": false})
}

async fn hears(workflows: &mut WorkflowClient, count: usize) -> Vec<String> {
    for _ in 0..count {
        timeout(DEADLINE, workflows.next()).await.expect("nothing more is told").unwrap();
    }
    workflows.states().map(|state| format!("{} {}", state.execution, state.status)).collect()
}

#[tokio::test]
async fn it_knows_the_last_state_of_each_execution() {
    let url = server(|mut peer| async move {
        let room = "workflow:nightly";
        let stand = snapshot(room, &[execution("1", "completed", ""), execution("2", "running", "")]);
        let asked = peer.joins("p0", &[stand, execution("2", "failed", "p1")]).await;
        assert_eq!(asked["rooms"], json!([room]));
        peer.says(&json!({"type": "reset", "rooms": [room], "reason": "too_old"})).await;
        peer.says(&snapshot(room, &[execution("3", "pending", "")])).await;
        peer.says(&execution("3", "running", "p10")).await;
        peer.stays().await;
    })
    .await;
    let mut workflows = Client::new(&url).unwrap().workflow_client(Some("nightly")).await.unwrap();
    assert_eq!(hears(&mut workflows, 2).await, ["1 completed", "2 failed"]);
    assert_eq!(workflows.state("nightly", "2").unwrap().status, "failed");
    assert!(workflows.state("nightly", "9").is_none());
    assert_eq!(hears(&mut workflows, 3).await, ["3 running"]);
}

#[tokio::test]
async fn without_a_name_it_follows_all_of_them() {
    let url = server(|mut peer| async move {
        let asked = peer.joins("p0", &[snapshot("workflow_executions", &[])]).await;
        assert_eq!(asked["rooms"], json!(["workflow_executions"]));
        peer.stays().await;
    })
    .await;
    let mut workflows = Client::new(&url).unwrap().workflow_client(None).await.unwrap();
    assert!(hears(&mut workflows, 1).await.is_empty());
}
