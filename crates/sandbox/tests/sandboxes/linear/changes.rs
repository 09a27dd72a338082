//! Writing: what a change moves, what it leaves, and that it is remembered.

use std::path::Path;

use sandbox::linear::{LinearOptions, NewIssue};
use serde_json::json;

use super::api::{Api, TOKEN, texts};

#[tokio::test]
async fn entering_a_state_sets_the_times_that_belong_to_it() {
    let api = Api::start().await;
    let cases = [
        ("In Progress", [true, false, false]),
        ("In Review", [true, false, false]),
        ("Done", [true, true, false]),
        ("Duplicate", [true, false, true]),
        ("Todo", [false, false, false]),
    ];
    let mut last = String::new();
    for (name, times) in cases {
        let state = api.state("ENG", name).await;
        let issue = api.update("ENG-1", json!({"stateId": state})).await;
        assert_eq!(issue["state"]["name"], name);
        assert_eq!(["startedAt", "completedAt", "canceledAt"].map(|field| issue[field].is_string()), times, "{name}");
        let updated = issue["updatedAt"].as_str().unwrap().to_owned();
        assert!(updated > last, "{updated} follows {last}");
        last = updated;
    }
    let history =
        "{ issue(id: \"ENG-1\") { history { nodes { fromState { name } toState { name } actor { app } } } } }";
    let rows = &api.data(history, json!({})).await["issue"]["history"]["nodes"];
    assert_eq!(rows.as_array().unwrap().len(), cases.len());
    assert_eq!(
        rows[0],
        json!({"fromState": {"name": "Duplicate"}, "toState": {"name": "Todo"}, "actor": {"app": true}})
    );
}

#[tokio::test]
async fn setting_what_is_so_already_changes_nothing_but_counts_as_a_write() {
    let api = Api::start().await;
    let before = api.sandbox.issue("ENG-1").unwrap();
    let same = api.state("ENG", "Todo").await;
    api.update("ENG-1", json!({"stateId": same, "title": before.title})).await;
    assert_eq!(api.sandbox.issue("ENG-1").unwrap(), before);
    let counts = api.sandbox.counters().counts();
    assert_eq!((counts.writes, counts.edits, counts.writes_by_record["ENG-1"]), (1, 0, 1));
}

#[tokio::test]
async fn edits_by_hand_are_not_counted_as_writes() {
    let api = Api::start().await;
    let (status, moved) = api.post("/sandbox/issues/ENG-1/move", json!({"state": "in review"})).await;
    assert_eq!((status, moved["state"].as_str()), (200, Some("In Review")));
    let new = json!({"team": "OPS", "title": "Rotate the keys", "state": "Doing", "branch": "ops/rotate"});
    let (status, made) = api.post("/sandbox/issues", new).await;
    assert_eq!((status, &made["identifier"], &made["branch"]), (200, &json!("OPS-1"), &json!("ops/rotate")));
    let (status, refused) = api.post("/sandbox/issues/ENG-1/move", json!({"state": "Shipped"})).await;
    assert_eq!((status, &refused["error"]), (422, &json!("Entity not found: WorkflowState")));
    let counts = api.get("/sandbox/counters").await;
    assert_eq!(counts, json!({"reads": 0, "writes": 0, "limited": 0, "edits": 2, "writes_by_record": {}}));
}

#[tokio::test]
async fn an_issue_is_created_once_for_each_id_of_the_client() {
    let api = Api::start().await;
    let team = api.data("{ team(id: \"ENG\") { id } }", json!({})).await["team"]["id"].clone();
    let create =
        "mutation($input: IssueCreateInput!) { issueCreate(input: $input) { success issue { id identifier } } }";
    let input = json!({"input": {"id": uuid::Uuid::new_v4(), "teamId": team, "title": "Made once"}});
    let first = api.data(create, input.clone()).await;
    assert_eq!(first["issueCreate"]["issue"]["identifier"], "ENG-7");
    assert_eq!(api.data(create, input).await, first);
    assert_eq!(api.sandbox.issues().len(), 7);
}

