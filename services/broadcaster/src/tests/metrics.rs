//! Measurements, which are told together; and what on the bus is none of what may be there.

use bus::Outgoing;
use proto::v1;

use super::*;

fn metric(number: u32) -> Outgoing {
    let metric = v1::PerformanceMetric {
        name: "m".into(),
        value: f64::from(number),
        unit: "ms".into(),
        category: "latency".into(),
        ..v1::PerformanceMetric::default()
    };
    Outgoing::live("performance_metric", "m", number.to_string(), proto::encode(&metric))
}

/// The values that the next message tells.
async fn told(client: &mut Client) -> Vec<f64> {
    let message = client.hear_of("performance_metrics").await;
    message["metrics"].as_array().unwrap().iter().map(|metric| metric["value"].as_f64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn measurements_are_told_together_when_there_are_enough_of_them() {
    let (world, running) = world(|config| (config.metrics_batch, config.metrics_wait_ms) = (10, 600_000)).await;
    let mut client = Client::to(&running).await;
    client.subscribe(&["performance_metrics"]).await;
    world.publish_all((0..20).map(metric).collect()).await;
    for first in [0, 10] {
        assert_eq!(told(&mut client).await, (first..first + 10).map(f64::from).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn measurements_that_are_fewer_are_told_together_after_a_while() {
    let (world, running) = world(|config| (config.metrics_batch, config.metrics_wait_ms) = (1_000, 1_000)).await;
    let mut client = Client::to(&running).await;
    client.subscribe(&["performance_metrics"]).await;
    world.publish_all((0..5).map(metric).collect()).await;
    assert_eq!(told(&mut client).await, [0.0, 1.0, 2.0, 3.0, 4.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_on_the_bus_is_counted_and_costs_nothing_of_what_comes_with_it() {
    let (world, running) = world(|config| config.metrics_wait_ms = 1).await;
    let mut client = Client::to(&running).await;
    client.subscribe(&["all"]).await;
    let nonsense = |subject: &str, id: &str| Outgoing::new(subject.to_owned(), id.to_owned(), vec![0xff; 9]);
    let idle = v1::AgentState { agent: "a".into(), status: "idle".into(), ..v1::AgentState::default() };
    let idle = Outgoing::live("agent_state", "a", "state".into(), proto::encode(&idle));
    for (good, kind) in [(World::change(1, 1), "status_changed"), (idle, "agent_state")] {
        let (before, after) = (nonsense(&good.subject, "before"), nonsense(&good.subject, "after"));
        world.publish_all(vec![before, good, after]).await;
        assert_eq!(client.hear().await["type"], kind);
    }
    world.announce(2, 1).await;
    assert_eq!(client.hear().await["key"], "K2", "it goes on after what it cannot read");
    for stream in ["CHANGES", "LIVE"] {
        metrics_when(&running, &format!("lockstep_broadcast_unreadable_total{{stream=\"{stream}\"}} 2")).await;
    }
}
