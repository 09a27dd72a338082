//! Webhooks: what they say, how they are signed, and each way they can go wrong.

use std::{collections::HashSet, time::Duration};

use sandbox::{
    faults::Faults,
    linear::{LinearOptions, NewIssue, signature},
    webhooks::Outcome,
};
use serde_json::json;

use super::api::{Api, KEY};
use crate::receiver::{Received, Receiver};

const SECRET: &str = "lin_wh_sandbox";

async fn start(faults: Faults) -> (Api, Receiver) {
    let receiver = Receiver::start().await;
    let options = LinearOptions { webhook_url: Some(receiver.url()), faults, ..LinearOptions::default() };
    (Api::with(options).await, receiver)
}

fn header<'a>(received: &'a Received, name: &str) -> &'a str {
    received.headers[name].to_str().unwrap()
}

fn titles(received: &[Received]) -> Vec<&str> {
    received.iter().map(|one| one.body["data"]["title"].as_str().unwrap()).collect()
}

fn rename(api: &Api, times: usize) -> Vec<String> {
    let titles: Vec<_> = (0..times).map(|time| format!("Title {time}")).collect();
    for title in &titles {
        api.sandbox.edit_issue("ENG-1", json!({"title": title})).unwrap();
    }
    titles
}

#[tokio::test]
async fn a_change_is_told_signed_with_who_did_it_and_what_was_before() {
    let (api, receiver) = start(Faults::default()).await;
    let old = api.sandbox.issue("ENG-1").unwrap();
    let state = api.state("ENG", "In Progress").await;
    api.update("ENG-1", json!({"stateId": state})).await;
    let hook = &receiver.first(1).await[0];
    assert_eq!(header(hook, "linear-signature"), signature(SECRET, &hook.raw));
    assert_eq!(header(hook, "linear-event"), "Issue");
    assert_eq!(header(hook, "user-agent"), "Linear-Webhook");
    assert!(uuid::Uuid::parse_str(header(hook, "linear-delivery")).is_ok());
    let body = &hook.body;
    assert_eq!((&body["action"], &body["type"]), (&json!("update"), &json!("Issue")));
    let (who, client_id) =
        ("query($id: String!) { viewer { id } applicationInfo(clientId: $id) { id } }", "lin_client_sandbox");
    let who = api.data(who, json!({"id": client_id})).await;
    assert_eq!((&body["actor"]["type"], &body["actor"]["id"]), (&json!("oauthClient"), &who["applicationInfo"]["id"]));
    assert_ne!(body["actor"]["id"], who["viewer"]["id"], "an app is not named by its user");
    assert_eq!(
        body["data"]["state"],
        json!({"id": state, "name": "In Progress", "type": "started", "color": "#f2c94c"})
    );
    assert_eq!(body["data"]["team"]["key"], "ENG");
    assert_eq!(body["updatedFrom"], json!({"stateId": old.state_id, "startedAt": null, "updatedAt": old.updated_at}));
    assert!((body["webhookTimestamp"].as_i64().unwrap() - sandbox::clock::now_ms()).abs() < 10_000);
}

#[tokio::test]
async fn the_demos_configurations_name_the_application() {
    let app_id = format!("app_id = \"{}\"", Api::start().await.sandbox.app_id());
    for demo in [
        include_str!("../../../../../deploy/sandbox/lockstep.toml"),
        include_str!("../../../../xtask/src/up/config.rs"),
    ] {
        assert!(demo.contains(&app_id), "{app_id} is missing in {demo}");
    }
}

#[tokio::test]
async fn making_and_removing_are_told_and_nothing_that_did_not_happen() {
    let (api, receiver) = start(Faults::default()).await;
    let same = api.state("ENG", "Todo").await;
    api.update("ENG-1", json!({"stateId": same})).await;
    api.sandbox.move_issue("ENG-1", "Todo").unwrap();
    api.sandbox.create_issue(&NewIssue { team: "ENG".into(), title: "New".into(), ..NewIssue::default() }).unwrap();
    api.sandbox.remove_issue("ENG-7").unwrap();
    let came = receiver.first(2).await;
    let told: Vec<_> = came.iter().map(|hook| (&hook.body["action"], &hook.body["data"]["identifier"])).collect();
    assert_eq!(told, [(&json!("create"), &json!("ENG-7")), (&json!("remove"), &json!("ENG-7"))]);
    assert_eq!(came[0].body["actor"]["type"], "user");
    assert!(came[0].body.get("updatedFrom").is_none());
}

