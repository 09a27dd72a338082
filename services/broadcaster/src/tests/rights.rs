//! Who may what.

use super::*;
use crate::auth::KeyConfig;

pub(super) async fn guarded(change: impl FnOnce(&mut Config)) -> (World, Running) {
    world(|config| {
        config.auth.api_keys = vec!["all-of-it".into()];
        config.auth.keys = vec![KeyConfig {
            key: "only-agents".into(),
            name: "agents".into(),
            rooms: vec!["agent:*".into()],
            publish: vec!["agentapi/agent/*".into()],
            acknowledge: false,
        }];
        change(config);
    })
    .await
}

pub(super) const KEY: [(&str, &str); 1] = [("x-api-key", "all-of-it")];
pub(super) const AGENTS: [(&str, &str); 1] = [("authorization", "Bearer only-agents")];

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shows_nothing_gets_nothing() {
    let (world, running) = guarded(|config| config.auth_ms = 300).await;
    assert_eq!(ask(&running, "GET", "/v1/sse", &[]).await.0, 401);
    assert_eq!(Client::with(&running, "?room=all", &[]).await.err().unwrap().0, 401);
    assert_eq!(Client::with(&running, "", &[("x-api-key", "any token")]).await.err().unwrap().0, 401);
    assert_eq!(ask(&running, "GET", "/api/v1/websocket/status", &[]).await.0, 401);
    // It may say later who it is, and is told nothing until then.
    let mut silent = Client::to(&running).await;
    world.announce(1, 1).await;
    let (code, reason) = silent.close().await;
    assert_eq!(code, 1008);
    assert!(reason.starts_with("auth_missing: "), "{reason}");
    let mut hasty = Client::to(&running).await;
    hasty.say(json!({"type": "subscribe", "rooms": ["all"]})).await;
    assert_eq!(hasty.close().await.0, 1008);
    let mut wrong = Client::to(&running).await;
    wrong.say(json!({"type": "auth", "token": "any token"})).await;
    assert_eq!(wrong.hear().await["code"], "auth_failed");
    assert!(wrong.close().await.1.starts_with("auth_failed: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_in_a_header_or_as_the_first_message() {
    let (_world, running) = guarded(|_| ()).await;
    Client::with(&running, "", &KEY).await.unwrap().subscribe(&["all"]).await;
    let mut client = Client::to(&running).await;
    client.say(json!({"type": "auth", "token": "only-agents", "ref": "1"})).await;
    let success = client.hear().await;
    assert_eq!(
        success,
        json!({"type": "auth_success", "subject": "agents", "expires_at": 0, "rooms": ["agent:*"], "ref": "1"})
    );
    client.subscribe(&["agent:a", "agent:b*"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_grants_its_rooms_and_records_and_no_others() {
    let (_world, running) = guarded(|_| ()).await;
    let mut client = Client::with(&running, "", &AGENTS).await.unwrap();
    client.say(json!({"type": "subscribe", "rooms": ["all", "agent:a", "item:K1"]})).await;
    for room in ["all", "item:K1"] {
        let refused = client.hear().await;
        assert_eq!((refused["code"].as_str(), refused["room"].as_str()), (Some("forbidden"), Some(room)));
    }
    assert_eq!(client.hear().await["rooms"], json!(["agent:a"]));
    client.hear_of("snapshot").await;
    let update = |record: &str| json!({"type": "status_update", "statuses": {"record": record, "status": "running"}});
    client.say(update("agentapi/agent/a")).await;
    assert_eq!(client.hear().await["type"], "status_accepted");
    client.say(update("github/issue/a#1")).await;
    assert_eq!(client.hear().await["code"], "forbidden");
    client.say(json!({"type": "acknowledge", "alert": "a"})).await;
    assert_eq!(client.hear().await["code"], "forbidden");
    assert_eq!(Client::with(&running, "?room=all", &AGENTS).await.err().unwrap().0, 403);
    assert_eq!(ask(&running, "GET", "/api/v1/websocket/status", &AGENTS).await.0, 403);
    assert_eq!(ask(&running, "POST", "/api/v1/websocket/broadcast/test", &AGENTS).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_lets_in_once() {
    let (_world, running) = guarded(|_| ()).await;
    assert_eq!(ask(&running, "POST", "/v1/tickets", &[]).await.0, 401);
    let (status, ticket) = ask(&running, "POST", "/v1/tickets", &AGENTS).await;
    assert_eq!(status, 201);
    let query = format!("?room=agent:a&ticket={}", ticket["ticket"].as_str().unwrap());
    assert!(Client::with(&running, &query, &[]).await.is_ok());
    assert_eq!(Client::with(&running, &query, &[]).await.err().unwrap().0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_a_ticket_is_good_cannot_be_known_without_the_bus_and_it_may_do_later() {
    let (mut world, running) = guarded(|_| ()).await;
    let (_, ticket) = ask(&running, "POST", "/v1/tickets", &KEY).await;
    let ticket = ticket["ticket"].as_str().unwrap();
    let mut client = Client::to(&running).await;
    world.nats.kill();
    client.say(json!({"type": "auth", "token": ticket, "ref": "1"})).await;
    let refused = client.hear().await;
    assert_eq!((refused["code"].as_str(), refused["ref"].as_str()), (Some("auth_unavailable"), Some("1")));
    let (code, reason) = client.close().await;
    assert_eq!(code, 1013);
    assert!(reason.starts_with("auth_unavailable: "), "{reason}");
    let query = format!("?room=all&ticket={ticket}");
    let (status, problem) = Client::with(&running, &query, &[]).await.err().unwrap();
    assert_eq!((status, problem["code"].as_str()), (503, Some("auth_unavailable")));
    let (status, problem) = ask(&running, "GET", &format!("/v1/sse{query}"), &[]).await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("auth_unavailable")));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_cannot_take_all_places() {
    let (_world, running) = guarded(|config| config.clients_max_of_key = 2).await;
    let _two = (Client::with(&running, "", &AGENTS).await.unwrap(), Client::with(&running, "", &AGENTS).await.unwrap());
    let refused = Client::with(&running, "", &AGENTS).await.err().unwrap();
    assert_eq!((refused.0, refused.1["code"].as_str()), (503, Some("too_many_of_key")));
    let mut third = Client::to(&running).await;
    third.say(json!({"type": "auth", "token": "only-agents"})).await;
    let (code, reason) = third.close().await;
    assert_eq!(code, 1013);
    assert!(reason.starts_with("too_many_of_key: "), "{reason}");
    assert!(Client::with(&running, "", &KEY).await.is_ok());
}

/// A token that expires so many milliseconds from now, to a whole second.
pub(super) fn token(rooms: &[&str], in_ms: i64) -> String {
    use jsonwebtoken::{EncodingKey, Header, encode};
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let claims = json!({"sub": "page", "exp": (now + in_ms) / 1_000, "rooms": rooms});
    encode(&Header::default(), &claims, &EncodingKey::from_secret(&[b'k'; 32])).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_is_warned_of_and_refreshed_in_place_or_ends_the_connection() {
    let (world, running) = guarded(|config| {
        config.auth.jwt.hs256_secrets = vec!["k".repeat(32).as_str().into()];
        config.auth.jwt.leeway_s = 0;
        config.expiry_warning_ms = 60_000;
        config.ping_ms = 100;
    })
    .await;
    let bearer = format!("Bearer {}", token(&["*"], 3_500));
    let headers = [("authorization", bearer.as_str())];
    let (mut renewed, mut forgotten) =
        (Client::with(&running, "", &headers).await.unwrap(), Client::with(&running, "", &headers).await.unwrap());
    renewed.say(json!({"type": "subscribe", "rooms": ["all", "agent:a"]})).await;
    assert!(renewed.hear_of("token_expiring").await["in_ms"].as_i64().is_some_and(|left| left <= 3_500));
    renewed.say(json!({"type": "auth", "token": "nonsense"})).await;
    assert_eq!(renewed.hear_of("error").await["code"], "auth_failed");
    // The new one grants less.
    renewed.say(json!({"type": "auth", "token": token(&["agent:*"], 3_600_000)})).await;
    assert_eq!(renewed.hear_of("error").await["room"], "all");
    assert_eq!(renewed.hear_of("auth_success").await["subject"], "page");
    let (code, reason) = forgotten.close().await;
    assert_eq!(code, 1008);
    assert!(reason.starts_with("token_expired: "), "{reason}");
    world.announce(1, 1).await;
    world.tell("agent_state", "a", json!({"agent": "a", "status": "idle"})).await;
    assert_eq!(renewed.hear_of("agent_state").await["agent"], "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_grants_an_item_no_more_ends_what_is_heard_of_it_by_its_id() {
    let (world, running) = guarded(|config| config.auth.jwt.hs256_secrets = vec!["k".repeat(32).as_str().into()]).await;
    world.rows.commit(1, 1);
    world.rows.commit(2, 1);
    let bearer = format!("Bearer {}", token(&["*"], 3_600_000));
    let mut client = Client::with(&running, "", &[("authorization", bearer.as_str())]).await.unwrap();
    client.subscribe(&["item:K1", "item:K2"]).await;
    client.say(json!({"type": "auth", "token": token(&["item:K1"], 3_600_000)})).await;
    assert_eq!(client.hear_of("error").await["room"], "item:K2");
    client.hear_of("auth_success").await;
    world.deliver(2, 1).await;
    world.deliver(1, 1).await;
    assert_eq!(client.hear().await["record"], "x/y/1");
}
