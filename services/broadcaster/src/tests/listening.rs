//! Server-sent events.

use runtime::HttpConfig;

use super::*;

/// The text of a stream, piece by piece, until it holds what is waited for.
pub(super) async fn read_until(response: &mut reqwest::Response, wanted: &str) -> String {
    let mut text = String::new();
    // All of it: signs of life come whatever else does not.
    let read = async {
        while !text.contains(wanted) {
            let chunk = response.chunk().await.unwrap();
            text.push_str(std::str::from_utf8(&chunk.expect("the stream goes on")).unwrap());
        }
    };
    let in_time = timeout(DEADLINE, read).await;
    assert!(in_time.is_ok(), "{wanted} does not come; what came ends with {:?}", text.trim_end().lines().last());
    text
}

pub(super) async fn listen(running: &Running, query: &str, headers: &[(&'static str, &str)]) -> reqwest::Response {
    runtime::install_crypto();
    let mut request = reqwest::Client::new().get(format!("http://{}/v1/sse{query}", running.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

pub(super) fn ids(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("id: ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_gets_the_snapshot_and_then_changes_with_ids() {
    let (world, running) = world(|_| ()).await;
    world.rows.commit(1, 1);
    let mut response = listen(&running, "", &[]).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["x-accel-buffering"], "no", "nginx passes it on as it comes");
    let first = read_until(&mut response, "\"truncated\":false").await;
    assert!(first.starts_with("retry: ") && first.contains("event: snapshot\ndata: {"), "{first}");
    world.announce_all(1, 1..=2).await;
    let change = read_until(&mut response, "\"version\":2").await;
    assert!(change.contains("event: status_changed\ndata: {\"type\":\"status_changed\",\"position\":\""), "{change}");
    assert_eq!(ids(&change).len(), 1, "what the snapshot told is not told again: {change}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_comes_back_is_told_what_it_missed() {
    let (world, running) = world(|_| ()).await;
    let mut response = listen(&running, "?room=all", &[]).await;
    read_until(&mut response, "\"truncated\":false").await;
    world.announce(1, 1).await;
    let heard = read_until(&mut response, "\"version\":1").await;
    let last = ids(&heard)[0].to_owned();
    drop(response);
    world.announce_all(1, 2..=4).await;
    let mut again = listen(&running, "?room=all", &[("last-event-id", &last)]).await;
    let heard = read_until(&mut again, "\"version\":4").await;
    assert!(heard.contains("\"resumed\":true") && !heard.contains("snapshot"), "{heard}");
    assert_eq!(ids(&heard).len(), 3, "{heard}");
    assert_eq!(listen(&running, "", &[("last-event-id", "nonsense")]).await.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_can_name_rooms_and_a_filter_and_is_told_which_are_wrong() {
    let (world, running) = world(|_| ()).await;
    let mut response = listen(&running, "?room=item:K1&room=item:K2&status=done", &[]).await;
    read_until(&mut response, "\"room\":\"item:K2\"").await;
    for id in 1..=3 {
        world.announce(id, 1).await;
    }
    let told = read_until(&mut response, "\"key\":\"K2\"").await;
    assert!(told.contains("\"key\":\"K1\"") && !told.contains("K3"));
    assert_eq!(listen(&running, "?room=nowhere", &[]).await.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_share_one_connection_of_http_2() {
    runtime::install_crypto();
    let (world, running) = world(|_| ()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let mut listeners = Vec::new();
    for _ in 0..3 {
        let response = client.get(format!("http://{}/v1/sse?room=all", running.address)).send().await.unwrap();
        assert_eq!((response.version(), response.status().as_u16()), (reqwest::Version::HTTP_2, 200));
        listeners.push(response);
    }
    for listener in &mut listeners {
        read_until(listener, "\"truncated\":false").await;
    }
    world.announce(1, 1).await;
    for listener in &mut listeners {
        read_until(listener, "event: status_changed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_shows_signs_of_life_between_its_events() {
    let (world, running) = world(|config| config.ping_ms = 50).await;
    let mut response = listen(&running, "?room=all", &[]).await;
    let mut text = read_until(&mut response, "\"truncated\":false").await;
    while text.matches(": still here\n\n").count() < 3 {
        text.push_str(&read_until(&mut response, "\n\n").await);
    }
    world.announce(1, 1).await;
    let told = read_until(&mut response, "\"version\":1").await;
    // A comment: no event that a page would hear, and none that a sign of life stands amid.
    let events = text.split("\n\n").chain(told.split("\n\n")).filter(|event| !event.starts_with(": still here"));
    let heads: Vec<_> = events.filter_map(|event| event.lines().next()).collect();
    assert!(
        heads.iter().all(|head| ["retry: ", "event: ", "id: "].iter().any(|word| head.starts_with(word))),
        "{heads:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_goes_gives_its_place_back() {
    let (_world, running) = world(|_| ()).await;
    let response = listen(&running, "", &[]).await;
    until_clients(&running, 1).await;
    drop(response);
    until_clients(&running, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_are_kept_out_unless_they_are_named() {
    let world = World::new().await.unwrap();
    let http = HttpConfig { origins: vec!["https://good.example".into()], ..HttpConfig::default() };
    let running = world.start_with(http, |_| ()).await.unwrap();
    let origin = |origin: &'static str| [("origin", origin)];
    let refused = Client::with(&running, "", &origin("https://evil.example")).await.err().unwrap();
    assert_eq!((refused.0, refused.1["code"].as_str()), (403, Some("origin_not_allowed")));
    assert!(Client::with(&running, "", &origin("https://good.example")).await.is_ok());
    // A browser sends these without asking before, from whatever page.
    for path in ["/v1/tickets", "/api/v1/websocket/broadcast/test"] {
        let (status, problem) = ask(&running, "POST", path, &origin("https://evil.example")).await;
        assert_eq!((status, problem["code"].as_str()), (403, Some("origin_not_allowed")), "{path}");
        for allowed in [&origin("https://good.example")[..], &[]] {
            assert!(ask(&running, "POST", path, allowed).await.0 < 300, "{path}");
        }
    }
    let allowed = |response: &reqwest::Response| response.headers().get("access-control-allow-origin").cloned();
    assert_eq!(allowed(&listen(&running, "", &origin("https://evil.example")).await), None);
    assert_eq!(allowed(&listen(&running, "", &origin("https://good.example")).await).unwrap(), "https://good.example");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_served_without_a_key_under_a_name_that_is_not_ours() {
    let world = World::new().await.unwrap();
    let http = HttpConfig { hosts: vec!["lockstep.internal".into()], ..HttpConfig::default() };
    let running = world.start_with(http, |_| ()).await.unwrap();
    // A page whose own name was made to lead here is of our origin to the browser.
    let rebound = [("host", "evil.example:8082"), ("origin", "http://evil.example:8082")];
    let refused = Client::with(&running, "", &rebound).await.err().unwrap();
    assert_eq!((refused.0, refused.1["code"].as_str()), (403, Some("host_not_allowed")));
    assert_eq!(listen(&running, "", &rebound).await.status(), 403);
    let with_any_key = [("host", "evil.example:8082"), ("x-api-key", "any")];
    assert_eq!(listen(&running, "", &with_any_key).await.status(), 403, "nor with a key that nobody asks for");
    assert!(Client::with(&running, "", &[("host", "lockstep.internal:8082")]).await.is_ok());
    let guarded = world.start(|config| config.auth.api_keys = vec!["k".into()]).await.unwrap();
    let known = [("host", "watch.example"), ("x-api-key", "k")];
    assert!(Client::with(&guarded, "", &known).await.is_ok(), "where a key guards, any name will do");
}
