use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::watch::tests::peer::server;
use crate::{Backoff, Client};

const DEADLINE: Duration = Duration::from_secs(20);

fn alert(id: &str, position: &str, acknowledged_by: &str) -> Value {
    json!({"type": "system_alert", "position": position, "id": id, "severity": "critical", "acknowledged_by": acknowledged_by})
}

fn health(level: &str, position: &str) -> Value {
    json!({"type": "health_changed", "position": position, "target": "db1", "health": level})
}

fn conflict(name: &str, item: &str, position: &str) -> Value {
    json!({"type": name, "position": position, "item": item, "version": 2})
}

fn snapshot(room: &str, messages: &[Value], items: &[&str]) -> Value {
    let item = |id: &&str| json!({"id": id, "lifecycle": "work", "status": "todo", "status_since": 0, "version": 1});
    let items: Vec<Value> = items.iter().map(item).collect();
    json!({"type": "snapshot", "room": room, "position": "p0", "items": items, "messages": messages, "more": false, "truncated": false})
}

/// How things stand, in short.
fn stands(monitoring: &MonitoringClient) -> [Vec<String>; 3] {
    [
        monitoring.alerts().map(|alert| alert.id.clone()).collect(),
        monitoring.health().map(|health| format!("{} {}", health.target, health.health)).collect(),
        monitoring.held().map(|held| held.item().to_owned()).collect(),
    ]
}

async fn hears(monitoring: &mut MonitoringClient, count: usize) {
    for _ in 0..count {
        timeout(DEADLINE, monitoring.next()).await.expect("nothing more is told").unwrap();
    }
}

#[tokio::test]
async fn it_knows_how_alerts_health_and_conflicts_stand_and_acknowledges() {
    let url = server(|mut peer| async move {
        let shows = [
            snapshot("system_alerts", &[alert("disk", "", "")], &[]),
            snapshot("health", &[health("unhealthy", "")], &[]),
            snapshot("conflicts", &[], &["i9"]),
            health("healthy", "p1"),
            json!({"type": "performance_metrics", "position": "p2", "category": "latency", "metrics": []}),
            conflict("conflict_opened", "i1", "p3"),
        ];
        let asked = peer.joins("p0", &shows).await;
        let rooms = json!(["conflicts", "deliveries", "health", "performance_metrics", "system_alerts"]);
        assert_eq!(asked["rooms"], rooms);
        let asked = peer.hears_a("acknowledge").await;
        assert_eq!(asked["alert"], "disk");
        peer.says(&json!({"type": "acknowledged", "alert": "disk", "ref": asked["ref"]})).await;
        peer.says(&alert("disk", "p4", "ada")).await;
        peer.says(&conflict("conflict_resolved", "i9", "p5")).await;
        peer.says(&json!({"type": "reset", "rooms": ["conflicts", "health"], "reason": "too_old"})).await;
        peer.says(&snapshot("conflicts", &[], &["i7"])).await;
        peer.stays().await;
    })
    .await;
    let quick = Backoff { first: Duration::from_millis(2), max: Duration::from_millis(8), attempts: None };
    let watch = Client::new(&url).unwrap().watch().backoff(quick);
    let mut monitoring = MonitoringClient::open(watch).await.unwrap();
    hears(&mut monitoring, 6).await;
    assert_eq!(stands(&monitoring), [vec!["disk"], vec!["db1 healthy"], vec!["i9", "i1"]]);
    monitoring.acknowledge("disk").await.unwrap();
    hears(&mut monitoring, 2).await;
    assert_eq!(stands(&monitoring), [vec![], vec!["db1 healthy"], vec!["i1"]]);
    hears(&mut monitoring, 2).await;
    assert_eq!(stands(&monitoring), [vec![], vec![], vec!["i7"]]);
}
