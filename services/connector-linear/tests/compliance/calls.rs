//! Each call of the connector, one at a time.

use connector::{Connector, Decoded, Failure, Page};
use connector_linear::{Config, Linear, SYSTEM};
use model::{Observation, Origin, Source};
use runtime::Process;
use runtime::config::Secret;
use sandbox::faults::Faults;
use sandbox::linear::{LinearLimits, LinearSandbox, NewIssue};
use serde_json::{Value, json};

use crate::front::Front;
use crate::world::{
    APP, PERSONAL, command, connector, connector_in, connector_with, newest, record, server, try_connector,
};

async fn moved(server: &LinearSandbox, linear: &Linear) -> Observation {
    // The first read teaches the connector who it is and what the team's states are.
    linear.read(&record(server, "ENG-1")).await.unwrap();
    server.move_issue("ENG-1", "In Review").unwrap();
    match newest(server, linear) {
        Decoded::Observations(mut seen) => seen.remove(0),
        other => panic!("{other:?}"),
    }
}

/// Moves an issue to another team, as the person.
fn move_to_team(server: &LinearSandbox, identifier: &str, team: &str) {
    // The webhook of an issue of that team names the team's id.
    let new = NewIssue { team: team.to_owned(), title: "Another".to_owned(), ..NewIssue::default() };
    server.create_issue(&new).unwrap();
    let team = server.webhooks().deliveries().pop().unwrap().body["data"]["team"]["id"].clone();
    server.edit_issue(identifier, json!({"teamId": team})).unwrap();
}

async fn swept(linear: &Linear, cursor: Option<Value>) -> (Vec<Observation>, Option<Value>) {
    let (mut seen, mut next) = (Vec::new(), None);
    loop {
        let page: Page = linear.sweep(cursor.clone(), next).await.unwrap();
        seen.extend(page.observations);
        next = page.next;
        if next.is_none() {
            return (seen, page.cursor);
        }
    }
}

#[tokio::test]
async fn a_persons_edit_is_seen_by_webhook_and_known_to_be_another_s() {
    let server = server().await;
    let linear = connector(&server, APP);
    let seen = moved(&server, &linear).await;
    assert_eq!((seen.native.as_str(), seen.origin), ("In Review", Origin::Other));
    assert_eq!(seen.actor.unwrap().name, "Ada");
    assert_eq!(seen.keys[0].as_str(), "ENG-1");
    assert_eq!(seen.vocabulary.unwrap().0.len(), 8);
}

#[tokio::test]
async fn under_a_personal_key_nothing_is_known_of_the_origin() {
    let server = server().await;
    let linear = connector(&server, PERSONAL);
    assert_eq!(moved(&server, &linear).await.origin, Origin::Unknown);
}

#[tokio::test]
async fn a_webhook_before_the_team_is_known_tells_its_edit_when_the_words_are_learned() {
    let server = server().await;
    let linear = connector(&server, APP);
    server.move_issue("ENG-1", "In Review").unwrap();
    let Decoded::Unlearned { what, records } = newest(&server, &linear) else { panic!() };
    assert_eq!(records, [record(&server, "ENG-1")]);
    linear.learn(&what).await.unwrap();
    let Decoded::Observations(seen) = newest(&server, &linear) else { panic!() };
    assert_eq!((seen[0].native.as_str(), seen[0].origin), ("In Review", Origin::Other), "it knows who it is, too");
    assert_eq!(seen[0].actor.as_ref().unwrap().name, "Ada");
    let read = linear.read(&records[0]).await.unwrap().observation;
    assert_eq!((&seen[0].id, &seen[0].vocabulary), (&read.id, &read.vocabulary));
}

#[tokio::test]
async fn our_own_write_lands_and_is_known_to_be_ours_by_the_configured_id() {
    let server = server().await;
    let app_id = Some(server.app_id());
    let linear = connector_with(&server, Config { api_key: Secret::new(APP), app_id, ..Config::default() });
    let record = record(&server, "ENG-2");
    let reading = linear.read(&record).await.unwrap();
    assert_eq!((reading.observation.native.as_str(), reading.observation.source), ("Todo", Source::Poll));
    let written = linear.write(&command(&record, "Done", "done"), &reading).await.unwrap();
    assert_eq!(written.native.as_str(), "Done");
    assert_eq!(server.issue("ENG-2").unwrap().state, "Done");
    assert_eq!(server.counters().counts().writes, 1);
    let Decoded::Observations(seen) = newest(&server, &linear) else { panic!() };
    assert_eq!((seen[0].origin, seen[0].position), (Origin::Own(None), written.position));
}

