//! Sweeping repositories.

use std::collections::BTreeSet;
use std::time::{Duration as StdDuration, Instant};

use connector::{Connector, Decoded, Failure, Page};
use connector_github::Github;
use model::{Observation, Source};
use sandbox::github::{GithubSandbox, PullAction};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tokio::time::sleep;

use crate::front::{Broken, Front};
use crate::world::{REPO, TOKEN, command, connector, connector_to, deaf, newest, pull, server, write};

async fn swept(github: &Github, cursor: Option<Value>) -> (Vec<Observation>, Option<Value>) {
    let (mut seen, mut next) = (Vec::new(), None);
    loop {
        let page = github.sweep(cursor.clone(), next).await.unwrap();
        seen.extend(page.observations);
        next = page.next;
        if next.is_none() {
            return (seen, page.cursor);
        }
    }
}

#[tokio::test]
async fn a_sweep_sees_issues_and_pull_requests_over_all_pages() {
    let server = server().await;
    let github = connector(&server);
    for n in 0..120 {
        server.open_issue(REPO, &format!("Task {n}"), "").unwrap();
    }
    let number = server.open_pull(REPO, "Sign in", "", "ada/eng-1-sign-in", false).unwrap();
    server.act_on_pull(REPO, number, PullAction::Approve).unwrap();
    let (seen, cursor) = swept(&github, None).await;
    let records: BTreeSet<_> = seen.iter().map(|seen| &seen.record).collect();
    assert_eq!(records.len(), 121);
    let judged = seen.iter().find(|seen| seen.record == pull(number)).unwrap();
    assert_eq!((judged.native.as_str(), judged.source), ("approved", Source::Sweep));
    assert_eq!(judged.mentions[0].as_str(), "ENG-1", "from its branch, which a list does not tell");
    assert!(cursor.is_some());
}

#[tokio::test]
async fn a_sweep_sees_what_no_webhook_told() {
    let server = server().await;
    let github = connector(&server);
    let number = server.open_issue(REPO, "Sign in", "").unwrap();
    let (first, cursor) = swept(&github, None).await;
    server.close_issue(REPO, number, "completed").unwrap();
    let (second, mut cursor) = swept(&github, cursor).await;
    assert_eq!(second, [], "another edit may share its second");
    let began = Instant::now();
    let third = loop {
        let (third, next) = swept(&github, cursor).await;
        if !third.is_empty() {
            break third;
        }
        assert!(began.elapsed().as_secs() < 20, "the second is over");
        cursor = next;
        sleep(StdDuration::from_millis(250)).await;
    };
    assert_eq!(third[0].native.as_str(), "closed/completed");
    assert_ne!(first[0].id, third[0].id);
}

#[tokio::test]
async fn what_a_webhook_told_of_a_second_that_is_not_over_is_left_to_webhooks() {
    let server = server().await;
    let github = connector(&server);
    server.open_issue(REPO, "Sign in", "").unwrap();
    newest(&server, &github);
    let (seen, cursor) = swept(&github, None).await;
    assert_eq!(seen, [], "the page may be older than the webhook");
    assert!(cursor.unwrap()[REPO]["etag"].is_null(), "and is read again");
}

#[tokio::test]
async fn a_list_that_is_as_it_was_is_not_taken_again() {
    let server = server().await;
    let github = connector(&server);
    server.open_issue(REPO, "Sign in", "").unwrap();
    let (_, cursor) = swept(&github, None).await;
    let mut cursor = cursor.unwrap();
    let asked = github.sweep(Some(cursor.clone()), None).await.unwrap();
    assert!(asked.cursor.unwrap()[REPO]["etag"].is_null(), "its last second is not over");
    cursor[REPO]["etag"] = Value::from(etag(&server, cursor[REPO]["newest"].as_str().unwrap()).await);
    let page = github.sweep(Some(cursor.clone()), None).await.unwrap();
    assert_eq!((page.observations.len(), page.cursor), (0, Some(cursor)));
}

