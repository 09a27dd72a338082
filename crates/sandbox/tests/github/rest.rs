//! Reading and writing: pages, states, errors, `ETag`s, limits, memory.

use std::time::{Duration, Instant};

use reqwest::Method;
use sandbox::faults::Faults;
use sandbox::github::{GithubLimits, GithubOptions, PullAction};
use serde_json::json;

use crate::api::{Api, BOT, PERSON, REPO, options};

#[tokio::test]
async fn the_links_lead_through_every_issue_once_pull_requests_among_them() {
    let api = Api::start().await;
    let mut next = Some(format!("{REPO}/issues?state=all&per_page=4&direction=asc"));
    let (mut numbers, mut pulls) = (Vec::new(), Vec::new());
    while let Some(path) = next {
        let page = api.get(&path).await;
        assert_eq!(page.status, 200, "{}", page.body);
        numbers.extend(page.each("number"));
        pulls.extend(page.each("pull_request").into_iter().map(|pull| pull.is_object()));
        next = page.link("next");
    }
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6].map(|n| json!(n)));
    assert_eq!(pulls, [false, false, true, false, true, true]);
}

#[tokio::test]
async fn since_and_sort_find_what_changed_last() {
    let api = Api::start().await;
    api.sandbox.close_issue("acme/web", 2, "not_planned").unwrap();
    let updated = api.sandbox.issue("acme/web", 2).unwrap()["updated_at"].clone();
    assert_eq!(updated.as_str().unwrap().len(), "2026-01-01T00:00:00Z".len(), "whole seconds");
    let found = api.get(&format!("{REPO}/issues?state=closed&sort=updated&since={}", updated.as_str().unwrap())).await;
    assert_eq!(found.each("number"), [json!(2)]);
    assert_eq!(found.each("state_reason"), [json!("not_planned")]);
    assert!(api.get(&format!("{REPO}/issues?state=all&since=2999-01-01T00:00:00Z")).await.each("number").is_empty());
}

#[tokio::test]
async fn an_issue_closes_with_its_reason_and_a_reason_alone_changes_nothing() {
    let api = Api::start().await;
    let path = format!("{REPO}/issues/1");
    let closed = api.call(Method::PATCH, &path, json!({"state": "closed", "state_reason": "not_planned"})).await;
    assert_eq!((closed.status, &closed.body["state_reason"]), (200, &json!("not_planned")));
    assert_eq!(closed.body["closed_by"]["login"], "lockstep[bot]");
    let same = api.call(Method::PATCH, &path, json!({"state": "closed", "state_reason": "completed"})).await;
    assert_eq!(same.body["state_reason"], "not_planned");
    let open = api.call(Method::PATCH, &path, json!({"state": "open"})).await;
    assert_eq!((&open.body["state_reason"], &open.body["closed_at"]), (&json!("reopened"), &json!(null)));
    let counts = api.sandbox.counters().counts();
    assert_eq!((counts.writes, counts.writes_by_record["acme/web#1"]), (3, 3));
}

#[tokio::test]
async fn labels_and_comments_are_added_and_taken_away() {
    let api = Api::start().await;
    let labels = format!("{REPO}/issues/1/labels");
    api.call(Method::POST, &labels, json!({"labels": ["bug", "in review"]})).await;
    let left = api.call(Method::DELETE, &format!("{labels}/in%20review"), json!({})).await;
    assert_eq!(left.each("name"), [json!("bug")]);
    assert_eq!(api.call(Method::DELETE, &format!("{labels}/absent"), json!({})).await.status, 404);
    let comments = format!("{REPO}/issues/1/comments");
    assert_eq!(api.call(Method::POST, &comments, json!({"body": "Seen."})).await.status, 201);
    assert_eq!(api.get(&comments).await.each("body"), [json!("Seen.")]);
}

#[tokio::test]
async fn a_draft_cannot_be_merged_and_a_merged_one_cannot_be_opened_again() {
    let api = Api::start().await;
    let (pull, merge) = (format!("{REPO}/pulls/3"), format!("{REPO}/pulls/3/merge"));
    assert_eq!(api.call(Method::PUT, &merge, json!({})).await.status, 405);
    api.sandbox.act_on_pull("acme/web", 3, PullAction::Ready).unwrap();
    assert_eq!(api.call(Method::PUT, &merge, json!({"sha": "0".repeat(40)})).await.status, 409);
    let merged = api.call(Method::PUT, &merge, json!({})).await;
    assert_eq!((merged.status, &merged.body["merged"]), (200, &json!(true)));
    let shown = api.get(&pull).await.body;
    assert_eq!((&shown["state"], &shown["merged"]), (&json!("closed"), &json!(true)));
    assert_eq!(api.call(Method::PATCH, &pull, json!({"state": "open"})).await.status, 422);
    let listed = api.get(&format!("{REPO}/pulls?state=closed")).await.body[0].clone();
    assert!(listed["merged_at"].is_string() && listed.get("merged").is_none(), "lists have no `merged`");
}