#[tokio::test]
async fn without_its_id_an_apps_own_write_is_not_taken_for_another_s() {
    let server = server().await;
    let linear = connector(&server, APP);
    let record = record(&server, "ENG-2");
    let reading = linear.read(&record).await.unwrap();
    linear.write(&command(&record, "Done", "done"), &reading).await.unwrap();
    let Decoded::Observations(seen) = newest(&server, &linear) else { panic!() };
    assert_eq!(seen[0].origin, Origin::Unknown);
    server.move_issue("ENG-2", "In Review").unwrap();
    let Decoded::Observations(seen) = newest(&server, &linear) else { panic!() };
    assert_eq!(seen[0].origin, Origin::Other, "a person is somebody else all the same");
}

#[tokio::test]
async fn an_oauth_app_whose_id_linear_does_not_tell_works_without() {
    let server = server().await;
    let api_url = Front::refusing(server.url(), "query Application", "Entity not found: Application").await;
    let linear = try_connector(Config { api_url, ..by_secret("lin_secret_sandbox") }).unwrap();
    let record = record(&server, "ENG-2");
    let reading = linear.read(&record).await.unwrap();
    linear.write(&command(&record, "Done", "done"), &reading).await.unwrap();
    let Decoded::Observations(seen) = newest(&server, &linear) else { panic!() };
    assert_eq!(seen[0].origin, Origin::Unknown);
}

#[tokio::test]
async fn an_oauth_app_whose_id_could_not_be_asked_is_asked_again() {
    let server = server().await;
    let api_url = Front::failing_once(server.url(), "query Application").await;
    let linear = try_connector(Config { api_url, ..by_secret("lin_secret_sandbox") }).unwrap();
    let record = record(&server, "ENG-2");
    assert!(matches!(linear.read(&record).await, Err(Failure::Unavailable { .. })));
    let reading = linear.read(&record).await.unwrap();
    linear.write(&command(&record, "Done", "done"), &reading).await.unwrap();
    let Decoded::Observations(seen) = newest(&server, &linear) else { panic!() };
    assert_eq!(seen[0].origin, Origin::Own(None));
}

#[tokio::test]
async fn a_state_that_has_gone_is_replaced_by_one_of_its_type() {
    let server = server().await;
    let linear = connector(&server, APP);
    let new = NewIssue { team: "OPS".to_owned(), title: "Rotate the keys".to_owned(), ..NewIssue::default() };
    let issue = server.create_issue(&new).unwrap();
    let record = record(&server, &issue.identifier);
    let reading = linear.read(&record).await.unwrap();
    let written = linear.write(&command(&record, "In Review", "in_review"), &reading).await.unwrap();
    assert_eq!(written.native.as_str(), "Doing");
}

#[tokio::test]
async fn a_sweep_sees_everything_and_the_next_what_has_changed_since() {
    let server = server().await;
    let linear = connector(&server, APP);
    for n in 0..60 {
        let new = NewIssue { team: "OPS".to_owned(), title: format!("Task {n}"), ..NewIssue::default() };
        server.create_issue(&new).unwrap();
    }
    let (all, cursor) = swept(&linear, None).await;
    assert_eq!(all.len(), 66, "two pages");
    assert!(all.iter().all(|seen| seen.source == Source::Sweep && seen.vocabulary.is_some()));
    server.move_issue("ENG-3", "In Progress").unwrap();
    let (again, _) = swept(&linear, cursor).await;
    let moved = again.iter().find(|seen| seen.record == record(&server, "ENG-3")).unwrap();
    assert_eq!(moved.native.as_str(), "In Progress");
    let ids: std::collections::BTreeSet<_> = all.iter().map(|seen| &seen.id).collect();
    let new: Vec<_> = again.iter().filter(|seen| !ids.contains(&seen.id)).collect();
    assert_eq!(new, [moved], "what was seen before has the id that it had");
}

