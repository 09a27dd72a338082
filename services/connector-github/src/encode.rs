//! What GitHub is asked and told: paths, bodies and GraphQL documents, and what a command means of them.
//!
//! Pure.

use connector::Failure;
use http::Method;
use model::{Command, Native, Status};
use serde_json::{Value, json};

use crate::address::Address;

/// The name under which an item's status stands beside a pull request.
pub const CONTEXT: &str = "lockstep";
/// GitHub refuses a longer description.
const DESCRIPTION_MAX: usize = 140;
/// How many there are on a page of a list.
pub const PAGE: usize = 100;

const PULL_REQUEST: &str = include_str!("../graphql/pull_request.graphql");
const CONVERT_TO_DRAFT: &str = include_str!("../graphql/convert_to_draft.graphql");
const CHANGE_REASON: &str = include_str!("../graphql/change_reason.graphql");
const LIMITS: &str = include_str!("../graphql/limits.graphql");
const READY_FOR_REVIEW: &str = include_str!("../graphql/ready_for_review.graphql");

/// Something to ask or tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// How.
    pub method: Method,
    /// Where, from the API's root; GraphQL has a place of its own.
    pub path: String,
    /// What.
    pub body: Option<Value>,
}

impl Call {
    /// Asks for what is at a path.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None }
    }

    fn with(method: Method, path: impl Into<String>, body: Value) -> Self {
        Self { method, path: path.into(), body: Some(body) }
    }

    fn graphql(query: &str, variables: &Value) -> Self {
        Self::with(Method::POST, "/graphql", json!({"query": query, "variables": variables}))
    }

    /// Whether it goes to GraphQL.
    pub fn is_graphql(&self) -> bool {
        self.path == "/graphql"
    }

    /// Whether it is about the statuses of a commit.
    pub fn is_of_a_commit(&self) -> bool {
        // Behind `/repos/owner/name`.
        self.path.split('/').nth(4).is_some_and(|part| matches!(part, "commits" | "statuses"))
    }
}

/// Exchanges an app's claim for a token of its installation.
pub fn exchange(installation: u64) -> Call {
    Call { method: Method::POST, path: format!("/app/installations/{installation}/access_tokens"), body: None }
}

/// Asks for an issue.
pub fn issue(at: &Address) -> Call {
    Call::get(format!("/repos/{}/issues/{}", at.repository, at.number))
}

/// Asks for a pull request with all that it comes to.
pub fn pull(at: &Address) -> Call {
    let (owner, name) = at.owner_and_name();
    Call::graphql(PULL_REQUEST, &json!({"owner": owner, "name": name, "number": at.number}))
}

/// Asks GraphQL for what it always knows: how much of its own budget is left.
pub fn graphql_limits() -> Call {
    Call::graphql(LIMITS, &json!({}))
}

/// Asks for a pull request by REST, which does not tell how its reviews stand.
pub fn pull_by_rest(at: &Address) -> Call {
    Call::get(format!("/repos/{}/pulls/{}", at.repository, at.number))
}

/// Asks for a page of the issues and pull requests that changed since a time, the oldest change first.
pub fn changed(repository: &str, since: Option<&str>, page: u32) -> Call {
    let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
    Call::get(format!(
        "/repos/{repository}/issues?state=all&sort=updated&direction=asc&per_page={PAGE}&page={page}{since}"
    ))
}

/// Asks for one of the issues and pull requests that changed since a time: the answer tells how many there are.
pub fn how_many(repository: &str, since: Option<&str>) -> Call {
    let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
    Call::get(format!("/repos/{repository}/issues?state=all&per_page=1{since}"))
}

/// Asks for the hooks of a repository.
pub fn hooks(repository: &str) -> Call {
    Call::get(format!("/repos/{repository}/hooks?per_page={PAGE}"))
}

/// Asks for a page of a list of deliveries, those of a status or all, the newest first.
pub fn deliveries(log: &str, status: Option<&str>, cursor: Option<&str>) -> Call {
    let status = status.map(|status| format!("&status={status}")).unwrap_or_default();
    let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
    Call::get(format!("{log}?per_page={PAGE}{status}{cursor}"))
}

/// Asks for a delivery to be made again.
pub fn attempt(log: &str, delivery: u64) -> Call {
    Call { method: Method::POST, path: format!("{log}/{delivery}/attempts"), body: None }
}

