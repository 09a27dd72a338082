use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::world::{World, answer, body};

/// Not UTF-8, and with spaces that a parser would lose: only the raw bytes are the same as these.
const RAW: &[u8] = b"{ \"action\":\t\"closed\", \"raw\": \"\xff\xfe\" }\r\n";

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn a_webhook_is_stored_byte_for_byte_with_what_a_decoder_needs() {
    let world = World::new().await;
    let (status, said) = answer(world.github("guid-1", RAW)).await;
    assert_eq!((status, &said["status"]), (200, &"stored".into()));
    let stored = world.message("WEBHOOKS", said["sequence"].as_u64().unwrap()).await;
    assert_eq!(&stored.payload[..], RAW);
    assert_eq!(stored.subject.as_str(), "lockstep.webhook.github");
    let header = |name: &str| {
        let (_, values) =
            stored.headers.iter().find(|(known, _)| known.to_string().eq_ignore_ascii_case(name)).unwrap();
        values[0].to_string()
    };
    assert_eq!(header("x-github-event"), "issues");
    assert_eq!(header("lockstep-event"), "issues");
    assert_eq!(header("x-github-delivery"), "guid-1");
    assert_eq!(header("x-github-hook-id"), "7");
    assert!(header("nats-msg-id").contains("guid-1"));
    assert!(!format!("{:?}", stored.headers).contains("sha256="), "the signature is nobody's business afterwards");
    assert_eq!(world.counted("github", "stored"), 1);

    let (status, _) = answer(world.linear("delivery-1", 0)).await;
    assert_eq!((status, world.held("WEBHOOKS").await), (200, 2));
}

#[tokio::test]
async fn a_hook_that_github_was_left_to_send_as_a_form_is_heard() {
    let world = World::new().await;
    let form = b"payload=%7B%22title%22%3A%22a+b+%2B+%C3%A9%22%7D";
    let (status, said) = answer(world.github_as(FORM, "guid", form)).await;
    assert_eq!((status, &said["status"]), (200, &"stored".into()), "{said}");
    let stored = world.message("WEBHOOKS", said["sequence"].as_u64().unwrap()).await;
    assert_eq!(&stored.payload[..], "{\"title\":\"a b + é\"}".as_bytes());
    // The signature is over the form and not over what is in it.
    let (status, said) = answer(world.github_as(FORM, "another", form).body("payload=%7B%7D")).await;
    assert_eq!((status, &said["code"]), (401, &"signature_wrong".into()));
}

#[tokio::test]
async fn a_few_signatures_that_fail_at_once_are_no_sign_of_a_wrong_secret() {
    let world = World::new().await;
    for id in ["a", "b", "c", "d"] {
        assert_eq!(answer(world.github(id, b"{}").body("{ }")).await.0, 401);
    }
    assert_eq!(world.process.failing().get("webhooks:github"), None, "they may be anybody's");
    assert_eq!(answer(world.github("guid", RAW)).await.0, 200);
    assert!(world.process.last_success().contains_key("webhooks:github"));
}

#[tokio::test]
async fn what_is_not_genuine_is_refused_and_counted() {
    let world = World::new().await;
    let forged = |id| world.github(id, b"{}").body("{ }");
    let (status, said) = answer(forged("a")).await;
    assert_eq!((status, &said["code"]), (401, &"signature_wrong".into()));
    assert_eq!(world.counted("github", "forged"), 1);

    let unsigned =
        world.post("/webhooks/github", "{}").header("x-github-event", "issues").header("x-github-delivery", "b");
    assert_eq!(answer(unsigned).await.0, 401);
    assert_eq!(world.counted("github", "unsigned"), 1);

    // What was changed on the way is fresh, and has all that Linear sends.
    let now = world.process.now_ms();
    let changed = format!("{{\"webhookTimestamp\": {now}}}");
    let forged = world.linear_body("c", &format!("{{\"webhookTimestamp\":{now}}}")).body(changed.clone());
    let (status, said) = answer(forged).await;
    assert_eq!((status, &said["code"]), (401, &"signature_wrong".into()));
    assert_eq!(world.counted("linear", "forged"), 1);
    let unsigned =
        world.post("/webhooks/linear", changed).header("linear-event", "Issue").header("linear-delivery", "c");
    let (status, said) = answer(unsigned).await;
    assert_eq!((status, &said["code"]), (401, &"signature_missing".into()));
    assert_eq!(world.counted("linear", "unsigned"), 1);

    for later_ms in [-28_801_000, 28_802_000] {
        let (status, said) = answer(world.linear("c", later_ms)).await;
        assert_eq!((status, &said["code"]), (401, &"stale".into()));
    }
    assert_eq!(world.counted("linear", "stale"), 2);
    assert_eq!(world.held("WEBHOOKS").await, 0);
    // What was refused is not taken for seen.
    assert_eq!(answer(world.linear("c", 0)).await.1["status"], "stored");
    assert_eq!(answer(world.github("a", b"{}")).await.1["status"], "stored");
}

