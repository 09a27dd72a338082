//! Server-sent events.

use super::*;

/// The text of a stream, piece by piece, until it holds what is waited for.
async fn read_until(response: &mut reqwest::Response, wanted: &str) -> String {
    let mut text = String::new();
    while !text.contains(wanted) {
        let chunk = timeout(Duration::from_secs(10), response.chunk()).await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk.expect("the stream goes on")).unwrap());
    }
    text
}

async fn listen(world: &World, query: &str) -> reqwest::Response {
    runtime::install_crypto();
    reqwest::get(format!("http://{}/v1/sse{query}", world.url)).await.unwrap()
}

#[tokio::test]
async fn a_listener_gets_the_snapshot_and_then_changes_with_ids() {
    let world = World::start(|_| ()).await;
    world.commit(1, 1);
    let mut response = listen(&world, "").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let first = read_until(&mut response, "\"truncated\":false").await;
    assert!(first.contains("event: snapshot\ndata: {"), "{first}");
    world.announce(1, 1);
    world.announce(1, 2);
    let change = read_until(&mut response, "\n\n").await;
    assert!(change.contains("id: 2\nevent: change\ndata: {\"type\":\"change\",\"position\":2,"), "{change}");
    assert!(!change.contains("id: 1\n"), "{change}");
}

#[tokio::test]
async fn a_listener_can_name_rooms_and_is_told_which_are_wrong() {
    let world = World::start(|_| ()).await;
    let mut response = listen(&world, "?room=item:K1&room=item:K2").await;
    read_until(&mut response, "\"room\":\"item:K2\"").await;
    for id in 1..=3 {
        world.announce(id, id.try_into().unwrap());
    }
    let told = read_until(&mut response, "\"key\":\"K2\"").await;
    assert!(told.contains("\"key\":\"K1\"") && !told.contains("K3"));
    assert_eq!(listen(&world, "?room=nowhere").await.status(), 400);
}

#[tokio::test]
async fn a_listener_that_goes_gives_its_place_back() {
    let world = World::start(|_| ()).await;
    let response = listen(&world, "").await;
    assert_eq!(world.hub.clients(), 1);
    drop(response);
    let gone = async {
        while world.hub.clients() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), gone).await.unwrap();
}

#[tokio::test]
async fn a_page_of_another_origin_is_kept_out() {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let world = World::start(|_| ()).await;
    let mut request = format!("ws://{}/v1/ws", world.url).into_client_request().unwrap();
    request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    let refused = connect_async(request).await.unwrap_err().to_string();
    assert!(refused.contains("403"), "{refused}");
}