/// Makes an issue show a status.
pub fn set_issue(at: &Address, native: &Native) -> Result<Call, Failure> {
    let body = match native.as_str().split_once('/') {
        None if native.as_str() == "open" => json!({"state": "open"}),
        Some(("closed", reason @ ("completed" | "not_planned" | "duplicate"))) => {
            json!({"state": "closed", "state_reason": reason})
        }
        _ => return Err(no_such_status(native)),
    };
    Ok(Call::with(Method::PATCH, format!("/repos/{}/issues/{}", at.repository, at.number), body))
}

/// Gives a closed issue another reason for being closed, which takes a change of its state: it is opened and closed. In one
/// request, so that no crash and no limit comes between the two and leaves open what nobody opened.
pub fn change_reason(node: &str, native: &Native) -> Result<Call, Failure> {
    let reason = match native.as_str() {
        "closed/completed" => "COMPLETED",
        "closed/not_planned" => "NOT_PLANNED",
        "closed/duplicate" => "DUPLICATE",
        _ => return Err(no_such_status(native)),
    };
    Ok(Call::graphql(CHANGE_REASON, &json!({"id": node, "reason": reason})))
}

/// Opens a closed pull request again.
pub fn reopen_pull(at: &Address) -> Call {
    Call::with(Method::PATCH, format!("/repos/{}/pulls/{}", at.repository, at.number), json!({"state": "open"}))
}

/// Makes an open pull request a draft, or ready for review; the answer's data is under the second name.
pub fn set_draft(node: &str, draft: bool) -> (Call, &'static str) {
    let (query, name) = if draft {
        (CONVERT_TO_DRAFT, "convertPullRequestToDraft")
    } else {
        (READY_FOR_REVIEW, "markPullRequestReadyForReview")
    };
    (Call::graphql(query, &json!({"id": node})), name)
}

/// Whether a pull request is to be a draft; the two words are all that one can be told.
pub fn wants_draft(native: &Native) -> Result<bool, Failure> {
    match native.as_str() {
        "draft" => Ok(true),
        "open" => Ok(false),
        _ => Err(no_such_status(native)),
    }
}

/// Asks for the newest status of each context on a commit.
pub fn statuses(repository: &str, sha: &str) -> Call {
    Call::get(format!("/repos/{repository}/commits/{sha}/status?per_page=100"))
}

/// The commit status that shows an item's status.
pub fn status(repository: &str, sha: &str, command: &Command) -> Call {
    let named = command.key.clone().unwrap_or_else(|| command.item.to_string());
    let description: String = format!("{named} is {}", command.status).chars().take(DESCRIPTION_MAX).collect();
    let body = json!({"state": light(&command.status), "context": CONTEXT, "description": description});
    Call::with(Method::POST, format!("/repos/{repository}/statuses/{sha}"), body)
}

/// What is shown there of ours, of the newest statuses of a commit.
pub fn shown(statuses: &Value) -> Option<&Value> {
    statuses["statuses"].as_array().into_iter().flatten().find(|status| status["context"] == CONTEXT)
}

/// Whether the newest statuses of a commit say already what this call would.
pub fn says_already(statuses: &Value, call: &Call) -> bool {
    let body = call.body.as_ref();
    shown(statuses)
        .zip(body)
        .is_some_and(|(shown, body)| ["state", "description"].iter().all(|field| shown[field] == body[field]))
}

/// Whether what is shown of ours on one commit is not older than what is shown on another: a head that was one before, and is it again,
/// still shows what it showed then.
pub fn shows_newer(head: &Value, before: &Value) -> bool {
    // In RFC 3339 and in UTC, as all of GitHub's times.
    let at = |statuses| shown(statuses).map(|status| status["updated_at"].as_str().unwrap_or_default());
    at(head).is_some_and(|head| Some(head) >= at(before))
}

/// Shows on a commit what of ours is among the newest statuses of another.
pub fn status_again(statuses: &Value, repository: &str, sha: &str) -> Option<Call> {
    let shown = shown(statuses)?;
    let body = json!({"state": shown["state"], "context": CONTEXT, "description": shown["description"]});
    Some(Call::with(Method::POST, format!("/repos/{repository}/statuses/{sha}"), body))
}

fn light(status: &Status) -> &'static str {
    match status.as_str() {
        "done" | "completed" => "success",
        "failed" => "failure",
        "canceled" | "cancelled" | "error" => "error",
        _ => "pending",
    }
}