#[tokio::test]
async fn an_issue_in_the_trash_is_seen_to_be_there_without_its_webhook() {
    let server = server().await;
    let linear = connector(&server, APP);
    let (_, cursor) = swept(&linear, None).await;
    let issue = record(&server, "ENG-2");
    server.remove_issue("ENG-2").unwrap();
    let (seen, _) = swept(&linear, cursor).await;
    let gone = seen.into_iter().find(|seen| seen.record == issue).unwrap();
    assert!(gone.native.is_deleted());
    let Decoded::Observations(told) = newest(&server, &linear) else { panic!() };
    assert_eq!(told[0].id, gone.id, "the webhook tells the same");
    assert!(linear.read(&issue).await.unwrap().observation.native.is_deleted(), "and so does a look before a write");
}

#[tokio::test]
async fn an_issue_whose_team_is_not_shown_hides_no_other() {
    for (message, code) in [("Entity not found: Team", "gone"), ("Argument Validation Error", "invalid")] {
        let server = server().await;
        server.remove_issue("ENG-2").unwrap();
        let trashed = record(&server, "ENG-2");
        let api_url = Front::refusing(server.url(), "query TeamStates", message).await;
        let linear = try_connector(Config { api_url, api_key: Secret::new(APP), ..Config::default() }).unwrap();
        let page = linear.sweep(None, None).await.unwrap();
        let [seen] = &page.observations[..] else { panic!("{page:?}") };
        assert_eq!((&seen.record, seen.native.is_deleted()), (&trashed, true), "it needs no words of its team");
        assert!(page.unreadable.len() > 1 && page.unreadable.iter().all(|one| one.code == code), "{page:?}");
        assert!(page.next.is_none() && page.cursor.is_some());
    }
}

#[tokio::test]
async fn only_the_teams_that_count_are_swept_and_heard() {
    let server = server().await;
    let config = Config { api_key: Secret::new(APP), teams: vec!["ops".to_owned()], ..Config::default() };
    let linear = connector_with(&server, config);
    assert_eq!(swept(&linear, None).await.0, []);
    server.move_issue("ENG-1", "Done").unwrap();
    let Decoded::Observations(told) = newest(&server, &linear) else { panic!() };
    assert!(told[0].native.is_deleted(), "whoever knew it learns that it is gone");
}

#[tokio::test]
async fn an_issue_that_is_moved_to_a_team_that_does_not_count_is_gone_until_it_comes_back() {
    let server = server().await;
    let config = Config { api_key: Secret::new(APP), teams: vec!["eng".to_owned()], ..Config::default() };
    let linear = connector_with(&server, config);
    let issue = record(&server, "ENG-1");
    let before = linear.read(&issue).await.unwrap().observation;
    assert!(before.vocabulary.is_some());
    move_to_team(&server, "ENG-1", "OPS");
    let Decoded::Observations(told) = newest(&server, &linear) else { panic!() };
    let read = linear.read(&issue).await.unwrap().observation;
    assert!(told[0].native.is_deleted() && read.native.is_deleted(), "nothing is written there");
    assert_eq!((&told[0].id, told[0].position), (&read.id, read.position));
    assert!(read.position > before.position);
    move_to_team(&server, "ENG-1", "ENG");
    let back = linear.read(&issue).await.unwrap().observation;
    let Decoded::Observations(told) = newest(&server, &linear) else { panic!() };
    assert_eq!((told[0].native.as_str(), &told[0].id), (back.native.as_str(), &back.id));
    assert!(!back.native.is_deleted() && back.position > read.position);
}

/// A connector for the team ENG alone, and what readiness says of that team.
fn for_eng(server: &LinearSandbox) -> (Linear, impl Fn() -> Option<Result<(), String>> + use<>) {
    let process = Process::new(SYSTEM, None);
    let config = Config {
        api_url: server.graphql_url(),
        api_key: Secret::new(APP),
        teams: vec!["eng".to_owned()],
        ..Config::default()
    };
    (connector_in(process.clone(), config).unwrap(), move || process.readiness().remove("linear:ENG"))
}

