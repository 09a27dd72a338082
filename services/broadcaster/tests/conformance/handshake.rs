//! The request for the upgrade, right and wrong, and what the answer to it says.

use super::case::{self, answer};
use super::client::{ACCEPTED, Client, KEY, request};
use super::frame::{PING, TEXT, asked, frame};
use super::world;

/// The request with the lines of some headers replaced; an empty value leaves one out.
fn with(address: std::net::SocketAddr, changes: &[(&str, &str)]) -> Vec<String> {
    let mut lines = request(address);
    for (name, value) in changes {
        let is = |line: &String| line.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name));
        lines.retain(|line| !is(line));
        if !value.is_empty() {
            lines.push(format!("{name}: {value}"));
        }
    }
    lines
}

#[tokio::test]
async fn the_answer_proves_that_the_key_was_read() {
    let world = world::start().await;
    let mut client = Client::open(world.address()).await;
    let head = client.ask(&request(world.address())).await;
    assert_eq!(head.status, 101);
    assert_eq!(head.header("sec-websocket-accept").as_deref(), Some(ACCEPTED));
    assert!(head.header("upgrade").unwrap().eq_ignore_ascii_case("websocket"));
    assert!(head.header("connection").unwrap().to_ascii_lowercase().contains("upgrade"));
    assert_eq!(head.header("sec-websocket-extensions"), None, "nothing was offered");
    assert_eq!(head.header("sec-websocket-protocol"), None, "nothing was offered");
}

#[tokio::test]
async fn lists_and_letters_of_any_case_are_understood() {
    let world = world::start().await;
    for changes in [
        &[("Upgrade", "WebSocket")][..],
        &[("Upgrade", "h2c, websocket")],
        &[("Connection", "keep-alive, Upgrade")],
        &[("Connection", "keep-alive,UPGRADE")],
        &[("upgrade", "WEBSOCKET"), ("connection", "upgrade"), ("sec-websocket-version", "13")],
    ] {
        let mut client = Client::open(world.address()).await;
        let head = client.ask(&with(world.address(), changes)).await;
        assert_eq!(head.status, 101, "{changes:?}: {head:?}");
        client.send(&frame(TEXT, asked("x"))).await;
        assert_eq!(case::hear(&mut client).await, answer("x"), "{changes:?}");
    }
}

#[tokio::test]
async fn what_is_no_request_for_a_websocket_is_not_upgraded() {
    let world = world::start().await;
    for (changes, expected) in [
        (&[("Sec-WebSocket-Version", "12")][..], &[426][..]),
        (&[("Sec-WebSocket-Version", "8")], &[426]),
        (&[("Sec-WebSocket-Version", "")], &[426, 400]),
        (&[("Sec-WebSocket-Version", "thirteen")], &[426, 400]),
        (&[("Sec-WebSocket-Key", "")], &[400]),
        (&[("Sec-WebSocket-Key", "c2hvcnQ=")], &[400]),
        (&[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ")], &[400]),
        (&[("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!==")], &[400]),
        (&[("Upgrade", "")], &[400, 426]),
        (&[("Upgrade", "h2c")], &[400, 426]),
        (&[("Connection", "")], &[400, 426]),
        (&[("Connection", "keep-alive")], &[400, 426]),
        (&[("Origin", "https://evil.example")], &[403]),
    ] {
        let mut client = Client::open(world.address()).await;
        let head = client.ask(&with(world.address(), changes)).await;
        assert!(expected.contains(&head.status), "{changes:?}: {head:?}");
        if head.status == 426 && changes[0].0 == "Sec-WebSocket-Version" {
            assert!(head.header("sec-websocket-version").is_some_and(|versions| versions.contains("13")), "{head:?}");
        }
    }
}

#[tokio::test]
async fn another_method_or_version_of_http_is_not_upgraded() {
    let world = world::start().await;
    for (first, expected) in [("POST /v1/ws HTTP/1.1", &[405][..]), ("GET /v1/ws HTTP/1.0", &[400, 426, 505])] {
        let mut lines = request(world.address());
        first.clone_into(&mut lines[0]);
        let head = Client::open(world.address()).await.ask(&lines).await;
        assert!(expected.contains(&head.status), "{first}: {head:?}");
    }
}

#[tokio::test]
async fn the_first_subprotocol_that_is_known_is_chosen() {
    let world = world::start().await;
    for (offered, expected) in [
        ("lockstep.v1.json", Some("lockstep.v1.json")),
        ("lockstep.v1.protobuf", Some("lockstep.v1.protobuf")),
        ("mystery, lockstep.v1.json", Some("lockstep.v1.json")),
        ("lockstep.v1.protobuf,lockstep.v1.json", Some("lockstep.v1.protobuf")),
        ("lockstep.v1.json , lockstep.v1.protobuf", Some("lockstep.v1.json")),
        ("mystery", None),
    ] {
        let mut client = Client::open(world.address()).await;
        let head = client.ask(&with(world.address(), &[("Sec-WebSocket-Protocol", offered)])).await;
        assert_eq!(head.status, 101, "{offered}: {head:?}");
        assert_eq!(head.header("sec-websocket-protocol").as_deref(), expected, "{offered}");
    }
}

#[tokio::test]
async fn a_page_of_our_own_address_may_connect() {
    let world = world::start().await;
    let own = format!("http://{}", world.address());
    let head = Client::open(world.address()).await.ask(&with(world.address(), &[("Origin", &own)])).await;
    assert_eq!(head.status, 101, "{head:?}");
}

#[tokio::test]
async fn what_comes_with_the_request_in_one_packet_is_read() {
    let world = world::start().await;
    let head = format!("{}\r\n\r\n", request(world.address()).join("\r\n")).into_bytes();
    let early = [frame(TEXT, asked("early")), frame(PING, "")].concat();
    // Whole, and cut amid a frame: the rest comes after the answer.
    for cut in [early.len(), early.len() - 10, 3, 1] {
        let mut client = Client::open(world.address()).await;
        client.send(&[&head, &early[..cut]].concat()).await;
        assert_eq!(client.head().await.status, 101);
        client.send(&early[cut..]).await;
        assert_eq!(case::hear(&mut client).await, answer("early"), "{cut} bytes came early");
        assert_eq!(case::hear(&mut client).await, case::Heard::Pong(Vec::new()), "{cut} bytes came early");
    }
}

#[tokio::test]
async fn a_request_that_comes_octet_by_octet_is_upgraded() {
    let world = world::start().await;
    let mut client = Client::open(world.address()).await;
    client.send_in(format!("{}\r\n\r\n", request(world.address()).join("\r\n")).as_bytes(), 1).await;
    assert_eq!(client.head().await.status, 101);
    assert_eq!(KEY.len(), 24);
}