#[tokio::test]
async fn a_batch_changes_all_its_issues_or_none() {
    let api = Api::start().await;
    let batch = "mutation($ids: [UUID!]!, $input: IssueUpdateInput!) { issueBatchUpdate(ids: $ids, input: $input) \
        { issues { identifier state { name } } } }";
    let ops =
        api.sandbox.create_issue(&NewIssue { team: "OPS".into(), title: "Elsewhere".into(), ..NewIssue::default() });
    let ids = ["ENG-1", "ENG-2"].map(|identifier| api.sandbox.issue(identifier).unwrap().id);
    let done = api.state("ENG", "Done").await;
    let mixed = json!({"ids": [ids[0], ops.unwrap().id], "input": {"stateId": done}});
    let refused = api.send(TOKEN, batch, mixed).await;
    assert_eq!((refused.status, refused.code()), (200, "INPUT_ERROR"));
    assert_eq!(api.sandbox.issue("ENG-1").unwrap().state, "Todo");
    let too_many = vec![ids[0].clone(); 51];
    let refused = api.send(TOKEN, batch, json!({"ids": too_many, "input": {"stateId": done}})).await;
    assert_eq!(refused.code(), "INPUT_ERROR");
    let changed = api.data(batch, json!({"ids": ids, "input": {"stateId": done}})).await;
    assert_eq!(texts(&changed["issueBatchUpdate"]["issues"], "identifier"), ["ENG-1", "ENG-2"]);
    assert_eq!(api.sandbox.issue("ENG-2").unwrap().state, "Done");
}

#[tokio::test]
async fn labels_are_added_and_removed_without_touching_the_others() {
    let api = Api::start().await;
    let labels = api.data("{ issueLabels { nodes { id } } }", json!({})).await;
    let ids = texts(&labels["issueLabels"]["nodes"], "id");
    api.update("ENG-1", json!({"labelIds": [ids[0], ids[1]]})).await;
    let issue = api.update("ENG-1", json!({"addedLabelIds": [ids[2]], "removedLabelIds": [ids[0]]})).await;
    assert_eq!(issue["labels"]["nodes"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_issue_moved_to_another_team_is_still_found_by_its_old_identifier() {
    let api = Api::start().await;
    let team = api.data("{ team(id: \"OPS\") { id } }", json!({})).await["team"]["id"].clone();
    let moved = api.update("ENG-6", json!({"teamId": team})).await;
    assert_eq!((&moved["identifier"], &moved["state"]["name"]), (&json!("OPS-1"), &json!("Later")));
    let read = api.data("{ issue(id: \"ENG-6\") { identifier previousIdentifiers } }", json!({})).await;
    assert_eq!(read["issue"], json!({"identifier": "OPS-1", "previousIdentifiers": ["ENG-6"]}));
    let new = NewIssue { team: "ENG".into(), title: "Next".into(), ..NewIssue::default() };
    assert_eq!(api.sandbox.create_issue(&new).unwrap().identifier, "ENG-7");
}

#[tokio::test]
async fn a_trashed_issue_is_listed_only_with_the_archive() {
    let api = Api::start().await;
    api.sandbox.remove_issue("ENG-1").unwrap();
    assert!(!api.found(json!({})).await.contains(&"ENG-1".to_owned()));
    let all = api.data("{ issues(includeArchived: true) { nodes { identifier trashed } } }", json!({})).await;
    assert_eq!(all["issues"]["nodes"][5], json!({"identifier": "ENG-1", "trashed": true}));
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let start = |data: &Path| Api::with(LinearOptions { data: Some(data.to_owned()), ..LinearOptions::default() });
    let api = start(folder.path()).await;
    let state = api.state("ENG", "In Review").await;
    api.update("ENG-3", json!({"stateId": state})).await;
    api.sandbox.create_issue(&NewIssue { team: "ENG".into(), title: "Kept".into(), ..NewIssue::default() }).unwrap();
    api.sandbox.comment("ENG-7", "Kept too").unwrap();
    let before = api.sandbox.issues();
    // Read while the first one still runs: nothing is written only when it stops.
    let again = start(folder.path()).await;
    assert_eq!(again.sandbox.issues(), before);
    let comments = again.data("{ issue(id: \"ENG-7\") { comments { nodes { body } } } }", json!({})).await;
    assert_eq!(comments["issue"]["comments"]["nodes"][0]["body"], "Kept too");
    assert_eq!(again.state("ENG", "In Review").await, state);
    again.sandbox.stop().await;
}