#[tokio::test]
async fn a_team_whose_key_is_changed_stays_in_step_and_is_told() {
    let server = server().await;
    let (linear, readiness) = for_eng(&server);
    let (all, cursor) = swept(&linear, None).await;
    assert_eq!(readiness(), Some(Ok(())));
    server.rename_team("ENG", "CORE").unwrap();
    server.move_issue("ENG-1", "Done").unwrap();
    let Decoded::Observations(told) = newest(&server, &linear) else { panic!() };
    assert_eq!(told[0].native.as_str(), "Done");
    assert_eq!(linear.read(&record(&server, "ENG-1")).await.unwrap().observation.native.as_str(), "Done");
    let (seen, _) = swept(&linear, cursor).await;
    assert!(seen.iter().any(|seen| seen.native.as_str() == "Done") && seen.len() <= all.len());
    assert!(readiness().unwrap().unwrap_err().contains("CORE"));
}

#[tokio::test]
async fn while_a_team_that_counts_is_missing_nothing_is_gone() {
    let server = server().await;
    let (_, cursor) = swept(&for_eng(&server).0, None).await;
    server.rename_team("ENG", "CORE").unwrap();
    server.move_issue("ENG-1", "Done").unwrap();
    // It begins anew, and knows the team by its key alone.
    let (linear, readiness) = for_eng(&server);
    let issue = record(&server, "ENG-1");
    assert!(matches!(newest(&server, &linear), Decoded::Incomplete(_)));
    assert!(matches!(linear.read(&issue).await, Err(Failure::Refused { code: "team_missing", .. })));
    assert!(matches!(newest(&server, &linear), Decoded::Ignored("team_missing")));
    let nobody = "linear/issue/00000000-0000-4000-8000-000000000000".parse().unwrap();
    let refused = linear.read(&nobody).await;
    assert!(
        matches!(refused, Err(Failure::Refused { code: "team_missing", .. })),
        "out of sight is not gone: {refused:?}"
    );
    let (seen, cursor) = swept(&linear, cursor).await;
    assert_eq!(seen, []);
    assert!(readiness().unwrap().unwrap_err().contains("no team ENG"));
    server.rename_team("CORE", "ENG").unwrap();
    let (seen, _) = swept(&linear, cursor).await;
    assert!(seen.iter().any(|seen| seen.record == issue && seen.native.as_str() == "Done"), "{seen:?}");
    assert_eq!(readiness(), Some(Ok(())));
    assert!(matches!(linear.read(&nobody).await, Err(Failure::Gone { .. })));
}

#[tokio::test]
async fn a_used_up_budget_is_a_limit_and_not_an_attempt() {
    let server = server().await;
    let linear = connector(&server, PERSONAL);
    server.set_limits(LinearLimits { requests: 1, ..LinearLimits::default() });
    let record = record(&server, "ENG-1");
    linear.read(&record).await.unwrap();
    assert!(matches!(linear.read(&record).await, Err(Failure::Limited { .. })));
}

#[tokio::test]
async fn a_limit_that_the_server_tells_is_one() {
    let server = server().await;
    let linear = connector(&server, PERSONAL);
    server.faults().set(Faults { limit: 1.0, ..Faults::default() });
    assert!(matches!(linear.read(&record(&server, "ENG-1")).await, Err(Failure::Limited { .. })));
}

