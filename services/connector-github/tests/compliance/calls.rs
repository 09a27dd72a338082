//! Reading, telling and showing, one call at a time.

use std::time::Duration;

use connector::{Connector, Decoded, Failure};
use connector_github::{Config, Github};
use model::{Key, Origin, RecordRef};
use runtime::config::Secret;
use sandbox::faults::Faults;
use sandbox::github::{GithubLimits, GithubSandbox, PullAction};

use crate::front::Front;
use crate::world::{
    REPO, TOKEN, command, connector, connector_that_writes, connector_to, connector_with, issue, newest, pull, server,
    write,
};

async fn native(github: &Github, record: &RecordRef) -> String {
    github.read(record).await.unwrap().observation.native.to_string()
}

fn opened(server: &GithubSandbox, draft: bool) -> u64 {
    server.open_pull(REPO, "Sign in", "Closes #1", "ada/eng-1-sign-in", draft).unwrap()
}

fn writes(server: &GithubSandbox) -> u64 {
    server.counters().counts().writes
}

#[tokio::test]
async fn a_persons_edit_is_seen_by_webhook_and_known_to_be_another_s() {
    let server = server().await;
    let github = connector(&server);
    let number = server.open_issue(REPO, "ENG-1: Sign in", "Part of ENG-2").unwrap();
    server.close_issue(REPO, number, "not_planned").unwrap();
    let Decoded::Observations(seen) = newest(&server, &github) else { panic!() };
    assert_eq!((seen[0].native.as_str(), seen[0].origin), ("closed/not_planned", Origin::Other));
    assert_eq!(seen[0].mentions, ["ENG-1", "ENG-2"].map(|key| Key::new(key).unwrap()));
    assert_eq!(native(&github, &issue(number)).await, "closed/not_planned");
}

#[tokio::test]
async fn what_belongs_to_a_repository_that_does_not_count_is_gone() {
    let server = server().await;
    let github = connector(&server);
    server.create_repo("acme/api").unwrap();
    let number = server.open_issue("acme/api", "ENG-1: Sign in", "").unwrap();
    let record: RecordRef = format!("github/issue/acme/api#{number}").parse().unwrap();
    let Decoded::Observations(told) = newest(&server, &github) else { panic!() };
    let read = github.read(&record).await.unwrap().observation;
    assert!(told[0].native.is_deleted() && read.native.is_deleted(), "nothing is written there");
    assert_eq!((&told[0].record, told[0].position), (&read.record, read.position));
}

#[tokio::test]
async fn our_own_write_lands_and_is_known_to_be_ours() {
    let server = server().await;
    let github = connector(&server);
    let number = server.open_issue(REPO, "Sign in", "").unwrap();
    assert_eq!(write(&github, &command(&issue(number), "closed/completed", "done")).await.unwrap(), "closed/completed");
    assert_eq!(writes(&server), 1);
    let Decoded::Observations(seen) = newest(&server, &github) else { panic!() };
    assert_eq!((seen[0].native.as_str(), seen[0].origin), ("closed/completed", Origin::Own(None)));
    assert_eq!(write(&github, &command(&issue(number), "open", "todo")).await.unwrap(), "open");
    assert_eq!(server.issue(REPO, number).unwrap()["state"], "open");
}

#[tokio::test]
async fn another_reason_needs_a_change_of_state_and_a_bots_hand() {
    let server = server().await;
    let number = server.open_issue(REPO, "Sign in", "").unwrap();
    server.close_issue(REPO, number, "completed").unwrap();
    let canceled = command(&issue(number), "closed/not_planned", "canceled");
    let person = connector_with(&server, Config { token: Some(Secret::new(TOKEN)), ..Config::default() });
    assert!(matches!(write(&person, &canceled).await, Err(Failure::Refused { code: "reason_kept", .. })));
    assert_eq!(server.issue(REPO, number).unwrap()["state_reason"], "completed");
    assert_eq!(write(&connector(&server), &canceled).await.unwrap(), "closed/not_planned");
}

#[tokio::test]
async fn a_pull_request_shows_what_its_state_reviews_and_queue_come_to() {
    let server = server().await;
    let github = connector(&server);
    let number = opened(&server, true);
    assert_eq!(native(&github, &pull(number)).await, "draft");
    for (action, word) in [
        (PullAction::Ready, "open"),
        (PullAction::RequestChanges, "changes_requested"),
        (PullAction::Approve, "approved"),
        (PullAction::Enqueue, "queued"),
        (PullAction::Close, "closed"),
        (PullAction::Reopen, "approved"),
        (PullAction::Merge, "merged"),
    ] {
        server.act_on_pull(REPO, number, action).unwrap();
        assert_eq!(native(&github, &pull(number)).await, word, "{action:?}");
    }
}

