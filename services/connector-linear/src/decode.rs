//! What Linear says of an issue, as observations: from a webhook's body or from the API's answers, which name the same fields.
//!
//! Pure. It does not know which states a team has unless it is told.

use connector::{Decoded, Failure, moment, observation_id};
use model::{
    Actor, Key, Kind, Native, Observation, Origin, Position, RecordRef, Source, System, Timestamp, Vocabulary,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::scope::{Scope, Standing};
use crate::vocabulary::State;

/// An issue, by the fields that webhooks and our queries share.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issue {
    /// Its id, which it keeps when it moves to another team.
    pub id: String,
    /// What people call it: `ENG-123`.
    pub identifier: String,
    /// What people called it in the teams that it was in before.
    #[serde(default)]
    pub previous_identifiers: Vec<String>,
    /// Its title.
    #[serde(default)]
    pub title: Option<String>,
    /// Where people find it.
    #[serde(default)]
    pub url: Option<String>,
    /// When it last changed, to the millisecond.
    pub updated_at: String,
    /// When it was put in the archive; those in the trash are there, too.
    #[serde(default)]
    pub archived_at: Option<String>,
    /// Whether it is in the trash.
    #[serde(default)]
    pub trashed: Option<bool>,
    /// The state it is in.
    pub state: Named,
    /// The team whose states it can be in.
    pub team: Team,
}

impl Issue {
    /// Whether it is in the trash.
    pub fn is_trashed(&self) -> bool {
        self.trashed == Some(true)
    }

    /// Whether Linear put it away because nothing came of it for long: it is as it was, and there may be very many.
    pub fn is_only_archived(&self) -> bool {
        self.archived_at.is_some() && !self.is_trashed()
    }
}

/// The state of an issue.
#[derive(Debug, Clone, Deserialize)]
pub struct Named {
    /// Its id.
    pub id: String,
    /// What the team calls it.
    pub name: String,
}

/// A team, with its states where they were asked for.
#[derive(Debug, Clone, Deserialize)]
pub struct Team {
    /// Its id.
    pub id: String,
    /// What its issues' identifiers begin with.
    pub key: String,
    /// Its states, in any order.
    #[serde(default)]
    pub states: Option<Nodes<State>>,
}

/// A page of a connection.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Nodes<T> {
    /// What is on it.
    pub nodes: Vec<T>,
    /// Whether there is another, where that was asked for.
    #[serde(default)]
    pub page_info: Option<PageInfo>,
}

/// Whether there is another page, and after what.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PageInfo {
    /// Whether there is another.
    pub has_next_page: bool,
    /// What it begins after.
    pub end_cursor: Option<String>,
}

/// How many issues a team has.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Size {
    /// What its issues' identifiers begin with.
    pub key: String,
    /// How many there are, without archived ones.
    pub issue_count: u64,
}

#[derive(Deserialize)]
struct Body {
    action: String,
    #[serde(rename = "type")]
    kind: String,
    actor: Option<Sender>,
    data: Value,
    /// When it was done, and when it was sent.
    #[serde(rename = "createdAt", default)]
    created_at: Option<String>,
    #[serde(rename = "webhookTimestamp", default)]
    sent_at_ms: Option<Value>,
    /// The old values of what changed.
    #[serde(rename = "updatedFrom", default)]
    updated_from: Option<serde_json::Map<String, Value>>,
}

impl Body {
    /// Whether it is the status that was edited. Who edited something else says nothing of whose the status is: it may be our
    /// own write that is seen here for the first time.
    fn is_about_status(&self) -> bool {
        let moved = |old: &serde_json::Map<String, Value>| old.contains_key("stateId");
        self.action == "create" || self.updated_from.as_ref().is_some_and(moved)
    }
}

/// What is needed of an issue that was removed: the rest of it may be gone, too.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Removed {
    id: String,
    #[serde(default)]
    updated_at: Option<String>,
}

#[derive(Deserialize)]
struct Sender {
    id: Option<String>,
    name: Option<String>,
    service: Option<String>,
    #[serde(rename = "type", default)]
    kind: String,
}

/// Who we are in Linear, as far as that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Us {
    /// The ids by which webhooks name the app that our credential belongs to; none under a personal key, where a person
    /// may be the actor.
    pub ids: Vec<String>,
    /// Whether the configuration says by which of them webhooks name the app. One that was only asked for is recognized where it
    /// comes; that another is not ours does not follow.
    pub client_known: bool,
}

impl Us {
    fn origin(&self, sender: Option<&Sender>) -> Origin {
        let Some((sender, id)) = sender.and_then(|sender| Some((sender, sender.id.as_ref()?))) else {
            return Origin::Unknown;
        };
        if self.ids.is_empty() {
            Origin::Unknown
        } else if self.ids.contains(id) {
            Origin::Own(None)
        } else if !self.client_known && !matches!(sender.kind.as_str(), "user" | "integration") {
            // An app is named by its OAuth client's id, which is not its user's: this client may be ours.
            Origin::Unknown
        } else {
            Origin::Other
        }
    }
}

/// The system that all this is about.
pub fn system() -> System {
    System::new(crate::SYSTEM).expect("the connector's own name is a good name")
}

/// The record of an issue.
pub fn record(issue: &str) -> Result<RecordRef, Failure> {
    let kind = Kind::new("issue").expect("a constant name is a good name");
    RecordRef::new(system(), kind, issue).map_err(|error| malformed(&error))
}