#[tokio::test]
async fn a_commits_statuses_add_up_to_the_worst_of_the_newest_and_end_at_a_thousand() {
    let api = Api::start().await;
    let sha = api.sandbox.pull("acme/web", 5).unwrap()["head"]["sha"].as_str().unwrap().to_owned();
    let path = format!("{REPO}/statuses/{sha}");
    for (context, state) in [("ci", "failure"), ("lockstep", "success"), ("ci", "success")] {
        let made = api.call(Method::POST, &path, json!({"state": state, "context": context})).await;
        assert_eq!(made.status, 201, "{}", made.body);
    }
    let combined = api.get(&format!("{REPO}/commits/{sha}/status")).await.body;
    assert_eq!((&combined["state"], &combined["total_count"]), (&json!("success"), &json!(2)));
    assert_eq!(api.get(&format!("{REPO}/commits/eng-4-store-settings/statuses")).await.each("context").len(), 3);
    assert_eq!(api.sandbox.counters().counts().writes_by_record["acme/web#5"], 3);
    assert_eq!(
        api.call(Method::POST, &format!("{REPO}/statuses/{}", "0".repeat(40)), json!({"state": "success"}))
            .await
            .status,
        422
    );
    for _ in 2..1000 {
        api.call(Method::POST, &path, json!({"state": "pending", "context": "ci"})).await;
    }
    assert_eq!(api.call(Method::POST, &path, json!({"state": "success", "context": "ci"})).await.status, 422);
    assert_eq!(api.call(Method::POST, &path, json!({"state": "success", "context": "other"})).await.status, 201);
}

#[tokio::test]
async fn refusals_have_githubs_forms() {
    let api = Api::start().await;
    let issue = format!("{REPO}/issues/1");
    let cases = [
        (api.get("/repos/acme/absent").await, 404, "Not Found"),
        (api.get(&format!("{REPO}/issues/99")).await, 404, "Not Found"),
        (api.get("/nowhere").await, 404, "Not Found"),
        (api.send(api.request(Method::GET, &issue)).await, 401, "Requires authentication"),
        (api.send(api.request(Method::GET, &issue).bearer_auth("wrong")).await, 401, "Bad credentials"),
        (api.call(Method::PATCH, &issue, json!({"state": "done"})).await, 422, "Validation Failed"),
        (api.call(Method::POST, &format!("{REPO}/issues"), json!({})).await, 422, "Validation Failed"),
        (api.send(api.request(Method::PATCH, &issue).bearer_auth(BOT).body("{")).await, 400, "Problems parsing JSON"),
        (api.get("/user").await, 403, "Resource not accessible by integration"),
    ];
    for (answer, status, message) in cases {
        assert_eq!((answer.status, &answer.body["message"]), (status, &json!(message)), "{}", answer.body);
        assert_eq!(answer.body["status"], status.to_string());
        assert!(answer.body["documentation_url"].is_string());
    }
    let person = api.send(api.request(Method::GET, "/user").header("authorization", format!("token {PERSON}"))).await;
    assert_eq!((person.status, &person.body["login"]), (200, &json!("ada")));
    let nameless = reqwest::Client::new().get(format!("{}/user", api.sandbox.url())).bearer_auth(PERSON);
    assert_eq!(nameless.send().await.unwrap().status().as_u16(), 403, "a request must say what sends it");
}

#[tokio::test]
async fn an_unchanged_answer_is_304_and_costs_nothing() {
    let api = Api::start().await;
    let path = format!("{REPO}/issues/1");
    let first = api.get(&path).await;
    let conditional = || api.request(Method::GET, &path).bearer_auth(BOT).header("if-none-match", first.header("etag"));
    let same = api.send(conditional()).await;
    assert_eq!(same.status, 304);
    assert_eq!(same.number("x-ratelimit-remaining"), first.number("x-ratelimit-remaining"));
    api.sandbox.retitle("acme/web", 1, "Another title").unwrap();
    let changed = api.send(conditional()).await;
    assert_eq!(changed.status, 200);
    assert_eq!(changed.number("x-ratelimit-remaining"), first.number("x-ratelimit-remaining") - 1);
}

#[tokio::test]
async fn a_used_up_primary_limit_is_403_with_nothing_remaining_and_asking_for_it_is_free() {
    let limits = GithubLimits { primary: 2, ..GithubLimits::default() };
    let api = Api::with(GithubOptions { limits, ..options() }).await;
    let path = format!("{REPO}/issues/1");
    assert_eq!(api.get(&path).await.number("x-ratelimit-remaining"), 1);
    assert_eq!(api.get("/rate_limit").await.body["resources"]["core"]["remaining"], 1);
    api.get(&path).await;
    let refused = api.get(&path).await;
    assert_eq!((refused.status, refused.number("x-ratelimit-remaining")), (403, 0));
    assert_eq!((refused.number("x-ratelimit-used"), refused.header("x-ratelimit-resource")), (2, "core"));
    let wait = refused.number("x-ratelimit-reset") - sandbox::clock::now_ms() / 1000;
    assert!((3500..=3601).contains(&wait), "the reset is in seconds since 1970: {wait}");
    assert!(refused.body["message"].as_str().unwrap().starts_with("API rate limit exceeded"));
    let query = json!({"query": "{ viewer { login } }"});
    for _ in 0..2 {
        assert!(api.call(Method::POST, "/graphql", query.clone()).await.body["data"].is_object());
    }
    let refused = api.call(Method::POST, "/graphql", query).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["type"]), (200, &json!("RATE_LIMIT")));
    assert_eq!(api.sandbox.counters().counts().limited, 2);
}

