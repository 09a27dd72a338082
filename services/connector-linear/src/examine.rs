//! What in a Linear workspace will be in the way: the credential, webhooks, and Linear's own integrations, which move issues
//! themselves and would fight with Lockstep over them.
//!
//! Pure: it judges a snapshot.

use std::collections::BTreeMap;
use std::time::Duration;

use connector::{Examined, Finding, Severity, Words};
use model::Kind;
use serde::Deserialize;

use crate::decode::{self, Nodes};
use crate::vocabulary::{self, State};

/// How many pages of teams are looked at.
pub const PAGES_MAX: usize = 10;

/// What was seen of a workspace.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Who we are, and the teams.
    pub seen: Seen,
    /// The OAuth app's id, where Linear tells it.
    pub asked_app_id: Option<String>,
    /// The webhooks, or why they cannot be seen.
    pub webhooks: Result<Vec<Hook>, String>,
    /// The issues that changed last.
    pub issues: Vec<Synced>,
    /// There are more teams than were looked at.
    pub more_teams: bool,
    /// What the clock says.
    pub skew: Option<Finding>,
}

/// The answer to the first question.
#[derive(Debug, Clone, Deserialize)]
pub struct Seen {
    viewer: Viewer,
    integrations: Nodes<Integration>,
    /// The teams.
    pub teams: Nodes<Team>,
}

#[derive(Debug, Clone, Deserialize)]
struct Viewer {
    name: String,
    app: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct Integration {
    service: String,
}

/// A team.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Team {
    key: String,
    states: Nodes<State>,
    git_automation_states: Nodes<Rule>,
}

/// A rule of a team's git automation. Without a state it does nothing.
#[derive(Debug, Clone, Deserialize)]
struct Rule {
    event: String,
    state: Option<Named>,
}

#[derive(Debug, Clone, Deserialize)]
struct Named {
    name: String,
}

/// A webhook. Without an address it is an OAuth app's, which has it in the app's settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hook {
    enabled: bool,
    url: Option<String>,
    resource_types: Vec<String>,
}

/// An issue, and what Linear itself keeps it in step with.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Synced {
    identifier: String,
    synced_with: Option<Vec<Service>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Service {
    service: String,
}

/// What we are set up to do.
#[derive(Debug, Clone, Copy)]
pub struct Ours<'a> {
    /// The keys of the only teams that count; empty for all.
    pub teams: &'a [String],
    /// Our OAuth client's id, where it is configured.
    pub app_id: Option<&'a str>,
    /// How long it is at most from one sweep to the next.
    pub sweep: Duration,
}

/// What follows from the snapshot.
pub fn judged(snapshot: &Snapshot, ours: &Ours<'_>) -> Examined {
    let mut findings = credential(snapshot, ours);
    findings.extend(snapshot.skew.clone());
    findings.extend(webhooks(snapshot, ours));
    findings.extend(teams(snapshot, ours));
    findings.extend(
        snapshot.seen.teams.nodes.iter().filter_map(|team| automation(team, &snapshot.seen.integrations.nodes)),
    );
    findings.extend(synced(&snapshot.issues));
    Examined { findings, words: snapshot.seen.teams.nodes.iter().filter_map(words).collect() }
}

fn credential(snapshot: &Snapshot, ours: &Ours<'_>) -> Vec<Finding> {
    let Viewer { name, app } = &snapshot.seen.viewer;
    let mut findings = vec![Finding::new(Severity::Info, "reachable", "linear", format!("signed in as {name}"), "")];
    if !app {
        let message =
            format!("the credential is a person's ({name}): no webhook tells whether an edit was Lockstep's own");
        let action = "use an OAuth app: set connector.linear.client_id and client_secret";
        findings.push(Finding::new(Severity::Warning, "personal_credential", "linear", message, action));
    } else if ours.app_id.is_none() && snapshot.asked_app_id.is_none() {
        let message = "connector.linear.app_id is not set, and Linear does not tell it: webhooks name Lockstep by an id that it does \
                       not know as its own";
        let action = "set it to the actor's id in a webhook of Lockstep's own write, or use connector.linear.client_id and client_secret";
        findings.push(Finding::new(Severity::Warning, "app_id_missing", "linear", message, action));
    }
    findings
}

