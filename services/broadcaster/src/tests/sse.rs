//! Server-sent events: what the address asks for, who may listen, and listeners who read slowly.

use super::listening::{ids, listen, read_until};
use super::rights::{AGENTS, KEY, guarded};
use super::status::status_when;
use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

/// The versions that a stream tells, one after another.
fn versions(text: &str) -> Vec<u64> {
    let changes = text.lines().filter_map(|line| line.strip_prefix("data: {\"type\":\"status_changed\""));
    let version = |change: &str| {
        let (_, rest) = change.split_once("\"version\":").unwrap();
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    changes.map(version).collect()
}

/// A stream that reaches its end, or what is waited for.
async fn heard(running: &Running, query: &str, headers: &[(&'static str, &str)], wanted: &str) -> String {
    let mut response = listen(running, query, headers).await;
    assert_eq!(response.status(), 200, "{query}");
    read_until(&mut response, wanted).await
}

/// The status of an answer, and the code of what it refuses.
async fn refused(running: &Running, query: &str, headers: &[(&'static str, &str)]) -> (u16, String) {
    let (status, problem) = ask(running, "GET", &format!("/v1/sse{query}"), headers).await;
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_shows_a_key_or_a_ticket_that_counts_once_and_hears_what_that_grants() {
    let (_world, running) = guarded(|_| ()).await;
    let (_, ticket) = ask(&running, "POST", "/v1/tickets", &AGENTS).await;
    let query = format!("?room=agent:a&ticket={}", ticket["ticket"].as_str().unwrap());
    heard(&running, &query, &[], "\"truncated\":false").await;
    assert_eq!(refused(&running, &query, &[]).await, (401, "auth_failed".into()));
    heard(&running, "?room=agent:a", &AGENTS, "\"truncated\":false").await;
    heard(&running, "", &KEY, "\"truncated\":false").await;
    for query in ["", "?room=all", "?room=agent:a&room=item:K1"] {
        assert_eq!(refused(&running, query, &AGENTS).await, (403, "forbidden".into()), "{query}");
    }
    let (_, ticket) = ask(&running, "POST", "/v1/tickets", &AGENTS).await;
    let query = format!("?room=all&ticket={}", ticket["ticket"].as_str().unwrap());
    assert_eq!(refused(&running, &query, &[]).await, (403, "forbidden".into()), "a ticket grants no more than its key");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_of_the_address_is_that_of_its_rooms() {
    let (world, running) = world(|_| ()).await;
    let mut response = listen(&running, "?room=health&health=unhealthy", &[]).await;
    read_until(&mut response, "\"truncated\":false").await;
    for health in ["degraded", "unhealthy"] {
        world.tell("health_changed", "db", json!({"target": "db", "health": health})).await;
    }
    let told = read_until(&mut response, "\"health\":\"unhealthy\"").await;
    assert!(!told.contains("\"health\":\"degraded\""), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_in_the_address_is_gone_on_from_and_the_header_wins() {
    let (world, running) = world(|_| ()).await;
    let mut response = listen(&running, "", &[]).await;
    read_until(&mut response, "\"truncated\":false").await;
    world.announce_all(1, 1..=4).await;
    let told = read_until(&mut response, "\"version\":4").await;
    let positions = ids(&told);
    let query = |at: usize| format!("?room=all&position={}", positions[at]);
    let resumed = heard(&running, &query(0), &[], "\"version\":4").await;
    assert!(resumed.contains("\"resumed\":true"), "{resumed}");
    assert_eq!(versions(&resumed), [2, 3, 4]);
    // The page gave the address once; the browser knows what was heard last.
    let resumed = heard(&running, &query(0), &[("last-event-id", positions[2])], "\"version\":4").await;
    assert_eq!(versions(&resumed), [4]);
    let resumed = heard(&running, &query(1), &[("last-event-id", "")], "\"version\":4").await;
    assert_eq!(versions(&resumed), [3, 4], "an empty header says nothing");
    let mut client = Client::with(&running, &query(1), &[]).await.unwrap();
    assert_eq!(client.hear().await["resumed"], true);
    for version in 3..=4 {
        assert_eq!(client.hear().await["version"], version);
    }
    client.hears_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_missed_more_than_is_kept_for_it_at_once_reads_all_in_order() {
    const MISSED: u64 = 2_000;
    let (world, running) = world(|_| ()).await;
    let mut response = listen(&running, "", &[]).await;
    read_until(&mut response, "\"truncated\":false").await;
    world.announce_all(1, 1..=1 + MISSED).await;
    let told = read_until(&mut response, &format!("\"version\":{}", 1 + MISSED)).await;
    assert_eq!(versions(&told), (1..=1 + MISSED).collect::<Vec<_>>());
    let resumed =
        heard(&running, "", &[("last-event-id", ids(&told)[0])], &format!("\"version\":{}", 1 + MISSED)).await;
    assert_eq!(versions(&resumed), (2..=1 + MISSED).collect::<Vec<_>>());
}

/// Listens, with little room for what it does not read.
async fn cramped(running: &Running) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(running.address).await.unwrap();
    // By HTTP/1.0 the body comes as it is.
    let request = format!("GET /v1/sse HTTP/1.0\r\nHost: {}\r\n\r\n", running.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_does_not_read_is_waited_for_and_takes_up_no_more() {
    const MORE: u64 = 500;
    let (world, running) = world(|config| config.stall_ms = 600_000).await;
    let mut slow = cramped(&running).await;
    let mut good = Client::to(&running).await;
    good.subscribe(&["all"]).await;
    status_when(&running, |status| status["connections"]["sse"] == 1).await;
    // Until nothing more is put by for it, though more is told.
    let (mut version, mut put_by) = (0, Value::Null);
    loop {
        world.announce_all(1, version + 1..=version + MORE).await;
        version += MORE;
        while good.hear().await["version"] != version {}
        let status = status_when(&running, |status| status["messages"]["websocket"] == version).await;
        let is_blocked = status["clients_blocked"] == 1;
        if is_blocked && status["messages"]["sse"] == put_by {
            break;
        }
        assert!(version < 40 * MORE, "what waits for it grows and grows: {status}");
        put_by = status["messages"]["sse"].clone();
    }
    let (mut told, last) = (Vec::new(), format!("\"version\":{version}"));
    let reading = async {
        while !String::from_utf8_lossy(&told[told.len().saturating_sub(4_096)..]).contains(&last) {
            assert_ne!(slow.read_buf(&mut told).await.unwrap(), 0, "the stream goes on");
        }
    };
    timeout(DEADLINE, reading).await.expect("all is read in time");
    let told = versions(&String::from_utf8(told).unwrap());
    assert_eq!(told, (1..=version).collect::<Vec<_>>(), "when it reads again it misses nothing");
}
