//! A GitHub App as the credential.

use connector::{Connector, Decoded, Failure};
use connector_github::Config;
use model::Origin;
use runtime::config::Secret;
use sandbox::github::{AppOptions, GithubOptions, GithubSandbox};

use crate::world::{REPO, command, connector_with, issue, newest, options, write};

const KEY: &str = include_str!("../../../../crates/sandbox/tests/github/app-for-tests.pem");
const PUBLIC: &str = include_str!("../../../../crates/sandbox/tests/github/app-for-tests.pub.pem");

async fn server() -> GithubSandbox {
    let app = AppOptions { id: 7, public_key_pem: PUBLIC.to_owned(), installation: 8 };
    let server = sandbox::github::start(GithubOptions { app: Some(app), ..options() }).await.unwrap();
    server.create_repo(REPO).unwrap();
    server
}

fn config(app_id: u64) -> Config {
    Config { app_id: Some(app_id), installation_id: Some(8), private_key: Some(Secret::new(KEY)), ..Config::default() }
}

#[tokio::test]
async fn an_app_gets_a_token_and_knows_its_own_account() {
    let server = server().await;
    let github = connector_with(&server, config(7));
    let number = server.open_issue(REPO, "Sign in", "").unwrap();
    write(&github, &command(&issue(number), "closed/completed", "done")).await.unwrap();
    assert_eq!(server.issue(REPO, number).unwrap()["state"], "closed");
    let Decoded::Observations(seen) = newest(&server, &github) else { panic!() };
    assert_eq!(seen[0].origin, Origin::Own(None));
}

#[tokio::test]
async fn a_revoked_token_is_replaced_at_the_next_attempt() {
    let server = server().await;
    let github = connector_with(&server, config(7));
    let number = server.open_issue(REPO, "Sign in", "").unwrap();
    github.read(&issue(number)).await.unwrap();
    server.expire_installation_tokens().unwrap();
    assert!(matches!(github.read(&issue(number)).await, Err(Failure::Unavailable { .. })));
    github.read(&issue(number)).await.unwrap();
}

#[tokio::test]
async fn who_gets_no_token_is_refused_and_hears_nothing_of_the_record() {
    let server = server().await;
    let number = server.open_issue(REPO, "Sign in", "").unwrap();
    let reinstalled = Config { installation_id: Some(9), ..config(7) };
    for stranger in [config(9), reinstalled] {
        let github = connector_with(&server, stranger);
        let refused = github.read(&issue(number)).await;
        let Err(Failure::Refused { why, code: "unauthorized" }) = refused else { panic!("{refused:?}") };
        assert!(why.contains("installation_id"), "{why}");
        let swept = github.sweep(None, None).await;
        assert!(matches!(swept, Err(Failure::Refused { code: "unauthorized", .. })), "{swept:?}");
    }
}

#[tokio::test]
async fn failed_webhooks_of_the_app_are_asked_for_by_the_app_itself() {
    let server = server().await;
    crate::redeliver::asks_once_for_each(&server, &connector_with(&server, config(7))).await;
}