/// The version of the list that a sweep after `newest` asks for.
async fn etag(server: &GithubSandbox, newest: &str) -> String {
    let since = OffsetDateTime::parse(newest, &Rfc3339).unwrap() - Duration::seconds(60);
    let url = format!(
        "{}/repos/{REPO}/issues?state=all&sort=updated&direction=asc&per_page=100&page=1&since={}",
        server.url(),
        since.format(&Rfc3339).unwrap()
    );
    let request = reqwest::Client::new().get(url).bearer_auth(TOKEN).header("user-agent", "tests");
    request.send().await.unwrap().headers()["etag"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_records_that_a_sweep_will_see_are_counted() {
    let server = server().await;
    let github = connector(&server);
    assert_eq!(github.count(None).await.unwrap(), Some(0));
    for n in 0..3 {
        server.open_issue(REPO, &format!("Task {n}"), "").unwrap();
        assert_eq!(github.count(None).await.unwrap(), Some(n + 1));
    }
    let ahead = github.cursor_since(model::Timestamp(4_000_000_000_000));
    assert_eq!(github.count(ahead.clone()).await.unwrap(), Some(0));
    assert_eq!(swept(&github, ahead).await.0, []);
    assert_eq!(github.count(github.cursor_since(model::Timestamp(0))).await.unwrap(), Some(3));
}

#[tokio::test]
async fn one_who_does_not_hear_webhooks_leaves_the_second_that_is_not_over_to_those_who_do() {
    let server = server().await;
    server.open_issue(REPO, "Sign in", "").unwrap();
    let (seen, _) = swept(&deaf(&server), None).await;
    assert_eq!(seen, []);
}

#[tokio::test]
async fn a_stored_place_that_cannot_be_read_is_refused() {
    let server = server().await;
    let unreadable = connector(&server).sweep(Some(Value::from(7)), None).await;
    assert!(matches!(unreadable, Err(Failure::Refused { code: "malformed", .. })));
}

#[tokio::test]
async fn a_repository_that_cannot_be_seen_hides_no_other_and_says_so() {
    const OLD: &str = "acme/old";
    let server = server().await;
    let (github, process) = connector_to(server.url(), &[OLD, REPO], true);
    server.open_issue(REPO, "Sign in", "").unwrap();
    assert_eq!(github.count(None).await.unwrap(), Some(1));
    let (seen, cursor) = swept(&github, None).await;
    assert_eq!(seen.len(), 1);
    let cursor = cursor.unwrap();
    assert!(cursor[REPO]["newest"].is_string() && cursor[OLD].is_null(), "{cursor}");
    let readiness = process.readiness();
    assert!(readiness[&format!("github:{OLD}")].as_ref().is_err_and(|why| why.contains("Not Found")), "{readiness:?}");
    assert_eq!(readiness[&format!("github:{REPO}")], Ok(()));
    server.create_repo(OLD).unwrap();
    server.open_issue(OLD, "From before", "").unwrap();
    // Its first page is read with a cursor, so what changed in a second that is not over is left to the next sweep.
    let began = Instant::now();
    let (mut seen, mut cursor) = (vec![], Some(cursor));
    while !seen.iter().any(|seen: &Observation| seen.record.id() == "acme/old#1") {
        assert!(began.elapsed().as_secs() < 20, "it is swept again");
        sleep(StdDuration::from_millis(250)).await;
        (seen, cursor) = swept(&github, cursor).await;
    }
    assert_eq!(process.readiness()[&format!("github:{OLD}")], Ok(()));
}

/// Two pull requests of which the first cannot be read; what comes of asking for their page so often.
async fn asked_for_a_broken_one(how: Broken, times: u32) -> Vec<Result<Page, Failure>> {
    let server = server().await;
    let (front, api_url) = Front::of(server.url()).await;
    let (github, _) = connector_to(api_url, &[REPO], true);
    for branch in ["ada/eng-1", "ada/eng-2"] {
        server.open_pull(REPO, "Sign in", "", branch, false).unwrap();
    }
    server.act_on_pull(REPO, 1, PullAction::Draft).unwrap();
    front.break_pull(1, how);
    let mut pages = Vec::new();
    for _ in 0..times {
        pages.push(github.sweep(None, None).await);
    }
    pages
}

#[tokio::test]
async fn a_pull_request_for_which_graphql_always_fails_is_read_by_rest() {
    let mut pages = asked_for_a_broken_one(Broken::Graphql, 4).await;
    let page = pages.pop().unwrap().unwrap();
    let seen: BTreeSet<_> = page.observations.iter().map(|seen| (seen.record.clone(), seen.native.as_str())).collect();
    assert_eq!(seen, [(pull(1), "draft"), (pull(2), "open")].into());
    for tried in pages {
        assert!(matches!(tried, Err(Failure::Unavailable { .. })), "it may be well the next time: {tried:?}");
    }
}

#[tokio::test]
async fn a_pull_request_that_cannot_be_read_at_all_hides_no_other() {
    let page = asked_for_a_broken_one(Broken::Both, 4).await.pop().unwrap().unwrap();
    assert_eq!(page.observations.iter().map(|seen| seen.record.clone()).collect::<Vec<_>>(), [pull(2)]);
    assert_eq!((page.unreadable[0].name.as_str(), page.unreadable[0].code), ("acme/web#1", "attempts_exhausted"));
}

#[tokio::test]
async fn while_graphql_is_away_no_pull_request_is_given_up() {
    let server = server().await;
    let (front, api_url) = Front::of(server.url()).await;
    let (github, _) = connector_to(api_url, &[REPO], true);
    let number = server.open_pull(REPO, "Sign in", "", "ada/eng-1", false).unwrap();
    let other = server.open_pull(REPO, "Sign out", "", "ada/eng-2", false).unwrap();
    github.read(&pull(other)).await.unwrap();
    for number in [number, other] {
        front.break_pull(number, Broken::Graphql);
    }
    for _ in 0..8 {
        let read = github.read(&pull(number)).await;
        assert!(matches!(read, Err(Failure::Unavailable { .. } | Failure::Limited { .. })), "{read:?}");
    }
}

#[tokio::test]
async fn of_several_that_graphql_cannot_read_none_hides_another() {
    let server = server().await;
    let (front, api_url) = Front::of(server.url()).await;
    let (github, _) = connector_to(api_url, &[REPO], true);
    let numbers = ["ada/eng-1", "ada/eng-2", "ada/eng-3"]
        .map(|branch| server.open_pull(REPO, "Sign in", "", branch, false).unwrap());
    let [broken, last, good] = numbers;
    for number in [good, last] {
        github.read(&pull(number)).await.unwrap();
    }
    for number in [broken, last] {
        front.break_pull(number, Broken::Graphql);
    }
    for _ in 0..5 {
        if let Err(failure) = github.read(&pull(broken)).await {
            assert!(matches!(failure, Failure::Unavailable { .. }), "{failure}");
        }
    }
    github.read(&pull(broken)).await.expect("a pull request by REST");
}

#[tokio::test]
async fn who_reads_it_all_is_told_of_a_repository_that_cannot_be_seen() {
    let server = server().await;
    let (github, _) = connector_to(server.url(), &["acme/old", REPO], false);
    let page = github.sweep(None, None).await.unwrap();
    assert_eq!((page.unreadable[0].name.as_str(), page.unreadable[0].code), ("acme/old", "gone"));
    assert!(page.next.is_some(), "the others are read");
}

#[test]
fn without_repositories_there_is_nothing_to_read_whole() {
    let process = runtime::Process::new(connector_github::SYSTEM, None);
    let sweeper = |section| (connector_github::REGISTRATION.sweeper)(section, &process).map(drop);
    let refused = sweeper(serde_json::json!({"token": TOKEN})).unwrap_err();
    assert_eq!(refused.key, "connector.github.repositories", "{refused}");
    assert_eq!(sweeper(serde_json::json!({"token": TOKEN, "repositories": [REPO]})), Ok(()));
}

#[tokio::test]
async fn a_repository_that_was_renamed_keeps_its_records() {
    const OLD: &str = "acme/old";
    let server = server().await;
    let api_url = Front::renaming(server.url(), OLD, REPO).await;
    let (github, _) = connector_to(api_url, &[OLD], true);
    let number = server.open_issue(REPO, "Sign in", "").unwrap();
    server.open_pull(REPO, "Sign in", "Closes #1", "ada/eng-1-sign-in", false).unwrap();
    let (swept, _) = swept(&github, None).await;
    let records: BTreeSet<String> = swept.iter().map(|seen| seen.record.to_string()).collect();
    assert_eq!(records, ["github/issue/acme/old#1", "github/pull_request/acme/old#2"].map(str::to_owned).into());
    assert!(swept.iter().all(|seen| seen.id.contains(OLD) && seen.keys[0].as_str().starts_with(OLD)), "{swept:?}");
    let pull = swept.iter().find(|seen| seen.record.kind.as_str() == "pull_request").unwrap();
    assert!(pull.mentions.iter().any(|key| key.as_str() == "acme/old#1"), "{:?}", pull.mentions);
    let record = "github/issue/acme/old#1".parse().unwrap();
    assert_eq!(github.read(&record).await.unwrap().observation.keys, swept[0].keys);
    assert_eq!(write(&github, &command(&record, "closed/completed", "done")).await.unwrap(), "closed/completed");
    assert_eq!(server.issue(REPO, number).unwrap()["state"], "closed");
    let Decoded::Observations(told) = newest(&server, &github) else { panic!("nothing was told") };
    assert_eq!((&told[0].record, told[0].native.as_str()), (&record, "closed/completed"));
    let codes: Vec<_> = github.examine().await.findings.into_iter().map(|finding| finding.code).collect();
    assert!(codes.contains(&"repository_renamed"), "{codes:?}");
}

#[tokio::test]
async fn of_an_issue_that_was_transferred_only_its_new_record_speaks() {
    let server = server().await;
    server.open_issue(REPO, "Sign in", "").unwrap();
    let api_url = Front::renaming(server.url(), "acme/api/issues/7", "acme/web/issues/1").await;
    let (github, _) = connector_to(api_url, &["acme/api", REPO], true);
    let reading = github.read(&"github/issue/acme/api#7".parse().unwrap()).await.unwrap();
    assert!(reading.observation.native.is_deleted() && reading.observation.keys.is_empty(), "{reading:?}");
}

#[tokio::test]
async fn a_repository_that_is_named_by_both_its_names_has_its_records_once() {
    let server = server().await;
    let api_url = Front::renaming(server.url(), "acme/old", REPO).await;
    let (github, _) = connector_to(api_url, &["acme/old", REPO], true);
    server.open_issue(REPO, "Sign in", "").unwrap();
    let (swept, _) = swept(&github, None).await;
    assert!(swept.iter().all(|seen| seen.record.id() == "acme/web#1"), "{swept:?}");
}
