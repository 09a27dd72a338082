//! Reading: pages, filters, and queries of any shape.

use sandbox::linear::Issue;
use serde_json::{Value, json};

use super::api::{Api, KEY, texts};

const PAGE: &str = "query($first: Int, $after: String, $last: Int, $before: String) { \
    issues(first: $first, after: $after, last: $last, before: $before) { \
    nodes { identifier } edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";

/// Moves an issue so that it has changed later than every other one: two issues may share a millisecond, but an issue's
/// second change is later than its first.
fn change_twice(api: &Api, identifier: &str, state: &str) -> Issue {
    api.sandbox.move_issue(identifier, "Backlog").unwrap();
    api.sandbox.move_issue(identifier, state).unwrap()
}

#[tokio::test]
async fn pages_run_from_the_newest_issue_to_the_oldest_and_back() {
    let api = Api::start().await;
    let (mut seen, mut after) = (Vec::new(), Value::Null);
    loop {
        let issues = &api.data(PAGE, json!({"first": 4, "after": after})).await["issues"];
        seen.extend(texts(&issues["nodes"], "identifier"));
        after = issues["pageInfo"]["endCursor"].clone();
        assert_eq!(issues["edges"].as_array().unwrap().last().unwrap()["cursor"], after);
        if issues["pageInfo"]["hasNextPage"] == false {
            assert_eq!(issues["pageInfo"]["hasPreviousPage"], true);
            let before = &issues["pageInfo"]["startCursor"];
            let back = &api.data(PAGE, json!({"last": 2, "before": before})).await["issues"];
            assert_eq!(texts(&back["nodes"], "identifier"), ["ENG-4", "ENG-3"]);
            break;
        }
    }
    assert_eq!(seen, ["ENG-6", "ENG-5", "ENG-4", "ENG-3", "ENG-2", "ENG-1"]);
}

#[tokio::test]
async fn ordered_by_the_last_change_the_issue_changed_last_is_first() {
    let api = Api::start().await;
    change_twice(&api, "ENG-2", "In Progress");
    let data = api.data("{ issues(first: 1, orderBy: updatedAt) { nodes { identifier } } }", json!({})).await;
    assert_eq!(data["issues"]["nodes"][0]["identifier"], "ENG-2");
}