#[tokio::test]
async fn a_pull_request_is_tied_by_its_branch_and_by_what_it_closes() {
    let server = server().await;
    let github = connector(&server);
    let number = opened(&server, false);
    let Decoded::Observations(seen) = newest(&server, &github) else { panic!() };
    let keys = ["ENG-1", "acme/web#1"].map(|key| Key::new(key).unwrap());
    assert_eq!(seen[0].mentions, keys);
    assert_eq!(github.read(&pull(number)).await.unwrap().observation.mentions, keys);
    server.act_on_pull(REPO, number, PullAction::Approve).unwrap();
    assert_eq!(newest(&server, &github), Decoded::Incomplete(vec![pull(number)]), "a review must be read");
}

#[tokio::test]
async fn a_pull_request_is_made_a_draft_and_ready_with_one_write_each() {
    let server = server().await;
    let github = connector(&server);
    let number = opened(&server, true);
    assert_eq!(write(&github, &command(&pull(number), "open", "in_review")).await.unwrap(), "open");
    assert_eq!(write(&github, &command(&pull(number), "draft", "in_progress")).await.unwrap(), "draft");
    assert_eq!(writes(&server), 2);
}

#[tokio::test]
async fn an_approved_pull_request_is_as_good_as_an_open_one() {
    let server = server().await;
    let github = connector(&server);
    let number = opened(&server, false);
    server.act_on_pull(REPO, number, PullAction::Approve).unwrap();
    assert_eq!(write(&github, &command(&pull(number), "open", "in_review")).await.unwrap(), "approved");
    assert_eq!(writes(&server), 0);
}

#[tokio::test]
async fn a_closed_pull_request_is_opened_again_and_a_merged_one_refuses() {
    let server = server().await;
    let github = connector(&server);
    let number = opened(&server, false);
    server.act_on_pull(REPO, number, PullAction::Close).unwrap();
    assert_eq!(write(&github, &command(&pull(number), "draft", "in_progress")).await.unwrap(), "draft");
    server.act_on_pull(REPO, number, PullAction::Close).unwrap();
    assert_eq!(write(&github, &command(&pull(number), "draft", "in_progress")).await.unwrap(), "draft");
    server.act_on_pull(REPO, number, PullAction::Ready).unwrap();
    server.act_on_pull(REPO, number, PullAction::Merge).unwrap();
    let refused = write(&github, &command(&pull(number), "draft", "in_progress")).await;
    assert!(matches!(refused, Err(Failure::Refused { code: "merged", .. })), "{refused:?}");
}

#[tokio::test]
async fn a_status_is_shown_on_the_head_commit_once() {
    let server = server().await;
    let github = connector(&server);
    let number = opened(&server, false);
    let reading = github.read(&pull(number)).await.unwrap();
    let head = server.pull(REPO, number).unwrap()["head"]["sha"].as_str().unwrap().to_owned();
    let show = command(&pull(number), "merged", "done");
    github.show(&show, &reading).await.unwrap();
    github.show(&show, &reading).await.unwrap();
    assert_eq!(server.statuses(REPO, &head), [("success".to_owned(), "lockstep".to_owned())]);
    github.show(&command(&pull(number), "merged", "failed"), &reading).await.unwrap();
    assert_eq!(server.statuses(REPO, &head).last().unwrap().0, "failure");
    assert_eq!(writes(&server), 2);
}

/// A pull request whose first head shows that its item is done, and the commit that was pushed since.
async fn shown_and_pushed(server: &GithubSandbox, github: &Github, draft: bool) -> (RecordRef, String) {
    let number = opened(server, draft);
    let reading = github.read(&pull(number)).await.unwrap();
    github.show(&command(&pull(number), "merged", "done"), &reading).await.unwrap();
    server.act_on_pull(REPO, number, PullAction::Push).unwrap();
    (pull(number), server.pull(REPO, number).unwrap()["head"]["sha"].as_str().unwrap().to_owned())
}

/// What the loop does for a webhook that does not say enough.
async fn complete(github: &Github, record: &RecordRef) -> Result<(), Failure> {
    github.keep_shown(&github.read(record).await.expect("a reading")).await
}

#[tokio::test]
async fn a_new_head_shows_what_the_one_before_did() {
    for draft in [false, true] {
        let server = server().await;
        let (record, head) = shown_and_pushed(&server, &connector(&server), draft).await;
        // Another process, that knows only what the webhook tells.
        let github = connector(&server);
        assert_eq!(newest(&server, &github), Decoded::Incomplete(vec![record.clone()]));
        assert_eq!(server.statuses(REPO, &head), []);
        for _ in 0..2 {
            complete(&github, &record).await.unwrap();
            assert_eq!(server.statuses(REPO, &head), [("success".to_owned(), "lockstep".to_owned())]);
        }
    }
}

