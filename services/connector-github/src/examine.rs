//! What on GitHub will be in the way: the credential and its rights, repositories, webhooks.
//!
//! Pure: it judges a snapshot.

use std::time::Duration;

use connector::{Finding, Severity};
use serde::Deserialize;

/// The events without which edits are seen only by the sweep.
const EVENTS: [&str; 3] = ["issues", "pull_request", "pull_request_review"];

/// What was seen.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Whether the credential is an app's.
    pub app: bool,
    /// The account that our writes are known by, where it is known.
    pub bot: Option<String>,
    /// The account that the token belongs to; an installation's belongs to none.
    pub login: Option<String>,
    /// The scopes of a classic token; no other has any.
    pub scopes: Option<String>,
    /// The repositories that are configured.
    pub repositories: Vec<Repository>,
    /// What the clock says.
    pub skew: Option<Finding>,
}

/// A repository.
#[derive(Debug, Clone)]
pub struct Repository {
    /// `owner/name`, as it is configured.
    pub name: String,
    /// What GitHub calls it, where it can be seen.
    pub called: Option<String>,
    /// Whether the credential may write to it, where that is said; or why it cannot be seen.
    pub can_push: Result<Option<bool>, String>,
    /// Its webhooks, where they can be seen.
    pub hooks: Option<Vec<Hook>>,
}

/// A webhook.
#[derive(Debug, Clone, Deserialize)]
pub struct Hook {
    active: bool,
    events: Vec<String>,
    config: HookConfig,
}

#[derive(Debug, Clone, Deserialize)]
struct HookConfig {
    #[serde(default)]
    url: String,
}

/// What follows from the snapshot; the sweep runs every `sweep`.
pub fn judged(snapshot: &Snapshot, sweep: Duration) -> Vec<Finding> {
    let who = snapshot.bot.as_ref().or(snapshot.login.as_ref()).map_or("an installation", String::as_str);
    let mut findings = vec![Finding::new(Severity::Info, "reachable", "github", format!("signed in as {who}"), "")];
    findings.extend(snapshot.skew.clone());
    if snapshot.bot.is_none() {
        let message = format!("webhooks do not tell whether an edit was Lockstep's own: a person may use {who}, too");
        let action = "use a GitHub App, or a bot's account alone and set connector.github.bot_login";
        findings.push(Finding::new(Severity::Warning, "personal_credential", "github", message, action));
    }
    // A fine-grained or an app's token sends no scopes; a classic one without `repo` writes to public repositories at most.
    let scopes = snapshot.scopes.as_ref().filter(|scopes| !scopes.is_empty());
    if let Some(scopes) = scopes.filter(|scopes| !scopes.split(',').any(|scope| scope.trim() == "repo")) {
        let message = format!("the token has the scopes {scopes} and not repo: private repositories are out of reach");
        findings.push(Finding::new(
            Severity::Warning,
            "scope_missing",
            "github",
            message,
            "give the token the scope repo",
        ));
    }
    if snapshot.repositories.is_empty() {
        let message = "no repository is swept: what a lost webhook told is not found again";
        let action = "name the repositories in connector.github.repositories";
        findings.push(Finding::new(Severity::Warning, "no_repositories", "github", message, action));
    }
    for repository in &snapshot.repositories {
        findings.extend(rights(repository));
        findings.extend(renamed(repository));
        findings.extend(webhooks(repository, snapshot.app, sweep));
    }
    findings
}

fn rights(repository: &Repository) -> Option<Finding> {
    let about = format!("github, {}", repository.name);
    match &repository.can_push {
        Ok(None | Some(true)) => None,
        Ok(Some(false)) => {
            let message =
                "the credential may read it and not write to it: its issues and pull requests cannot be told a status";
            let action = "give the credential write access to issues and pull requests";
            Some(Finding::new(Severity::Error, "cannot_write", about, message, action))
        }
        Err(why) => {
            let action = "mend connector.github.repositories, or give the credential access";
            Some(Finding::new(Severity::Error, "repository_missing", about, why.clone(), action))
        }
    }
}

fn renamed(repository: &Repository) -> Option<Finding> {
    let called = repository.called.as_ref().filter(|called| !called.eq_ignore_ascii_case(&repository.name))?;
    let message = format!("it is called {called} now: its records keep the name that is configured");
    let action = "leave it so while GitHub leads from the one to the other; under the new name in connector.github.repositories its records begin anew";
    Some(Finding::new(Severity::Warning, "repository_renamed", format!("github, {}", repository.name), message, action))
}

