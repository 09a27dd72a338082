//! The GitHub App: a signed token becomes one of the installation, and each rule for it is kept.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use sandbox::github::{AppOptions, GithubOptions};
use serde_json::json;

use crate::api::{Answer, Api, BOT, REPO, options};
use crate::receiver::Receiver;

const KEY: &[u8] = include_bytes!("app-for-tests.pem");
const APP: u64 = 77;

async fn start() -> Api {
    let public_key_pem = include_str!("app-for-tests.pub.pem").to_owned();
    let app = AppOptions { id: APP, public_key_pem, installation: 9 };
    Api::with(GithubOptions { app: Some(app), ..options() }).await
}

fn signed(issued_in: i64, expires_in: i64, issuer: u64) -> String {
    let now = sandbox::clock::now_ms() / 1000;
    let claims = json!({"iat": now + issued_in, "exp": now + expires_in, "iss": issuer.to_string()});
    encode(&Header::new(Algorithm::RS256), &claims, &EncodingKey::from_rsa_pem(KEY).unwrap()).unwrap()
}

async fn exchange(api: &Api, token: &str) -> Answer {
    api.send(api.request(Method::POST, "/app/installations/9/access_tokens").bearer_auth(token)).await
}

#[tokio::test]
async fn an_apps_token_becomes_an_installations_which_writes_as_the_bot() {
    let api = start().await;
    let receiver = Receiver::start().await;
    api.sandbox.webhooks().set_target(Some(receiver.url()));
    let given = exchange(&api, &signed(-60, 540, APP)).await;
    assert_eq!(given.status, 201, "{}", given.body);
    let token = given.body["token"].as_str().unwrap();
    assert!(token.len() > 40 && given.body["expires_at"].is_string());
    let patch =
        || api.request(Method::PATCH, &format!("{REPO}/issues/1")).bearer_auth(token).json(&json!({"state": "closed"}));
    assert_eq!(api.send(patch()).await.body["closed_by"]["login"], "lockstep[bot]");
    let hook = &receiver.first(1).await[0];
    assert_eq!(hook.body["installation"]["id"], 9);
    assert_eq!(hook.headers["x-github-hook-installation-target-type"], "integration");
    api.sandbox.expire_installation_tokens().unwrap();
    assert_eq!(api.send(patch()).await.status, 401);
}

#[tokio::test]
async fn a_token_from_the_future_too_old_too_long_or_of_another_is_refused() {
    let api = start().await;
    let cases = [
        (signed(120, 540, APP), 401, "'Issued at'"),
        (signed(-600, -10, APP), 401, "'Expiration time'"),
        (signed(-60, 700, APP), 401, "'Expiration time' claim ('exp') is too far in the future"),
        (signed(-60, 540, 78), 404, "Integration not found"),
        (BOT.to_owned(), 401, "A JSON web token could not be decoded"),
    ];
    for (token, status, message) in cases {
        let refused = exchange(&api, &token).await;
        assert_eq!(refused.status, status, "{message}");
        assert!(refused.body["message"].as_str().unwrap().starts_with(message), "{}", refused.body);
    }
    let own = signed(-60, 540, APP);
    assert_eq!(api.send(api.request(Method::GET, "/app").bearer_auth(&own)).await.body["id"], APP);
    let of_repo = api.send(api.request(Method::GET, &format!("{REPO}/installation")).bearer_auth(&own)).await;
    assert_eq!(of_repo.body["id"], 9);
    assert_eq!(api.send(api.request(Method::GET, REPO).bearer_auth(&own)).await.status, 401);
}

#[tokio::test]
async fn the_apps_deliveries_are_listed_and_asked_for_again_by_the_app() {
    let api = start().await;
    let receiver = Receiver::start().await;
    receiver.answer(500);
    api.sandbox.webhooks().set_target(Some(receiver.url()));
    api.sandbox.close_issue("acme/web", 1, "completed").unwrap();
    receiver.first(1).await;
    assert!(api.sandbox.webhooks().drained(std::time::Duration::from_secs(10)).await);
    let own = signed(-60, 540, APP);
    let failed = api.send(api.request(Method::GET, "/app/hook/deliveries").bearer_auth(&own)).await.body[0].clone();
    assert_eq!((&failed["status_code"], &failed["installation_id"]), (&json!(500), &json!(9)));
    let again = format!("/app/hook/deliveries/{}/attempts", failed["id"]);
    assert_eq!(api.send(api.request(Method::POST, &again).bearer_auth(&own)).await.status, 202);
    let received = receiver.first(2).await;
    assert_eq!(received[1].headers["x-github-delivery"], failed["guid"].as_str().unwrap());
    assert!(api.get(&format!("{REPO}/hooks")).await.each("id").is_empty(), "the hook is the app's");
}