#[tokio::test]
async fn a_sweep_notices_a_new_head_of_which_no_webhook_told() {
    let server = server().await;
    let github = connector(&server);
    let (_, head) = shown_and_pushed(&server, &github, false).await;
    let page = github.sweep(None, None).await.unwrap();
    assert_eq!(server.statuses(REPO, &head), [], "what was read is stored first");
    assert_eq!(page.keeps.len(), 1);
    github.keep_shown(&page.keeps[0]).await.unwrap();
    assert_eq!(github.sweep(None, None).await.unwrap().keeps, []);
    assert_eq!(server.statuses(REPO, &head), [("success".to_owned(), "lockstep".to_owned())]);
}

#[tokio::test]
async fn a_dry_run_shows_nothing_on_a_new_head() {
    let server = server().await;
    let (github, _) = connector_to(server.url(), &[REPO], false);
    let (_, head) = shown_and_pushed(&server, &github, false).await;
    for reading in github.sweep(None, None).await.unwrap().keeps {
        github.keep_shown(&reading).await.unwrap();
    }
    assert_eq!(server.statuses(REPO, &head), []);
}

#[tokio::test]
async fn what_a_new_head_shows_already_stays() {
    let server = server().await;
    let github = connector(&server);
    let (record, head) = shown_and_pushed(&server, &github, false).await;
    let other = connector(&server);
    let reading = other.read(&record).await.unwrap();
    other.show(&command(&record, "merged", "failed"), &reading).await.unwrap();
    complete(&github, &record).await.unwrap();
    assert_eq!(server.statuses(REPO, &head), [("failure".to_owned(), "lockstep".to_owned())]);
}

#[tokio::test]
async fn a_new_head_shows_what_the_one_before_did_when_it_came_to_it() {
    let server = server().await;
    let (github, process) = connector_to(server.url(), &[REPO], true);
    let number = opened(&server, false);
    let record = pull(number);
    let reading = github.read(&record).await.unwrap();
    github.show(&command(&record, "merged", "done"), &reading).await.unwrap();
    server.act_on_pull(REPO, number, PullAction::Push).unwrap();
    let head = server.pull(REPO, number).unwrap()["head"]["sha"].as_str().unwrap().to_owned();
    let now = github.read(&record).await.unwrap();
    let waiting = || process.metrics().pacer_waiting.with_label_values(&["github", "normal"]).get();
    let later = command(&record, "merged", "failed");
    let shown = github.calls().unwrap().in_turn(async {
        while waiting() == 0 {
            tokio::task::yield_now().await;
        }
        github.show(&later, &reading).await
    });
    let both = async { tokio::try_join!(shown, github.keep_shown(&now)) };
    tokio::time::timeout(Duration::from_secs(20), both).await.expect("both in time").unwrap();
    assert_eq!(server.statuses(REPO, &head), [("failure".to_owned(), "lockstep".to_owned())]);
}

#[tokio::test]
async fn a_head_that_cannot_be_shown_a_status_hides_nothing_and_is_shown_it_later() {
    let server = server().await;
    let (front, api_url) = Front::of(server.url()).await;
    let (github, _) = connector_to(api_url, &[REPO], true);
    let (record, head) = shown_and_pushed(&server, &github, false).await;
    front.break_path(&format!("/statuses/{head}"));
    for _ in 0..2 {
        let kept = complete(&github, &record).await;
        assert!(matches!(kept, Err(Failure::Unavailable { .. })), "its webhook is tried again: {kept:?}");
        github.sweep(None, None).await.expect("a page");
    }
    front.mend_paths();
    complete(&github, &record).await.unwrap();
    assert_eq!(server.statuses(REPO, &head).len(), 1);
}

#[tokio::test]
async fn statuses_that_fail_keep_no_issue_from_being_read() {
    let server = server().await;
    let (front, api_url) = Front::of(server.url()).await;
    let (github, _) = connector_to(api_url, &[REPO], true);
    let (record, head) = shown_and_pushed(&server, &github, false).await;
    front.break_path(&format!("/statuses/{head}"));
    front.break_path("/status");
    let reading = github.read(&record).await.unwrap();
    let mut kept = github.keep_shown(&reading).await;
    for _ in 0..20 {
        if matches!(kept, Err(Failure::Limited { .. })) {
            break;
        }
        kept = github.keep_shown(&reading).await;
    }
    assert!(matches!(kept, Err(Failure::Limited { .. })), "they are held back: {kept:?}");
    let number = server.open_issue(REPO, "Sign in", "").unwrap();
    assert_eq!(native(&github, &issue(number)).await, "open");
}

