//! Webhooks: what they say, how they are signed, how they go wrong, and how they are asked for again.

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use sandbox::faults::Faults;
use sandbox::github::{GithubOptions, PullAction};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::api::{Api, REPO, SECRET, options};
use crate::receiver::{Received, Receiver};

/// A sandbox that tells the receiver what happens from now on, and not of the demo.
async fn start() -> (Api, Receiver) {
    let receiver = Receiver::start().await;
    let api = Api::start().await;
    api.sandbox.webhooks().set_target(Some(receiver.url()));
    (api, receiver)
}

fn header<'a>(received: &'a Received, name: &str) -> &'a str {
    received.headers[name].to_str().unwrap()
}

/// Event and action of each.
fn told(received: &[Received]) -> Vec<(String, String)> {
    let action = |one: &Received| one.body["action"].as_str().unwrap_or_default().to_owned();
    received.iter().map(|one| (header(one, "x-github-event").to_owned(), action(one))).collect()
}

fn signature(raw: &[u8], secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(raw);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn a_write_through_the_api_is_told_signed_with_the_bot_as_sender() {
    let (api, receiver) = start().await;
    api.call(Method::PATCH, &format!("{REPO}/issues/1"), json!({"state": "closed"})).await;
    let hook = &receiver.first(1).await[0];
    assert_eq!(header(hook, "x-hub-signature-256"), signature(&hook.raw, SECRET));
    assert_eq!((header(hook, "x-github-event"), header(hook, "x-github-hook-id")), ("issues", "1"));
    assert_eq!(header(hook, "x-github-hook-installation-target-type"), "repository");
    assert!(header(hook, "user-agent").starts_with("GitHub-Hookshot/"));
    assert!(uuid::Uuid::parse_str(header(hook, "x-github-delivery")).is_ok());
    let body = &hook.body;
    assert_eq!((&body["action"], &body["issue"]["state"]), (&json!("closed"), &json!("closed")));
    assert_eq!((&body["sender"]["login"], &body["sender"]["type"]), (&json!("lockstep[bot]"), &json!("Bot")));
    assert_eq!(body["repository"]["full_name"], "acme/web");
}

#[tokio::test]
async fn every_edit_of_a_person_is_told_in_order() {
    let (api, receiver) = start().await;
    let acts = [
        (PullAction::Ready, "pull_request", "ready_for_review"),
        (PullAction::Push, "pull_request", "synchronize"),
        (PullAction::RequestChanges, "pull_request_review", "submitted"),
        (PullAction::Approve, "pull_request_review", "submitted"),
        (PullAction::Draft, "pull_request", "converted_to_draft"),
        (PullAction::Close, "pull_request", "closed"),
        (PullAction::Reopen, "pull_request", "reopened"),
        (PullAction::Ready, "pull_request", "ready_for_review"),
        (PullAction::Enqueue, "pull_request", "enqueued"),
        (PullAction::Dequeue, "pull_request", "dequeued"),
        (PullAction::Merge, "pull_request", "closed"),
    ];
    let mut expected = Vec::new();
    for (act, event, action) in acts {
        api.sandbox.act_on_pull("acme/web", 3, act).unwrap();
        expected.push((event.to_owned(), action.to_owned()));
    }
    api.sandbox.retitle("acme/web", 1, "New title").unwrap();
    api.sandbox.label("acme/web", 1, &["bug"]).unwrap();
    api.sandbox.reopen_issue("acme/web", 1).unwrap();
    for action in ["edited", "labeled"] {
        expected.push(("issues".to_owned(), action.to_owned()));
    }
    let received = receiver.first(expected.len()).await;
    assert_eq!(told(&received), expected, "what changes nothing is not told");
    let merged = &received[10].body["pull_request"];
    assert_eq!((&merged["merged"], &merged["state"]), (&json!(true), &json!("closed")));
    assert_eq!(received[2].body["review"]["state"], "changes_requested");
    assert_eq!(received[11].body["changes"]["title"]["from"], "ENG-1: The login page forgets the return address");
    assert_eq!(received[0].body["sender"]["login"], "ada");
    let counts = api.sandbox.counters().counts();
    assert_eq!((counts.writes, counts.edits), (0, 14));
}

#[tokio::test]
async fn an_event_has_so_many_hooks_and_each_other_event_its_own() {
    let (api, receiver) = start().await;
    let mut made = Vec::new();
    for (event, count) in [("issues", 21), ("pull_request", 1)] {
        for number in 0..count {
            let url = format!("{}/{number}", receiver.url());
            let hook = json!({"events": [event], "config": {"url": url}});
            made.push(api.call(Method::POST, &format!("{REPO}/hooks"), hook).await);
        }
    }
    let refused: Vec<_> = made.iter().enumerate().filter(|(_, answer)| answer.status != 201).collect();
    let [(20, answer)] = refused[..] else { panic!("{:?}", made.iter().map(|made| made.status).collect::<Vec<_>>()) };
    assert!(answer.body["message"].as_str().unwrap().contains("\"issues\" event"), "{}", answer.body);
}

#[tokio::test]
async fn dropped_and_doubled_webhooks_are_what_the_receiver_sees() {
    let (api, receiver) = start().await;
    api.sandbox.faults().set(Faults { webhook_drop: 1.0, ..Faults::default() });
    api.sandbox.close_issue("acme/web", 1, "completed").unwrap();
    api.sandbox.faults().set(Faults { webhook_double: 1.0, ..Faults::default() });
    api.sandbox.reopen_issue("acme/web", 1).unwrap();
    let received = receiver.first(2).await;
    assert_eq!(told(&received), [("issues", "reopened"), ("issues", "reopened")].map(|(e, a)| (e.into(), a.into())));
    assert_eq!(header(&received[0], "x-github-delivery"), header(&received[1], "x-github-delivery"));
}

#[tokio::test]
async fn a_failed_delivery_stays_failed_until_it_is_asked_for_again_under_the_same_id() {
    let (api, receiver) = start().await;
    receiver.answer(503);
    api.sandbox.close_issue("acme/web", 1, "completed").unwrap();
    receiver.first(1).await;
    assert!(api.sandbox.webhooks().drained(std::time::Duration::from_secs(10)).await);
    receiver.answer(200);
    let deliveries = format!("{REPO}/hooks/1/deliveries");
    let failed = api.get(&format!("{deliveries}?status=failure")).await.body[0].clone();
    assert_eq!(
        (&failed["status_code"], &failed["event"], &failed["action"]),
        (&json!(503), &json!("issues"), &json!("closed"))
    );
    let one = format!("{deliveries}/{}", failed["id"]);
    assert_eq!(api.get(&one).await.body["request"]["payload"]["issue"]["number"], 1);
    assert_eq!(api.call(Method::POST, &format!("{one}/attempts"), json!({})).await.status, 202);
    let received = receiver.first(2).await;
    assert_eq!(header(&received[1], "x-github-delivery"), failed["guid"]);
    assert_eq!(received[0].raw, received[1].raw);
    assert!(api.sandbox.webhooks().drained(std::time::Duration::from_secs(10)).await);
    let newest = api.get(&deliveries).await.body[0].clone();
    assert_eq!((&newest["redelivery"], &newest["status"]), (&json!(true), &json!("OK")));
}

#[tokio::test]
async fn the_cursor_leads_through_all_deliveries_newest_first() {
    let (api, receiver) = start().await;
    for time in 0..5 {
        api.sandbox.retitle("acme/web", 1, &format!("Title {time}")).unwrap();
    }
    receiver.first(5).await;
    assert!(api.sandbox.webhooks().drained(std::time::Duration::from_secs(10)).await);
    let mut next = Some(format!("{REPO}/hooks/1/deliveries?per_page=2"));
    let mut ids: Vec<i64> = Vec::new();
    while let Some(path) = next {
        let page = api.get(&path).await;
        ids.extend(page.each("id").iter().map(|id| id.as_i64().unwrap()));
        next = page.link("next");
    }
    assert_eq!(ids.len(), 5);
    assert!(ids.is_sorted_by(|one, other| one > other), "{ids:?}");
}

#[tokio::test]
async fn a_created_hook_is_pinged_and_gets_only_what_it_asked_for_under_its_own_secret() {
    let receiver = Receiver::start().await;
    let api = Api::with(GithubOptions { webhook_url: None, ..options() }).await;
    let hook =
        json!({"events": ["issues"], "config": {"url": receiver.url(), "secret": "own", "content_type": "json"}});
    let made = api.call(Method::POST, &format!("{REPO}/hooks"), hook).await;
    assert_eq!(made.status, 201, "{}", made.body);
    api.sandbox.act_on_pull("acme/web", 3, PullAction::Ready).unwrap();
    api.sandbox.close_issue("acme/web", 1, "completed").unwrap();
    let received = receiver.first(2).await;
    let events: Vec<Value> = told(&received).into_iter().map(|(event, _)| json!(event)).collect();
    assert_eq!(events, [json!("ping"), json!("issues")]);
    assert_eq!(header(&received[1], "x-hub-signature-256"), signature(&received[1].raw, "own"));
    assert_eq!(api.get(&format!("{REPO}/hooks")).await.each("id"), [made.body["id"].clone()]);
}