fn webhooks(snapshot: &Snapshot, ours: &Ours<'_>) -> Option<Finding> {
    let every = ours.sweep.as_secs();
    let found = match &snapshot.webhooks {
        Err(why) => {
            let message = format!("whether a webhook is set up cannot be seen ({why})");
            let action = "see in Linear's settings whether one sends issues to /webhooks/linear";
            return Some(Finding::new(Severity::Info, "webhooks_unseen", "linear", message, action));
        }
        Ok(hooks) => hooks,
    };
    let ours = |hook: &&Hook| {
        let here = hook.url.as_ref().is_none_or(|url| url.contains("/webhooks/linear"));
        here && hook.resource_types.iter().any(|kind| kind == "Issue")
    };
    let (code, message) = match found.iter().find(ours) {
        Some(hook) if hook.enabled => return None,
        Some(_) => ("webhook_disabled", "Linear disabled the webhook after too many failures"),
        None => ("webhook_missing", "no webhook sends issues to /webhooks/linear"),
    };
    let message = format!("{message}: edits are seen only by the sweep, every {every} s");
    let action = "make or enable it in Linear's settings, for issues";
    Some(Finding::new(Severity::Warning, code, "linear", message, action))
}

fn teams(snapshot: &Snapshot, ours: &Ours<'_>) -> Vec<Finding> {
    let known = |key: &&String| snapshot.seen.teams.nodes.iter().any(|team| team.key.eq_ignore_ascii_case(key));
    let missing = ours.teams.iter().filter(|key| !known(key)).map(|key| {
        let message = format!("there is no team {key}, or the credential may not see it");
        Finding::new(
            Severity::Error,
            "team_missing",
            "linear",
            message,
            "mend connector.linear.teams or the credential's access",
        )
    });
    let more = snapshot.more_teams.then(|| {
        let message = format!("only the first {} teams were looked at", snapshot.seen.teams.nodes.len());
        Finding::new(Severity::Info, "more_teams", "linear", message, "name those that count in connector.linear.teams")
    });
    missing.chain(more).collect()
}

/// A team whose issues Linear's own git automation moves.
fn automation(team: &Team, integrations: &[Integration]) -> Option<Finding> {
    let moves = |rule: &Rule| {
        let when = match rule.event.as_str() {
            "start" => "work on a branch begins",
            "draft" => "a pull request is drafted",
            "review" => "a pull request is ready for review",
            "mergeable" => "a pull request can be merged",
            "merge" => "a pull request is merged",
            other => other,
        };
        Some(format!("to {:?} when {when}", rule.state.as_ref()?.name))
    };
    let rules: Vec<String> = team.git_automation_states.nodes.iter().filter_map(moves).collect();
    if rules.is_empty() {
        return None;
    }
    let service = |name: &&str| integrations.iter().any(|integration| integration.service.starts_with(*name));
    let connected: Vec<&str> = ["github", "gitlab"].into_iter().filter(service).collect();
    let (rules, key) = (rules.join(", "), &team.key);
    let action = format!(
        "leave it to one: in Linear, set the team's pull request automations to \"no action\" (Settings, Teams, {key}, Workflow); \
         else an item they fight over is held (flip_flop) and waits for `lockstep conflicts resolve`"
    );
    let about = format!("linear, team {key}");
    Some(if connected.is_empty() {
        let message =
            format!("no git integration is connected; once one is, Linear will move issues of {key} itself: {rules}");
        Finding::new(Severity::Info, "git_automation_idle", about, message, action)
    } else {
        let by = connected.join(" and ");
        let message = format!(
            "Linear's {by} integration moves issues of {key} itself: {rules}. With Lockstep, two programs write one status"
        );
        Finding::new(Severity::Warning, "git_automation", about, message, action)
    })
}

/// Issues that Linear itself keeps in step with another system.
fn synced(issues: &[Synced]) -> Vec<Finding> {
    let mut by_service: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for issue in issues {
        for with in issue.synced_with.iter().flatten().filter(|with| with.service != "slack") {
            by_service.entry(&with.service).or_default().push(&issue.identifier);
        }
    }
    let finding = |(service, names): (&str, Vec<&str>)| {
        let shown = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        let more = if names.len() > 5 { format!(" and {} more", names.len() - 5) } else { String::new() };
        let message =
            format!("Linear itself keeps {shown}{more} in step with {service}: two programs write one status");
        let action =
            format!("turn off Linear's {service} issue sync for these, or do not tie their {service} issues to them");
        Finding::new(Severity::Warning, "native_sync", "linear", message, action)
    };
    by_service.into_iter().map(finding).collect()
}