#[tokio::test]
async fn a_fault_of_the_servers_is_worth_another_attempt() {
    let server = server().await;
    let linear = connector(&server, PERSONAL);
    server.faults().set(Faults { error_5xx: 1.0, ..Faults::default() });
    assert!(matches!(linear.read(&record(&server, "ENG-1")).await, Err(Failure::Unavailable { .. })));
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_a_missing_issue_is_gone() {
    let server = server().await;
    let stranger = connector(&server, "lin_api_stranger");
    let refused = stranger.read(&record(&server, "ENG-1")).await;
    assert!(matches!(refused, Err(Failure::Refused { code: "unauthorized", .. })), "{refused:?}");
    let linear = connector(&server, PERSONAL);
    let nobody = "linear/issue/00000000-0000-4000-8000-000000000000".parse().unwrap();
    assert!(matches!(linear.read(&nobody).await, Err(Failure::Gone { .. })));
}

#[tokio::test]
async fn an_oauth_app_gets_a_token_for_its_secret_and_its_writes_are_known() {
    let server = server().await;
    let linear = connector_with(&server, by_secret("lin_secret_sandbox"));
    let record = record(&server, "ENG-2");
    let reading = linear.read(&record).await.unwrap();
    linear.write(&command(&record, "Done", "done"), &reading).await.unwrap();
    let Decoded::Observations(seen) = newest(&server, &linear) else { panic!() };
    assert_eq!(seen[0].origin, Origin::Own(None));
}

#[tokio::test]
async fn an_oauth_apps_token_that_is_taken_no_more_is_replaced_at_the_next_attempt() {
    let server = server().await;
    let linear = connector_with(&server, by_secret("lin_secret_sandbox"));
    let record = record(&server, "ENG-2");
    linear.read(&record).await.unwrap();
    server.revoke_client_token();
    assert!(matches!(linear.read(&record).await, Err(Failure::Unavailable { .. })));
    linear.read(&record).await.unwrap();
}

#[tokio::test]
async fn a_dead_token_is_known_by_its_code_whatever_the_status() {
    let server = server().await;
    let (_, url) = Front::of(server.url()).await;
    let config = Config { api_url: format!("{url}/graphql"), ..by_secret("lin_secret_sandbox") };
    let linear = try_connector(config).unwrap();
    let record = record(&server, "ENG-2");
    linear.read(&record).await.unwrap();
    server.revoke_client_token();
    assert!(matches!(linear.read(&record).await, Err(Failure::Unavailable { .. })));
    linear.read(&record).await.unwrap();
}

#[tokio::test]
async fn an_oauth_app_with_a_wrong_secret_is_refused() {
    let server = server().await;
    let refused = connector_with(&server, by_secret("another")).read(&record(&server, "ENG-1")).await;
    assert!(matches!(&refused, Err(Failure::Refused { code: "unauthorized", why }) if why.contains("client_secret")));
}

fn by_secret(secret: &str) -> Config {
    let client_secret = Some(Secret::new(secret));
    Config { client_id: Some("lin_client_sandbox".to_owned()), client_secret, ..Config::default() }
}

#[tokio::test]
async fn a_wrong_setting_is_one_clear_sentence_with_its_key() {
    let refusal = |config: Config| try_connector(config).err().unwrap();
    assert!(refusal(Config::default()).starts_with("api_key: missing"));
    let keyed = || Config { api_key: Secret::new(PERSONAL), ..Config::default() };
    assert!(refusal(Config { api_url: "linear".to_owned(), ..keyed() }).starts_with("api_url: not a URL"));
    assert!(refusal(Config { sweep_s: 0, ..keyed() }).starts_with("sweep_s: must"));
}

#[tokio::test]
async fn a_backfill_knows_how_many_issues_there_are_and_one_since_a_moment_reads_only_what_changed() {
    let server = server().await;
    let linear = connector(&server, APP);
    let elsewhere = NewIssue { team: "OPS".to_owned(), title: "Elsewhere".to_owned(), ..NewIssue::default() };
    server.create_issue(&elsewhere).unwrap();
    let all = swept(&linear, None).await.0.len() as u64;
    assert_eq!(linear.count(None).await.unwrap(), Some(all));
    let config = Config { api_key: Secret::new(APP), teams: vec!["ENG".to_owned()], ..Config::default() };
    let engineering = connector_with(&server, config);
    let counted = engineering.count(None).await.unwrap();
    assert_eq!(counted, Some(swept(&engineering, None).await.0.len() as u64));
    assert!(counted < Some(all));
    let past = linear.cursor_since(model::Timestamp(0));
    assert_eq!(swept(&linear, past.clone()).await.0.len() as u64, all);
    assert_eq!(linear.count(past).await.unwrap(), None, "Linear does not count what changed");
    let ahead = linear.cursor_since(model::Timestamp(4_000_000_000_000));
    assert_eq!(swept(&linear, ahead).await.0, []);
}
