//! The service from outside, with a real NATS and a real PostgreSQL.

use std::time::Duration;

use bus::{Bus, Outgoing, Stream, topology};
use proto::v1;
use runtime::{Process, Secret};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use store::Store;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::Config;

/// A database of its own. `LOCKSTEP_TEST_DATABASE_URL` names a server where databases may be made.
async fn database() -> String {
    let server = std::env::var("LOCKSTEP_TEST_DATABASE_URL").expect("LOCKSTEP_TEST_DATABASE_URL names a PostgreSQL");
    let name = format!("monitor_{}", Uuid::new_v4().simple());
    let mut connection = PgConnection::connect(&server).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await.unwrap();
    let (base, _) = server.rsplit_once('/').unwrap();
    format!("{base}/{name}")
}

async fn get(url: &str) -> (u16, String) {
    let response = reqwest::get(url).await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// The answer once it is as wanted; the last one when it never is.
async fn until(url: &str, wanted: impl Fn(u16, &str) -> bool) -> (u16, String) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (status, body) = get(url).await;
        if wanted(status, &body) || Instant::now() > deadline {
            return (status, body);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// The last message on a subject, once it is as wanted.
async fn told<M>(bus: &Bus, stream: Stream, subject: &str, wanted: impl Fn(&M) -> bool) -> M
where
    M: prost::Message + Default + serde::de::DeserializeOwned,
{
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let last = bus.last_message(stream, subject).await.unwrap();
        let message = last.map(|last| last.decode::<M>().unwrap());
        match message {
            Some(message) if wanted(&message) => return message,
            _ => assert!(Instant::now() < deadline, "{subject} was not told as wanted"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// A monitor that looks often, and where it says what it sees.
async fn monitor(server: &bus::testing::Server, database: &str) -> (Process, Bus, String) {
    let process = Process::new("monitor", None);
    let bus = Bus::connect(&server.config(), &process).await.unwrap();
    bus.ensure_topology().await.unwrap();
    let config = store::Config { url: Secret::from(database), ..store::Config::default() };
    let store = Store::connect(&config, &process).await.unwrap();
    store.migrate().await.unwrap();
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        expect: vec!["resolver".into()],
        probe_ms: 50,
        silent_ms: 600_000,
        ..Config::default()
    };
    crate::run(config, process.clone(), bus.clone(), store).await.unwrap();
    let base = format!("http://{}", process.addresses()["monitor"]);
    (process, bus, base)
}

/// A resolver that is well.
async fn announce_a_resolver(bus: &Bus, process: &Process) -> v1::Heartbeat {
    let sign = v1::Heartbeat {
        service: "resolver".into(),
        instance: "one".into(),
        at: process.now_ms(),
        ready: true,
        last_success: [("linear".to_owned(), process.now_ms())].into(),
        ..v1::Heartbeat::default()
    };
    bus.announce(topology::heartbeat("resolver", "one"), proto::encode(&sign).into()).await.unwrap();
    sign
}

async fn deliver(bus: &Bus, ids: impl IntoIterator<Item = &str>) {
    for id in ids {
        let delivery = v1::Delivery {
            id: id.into(),
            record: "linear/issue/a".into(),
            outcome: "applied".into(),
            ..v1::Delivery::default()
        };
        bus.publish(Outgoing::delivery(&delivery).unwrap()).await.unwrap();
    }
}

/// A webhook that was given up.
fn letter() -> bus::DeadLetter {
    bus::DeadLetter {
        reason: "malformed",
        detail: "not JSON".into(),
        subject: "lockstep.webhook.linear".into(),
        sequence: 1,
        attempts: 1,
        earlier: 0,
        first_at_ms: 1,
        headers: Vec::new(),
        payload: "{".into(),
    }
}

/// Waits until the metrics have all these lines.
async fn shows(base: &str, lines: &[&str]) {
    let all = |body: &str| lines.iter().all(|line| body.lines().any(|shown| shown == *line));
    let (_, body) = until(&format!("{base}/metrics"), |_, body| all(body)).await;
    assert!(all(&body), "{lines:#?} are not all in\n{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_behind_and_a_conflict_that_is_open_are_counted() {
    let (server, database) = (bus::testing::Server::start().unwrap(), database().await);
    let (process, bus, base) = monitor(&server, &database).await;
    let mut behind = bus.deliveries("another").await.unwrap();
    deliver(&bus, ["d:1", "d:2", "d:3"]).await;
    let mut postgres = PgConnection::connect(&database).await.unwrap();
    for resolved_at in [None, Some("2020-01-02")] {
        sqlx::query(
            "insert into lockstep.conflicts
             values (gen_random_uuid(), gen_random_uuid(), 1, 'x', '[]', 'manual', false, null, '2020-01-01', $1::text::timestamptz)",
        )
        .bind(resolved_at)
        .execute(&mut postgres)
        .await
        .unwrap();
    }
    let lag = |readers: &str, behind| {
        format!("lockstep_consumer_lag{{consumer=\"deliveries-{readers}\",stream=\"OBSERVATIONS\"}} {behind}")
    };
    shows(&base, &[&*lag("another", 3), &*lag("monitor", 0), "lockstep_fleet_conflicts_open 1"]).await;
    let mut read = Vec::new();
    while read.len() < 3 {
        read.extend(behind.next_batch(3).await.unwrap());
    }
    bus::ack_all(read).await.unwrap();
    sqlx::query("update lockstep.conflicts set resolved_at = now()").execute(&mut postgres).await.unwrap();
    shows(&base, &[&*lag("another", 0), "lockstep_fleet_conflicts_open 0"]).await;
    process.shutdown().cancel();
    process.finished(Duration::from_secs(20)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgresql_it_is_not_well_and_says_so_and_afterwards_it_is() {
    let (server, database) = (bus::testing::Server::start().unwrap(), database().await);
    let (process, bus, base) = monitor(&server, &database).await;
    announce_a_resolver(&bus, &process).await;
    let health = format!("{base}/health");
    let (status, body) = until(&health, |status, _| status == 200).await;
    assert_eq!(status, 200, "{body}");
    let metrics = format!("{base}/metrics");
    shows(&base, &["lockstep_fleet_conflicts_open 0"]).await;

    // Nobody gets into the database, and whoever was in it is thrown out.
    let (base, name) = database.rsplit_once('/').unwrap();
    let mut admin = PgConnection::connect(&format!("{base}/postgres")).await.unwrap();
    let closed = format!("alter database {name} allow_connections false");
    sqlx::raw_sql(sqlx::AssertSqlSafe(closed)).execute(&mut admin).await.unwrap();
    sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
        .bind(name)
        .execute(&mut admin)
        .await
        .unwrap();
    let (status, body) = until(&health, |status, _| status == 503).await;
    let report: Value = serde_json::from_str(&body).unwrap();
    let servers = &report["components"]["servers"];
    let of = |server: &str| servers[server]["status"].as_str();
    assert_eq!((status, of("postgres"), of("nats")), (503, Some("unhealthy"), Some("healthy")), "{body}");
    let (_, shown) = get(&metrics).await;
    assert!(!shown.contains("\nlockstep_fleet_conflicts_open "), "nobody knows how many are open: {shown}");

    let open = format!("alter database {name} allow_connections true");
    sqlx::raw_sql(sqlx::AssertSqlSafe(open)).execute(&mut admin).await.unwrap();
    let (status, body) = until(&health, |status, _| status == 200).await;
    assert_eq!(status, 200, "recovery is noticed: {body}");
    process.shutdown().cancel();
    process.finished(Duration::from_secs(20)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_and_levels_of_one_look_are_told_by_one_judgement() {
    let (server, database) = (bus::testing::Server::start().unwrap(), database().await);
    let before = Process::new("connector-linear", None);
    let bus = Bus::connect(&server.config(), &before).await.unwrap();
    bus.ensure_topology().await.unwrap();
    bus.dead_letter(&before, letter()).await.unwrap();
    let (process, bus, _) = monitor(&server, &database).await;
    let (alert, level) = (
        topology::alert("warning", "lockstep:dead_letters:dead_letters"),
        topology::live("health_changed", "server/nats"),
    );
    let alert: v1::SystemAlert = told(&bus, Stream::Alerts, &alert, |_| true).await;
    let level: v1::HealthChanged = told(&bus, Stream::Live, &level, |_| true).await;
    assert_eq!(alert.at, level.at, "both are of the first look");
    process.shutdown().cancel();
    process.finished(Duration::from_secs(20)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_follows_the_servers_and_the_signs_of_life_and_metrics_count_for_all() {
    let mut server = bus::testing::Server::start().unwrap();
    let (process, bus, base) = monitor(&server, &database().await).await;
    let health = format!("{base}/health");

    let (status, body) = until(&health, |_, body| body.contains("\"postgres\":{\"status\":\"healthy\"}")).await;
    assert_eq!(status, 503, "the resolver was never seen: {body}");

    let sign = announce_a_resolver(&bus, &process).await;
    let (status, body) = until(&health, |status, _| status == 200).await;
    let report: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, report["status"].as_str()), (200, Some("healthy")), "{body}");
    assert_eq!(report["components"]["systems"]["linear"]["status"], "healthy");
    assert_eq!(get(&format!("{base}/alerts")).await, (200, "[]".to_owned()));
    let rebound = reqwest::Client::new().get(format!("{base}/alerts")).header("host", "evil.example").send().await;
    assert_eq!(rebound.unwrap().status(), 403, "a page whose name leads here is told nothing");

    deliver(&bus, ["d:1", "d:2", "d:3"]).await;
    bus.dead_letter(&process.of("connector-linear"), letter()).await.unwrap();
    let lines = [
        "lockstep_fleet_deliveries_total{outcome=\"applied\",system=\"linear\"} 3",
        "lockstep_fleet_dead_letters_total{reason=\"malformed\",service=\"connector-linear\"} 1",
        "lockstep_fleet_dead_letters_kept 1",
        "lockstep_fleet_conflicts_open 0",
        "lockstep_consumer_lag{consumer=\"deliveries-monitor\",stream=\"OBSERVATIONS\"} 0",
    ];
    shows(&base, &lines).await;

    let given_up = topology::alert("warning", "lockstep:dead_letters:dead_letters");
    let alert = |state: &'static str| move |told: &v1::SystemAlert| told.metadata["state"] == state;
    let raised = told(&bus, Stream::Alerts, &given_up, alert("open")).await;
    assert_eq!((raised.severity.as_str(), raised.component.as_str()), ("warning", "dead_letters"));
    assert!(raised.message.contains("1 message was given up") && raised.acknowledged_by.is_empty(), "{raised:?}");
    bus.purge(Stream::DeadLetters).await.unwrap();
    let over = told(&bus, Stream::Alerts, &given_up, alert("cleared")).await;
    assert_eq!((over.id, over.acknowledged_by.as_str()), (raised.id, "monitor"));

    let subject = topology::live("health_changed", "service/resolver");
    told(&bus, Stream::Live, &subject, |told: &v1::HealthChanged| told.health == "healthy").await;
    let waits = v1::Heartbeat { ready: false, reason: "the database is away".into(), ..sign.clone() };
    bus.announce(topology::heartbeat("resolver", "one"), proto::encode(&waits).into()).await.unwrap();
    let ill = told(&bus, Stream::Live, &subject, |told: &v1::HealthChanged| told.health == "degraded").await;
    assert_eq!((ill.previous.as_str(), ill.reason.as_str()), ("healthy", "not ready: the database is away"));
    bus.announce(topology::heartbeat("resolver", "one"), proto::encode(&sign).into()).await.unwrap();

    server.kill();
    let (status, body) = until(&health, |status, _| status == 503).await;
    assert_eq!(status, 503, "{body}");
    let (_, shown) = get(&format!("{base}/metrics")).await;
    for unknown in ["\nlockstep_fleet_dead_letters_kept ", "\nlockstep_consumer_lag{"] {
        assert!(!shown.contains(unknown), "nobody knows it: {shown}");
    }
    let (status, body) = get(&format!("{base}/alerts")).await;
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, told[0]["code"].as_str()), (200, Some("alerts_stale")), "{body}");
    assert!(told[0]["since"].is_i64() && told.as_array().is_some_and(|all| all.len() == 1), "{body}");
    server.restart().unwrap();
    let (status, body) = until(&health, |status, _| status == 200).await;
    assert_eq!(status, 200, "recovery is noticed: {body}");
    process.shutdown().cancel();
    process.finished(Duration::from_secs(20)).await.unwrap();
}