#[tokio::test]
async fn a_secondary_limit_counts_points_and_says_when_to_come_again() {
    let api = Api::start().await;
    api.sandbox.set_limits(GithubLimits { secondary_points: Some(6), ..GithubLimits::default() });
    assert_eq!(api.get(REPO).await.status, 200);
    let patch = json!({"title": "A write costs five"});
    assert_eq!(api.call(Method::PATCH, &format!("{REPO}/issues/1"), patch).await.status, 200);
    let refused = api.get(REPO).await;
    assert_eq!(refused.status, 403);
    assert!((1..=60).contains(&refused.number("retry-after")));
}

#[tokio::test]
async fn of_graphql_a_query_costs_a_point_and_a_mutation_five() {
    let api = Api::start().await;
    let (query, id) = ("{ viewer { login } }", api.sandbox.pull("acme/web", 3).unwrap()["node_id"].clone());
    let mutation =
        "mutation M($id: ID!) { markPullRequestReadyForReview(input: {pullRequestId: $id}) { clientMutationId } }";
    for (asked, points) in [(query, 2), (mutation, 10)] {
        api.sandbox.set_limits(GithubLimits { secondary_points: Some(points), ..GithubLimits::default() });
        let asked = json!({"query": asked, "variables": {"id": id}});
        let mut statuses = Vec::new();
        for _ in 0..3 {
            statuses.push(api.call(Method::POST, "/graphql", asked.clone()).await.status);
        }
        assert_eq!(statuses, [200, 200, 403], "{asked}");
    }
}

#[tokio::test]
async fn what_makes_content_has_a_limit_by_the_hour() {
    let api = Api::start().await;
    api.sandbox.set_limits(GithubLimits { content_per_hour: Some(2), ..GithubLimits::default() });
    let (issue, id) = (format!("{REPO}/issues/1"), api.sandbox.pull("acme/web", 3).unwrap()["node_id"].clone());
    assert_eq!(api.call(Method::PATCH, &issue, json!({"title": "One"})).await.status, 200);
    let mutation =
        "mutation($id: ID!) { markPullRequestReadyForReview(input: {pullRequestId: $id}) { clientMutationId } }";
    let mutation = json!({"query": mutation, "variables": {"id": id}});
    assert_eq!(api.call(Method::POST, "/graphql", mutation).await.status, 200);
    let refused = api.call(Method::PATCH, &issue, json!({"title": "Three"})).await;
    assert_eq!(refused.status, 403);
    assert!((3_500..=3_600).contains(&refused.number("retry-after")));
    assert_eq!(api.get(REPO).await.status, 200);
}

#[tokio::test]
async fn drawn_faults_are_limits_in_each_form_and_server_errors() {
    let api = Api::start().await;
    api.sandbox.faults().set(Faults { limit: 1.0, ..Faults::default() });
    let mut forms = Vec::new();
    for _ in 0..3 {
        let refused = api.get(REPO).await;
        forms.push((refused.status, refused.headers.contains_key("retry-after")));
    }
    forms.sort_unstable();
    assert_eq!(forms, [(403, false), (403, true), (429, true)]);
    api.sandbox.faults().set(Faults { error_5xx: 1.0, ..Faults::default() });
    assert_eq!(api.get(REPO).await.status, 502);
    assert_eq!(api.sandbox.counters().counts().limited, 3);
    api.sandbox.faults().set(Faults { slow_ms: 50, ..Faults::default() });
    let started = Instant::now();
    assert_eq!(api.get(REPO).await.status, 200);
    assert!(started.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn a_restarted_sandbox_remembers_what_it_answered() {
    let folder = tempfile::tempdir().unwrap();
    let options = || GithubOptions { data: Some(folder.path().to_owned()), ..options() };
    let api = Api::with(options()).await;
    api.call(Method::PATCH, &format!("{REPO}/issues/1"), json!({"state": "closed"})).await;
    let sha = api.sandbox.pull("acme/web", 5).unwrap()["head"]["sha"].as_str().unwrap().to_owned();
    api.call(Method::POST, &format!("{REPO}/statuses/{sha}"), json!({"state": "success"})).await;
    let before = api.sandbox.state();
    api.sandbox.stop().await;
    let api = Api::with(options()).await;
    assert_eq!(api.sandbox.state(), before);
    let ids = |number| api.sandbox.issue("acme/web", number).unwrap()["id"].clone();
    let new = api.sandbox.open_issue("acme/web", "New", "").unwrap();
    assert!((1..new).all(|old| ids(old) != ids(new)), "ids are not given twice");
}
