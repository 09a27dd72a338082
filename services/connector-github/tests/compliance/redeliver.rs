//! Webhooks that GitHub could not deliver.

use std::time::Instant;

use axum::Router;
use connector::{Connector, Failure};
use connector_github::{Config, Github};
use runtime::config::Secret;
use sandbox::faults::Faults;
use sandbox::github::GithubSandbox;
use sandbox::webhooks::{Logged, Outcome};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::front::Front;
use crate::world::{REPO, TOKEN, command, connector_that_writes, connector_to, connector_with, issue, write};

const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);

/// Nobody listens there; the path is that of ingest.
const AWAY: &str = "http://127.0.0.1:9/webhooks/github";

fn with_token(server: &GithubSandbox) -> Github {
    connector_with(server, Config { token: Some(Secret::new(TOKEN)), ..Config::default() })
}

/// What was logged of sending, once nothing waits to be sent.
async fn log(server: &GithubSandbox) -> Vec<Logged> {
    assert!(server.webhooks().drained(DEADLINE).await);
    server.webhooks().deliveries()
}

/// Asks once, and answers how many were asked for and what is remembered.
async fn ask(github: &Github, cursor: Option<Value>) -> (u64, Option<Value>) {
    let redelivered = github.redeliver(cursor).await.unwrap();
    (redelivered.asked, redelivered.cursor)
}

/// Each failed delivery is asked for once, under the same id, and no other.
pub async fn asks_once_for_each(server: &GithubSandbox, github: &Github) {
    server.webhooks().set_target(Some(AWAY.to_owned()));
    let number = server.open_issue(REPO, "Sign in", "").unwrap();
    server.close_issue(REPO, number, "completed").unwrap();
    server.faults().set(Faults { webhook_drop: 1.0, ..Faults::default() });
    server.reopen_issue(REPO, number).unwrap();
    server.faults().set(Faults::default());
    let failed: Vec<Logged> = log(server).await;
    assert_eq!(failed.len(), 3);
    let began = Instant::now();
    let (asked, cursor) = ask(github, None).await;
    assert_eq!(asked, 3);
    assert!(began.elapsed() >= 2 * Github::LIMITS.writes_apart, "each is a write");
    let again = log(server).await;
    let guids = |log: &[Logged]| log.iter().map(|one| one.guid.clone()).collect::<Vec<_>>();
    assert_eq!(guids(&again[3..]), guids(&failed), "in the order in which they failed");
    assert!(again[3..].iter().all(|one| one.redelivery));
    let (asked, _) = ask(github, cursor).await;
    assert_eq!(asked, 0, "they failed again, and rest for a minute");
}

#[tokio::test]
async fn a_failed_webhook_of_a_repository_is_asked_for_once() {
    let server = crate::world::server().await;
    asks_once_for_each(&server, &with_token(&server)).await;
}

#[tokio::test]
async fn what_somebody_else_had_sent_again_is_left_alone() {
    let server = crate::world::server().await;
    server.webhooks().set_target(Some(AWAY.to_owned()));
    server.open_issue(REPO, "Sign in", "").unwrap();
    let failed = log(&server).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    server.webhooks().set_target(Some(format!("http://{}/webhooks/github", listener.local_addr().unwrap())));
    tokio::spawn(async { axum::serve(listener, Router::new().fallback(|| async {})).await });
    server.webhooks().redeliver(failed[0].number).unwrap();
    assert_eq!(log(&server).await[1].outcome, Outcome::Delivered);
    assert_eq!(ask(&with_token(&server), None).await.0, 0);
}

#[tokio::test]
async fn hooks_of_other_services_are_none_of_ours() {
    let server = crate::world::server().await;
    server.webhooks().set_target(Some("http://127.0.0.1:9/ci".to_owned()));
    server.open_issue(REPO, "Sign in", "").unwrap();
    log(&server).await;
    assert_eq!(ask(&with_token(&server), None).await.0, 0);
}

#[tokio::test]
async fn whom_it_asked_is_remembered_where_the_rest_cannot_be_asked() {
    let server = crate::world::server().await;
    let (front, api_url) = Front::of(server.url()).await;
    let (github, _) = connector_to(api_url, &[REPO], true);
    server.webhooks().set_target(Some(AWAY.to_owned()));
    let number = server.open_issue(REPO, "Sign in", "").unwrap();
    server.close_issue(REPO, number, "completed").unwrap();
    let failed = log(&server).await;
    front.break_path(&format!("/{}/attempts", failed[1].number));
    let (asked, cursor) = ask(&github, None).await;
    assert_eq!((asked, log(&server).await.len()), (1, 3), "the first was asked for");
    let again = github.redeliver(cursor).await;
    assert!(matches!(again, Err(Failure::Unavailable { .. })), "the second is tried again: {again:?}");
    assert_eq!(log(&server).await.len(), 3, "the first rests");
}

#[tokio::test]
async fn they_are_asked_for_though_an_hours_writes_are_used_up() {
    let server = crate::world::server().await;
    server.webhooks().set_target(Some(AWAY.to_owned()));
    let number = server.open_issue(REPO, "Sign in", "").unwrap();
    let github = connector_that_writes(&server, 1);
    write(&github, &command(&issue(number), "closed/completed", "done")).await.unwrap();
    let limited = write(&github, &command(&issue(number), "open", "todo")).await;
    assert!(matches!(limited, Err(Failure::Limited { .. })), "the hour is used up: {limited:?}");
    assert_eq!(log(&server).await.len(), 2);
    assert_eq!(ask(&github, None).await.0, 2);
}