#[tokio::test]
async fn linears_last_attempt_is_heard_though_it_be_signed_with_the_time_of_the_first() {
    let world = World::new().await;
    assert_eq!(answer(world.linear("after a minute, an hour and six", -(7 * 60 + 1) * 60_000)).await.0, 200);
}

#[tokio::test]
async fn the_window_can_be_narrowed() {
    let world = World::with(|config| config.linear.window_s = 60).await;
    assert_eq!(answer(world.linear("late", -61_000)).await.0, 401);
}

#[tokio::test]
async fn what_was_stored_is_not_stored_again_and_still_gets_its_2xx() {
    let world = World::new().await;
    assert_eq!(answer(world.github("guid", RAW)).await.1["status"], "stored");
    assert_eq!(answer(world.github("guid", RAW)).await.1["status"], "duplicate");
    assert_eq!(world.counted("github", "duplicate"), 1);
    assert_eq!(world.held("WEBHOOKS").await, 1);
}

#[tokio::test]
async fn a_captured_body_of_linear_s_is_not_stored_under_another_id() {
    let world = World::new().await;
    let body = format!("{{\"webhookTimestamp\":{}}}", world.process.now_ms());
    assert_eq!(answer(world.linear_body("its own", &body)).await.1["status"], "stored");
    assert_eq!(answer(world.linear_body("another", &body)).await.1["status"], "duplicate");
    assert_eq!(world.held("WEBHOOKS").await, 1);
}

#[tokio::test]
async fn two_events_of_github_s_that_look_alike_are_both_stored() {
    let world = World::new().await;
    for id in ["closed", "closed again within the second"] {
        assert_eq!(answer(world.github(id, RAW)).await.1["status"], "stored");
    }
    assert_eq!(world.held("WEBHOOKS").await, 2);
}

#[tokio::test]
async fn a_replay_to_another_process_is_not_stored_twice() {
    let first = World::new().await;
    assert_eq!(answer(first.github("guid", RAW)).await.0, 200);
    let World { server, process, .. } = first;
    process.shutdown().cancel();
    let second = World::on(server, |_| ()).await;
    assert_eq!(answer(second.github("guid", RAW)).await.0, 200);
    assert_eq!(second.held("WEBHOOKS").await, 1);
}

#[tokio::test]
async fn without_jetstream_the_answer_is_503_and_the_redelivery_is_heard() {
    let mut world = World::new().await;
    world.server.kill();
    let asked = Instant::now();
    let refused = world.github("guid", RAW).send().await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(body(refused).await["code"], "not_stored");
    assert_eq!(world.counted("github", "unavailable"), 1);
    assert!(world.process.failing().contains_key("nats:WEBHOOKS"), "the monitor hears of it");

    world.server.restart().unwrap();
    // The same id: it was tried, and not stored.
    let deadline = Instant::now() + Duration::from_secs(30);
    let stored = loop {
        let (status, said) = answer(world.github("guid", RAW)).await;
        if status == 200 || Instant::now() > deadline {
            break said;
        }
    };
    assert_eq!(stored["status"], "stored", "{stored}");
    assert_eq!(world.held("WEBHOOKS").await, 1);
}