fn no_such_status(native: &Native) -> Failure {
    Failure::refused("no_such_status", format!("GitHub cannot be told {native:?}"))
}

#[cfg(test)]
mod tests {
    use model::{CommandMode, ItemId, Version};

    use super::*;

    fn at() -> Address {
        Address::new("acme/web", 7).unwrap()
    }

    fn native(word: &str) -> Native {
        Native::new(word).unwrap()
    }

    fn show(status: &str, key: Option<&str>) -> Call {
        let command = Command {
            record: "github/pull_request/acme/web#7".parse().unwrap(),
            item: ItemId(uuid::Uuid::nil()),
            version: Version(3),
            status: Status::new(status).unwrap(),
            previous: None,
            native: native("merged"),
            mode: CommandMode::Show,
            expects: Vec::new(),
            earlier: vec![],
            position: None,
            key: key.map(str::to_owned),
            cause: 1,
        };
        super::status("acme/web", "abc", &command)
    }

    #[test]
    fn an_issue_is_closed_with_its_reason_and_opened_without() {
        let call = set_issue(&at(), &native("closed/not_planned")).unwrap();
        assert_eq!((call.method, call.path.as_str()), (Method::PATCH, "/repos/acme/web/issues/7"));
        assert_eq!(call.body, Some(json!({"state": "closed", "state_reason": "not_planned"})));
        assert_eq!(set_issue(&at(), &native("open")).unwrap().body, Some(json!({"state": "open"})));
        assert!(matches!(
            set_issue(&at(), &native("closed/whatever")),
            Err(Failure::Refused { code: "no_such_status", .. })
        ));
    }

    #[test]
    fn a_pull_request_can_be_told_two_words() {
        assert!(wants_draft(&native("draft")).unwrap());
        assert!(!wants_draft(&native("open")).unwrap());
        assert!(wants_draft(&native("merged")).is_err());
    }

    #[test]
    fn a_sweep_asks_for_the_oldest_change_first() {
        let path = "/repos/acme/web/issues?state=all&sort=updated&direction=asc&per_page=100&page=2&since=2026-11-20T09:30:00Z";
        assert_eq!(changed("acme/web", Some("2026-11-20T09:30:00Z"), 2).path, path);
        assert!(!changed("acme/web", None, 1).path.contains("since"));
    }

    #[test]
    fn a_commit_status_says_whose_status_it_is() {
        let call = show("in_review", Some("ENG-12"));
        assert_eq!(call.path, "/repos/acme/web/statuses/abc");
        assert!(call.is_of_a_commit() && statuses("acme/web", "abc").is_of_a_commit());
        assert!(!Call::get("/repos/statuses/commits/issues/7").is_of_a_commit());
        assert_eq!(
            call.body,
            Some(json!({"state": "pending", "context": "lockstep", "description": "ENG-12 is in_review"}))
        );
        assert_eq!(show("done", None).body.unwrap()["state"], "success");
        assert_eq!(show("failed", None).body.unwrap()["state"], "failure");
        assert_eq!(show("canceled", None).body.unwrap()["state"], "error");
        let long = show("done", Some(&"x".repeat(200))).body.unwrap();
        assert_eq!(long["description"].as_str().unwrap().len(), DESCRIPTION_MAX);
    }

    #[test]
    fn a_status_that_stands_there_already_is_known() {
        let call = show("done", Some("ENG-12"));
        let shown = |description: &str| {
            json!({"statuses": [
                {"context": "ci", "state": "pending", "description": "ENG-12 is done"},
                {"context": "lockstep", "state": "success", "description": description},
            ]})
        };
        assert!(says_already(&shown("ENG-12 is done"), &call));
        assert!(!says_already(&shown("ENG-12 is in_review"), &call));
        assert!(!says_already(&json!({"statuses": []}), &call));
    }

    #[test]
    fn a_head_that_is_one_again_does_not_keep_what_it_showed_long_ago() {
        let shown = |updated_at: &str| json!({"statuses": [{"context": "lockstep", "updated_at": updated_at}]});
        let before = shown("2026-11-20T09:30:00Z");
        assert!(!shows_newer(&shown("2026-11-20T09:29:59Z"), &before));
        assert!(!shows_newer(&json!({"statuses": []}), &before));
        for at in ["2026-11-20T09:30:00Z", "2026-11-20T09:30:01Z"] {
            assert!(shows_newer(&shown(at), &before), "whoever wrote it knew more: {at}");
        }
    }
}
