//! Saying no: credentials, documents, entities, budgets and faults, each in Linear's own form.

use std::time::{Duration, Instant};

use sandbox::{
    faults::Faults,
    linear::{LinearLimits, LinearOptions},
};
use serde_json::json;

use super::api::{Api, KEY, TOKEN};

#[tokio::test]
async fn a_wrong_credential_is_an_authentication_error() {
    let api = Api::start().await;
    for credential in ["", "wrong", "Bearer wrong", "lin_oauth_sandbox", &format!("Bearer {KEY}")] {
        let answer = api.send(credential, "{ viewer { id } }", json!({})).await;
        assert_eq!((answer.status, answer.code()), (401, "AUTHENTICATION_ERROR"), "{credential}");
        assert_eq!(answer.body["errors"][0]["extensions"]["type"], "authentication error");
        assert!(answer.body.get("data").is_none());
    }
}

#[tokio::test]
async fn a_document_that_does_not_fit_the_schema_is_refused_whole() {
    let api = Api::start().await;
    let cases = [
        ("{ viewer { id }", json!({}), "GRAPHQL_PARSE_FAILED"),
        ("{ nonsense { id } }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("{ viewer }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("{ issue { id } }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("{ issues(first: \"ten\") { nodes { id } } }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("{ issues(filter: {nonsense: {eq: 1}}) { nodes { id } } }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("query($id: String!) { issue(id: $id) { id } }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("query($id: String!) { issue(id: $id) { id } }", json!({"id": 7}), "GRAPHQL_VALIDATION_FAILED"),
        ("query { issue(id: $id) { id } }", json!({"id": "ENG-1"}), "GRAPHQL_VALIDATION_FAILED"),
        ("query A { viewer { id } } query B { viewer { id } }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
    ];
    for (query, variables, code) in cases {
        let answer = api.send(TOKEN, query, variables).await;
        assert_eq!((answer.status, answer.code()), (400, code), "{query}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_an_error_beside_the_data_that_is() {
    let api = Api::start().await;
    let answer = api
        .send(TOKEN, "{ issueVcsBranchSearch(branchName: \"x\") { id } issue(id: \"ENG-99\") { id } }", json!({}))
        .await;
    assert_eq!((answer.status, answer.code()), (200, "INPUT_ERROR"));
    assert_eq!(answer.body["errors"][0]["path"], json!(["issue"]));
    assert_eq!(answer.body["errors"][0]["extensions"]["type"], "invalid input");
    assert!(answer.body["data"].is_null(), "issue is required, so its absence takes the whole answer");
}

#[tokio::test]
async fn changes_that_cannot_be_are_refused_and_change_nothing() {
    let api = Api::start().await;
    let before = api.sandbox.issues();
    let mutation =
        "mutation($id: String!, $input: IssueUpdateInput!) { issueUpdate(id: $id, input: $input) { success } }";
    let elsewhere = api.state("OPS", "Doing").await;
    let unknown = uuid::Uuid::new_v4();
    let cases = [
        ("ENG-1", json!({"stateId": elsewhere})),
        ("ENG-1", json!({"stateId": unknown})),
        ("ENG-1", json!({"assigneeId": unknown})),
        ("ENG-1", json!({"projectId": unknown})),
        ("ENG-1", json!({"labelIds": [unknown]})),
        ("ENG-99", json!({"title": "Nobody"})),
    ];
    for (id, input) in cases {
        let answer = api.send(TOKEN, mutation, json!({"id": id, "input": input})).await;
        assert_eq!((answer.status, answer.code()), (200, "INPUT_ERROR"), "{input}");
    }
    assert_eq!(api.sandbox.issues(), before);
    assert_eq!(api.sandbox.counters().counts().writes, 0);
}

#[tokio::test]
async fn an_answer_says_what_it_cost_and_what_is_left() {
    let api = Api::start().await;
    let answer = api.send(TOKEN, "{ issues(first: 10) { nodes { id title state { name } } } }", json!({})).await;
    // A list of ten: nodes (1), two scalars (0.2), a state (1) with a name (0.1), and the list itself.
    assert_eq!(answer.number("x-complexity"), 24);
    assert_eq!(answer.number("x-ratelimit-requests-limit"), 5_000);
    assert_eq!(answer.number("x-ratelimit-requests-remaining"), 4_999);
    assert_eq!(answer.number("x-ratelimit-complexity-remaining"), 2_000_000 - 24);
    let in_ms = answer.number("x-ratelimit-requests-reset") - sandbox::clock::now_ms();
    assert!((3_500_000..=3_600_000).contains(&in_ms), "{in_ms}");
    let other = api.send(KEY, "{ viewer { id } }", json!({})).await;
    assert_eq!(other.number("x-ratelimit-requests-remaining"), 2_499, "each credential has its own budget");
    assert_eq!(
        other.number("x-ratelimit-complexity-limit"),
        3_000_000,
        "and a personal key another one than an application"
    );
}

#[tokio::test]
async fn over_budget_the_answer_is_a_400_that_says_ratelimited_until_the_next_window() {
    let api = Api::start().await;
    for limits in [json!({"requests": 2}), json!({"complexity": 4})] {
        api.put("/sandbox/limits", limits.clone()).await;
        for _ in 0..2 {
            assert_eq!(api.send(TOKEN, "{ viewer { id } }", json!({})).await.status, 200);
        }
        let answer = api.send(TOKEN, "{ viewer { id } }", json!({})).await;
        assert_eq!((answer.status, answer.code()), (400, "RATELIMITED"), "{limits}");
        assert_eq!(answer.body["errors"][0]["extensions"]["type"], "ratelimited");
        assert!(answer.number("retry-after") > 3_000);
    }
    assert_eq!(api.sandbox.counters().counts().limited, 2);
    api.sandbox.set_limits(LinearLimits::default());
    assert_eq!(api.send(TOKEN, "{ viewer { id } }", json!({})).await.status, 200);
}

#[tokio::test]
async fn a_query_that_costs_too_much_is_refused_before_it_is_answered() {
    let api = Api::start().await;
    let query = "{ issues(first: 250) { nodes { comments(first: 100) { nodes { body } } } } }";
    let answer = api.send(TOKEN, query, json!({})).await;
    assert_eq!((answer.status, answer.code()), (400, "INPUT_ERROR"));
    for amount in [0, 251] {
        let answer = api.send(TOKEN, &format!("{{ issues(first: {amount}) {{ nodes {{ id }} }} }}"), json!({})).await;
        assert_eq!(answer.code(), "INPUT_ERROR");
    }
}

#[tokio::test]
async fn drawn_faults_are_answered_in_linears_forms_and_change_nothing() {
    let faults = Faults { error_5xx: 1.0, ..Faults::default() };
    let api = Api::with(LinearOptions { faults, ..LinearOptions::default() }).await;
    let rename = "mutation { issueUpdate(id: \"ENG-1\", input: {title: \"New\"}) { success } }";
    let answer = api.send(TOKEN, rename, json!({})).await;
    assert_eq!((answer.status, answer.code()), (500, "INTERNAL_SERVER_ERROR"));
    api.put("/sandbox/faults", json!({"limit": 1.0})).await;
    let answer = api.send(TOKEN, rename, json!({})).await;
    assert_eq!((answer.status, answer.code()), (400, "RATELIMITED"));
    assert_eq!((answer.number("x-ratelimit-requests-remaining"), answer.number("retry-after")), (0, 1));
    assert_ne!(api.sandbox.issue("ENG-1").unwrap().title, "New");
    api.put("/sandbox/faults", json!({"slow_ms": 50})).await;
    let started = Instant::now();
    api.data(rename, json!({})).await;
    assert!(started.elapsed() >= Duration::from_millis(50));
    assert_eq!(api.get("/sandbox/faults").await["slow_ms"], 50);
}