fn words(team: &Team) -> Option<Words> {
    let vocabulary = vocabulary::vocabulary(&vocabulary::ordered(team.states.nodes.clone()));
    Some(Words {
        whose: format!("team {}", team.key),
        system: decode::system(),
        kind: Kind::new("issue").ok()?,
        vocabulary,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn seen(change: impl FnOnce(&mut Value)) -> Seen {
        let mut seen = json!({
            "viewer": {"id": "u", "name": "Lockstep", "app": true, "admin": false},
            "integrations": {"nodes": [{"service": "slack"}, {"service": "github"}]},
            "teams": {"nodes": [{
                "id": "t", "key": "ENG",
                "states": {"nodes": [{"id": "s", "name": "Done", "type": "completed", "position": 1.0}]},
                "gitAutomationStates": {"nodes": [{"event": "merge", "state": {"name": "Done"}}, {"event": "review", "state": null}]},
            }]},
        });
        change(&mut seen);
        serde_json::from_value(seen).unwrap()
    }

    fn hook(enabled: bool, url: &str) -> Hook {
        Hook { enabled, url: Some(url.to_owned()), resource_types: vec!["Issue".to_owned()] }
    }

    fn snapshot(seen: Seen) -> Snapshot {
        let webhooks = Ok(vec![hook(true, "https://x.example/webhooks/linear")]);
        Snapshot { seen, asked_app_id: None, webhooks, issues: vec![], more_teams: false, skew: None }
    }

    fn codes(snapshot: &Snapshot, teams: &[&str]) -> Vec<&'static str> {
        let teams: Vec<String> = teams.iter().map(|team| (*team).to_owned()).collect();
        let ours = Ours { teams: &teams, app_id: Some("app"), sweep: Duration::from_mins(5) };
        judged(snapshot, &ours).findings.into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn linears_own_git_automation_is_named_with_what_it_does_and_a_rule_without_a_state_does_nothing() {
        let snapshot_ = snapshot(seen(|_| {}));
        let ours = Ours { teams: &[], app_id: Some("app"), sweep: Duration::from_mins(5) };
        let findings = judged(&snapshot_, &ours).findings;
        let found = findings.iter().find(|finding| finding.code == "git_automation").unwrap();
        assert_eq!(found.severity, Severity::Warning);
        assert!(
            found
                .message
                .contains("github integration moves issues of ENG itself: to \"Done\" when a pull request is merged."),
            "{}",
            found.message
        );
        let off = |seen: &mut Value| seen["teams"]["nodes"][0]["gitAutomationStates"]["nodes"] = json!([]);
        assert_eq!(codes(&snapshot(seen(off)), &[]), ["reachable"]);
        let idle = |seen: &mut Value| seen["integrations"]["nodes"] = json!([]);
        assert_eq!(codes(&snapshot(seen(idle)), &[]), ["reachable", "git_automation_idle"]);
    }

    #[test]
    fn issues_that_linear_syncs_itself_are_counted_by_service() {
        let issue = |number: u32, service: &str| Synced {
            identifier: format!("ENG-{number}"),
            synced_with: Some(vec![Service { service: service.to_owned() }]),
        };
        let mut issues: Vec<Synced> = (1..=7).map(|number| issue(number, "github")).collect();
        issues.extend([issue(8, "slack"), Synced { identifier: "ENG-9".into(), synced_with: None }]);
        let found = synced(&issues);
        assert_eq!(found.len(), 1, "a thread in Slack writes no status");
        assert!(found[0].message.contains("ENG-5 and 2 more in step with github"), "{}", found[0].message);
    }

    #[test]
    fn a_webhook_that_is_missing_disabled_or_elsewhere_is_told() {
        let quiet = seen(|seen| seen["integrations"]["nodes"] = json!([]));
        let with = |webhooks| codes(&Snapshot { webhooks, ..snapshot(quiet.clone()) }, &[])[1];
        assert_eq!(with(Ok(vec![])), "webhook_missing");
        assert_eq!(with(Ok(vec![hook(true, "https://other.example/hook")])), "webhook_missing");
        assert_eq!(with(Ok(vec![hook(false, "https://x.example/webhooks/linear")])), "webhook_disabled");
        assert_eq!(with(Err("forbidden".to_owned())), "webhooks_unseen");
    }

    #[test]
    fn an_app_that_does_not_know_by_which_id_webhooks_name_it_is_told() {
        let about_app = |asked: Option<&str>, app_id: Option<&str>| {
            let asked_app_id = asked.map(str::to_owned);
            let ours = Ours { teams: &[], app_id, sweep: Duration::from_mins(5) };
            let findings = judged(&Snapshot { asked_app_id, ..snapshot(seen(|_| {})) }, &ours).findings;
            findings.into_iter().find(|finding| finding.code == "app_id_missing").map(|finding| finding.severity)
        };
        assert_eq!(about_app(None, None), Some(Severity::Warning));
        assert_eq!(about_app(Some("asked"), None), None);
        assert_eq!(about_app(None, Some("set")), None);
    }

    #[test]
    fn a_persons_credential_and_a_team_that_is_not_there_are_told() {
        let personal = snapshot(seen(|seen| {
            seen["viewer"]["app"] = json!(false);
            seen["integrations"]["nodes"] = json!([]);
        }));
        let found = codes(&personal, &["eng", "OPS"]);
        assert_eq!(found, ["reachable", "personal_credential", "team_missing", "git_automation_idle"]);
    }
}