#[tokio::test]
async fn who_has_the_turn_to_write_waits_for_no_other() {
    let server = server().await;
    let github = connector(&server);
    let (record, head) = shown_and_pushed(&server, &github, false).await;
    let in_turn = github.calls().unwrap().in_turn(complete(&github, &record));
    tokio::time::timeout(Duration::from_secs(20), in_turn).await.expect("in time").unwrap();
    assert_eq!(server.statuses(REPO, &head).len(), 1);
}

#[tokio::test]
async fn a_used_up_budget_is_a_limit() {
    let server = server().await;
    let github = connector(&server);
    let number = server.open_issue(REPO, "Sign in", "").unwrap();
    server.set_limits(GithubLimits { primary: 1, ..GithubLimits::default() });
    github.read(&issue(number)).await.unwrap();
    assert!(matches!(github.read(&issue(number)).await, Err(Failure::Limited { .. })));
}

#[tokio::test]
async fn an_hours_writes_are_not_exceeded_though_github_does_not_tell_of_them() {
    let server = server().await;
    let github = connector_that_writes(&server, 2);
    let number = server.open_issue(REPO, "Sign in", "").unwrap();
    server.set_limits(GithubLimits { content_per_hour: Some(2), ..GithubLimits::default() });
    for native in ["closed/completed", "open"] {
        assert_eq!(write(&github, &command(&issue(number), native, "done")).await.unwrap(), native);
    }
    let limited = write(&github, &command(&issue(number), "closed/completed", "done")).await;
    let Err(Failure::Limited { retry_after, .. }) = limited else { panic!("{limited:?}") };
    assert!(retry_after > std::time::Duration::from_mins(59), "{retry_after:?}");
    assert_eq!(server.counters().counts().limited, 0, "it is known here, and GitHub has nothing to refuse");
    assert_eq!(native(&github, &issue(number)).await, "open", "reading goes on");
}

#[tokio::test]
async fn a_new_head_that_is_to_show_nothing_does_not_wait_for_an_hours_writes() {
    let server = server().await;
    let github = connector_that_writes(&server, 1);
    let (record, head) = shown_and_pushed(&server, &github, false).await;
    let number = server.open_pull(REPO, "Sign out", "", "ada/sign-out", false).unwrap();
    github.read(&pull(number)).await.unwrap();
    server.act_on_pull(REPO, number, PullAction::Push).unwrap();
    complete(&github, &pull(number)).await.expect("nothing stands on the one before");
    let limited = complete(&github, &record).await;
    assert!(matches!(limited, Err(Failure::Limited { .. })), "the hour is used up: {limited:?}");
    assert_eq!(server.statuses(REPO, &head), []);
}

#[tokio::test]
async fn each_form_of_a_limit_is_known_for_one() {
    let server = server().await;
    let number = opened(&server, true);
    server.faults().set(Faults { limit: 1.0, ..Faults::default() });
    for _ in 0..3 {
        for record in [issue(number), pull(number)] {
            // Each with a pace of its own, so that each call is made.
            let limited = connector(&server).read(&record).await;
            assert!(matches!(limited, Err(Failure::Limited { .. })), "{limited:?}");
        }
    }
}

#[tokio::test]
async fn each_other_failure_is_what_it_is() {
    let server = server().await;
    let github = connector(&server);
    assert!(matches!(github.read(&issue(99)).await, Err(Failure::Gone { .. })));
    assert!(matches!(github.read(&pull(99)).await, Err(Failure::Gone { .. })));
    let stranger = connector_with(&server, Config { token: Some(Secret::new("another")), ..Config::default() });
    assert!(matches!(stranger.read(&issue(1)).await, Err(Failure::Refused { code: "unauthorized", .. })));
    server.faults().set(Faults { error_5xx: 1.0, ..Faults::default() });
    assert!(matches!(github.read(&issue(1)).await, Err(Failure::Unavailable { .. })));
}

#[tokio::test]
async fn an_issue_has_nothing_to_show_a_status_on() {
    let server = server().await;
    let github = connector(&server);
    let number = server.open_issue(REPO, "Sign in", "").unwrap();
    let reading = github.read(&issue(number)).await.unwrap();
    let refused = github.show(&command(&issue(number), "open", "todo"), &reading).await;
    assert!(matches!(refused, Err(Failure::Refused { code: "cannot_show", .. })), "{refused:?}");
}
