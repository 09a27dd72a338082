use super::*;

#[test]
fn an_address_is_checked_before_anything_is_sent() {
    assert!(Client::new("localhost:8080").is_err());
    assert!(Client::new("ftp://localhost").is_err());
    assert!(Client::new("").is_err());
}

#[tokio::test]
async fn a_call_whose_token_is_refused_is_made_again_with_another_and_only_once() {
    use axum::{Json, Router, http::HeaderMap, http::StatusCode, routing::get};
    let items = async |headers: HeaderMap| match headers["authorization"].to_str() {
        Ok("Bearer token-2") => (StatusCode::OK, Json(serde_json::json!({"items": []}))),
        _ => (StatusCode::UNAUTHORIZED, Json(serde_json::json!({"code": "key_unknown", "detail": "no such key"}))),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/v1/items", get(items))).await });
    let asked = std::sync::atomic::AtomicU32::new(0);
    let client = Client::new(&url).unwrap().with_token_source(move || {
        let number = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        std::future::ready(Ok::<_, Error>(format!("token-{number}")))
    });
    assert!(client.items(&Query::default()).await.unwrap().items.is_empty());
    assert!(client.items(&Query::default()).await.is_ok(), "the new one is kept");
    let client = Client::new(&url).unwrap().with_token_source(|| std::future::ready(Ok::<_, Error>("old".into())));
    assert!(matches!(client.items(&Query::default()).await, Err(Error::Refused { status: 401, .. })));
}

#[test]
fn parts_of_a_path_are_escaped() {
    let client = Client::new("http://localhost:8080/status/").unwrap();
    let url = client.at(&["v1", "items", "acme/web#3"]).unwrap();
    assert_eq!(url.as_str(), "http://localhost:8080/status/v1/items/acme%2Fweb%233");
}