fn webhooks(repository: &Repository, app: bool, sweep: Duration) -> Option<Finding> {
    if repository.can_push.is_err() {
        return None;
    }
    let about = format!("github, {}", repository.name);
    let ours: Vec<&Hook> = match &repository.hooks {
        None => vec![],
        Some(hooks) => {
            hooks.iter().filter(|hook| hook.active && hook.config.url.contains("/webhooks/github")).collect()
        }
    };
    if app || repository.hooks.is_none() {
        let message = if app { "an app has its webhook in its own settings" } else { "its webhooks cannot be seen" };
        let message = format!("{message}: whether one tells Lockstep of {} was not looked at", EVENTS.join(", "));
        return Some(Finding::new(
            Severity::Info,
            "webhooks_unseen",
            about,
            message,
            "see that one sends them to /webhooks/github",
        ));
    }
    let told = |event: &&str| ours.iter().any(|hook| hook.events.iter().any(|name| name == "*" || name == event));
    let missing: Vec<&str> = EVENTS.into_iter().filter(|event| !told(event)).collect();
    if missing.is_empty() {
        return None;
    }
    let message = format!(
        "no active webhook sends {} to /webhooks/github: those edits are seen only by the sweep, every {} s",
        missing.join(", "),
        sweep.as_secs()
    );
    Some(Finding::new(Severity::Warning, "webhook_missing", about, message, "make one in the repository's settings"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(events: &[&str], url: &str, active: bool) -> Hook {
        let events = events.iter().map(|event| (*event).to_owned()).collect();
        Hook { active, events, config: HookConfig { url: url.to_owned() } }
    }

    fn codes(change: impl FnOnce(&mut Snapshot)) -> Vec<&'static str> {
        let repository = Repository {
            name: "acme/web".to_owned(),
            called: Some("Acme/web".to_owned()),
            can_push: Ok(Some(true)),
            hooks: Some(vec![hook(&["*"], "https://x.example/webhooks/github", true)]),
        };
        let mut snapshot = Snapshot {
            app: false,
            bot: Some("lockstep[bot]".to_owned()),
            login: None,
            scopes: None,
            repositories: vec![repository],
            skew: None,
        };
        change(&mut snapshot);
        let found = judged(&snapshot, Duration::from_mins(5));
        found.into_iter().map(|finding| finding.code).filter(|code| *code != "reachable").collect()
    }

    #[test]
    fn what_is_in_order_is_not_complained_of() {
        assert_eq!(codes(|_| {}), Vec::<&str>::new());
    }

    #[test]
    fn what_a_credential_lacks_is_told() {
        assert_eq!(codes(|seen| seen.bot = None), ["personal_credential"]);
        assert_eq!(codes(|seen| seen.scopes = Some("public_repo, read:org".to_owned())), ["scope_missing"]);
        assert_eq!(codes(|seen| seen.scopes = Some("repo, read:org".to_owned())), Vec::<&str>::new());
        assert_eq!(codes(|seen| seen.repositories[0].can_push = Ok(Some(false))), ["cannot_write"]);
        assert_eq!(codes(|seen| seen.repositories[0].can_push = Err("gone".to_owned())), ["repository_missing"]);
        assert_eq!(codes(|seen| seen.repositories[0].called = Some("acme/new".to_owned())), ["repository_renamed"]);
        assert_eq!(codes(|seen| seen.repositories.clear()), ["no_repositories"]);
    }

    #[test]
    fn a_webhook_must_be_active_ours_and_tell_all_that_counts() {
        let with = |hooks| codes(|seen| seen.repositories[0].hooks = hooks);
        assert_eq!(with(Some(vec![])), ["webhook_missing"]);
        assert_eq!(with(Some(vec![hook(&["*"], "https://x.example/webhooks/github", false)])), ["webhook_missing"]);
        assert_eq!(with(Some(vec![hook(&["*"], "https://x.example/other", true)])), ["webhook_missing"]);
        assert_eq!(
            with(Some(vec![hook(&["issues", "pull_request"], "https://x.example/webhooks/github", true)])),
            ["webhook_missing"]
        );
        assert_eq!(with(None), ["webhooks_unseen"]);
        assert_eq!(codes(|seen| seen.app = true), ["webhooks_unseen"]);
    }
}
