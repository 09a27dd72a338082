//! GraphQL: drafts are turned by it alone, and review decisions and the merge queue are seen by it alone.

use reqwest::Method;
use sandbox::github::PullAction;
use serde_json::{Value, json};

use crate::api::{Answer, Api};

async fn ask(api: &Api, query: &str, variables: Value) -> Answer {
    api.call(Method::POST, "/graphql", json!({"query": query, "variables": variables})).await
}

const PULL: &str = "query($owner: String!, $name: String!, $number: Int!) { repository(owner: $owner, name: $name) { \
    it: pullRequest(number: $number) { ...shown mergeQueueEntry { state } } issue(number: 1) { state stateReason } } } \
    fragment shown on PullRequest { id isDraft state merged reviewDecision updatedAt headRefOid }";

#[tokio::test]
async fn a_pull_request_is_read_with_aliases_variables_and_fragments() {
    let api = Api::start().await;
    api.sandbox.act_on_pull("acme/web", 5, PullAction::Approve).unwrap();
    api.sandbox.act_on_pull("acme/web", 5, PullAction::Enqueue).unwrap();
    let answer = ask(&api, PULL, json!({"owner": "acme", "name": "web", "number": 5})).await;
    let found = &answer.body["data"]["repository"];
    assert_eq!(found["issue"], json!({"state": "OPEN", "stateReason": null}));
    let rest = api.sandbox.pull("acme/web", 5).unwrap();
    assert_eq!(
        found["it"],
        json!({
            "id": rest["node_id"], "isDraft": false, "state": "OPEN", "merged": false, "reviewDecision": "APPROVED",
            "updatedAt": rest["updated_at"], "headRefOid": rest["head"]["sha"], "mergeQueueEntry": {"state": "QUEUED"},
        })
    );
    assert_eq!(api.sandbox.counters().counts().reads, 1);
}

#[tokio::test]
async fn a_draft_is_made_ready_and_a_draft_again_by_its_node_id() {
    let api = Api::start().await;
    let id = api.sandbox.pull("acme/web", 3).unwrap()["node_id"].clone();
    for (mutation, draft) in [("markPullRequestReadyForReview", false), ("convertPullRequestToDraft", true)] {
        let query = format!(
            "mutation($id: ID!) {{ {mutation}(input: {{pullRequestId: $id}}) {{ pullRequest {{ isDraft }} }} }}"
        );
        let answer = ask(&api, &query, json!({"id": id})).await;
        assert_eq!(answer.body["data"][mutation]["pullRequest"]["isDraft"], draft, "{}", answer.body);
        assert_eq!(api.sandbox.pull("acme/web", 3).unwrap()["draft"], draft);
    }
    assert_eq!(api.sandbox.counters().counts().writes_by_record["acme/web#3"], 2);
}

#[tokio::test]
async fn what_is_not_there_is_an_error_of_a_type_in_an_answer_of_200() {
    let api = Api::start().await;
    let absent = ask(&api, PULL, json!({"owner": "acme", "name": "web", "number": 99})).await;
    assert_eq!((absent.status, &absent.body["errors"][0]["type"]), (200, &json!("NOT_FOUND")));
    assert_eq!(absent.body["data"]["repository"]["it"], json!(null));
    let unknown = ask(&api, "{ viewer { shoeSize } }", json!({})).await;
    assert_eq!(unknown.status, 200);
    assert!(unknown.body["errors"].to_string().contains("shoeSize"), "{}", unknown.body);
    assert!(unknown.body.get("data").is_none());
}