#[tokio::test]
async fn a_system_without_a_secret_takes_nothing() {
    let world = World::with(|config| config.github.secrets.clear()).await;
    let (status, said) = answer(world.github("guid", RAW)).await;
    assert_eq!((status, &said["code"]), (503, &"not_configured".into()));
    assert!(said["detail"].as_str().unwrap().contains("ingest.github.secrets"), "{said}");
    assert_eq!(world.counted("github", "unconfigured"), 1);
}

/// Sends the beginning of a webhook that claims to be signed, and no more.
async fn slow(world: &World, sent: usize, whole: usize) -> tokio::net::TcpStream {
    let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let (digest, body) = ("0".repeat(64), "x".repeat(sent));
    let head = format!(
        "POST /webhooks/github HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {whole}\r\n\
         x-github-event: issues\r\nx-github-delivery: slow\r\nx-hub-signature-256: sha256={digest}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn whoever_sends_slowly_keeps_nobody_out() {
    let world = World::with(|config| config.in_flight_max = 2).await;
    let mut slow_ones = vec![];
    for _ in 0..8 {
        slow_ones.push(slow(&world, 10, 20_000_000).await);
    }
    // Nothing tells that they are being read; so they are, or would be before what comes later.
    for id in 0..8 {
        let (status, answer) = answer(world.github(&format!("id-{id}"), format!("[{id}]").as_bytes())).await;
        assert_eq!(status, 200, "{answer}");
    }
    let status = json!({"record": "ci/build/1", "status": "running"}).to_string();
    assert_eq!(answer(world.post("/v1/status", status)).await.0, 202);
    let unsigned = world.post("/webhooks/github", "{}").header("x-github-delivery", "x");
    assert_eq!(answer(unsigned).await.1["code"], "signature_missing");
}

#[tokio::test]
async fn webhooks_take_no_more_memory_than_they_may() {
    let world = World::with(|config| {
        (config.webhooks_max_bytes, config.github.body_max_bytes, config.linear.body_max_bytes) =
            (64 * 1024, 64 * 1024, 64 * 1024);
    })
    .await;
    let body = format!("[\"{}\"]", "x".repeat(40 * 1024));
    assert_eq!(answer(world.github("alone", body.as_bytes())).await.0, 200);
    let held = slow(&world, 40 * 1024, 50 * 1024).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    for id in 0.. {
        let (status, answer) = answer(world.github(&format!("id-{id}"), format!("{body}{id}").as_bytes())).await;
        if status == 503 {
            assert_eq!(answer["code"], "overloaded");
            break;
        }
        assert!(Instant::now() < deadline, "both have room: {answer}");
    }
    assert_eq!(answer(world.github("small", b"[]")).await.0, 200, "there is room for it");
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(10);
    while answer(world.github("afterwards", body.replace('x', "y").as_bytes())).await.0 != 200 {
        assert!(Instant::now() < deadline, "the room of one who went away is given back");
    }
}

#[tokio::test]
async fn a_wrong_form_is_named() {
    let world = World::with(|config| config.github.body_max_bytes = 50).await;
    let (status, said) = answer(world.github("guid", &[b' '; 51])).await;
    assert_eq!((status, &said["code"]), (413, &"body_too_large".into()));
    assert_eq!(world.counted("github", "too_large"), 1);

    assert_eq!(answer(world.github_as("text/plain", "guid", b"{}")).await.0, 415);
    let (status, said) = answer(world.github_as(FORM, "guid", b"load=x")).await;
    assert_eq!((status, &said["code"]), (400, &"payload_missing".into()));

    for id in ["", "\u{e9}"] {
        let (status, said) = answer(world.github(id, b"{}")).await;
        assert_eq!((status, &said["code"]), (400, &"header_missing".into()), "{id:?}");
    }
    assert_eq!(world.counted("github", "malformed"), 4);
    assert_eq!(world.held("WEBHOOKS").await, 0);
}

#[tokio::test]
async fn a_webhook_over_the_limit_of_the_bus_is_not_answered_as_stored() {
    let world = World::new().await;
    let body = vec![b' '; 2 * 1024 * 1024];
    let (status, said) = answer(world.github("guid", &body)).await;
    assert_eq!((status, &said["code"]), (413, &"over_max_payload".into()));
    assert_eq!(world.counted("github", "too_large"), 1);
    assert_eq!(answer(world.github("guid", b"{}")).await.0, 200);
}