/// What a webhook's body tells. `words` brings the words of a team that are known and include the one asked for; `scope` says which
/// teams count.
pub fn webhook(
    body: &[u8],
    us: &Us,
    scope: &Scope,
    words: impl Fn(&str, &Native) -> Option<Vocabulary>,
) -> Result<Decoded, Failure> {
    let body: Body = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    match (body.kind.as_str(), body.action.as_str()) {
        ("Issue", "create" | "update" | "restore" | "remove") => {}
        ("Issue", _) => return Ok(Decoded::Ignored("other_action")),
        _ => return Ok(Decoded::Ignored("other_type")),
    }
    let by = body.actor.as_ref().and_then(actor);
    if body.action == "remove" {
        let removed: Removed = Removed::deserialize(&body.data).map_err(|error| malformed(&error))?;
        let at = match (removed.updated_at.as_ref().or(body.created_at.as_ref()), &body.sent_at_ms) {
            (None, Some(sent)) => at_ms(sent.as_i64().unwrap_or_default())?,
            (done, _) => moment(done.map_or("", String::as_str))?,
        };
        let removed = removed_at(&removed.id, at, Source::Webhook)?;
        return Ok(Decoded::Observations(vec![Observation { actor: by, ..removed }]));
    }
    let about_status = body.is_about_status();
    let issue = issue_of_webhook(body.data)?;
    match scope.standing(&issue.team.id, &issue.team.key) {
        Standing::Counts => {}
        // Which issues of other teams were once of one that counts is not known here; whoever never heard of one ignores that it is gone.
        Standing::Elsewhere => {
            let removed = Observation { actor: by, ..removed(&issue, Source::Webhook)? };
            return Ok(Decoded::Observations(vec![removed]));
        }
        Standing::Unasked => return Ok(Decoded::Incomplete(vec![record(&issue.id)?])),
        Standing::Uncertain => return Ok(Decoded::Ignored("team_missing")),
    }
    let native = native(&issue)?;
    let Some(vocabulary) = words(&issue.team.id, &native) else {
        return Ok(Decoded::Unlearned { what: issue.team.id, records: vec![record(&issue.id)?] });
    };
    let mut observation = observation(&issue, vocabulary, Source::Webhook)?;
    if about_status {
        observation.origin = us.origin(body.actor.as_ref());
    }
    observation.actor = by;
    Ok(Decoded::Observations(vec![observation]))
}

/// A webhook may tell of the team by its id alone; its key is what the identifier begins with.
fn issue_of_webhook(mut data: Value) -> Result<Issue, Failure> {
    let key = data["identifier"].as_str().and_then(|identifier| identifier.rsplit_once('-')).map(|(key, _)| key);
    if let (true, Some(id), Some(key)) = (data["team"].is_null(), data["teamId"].as_str(), key) {
        data["team"] = json!({"id": id, "key": key});
    }
    serde_json::from_value(data).map_err(|error| malformed(&error))
}

/// That an issue was moved to the trash, or is of a team that does not count: from there it would be written and never heard of.
/// Restored, or moved back, it shows its state again.
pub fn removed(issue: &Issue, source: Source) -> Result<Observation, Failure> {
    removed_at(&issue.id, moment(&issue.updated_at)?, source)
}

fn removed_at(issue: &str, at: (Position, Timestamp), source: Source) -> Result<Observation, Failure> {
    let (record, native) = (record(issue)?, Native::deleted());
    let (position, occurred_at) = at;
    let id = observation_id(&record, &native, position.0);
    Ok(Observation { position: Some(position), ..Observation::new(id, record, native, source, occurred_at) })
}

/// What an issue shows, with its team's words.
pub fn observation(issue: &Issue, vocabulary: Vocabulary, source: Source) -> Result<Observation, Failure> {
    if issue.is_trashed() {
        return removed(issue, source);
    }
    let record = record(&issue.id)?;
    let native = native(issue)?;
    let (position, occurred_at) = moment(&issue.updated_at)?;
    let identifiers = std::iter::once(&issue.identifier).chain(&issue.previous_identifiers);
    // The same for every copy of what was seen, whichever way it came: an issue does not change twice in a millisecond.
    let id = observation_id(&record, &native, position.0);
    Ok(Observation {
        position: Some(position),
        title: issue.title.clone().filter(|title| !title.trim().is_empty()),
        url: issue.url.clone(),
        keys: identifiers.filter_map(|identifier| Key::new(identifier).ok()).collect(),
        vocabulary: Some(vocabulary),
        ..Observation::new(id, record, native, source, occurred_at)
    })
}

/// An issue of a list.
pub fn issue(issue: &Value) -> Result<Issue, Failure> {
    Issue::deserialize(issue).map_err(|error| malformed(&error))
}

/// The word an issue shows.
pub fn native(issue: &Issue) -> Result<Native, Failure> {
    Native::new(&issue.state.name).map_err(|error| malformed(&error))
}

/// A time of Linear's as a position and as a moment.
pub fn moment(updated_at: &str) -> Result<(Position, Timestamp), Failure> {
    at_ms(moment::rfc3339_ms(updated_at).map_err(|error| malformed(&format!("updatedAt: {error}")))?)
}

fn at_ms(ms: i64) -> Result<(Position, Timestamp), Failure> {
    moment::position(ms).map_err(|error| malformed(&format!("updatedAt: {error}")))
}

fn actor(sender: &Sender) -> Option<Actor> {
    let name = sender.name.as_ref().or(sender.service.as_ref()).or(sender.id.as_ref())?;
    Some(Actor { name: name.clone(), id: sender.id.clone(), automation: sender.kind != "user" })
}

fn malformed(error: &impl ToString) -> Failure {
    Failure::malformed("Linear", error)
}

#[cfg(test)]
mod tests;