#[tokio::test]
async fn without_faults_webhooks_come_once_and_in_order() {
    let (api, receiver) = start(Faults::default()).await;
    let expected = rename(&api, 30);
    let told = receiver.first(30).await;
    assert_eq!(titles(&told), expected);
    let times: Vec<_> = told.iter().map(|hook| hook.body["data"]["updatedAt"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|one, next| one < next), "no two versions of an issue share a time: {times:?}");
}

#[tokio::test]
async fn dropped_webhooks_never_come_and_can_be_sent_again() {
    let (api, receiver) = start(Faults { webhook_drop: 0.5, seed: 1, ..Faults::default() }).await;
    rename(&api, 20);
    assert!(api.sandbox.webhooks().drained(Duration::from_secs(10)).await);
    let deliveries = api.sandbox.webhooks().deliveries();
    let dropped: Vec<_> = deliveries.iter().filter(|delivery| delivery.outcome == Outcome::Dropped).collect();
    assert!((1..20).contains(&dropped.len()));
    let came = receiver.all().len();
    assert_eq!(came, 20 - dropped.len());
    api.sandbox.webhooks().redeliver(dropped[0].number).unwrap();
    let again = &receiver.first(came + 1).await[came];
    assert_eq!(header(again, "linear-delivery"), dropped[0].guid);
}

#[tokio::test]
async fn doubled_webhooks_share_their_delivery_id() {
    let (api, receiver) = start(Faults { webhook_double: 1.0, ..Faults::default() }).await;
    rename(&api, 3);
    let came = receiver.first(6).await;
    let ids: HashSet<_> = came.iter().map(|hook| header(hook, "linear-delivery")).collect();
    assert_eq!((came.len(), ids.len()), (6, 3));
}

#[tokio::test]
async fn delayed_and_reordered_webhooks_all_come_but_not_in_order() {
    let cases = [
        Faults { webhook_delay_ms_max: 200, seed: 2, ..Faults::default() },
        Faults { webhook_reorder: 0.3, seed: 3, ..Faults::default() },
    ];
    for faults in cases {
        let (api, receiver) = start(faults.clone()).await;
        let expected = rename(&api, 20);
        let came = receiver.first(20).await;
        assert_ne!(titles(&came), expected, "{faults:?}");
        let all: HashSet<_> = titles(&came).into_iter().collect();
        assert_eq!(all, expected.iter().map(String::as_str).collect(), "{faults:?}");
    }
}

#[tokio::test]
async fn a_webhook_that_is_not_taken_waits_for_another_attempt() {
    let (api, receiver) = start(Faults::default()).await;
    receiver.answer(503);
    rename(&api, 1);
    receiver.first(1).await;
    assert!(api.sandbox.webhooks().drained(Duration::from_secs(10)).await);
    let delivery = api.sandbox.webhooks().deliveries().remove(0);
    assert_eq!((delivery.outcome, delivery.status, delivery.attempts), (Outcome::Pending, Some(503), 1));
    api.put("/sandbox/webhooks", json!({"url": "http://127.0.0.1:9/"})).await;
    rename(&api, 2);
    assert!(api.sandbox.webhooks().drained(Duration::from_secs(10)).await);
    let refused = api.sandbox.webhooks().deliveries().pop().unwrap();
    assert!(refused.status.is_none() && refused.error.is_some());
}

#[tokio::test]
async fn webhooks_made_through_the_api_have_their_own_address_and_secret() {
    let (api, receiver) = start(Faults::default()).await;
    let own = Receiver::start().await;
    let create =
        "mutation($input: WebhookCreateInput!) { webhookCreate(input: $input) { webhook { id enabled secret } } }";
    let input = json!({"url": own.url(), "resourceTypes": ["Comment"], "secret": "mine"});
    let answer = api.send(KEY, create, json!({"input": input})).await;
    let webhook = &answer.body["data"]["webhookCreate"]["webhook"];
    assert_eq!((&webhook["enabled"], &webhook["secret"]), (&json!(true), &json!("mine")));
    rename(&api, 1);
    api.sandbox.comment("ENG-1", "Told to both").unwrap();
    let hook = &own.first(1).await[0];
    assert_eq!(header(hook, "linear-signature"), signature("mine", &hook.raw));
    assert_eq!(hook.body["data"]["body"], "Told to both");
    assert_eq!(receiver.first(2).await.len(), 2);
    let delete = "mutation($id: String!) { webhookDelete(id: $id) { success entityId } }";
    let deleted = api.data(delete, json!({"id": webhook["id"]})).await;
    assert_eq!(deleted["webhookDelete"]["entityId"], webhook["id"]);
    let listed = api.data("{ webhooks { nodes { label } } }", json!({})).await;
    assert_eq!(listed["webhooks"]["nodes"], json!([{"label": "Lockstep"}]));
}
