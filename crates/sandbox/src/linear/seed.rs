//! The workspace every sandbox starts with: an organization, a person and an application, two teams with their states,
//! labels, the configured webhook, and with the demo data six issues.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    clock,
    linear::{
        change::{self, NewIssue},
        error::ApiError,
        world::{Actor, World, row},
    },
};

/// The person behind a personal key, and behind edits by hand.
const PERSON: &str = "Ada";
/// The application behind an OAuth token.
const APP: &str = "Lockstep";
/// What its OAuth client is seeded as.
pub const CLIENT: &str = "oauth-client";

struct TeamSeed {
    key: &'static str,
    name: &'static str,
    /// The state that new issues get.
    default: &'static str,
    states: &'static [(&'static str, &'static str, &'static str)],
}

const TEAMS: [TeamSeed; 2] = [
    TeamSeed {
        key: "ENG",
        name: "Engineering",
        default: "Todo",
        states: &[
            ("Triage", "triage", "#fc7840"),
            ("Backlog", "backlog", "#bec2c8"),
            ("Todo", "unstarted", "#e2e2e2"),
            ("In Progress", "started", "#f2c94c"),
            ("In Review", "started", "#0f783c"),
            ("Done", "completed", "#5e6ad2"),
            ("Canceled", "canceled", "#95a2b3"),
            ("Duplicate", "duplicate", "#95a2b3"),
        ],
    },
    TeamSeed {
        key: "OPS",
        name: "Operations",
        default: "Later",
        states: &[
            ("Inbox", "triage", "#fc7840"),
            ("Later", "backlog", "#bec2c8"),
            ("Next", "unstarted", "#e2e2e2"),
            ("Doing", "started", "#f2c94c"),
            ("Shipped", "completed", "#5e6ad2"),
            ("Dropped", "canceled", "#95a2b3"),
        ],
    },
];

const LABELS: [(&str, &str); 3] = [("Bug", "#eb5757"), ("Feature", "#bb87fc"), ("Improvement", "#4ea7fc")];

const ISSUES: [&str; 6] = [
    "Sign in with a passkey",
    "Search answers within 100 ms",
    "Export invoices as PDF",
    "Retry failed payments",
    "Dark mode for the dashboard",
    "Upgrade the database",
];

/// The id of a seeded thing: the same in every sandbox, so that a configuration can name it.
pub fn id(name: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("https://linear.app/sandbox/{name}").as_bytes()).to_string()
}

/// The id of the user who acts.
pub fn user(actor: Actor) -> String {
    id(match actor {
        Actor::Person => "user/ada",
        Actor::App => "user/app",
        // No user: a field that names one is empty.
        Actor::Github => "integration/github",
    })
}

/// Fills in what the world does not have yet.
pub fn fill(world: &mut World, client_id: &str, webhook_secret: &str, demo: bool) -> Result<(), ApiError> {
    // Older than anything that happens from now on, and each a millisecond after the one before.
    let mut stamp = clock::now_ms() - 60_000;
    let mut add = |world: &mut World, kind: &str, name: &str, fields: Value| {
        let id = id(name);
        if world.get(kind, &id).is_some() {
            return Ok(());
        }
        stamp += 1;
        let mut entity = row(fields);
        entity.insert("id".to_owned(), json!(id));
        entity.insert("createdAt".to_owned(), json!(clock::iso(stamp)));
        entity.insert("updatedAt".to_owned(), json!(clock::iso(stamp)));
        world.put(kind, entity)
    };
    add(world, "Organization", "organization", json!({"name": "Sandbox", "urlKey": "sandbox"}))?;
    for (actor, name) in [("user/ada", PERSON), ("user/app", APP)] {
        let handle = name.to_lowercase();
        let app = actor == "user/app";
        let fields = json!({
            "name": name, "displayName": handle, "email": format!("{handle}@sandbox.example"), "initials": &name[..1],
            "url": format!("https://linear.app/sandbox/profiles/{handle}"), "avatarBackgroundColor": "#5e6ad2",
            "active": true, "admin": !app, "app": app, "isAssignable": true, "isMentionable": true, "timezone": "Etc/UTC",
        });
        add(world, "User", actor, fields)?;
    }
    for team in &TEAMS {
        team_rows(world, team, &mut add)?;
    }
    for (name, color) in LABELS {
        add(world, "IssueLabel", &format!("label/{name}"), json!({"name": name, "color": color, "isGroup": false}))?;
    }
    configured_client(world, client_id);
    configured_webhook(world, webhook_secret);
    if demo && world.rows("Issue").next().is_none() {
        for title in ISSUES {
            let new = NewIssue {
                team: "ENG".to_owned(),
                title: title.to_owned(),
                state: Some("Todo".to_owned()),
                ..NewIssue::default()
            };
            change::create_by_name(world, &new, Actor::Person, false)?;
        }
    }
    Ok(())
}

fn team_rows(
    world: &mut World,
    team: &TeamSeed,
    add: &mut impl FnMut(&mut World, &str, &str, Value) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let key = team.key;
    let team_id = id(&format!("team/{key}"));
    let state = |name: &str| id(&format!("state/{key}/{name}"));
    let fields = json!({
        "key": key, "name": team.name, "displayName": team.name, "timezone": "Etc/UTC", "triageEnabled": true,
        "defaultIssueStateId": state(team.default), "issueEstimationType": "notUsed",
        "triageIssueStateId": state(team.states[0].0),
    });
    add(world, "Team", &format!("team/{key}"), fields)?;
    for (position, (name, kind, color)) in (0_u32..).zip(team.states) {
        let fields =
            json!({"name": name, "type": kind, "color": color, "position": f64::from(position), "teamId": team_id});
        add(world, "WorkflowState", &format!("state/{key}/{name}"), fields)?;
    }
    Ok(())
}

/// The OAuth client of the options.
fn configured_client(world: &mut World, client_id: &str) {
    let developer = "https://sandbox.example";
    let fields =
        json!({"id": id(CLIENT), "clientId": client_id, "name": APP, "developer": APP, "developerUrl": developer});
    world.set("Application", row(fields));
}

/// The webhook of the options; its address is the server's target, which can change at any time.
fn configured_webhook(world: &mut World, secret: &str) {
    let now = clock::iso(clock::now_ms());
    let fields = json!({
        "id": id("webhook"), "createdAt": now, "updatedAt": now, "label": "Lockstep", "enabled": true, "allPublicTeams": true,
        "resourceTypes": ["Issue", "Comment"], "secret": secret, "creatorId": user(Actor::Person),
    });
    world.set("Webhook", row(fields));
}