#[tokio::test]
async fn filters_find_exactly_what_they_ask_for() {
    let api = Api::start().await;
    let bug = api.data(r#"{ issueLabels(filter: {name: {eq: "Bug"}}) { nodes { id } } }"#, json!({})).await;
    let bug = bug["issueLabels"]["nodes"][0]["id"].clone();
    api.sandbox.edit_issue("ENG-1", json!({"addedLabelIds": [bug], "priority": 2})).unwrap();
    let second = change_twice(&api, "ENG-2", "In Progress");
    let third = change_twice(&api, "ENG-3", "Done");
    let first = api.sandbox.issue("ENG-1").unwrap();
    let cases = [
        (json!({"number": {"eq": 5}, "team": {"key": {"eq": "ENG"}}}), vec!["ENG-5"]),
        (json!({"number": {"in": [4, 5]}, "team": {"key": {"eq": "OPS"}}}), vec![]),
        (json!({"id": {"in": [first.id, third.id]}}), vec!["ENG-1", "ENG-3"]),
        (json!({"id": {"eq": "ENG-6"}}), vec!["ENG-6"]),
        (json!({"updatedAt": {"gt": second.updated_at}}), vec!["ENG-3"]),
        (json!({"updatedAt": {"gte": second.updated_at}}), vec!["ENG-2", "ENG-3"]),
        (json!({"updatedAt": {"gt": "-P1D"}, "number": {"lte": 2}}), vec!["ENG-1", "ENG-2"]),
        (json!({"updatedAt": {"lt": "-PT1H"}}), vec![]),
        (json!({"state": {"name": {"eq": "In Progress"}}}), vec!["ENG-2"]),
        (json!({"state": {"type": {"in": ["started", "completed"]}}}), vec!["ENG-2", "ENG-3"]),
        (json!({"state": {"type": {"nin": ["unstarted"]}}}), vec!["ENG-2", "ENG-3"]),
        (json!({"state": {"id": {"eq": third.state_id}}}), vec!["ENG-3"]),
        (json!({"completedAt": {"null": false}}), vec!["ENG-3"]),
        (json!({"title": {"containsIgnoreCase": "PASSKEY"}}), vec!["ENG-1"]),
        (json!({"labels": {"some": {"name": {"eq": "Bug"}}}}), vec!["ENG-1"]),
        (json!({"labels": {"name": {"eq": "Bug"}}}), vec!["ENG-1"]),
        (json!({"labels": {"length": {"gt": 0}}}), vec!["ENG-1"]),
        (json!({"priority": {"gte": 1}, "assignee": {"null": true}}), vec!["ENG-1"]),
        (json!({"assignee": {"name": {"eq": "Ada"}}}), vec![]),
        (json!({"creator": {"isMe": {"eq": true}}}), vec![]),
        (json!({"or": [{"number": {"eq": 1}}, {"title": {"startsWith": "Dark"}}]}), vec!["ENG-1", "ENG-5"]),
        (json!({"and": [{"number": {"neq": 1}}, {"number": {"lt": 3}}]}), vec!["ENG-2"]),
    ];
    for (filter, expected) in cases {
        assert_eq!(api.found(filter.clone()).await, expected, "{filter}");
    }
}

#[tokio::test]
async fn queries_of_any_shape_over_what_is_kept_are_answered() {
    let api = Api::start().await;
    api.sandbox.comment("ENG-1", "Started by hand").unwrap();
    let query = r#"query($id: String!, $more: Boolean!) {
        one: issue(id: $id) { ...Core comments { nodes { body user { name isMe } issue { identifier } } } parent { id } }
        two: issue(id: $id) { priorityLabel title @include(if: $more) number @skip(if: $more) }
        teams(filter: {key: {eq: $id}}) { nodes { id } }
        viewer { __typename app organization { urlKey teams { nodes { key states(first: 20) { nodes { name type } } } } } }
        projects { nodes { id } pageInfo { hasNextPage } }
        rateLimitStatus { kind limits { type allowedAmount } }
        issueVcsBranchSearch(branchName: "ada/eng-4-anything") { identifier }
        found: searchIssues(term: "dashboard") { totalCount nodes { identifier state { name } } }
    }
    fragment Core on Issue { id identifier state { __typename ... on WorkflowState { type } ... on Node { id } } }"#;
    let data = api.data(query, json!({"id": "ENG-1", "more": true})).await;
    assert_eq!(data["one"]["state"]["type"], "unstarted");
    assert_eq!(data["one"]["state"]["__typename"], "WorkflowState");
    assert!(data["one"]["state"]["id"].is_string() && data["one"]["parent"].is_null());
    let comment = &data["one"]["comments"]["nodes"][0];
    assert_eq!((&comment["user"]["name"], &comment["issue"]["identifier"]), (&json!("Ada"), &json!("ENG-1")));
    assert!(data["two"].get("title").is_some() && data["two"].get("number").is_none());
    assert_eq!(data["teams"]["nodes"], json!([]));
    assert_eq!((&data["viewer"]["__typename"], &data["viewer"]["app"]), (&json!("User"), &json!(true)));
    let teams = data["viewer"]["organization"]["teams"]["nodes"].as_array().unwrap();
    let states: Vec<_> = teams.iter().map(|team| team["states"]["nodes"].as_array().unwrap().len()).collect();
    assert_eq!(states, [6, 8]);
    assert_eq!(data["projects"]["nodes"], json!([]));
    assert_eq!(data["issueVcsBranchSearch"]["identifier"], "ENG-4");
    assert_eq!(data["found"]["nodes"][0]["identifier"], "ENG-5");
}

#[tokio::test]
async fn fields_newer_than_the_schema_are_null_and_remembered() {
    let api = Api::start().await;
    let query =
        "query { issue(id: \"ENG-1\") { identifier brandNew { deep } ...X } } fragment X on BrandNewType { id }";
    let data = api.data(query, json!({})).await;
    assert_eq!(data["issue"], json!({"identifier": "ENG-1", "brandNew": null}));
    assert_eq!(api.sandbox.unknown_fields(), ["Issue.brandNew"]);
    assert_eq!(api.get("/sandbox/state").await["unknownFields"], json!(["Issue.brandNew"]));
}

#[tokio::test]
async fn the_key_says_who_is_asking() {
    let api = Api::start().await;
    let answer = api.send(KEY, "{ viewer { name app } }", json!({})).await;
    assert_eq!(answer.body["data"]["viewer"], json!({"name": "Ada", "app": false}));
}
