//! What GitHub says of issues and pull requests, as observations: from webhooks, REST and GraphQL.
//!
//! Pure. A webhook does not say how a pull request's reviews stand; where that matters it asks for the record to be read.

use std::collections::BTreeMap;

use connector::{Decoded, Failure, moment, observation_id};
use model::{Actor, Key, Native, Observation, Origin, Position, RecordRef, Source, Timestamp};
use serde::Deserialize;

use crate::address::{Address, Of};
use crate::mention;
use crate::pull::Pull;
use crate::sights::is_unsettled;

/// An issue, as REST and webhooks show it; a pull request looks like one too, in lists.
#[derive(Debug, Clone, Deserialize)]
pub struct Issue {
    /// Its number in its repository.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// What it says.
    #[serde(default)]
    pub body: Option<String>,
    /// `open` or `closed`.
    pub state: String,
    /// Why it is in that state.
    #[serde(default)]
    pub state_reason: Option<String>,
    /// Where people find it.
    pub html_url: String,
    /// When it last changed, in whole seconds.
    pub updated_at: String,
    /// Its name in GraphQL.
    #[serde(default)]
    pub node_id: String,
    /// The API's address of its repository, which ends in `owner/name`.
    pub repository_url: String,
    /// There for a pull request.
    #[serde(default)]
    pub pull_request: Option<serde::de::IgnoredAny>,
}

/// What GraphQL says of an issue that was closed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Closed {
    state: String,
    state_reason: Option<String>,
    /// When it last changed, in whole seconds.
    pub updated_at: String,
}

impl Closed {
    /// The status it shows, in the words of REST.
    pub fn native(&self) -> Result<Native, Failure> {
        native(&self.state.to_lowercase(), self.state_reason.as_ref().map(|reason| reason.to_lowercase()).as_deref())
    }
}

/// The status that an issue shows. A reason that is not known yet is shown as it is.
fn native(state: &str, reason: Option<&str>) -> Result<Native, Failure> {
    let native = match (state, reason) {
        ("closed", reason) => Native::new(format!("closed/{}", reason.unwrap_or("completed"))),
        (state, _) => Native::new(state),
    };
    native.map_err(|error| malformed(&error))
}

#[derive(Deserialize)]
struct Body {
    action: String,
    repository: Repository,
    #[serde(default)]
    sender: Option<Sender>,
    #[serde(default)]
    issue: Option<serde_json::Value>,
    #[serde(default)]
    pull_request: Option<serde_json::Value>,
    /// With a push: the commit that was the head before.
    #[serde(default)]
    before: Option<String>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
}

#[derive(Deserialize)]
struct Sender {
    login: String,
    #[serde(default)]
    id: Option<u64>,
    #[serde(rename = "type", default)]
    kind: String,
}

/// What decoding goes by.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// The only repositories that count; empty for all.
    pub repositories: Vec<String>,
    /// The prefixes of the only identifiers that count; empty for all but well-known false ones.
    pub team_prefixes: Vec<String>,
    /// What GitHub calls those by now that were renamed, in lower case, and what they are called among those that count.
    pub renamed: BTreeMap<String, String>,
}

/// The actions that edit a status. Who edited something else says nothing of whose the status is: it may be our own write
/// that is seen there for the first time.
const STATUS_ACTIONS: [&str; 7] =
    ["opened", "closed", "reopened", "converted_to_draft", "ready_for_review", "enqueued", "dequeued"];

/// What a webhook tells. `login` is the account of our app or bot; `None` under a person's token, where a person may be the
/// sender.
pub fn webhook(event: &str, body: &[u8], terms: &Terms, login: Option<&str>, now_ms: i64) -> Result<Decoded, Failure> {
    if !matches!(event, "issues" | "pull_request" | "pull_request_review") {
        return Ok(Decoded::Ignored(if event == "ping" { "ping" } else { "other_event" }));
    }
    let body: Body = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    let Some(repository) = terms.counted(&body.repository.full_name) else {
        return elsewhere(&body);
    };
    let seen = match event {
        "issues" => of_issue(&body, terms)?,
        _ => of_pull(event, &body, terms)?,
    };
    let mut observations: Vec<Observation> = match seen {
        Decoded::Observations(seen) => {
            seen.into_iter().map(|seen| terms.counted_in(repository, seen)).collect::<Result<_, _>>()?
        }
        Decoded::Incomplete(records) => {
            let records = records.into_iter().map(|record| record_in(repository, record));
            return Ok(Decoded::Incomplete(records.collect::<Result<_, _>>()?));
        }
        other => return Ok(other),
    };
    let edits_status = STATUS_ACTIONS.contains(&body.action.as_str());
    for observation in &mut observations {
        if edits_status {
            observation.origin = origin(body.sender.as_ref(), login);
        }
        observation.actor = body.sender.as_ref().map(actor);
    }
    // Times have whole seconds: a webhook that comes late does not decide, since a later edit may share its second.
    // Of one that is not there any more nothing can be read.
    let is_late = |seen: &Observation| !seen.native.is_deleted() && !is_unsettled(seen.occurred_at, now_ms);
    if !observations.iter().any(is_late) {
        return Ok(Decoded::Observations(observations));
    }
    // That it was opened is no edit of what a sweep may have seen by now.
    let is_edit = edits_status && body.action != "opened";
    if is_edit && observations.iter().all(|seen| !matches!(seen.origin, Origin::Own(_))) {
        return Ok(Decoded::Late(observations));
    }
    Ok(Decoded::Incomplete(observations.into_iter().map(|seen| seen.record).collect()))
}

/// Which pull request a webhook says was pushed to, and which commit was its head before.
pub fn pushed(event: &str, body: &[u8], terms: &Terms) -> Option<(RecordRef, String)> {
    if event != "pull_request" {
        return None;
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    let before = body.before.filter(|before| before.len() <= 64 && before.bytes().all(|c| c.is_ascii_hexdigit()))?;
    let number = body.pull_request.filter(|_| body.action == "synchronize")?["number"].as_u64()?;
    let at = Address::new(terms.counted(&body.repository.full_name)?, number).ok()?;
    Some((at.record(Of::PullRequest).ok()?, before))
}

fn of_issue(body: &Body, terms: &Terms) -> Result<Decoded, Failure> {
    match body.action.as_str() {
        // These show an issue without its state.
        "pinned" | "unpinned" => return Ok(Decoded::Ignored("no_status")),
        _ => {}
    }
    let shown = body.issue.as_ref().ok_or_else(|| malformed(&"an issues event without an issue"))?;
    let issue = Issue::deserialize(shown).map_err(|error| malformed(&error))?;
    let mut seen = issue.observation(terms, Source::Webhook)?;
    if matches!(body.action.as_str(), "deleted" | "transferred") {
        // In this repository it is not there any more; what is shown of it may be where it went.
        seen.record = Address::new(&body.repository.full_name, issue.number)?.record(Of::Issue)?;
        seen = gone(seen);
    }
    Ok(Decoded::Observations(vec![seen]))
}

/// Which records of repositories that do not count were once of one that does is not known here: they are all said to be gone, and whoever
/// never heard of one ignores that.
fn elsewhere(body: &Body) -> Result<Decoded, Failure> {
    let (of, shown) = match (&body.pull_request, &body.issue) {
        (Some(pull), _) => (Of::PullRequest, pull),
        (None, Some(issue)) => (Of::Issue, issue),
        (None, None) => return Ok(Decoded::Ignored("other_repository")),
    };
    let (Some(number), Some(updated_at)) = (shown["number"].as_u64(), shown["updated_at"].as_str()) else {
        return Ok(Decoded::Ignored("other_repository"));
    };
    let address = Address::new(&body.repository.full_name, number)?;
    let shown = Shown { title: "", url: "", updated_at, mentions: vec![] };
    Ok(Decoded::Observations(vec![gone(observation(&address, of, Native::deleted(), shown, Source::Webhook)?)]))
}

/// That a record is not there any more where it was seen: deleted, transferred, or of a repository that does not count, from which it would
/// be written and never heard of.
pub fn gone(seen: Observation) -> Observation {
    let native = Native::deleted();
    let id = observation_id(&seen.record, &native, seen.position.map_or(0, |position| position.0));
    Observation { id, native, url: None, keys: vec![], mentions: vec![], ..seen }
}

fn of_pull(event: &str, body: &Body, terms: &Terms) -> Result<Decoded, Failure> {
    const NO_STATUS: [&str; 10] = [
        "assigned",
        "unassigned",
        "labeled",
        "unlabeled",
        "locked",
        "unlocked",
        "milestoned",
        "demilestoned",
        "auto_merge_enabled",
        "auto_merge_disabled",
    ];
    let shown = body.pull_request.as_ref().ok_or_else(|| malformed(&"an event of a pull request without one"))?;
    if event == "pull_request" && NO_STATUS.contains(&body.action.as_str()) {
        return Ok(Decoded::Ignored("no_status"));
    }
    if event == "pull_request_review" {
        let number = shown["number"].as_u64().ok_or_else(|| malformed(&"a review of no pull request"))?;
        let record = Address::new(&body.repository.full_name, number)?.record(Of::PullRequest)?;
        return Ok(Decoded::Incomplete(vec![record]));
    }
    let mut pull = Pull::of_rest(shown)?;
    if body.action == "enqueued" {
        pull.standing.merge_queue_entry = Some(serde::de::IgnoredAny);
    }
    // Nobody can have judged it yet; everything else of an open one is between its reviews and its merge queue. What is shown on its
    // head follows a push when it is read.
    let says_enough = body.action != "synchronize" && !pull.standing.is_judged()
        || matches!(body.action.as_str(), "opened" | "ready_for_review" | "enqueued");
    if says_enough {
        return Ok(Decoded::Observations(vec![pull.observation(terms, Source::Webhook)?]));
    }
    Ok(Decoded::Incomplete(vec![pull.address()?.record(Of::PullRequest)?]))
}

impl Terms {
    /// Whether a repository is one of those that count.
    pub fn counts(&self, repository: &str) -> bool {
        self.repositories.is_empty() || self.repositories.iter().any(|known| known.eq_ignore_ascii_case(repository))
    }

    /// The name by which a repository counts: its own, or the one that it had before it was renamed. `None` where it does not.
    fn counted<'t>(&'t self, repository: &'t str) -> Option<&'t str> {
        if self.counts(repository) {
            return Some(repository);
        }
        self.renamed.get(&repository.to_ascii_lowercase()).map(String::as_str)
    }

    /// What was seen, as of a record of the repository that counts under that name, whatever GitHub calls it by now: what it was seen
    /// as before is the same record. One that counts under its own name is left alone.
    pub fn counted_in(&self, repository: &str, seen: Observation) -> Result<Observation, Failure> {
        let called = Address::of(&seen.record)?.1.repository;
        if self.counts(&called) {
            return Ok(seen);
        }
        let record = record_in(repository, seen.record.clone())?;
        let id = observation_id(&record, &seen.native, seen.position.map_or(0, |position| position.0));
        let of_this = |key: &Key| match key.as_str().split_once('#') {
            Some((name, number)) if name.eq_ignore_ascii_case(&called) => {
                Key::new(format!("{repository}#{number}")).ok()
            }
            _ => Some(key.clone()),
        };
        let keys = seen.keys.iter().filter_map(of_this).collect();
        let mentions = seen.mentions.iter().filter_map(of_this).collect();
        Ok(Observation { id, record, keys, mentions, ..seen })
    }

    /// Learns what GitHub calls a repository by now; whether that is news and another name than the one that counts.
    pub fn learn_name(&mut self, repository: &str, called: &str) -> bool {
        if self.counts(called) {
            // Another may have taken the name that it had for a while.
            self.renamed.retain(|_, known| known != repository);
            return false;
        }
        self.renamed.insert(called.to_ascii_lowercase(), repository.to_owned()).is_none()
    }
}

/// The record of the same number in a repository. GitHub's names do not differ by case.
fn record_in(repository: &str, record: RecordRef) -> Result<RecordRef, Failure> {
    let (of, at) = Address::of(&record)?;
    if at.repository.eq_ignore_ascii_case(repository) {
        return Ok(record);
    }
    Address::new(repository, at.number)?.record(of)
}

impl Issue {
    /// Where it is.
    pub fn address(&self) -> Result<Address, Failure> {
        let mut parts = self.repository_url.rsplitn(3, '/');
        match (parts.next(), parts.next()) {
            (Some(name), Some(owner)) => Address::new(&format!("{owner}/{name}"), self.number),
            _ => Err(malformed(&"an issue of no repository")),
        }
    }

    /// The status it shows.
    pub fn native(&self) -> Result<Native, Failure> {
        native(&self.state, self.state_reason.as_deref())
    }

    /// What it shows, as an observation.
    pub fn observation(&self, terms: &Terms, source: Source) -> Result<Observation, Failure> {
        let texts = [self.title.as_str(), self.body.as_deref().unwrap_or_default()];
        let mentions = mention::identifiers(texts, &terms.team_prefixes);
        let shown = Shown { title: &self.title, url: &self.html_url, updated_at: &self.updated_at, mentions };
        observation(&self.address()?, Of::Issue, self.native()?, shown, source)
    }
}

/// What both kinds of record show beside their status.
pub struct Shown<'s> {
    /// The title.
    pub title: &'s str,
    /// Where people find it.
    pub url: &'s str,
    /// When it last changed.
    pub updated_at: &'s str,
    /// The identifiers of other records.
    pub mentions: Vec<Key>,
}

/// An observation of a record that shows a status.
pub fn observation(
    address: &Address,
    of: Of,
    native: Native,
    shown: Shown<'_>,
    source: Source,
) -> Result<Observation, Failure> {
    let record = address.record(of)?;
    let (position, occurred_at) = moment(shown.updated_at)?;
    Ok(Observation {
        position: Some(position),
        title: Some(shown.title.to_owned()).filter(|title| !title.trim().is_empty()),
        url: Some(shown.url.to_owned()),
        keys: address.key().into_iter().collect(),
        mentions: shown.mentions,
        ..Observation::new(observation_id(&record, &native, position.0), record, native, source, occurred_at)
    })
}

/// A time of GitHub's as a position and as a moment.
pub fn moment(updated_at: &str) -> Result<(Position, Timestamp), Failure> {
    let ms = moment::rfc3339_ms(updated_at).map_err(|error| malformed(&format!("updated_at: {error}")))?;
    // Whole seconds are all that counts, whatever a server writes.
    moment::position(ms - ms.rem_euclid(1_000)).map_err(|error| malformed(&format!("updated_at: {error}")))
}

fn origin(sender: Option<&Sender>, login: Option<&str>) -> Origin {
    match (sender, login) {
        (Some(sender), Some(login)) if sender.login.eq_ignore_ascii_case(login) => Origin::Own(None),
        (Some(_), Some(_)) => Origin::Other,
        _ => Origin::Unknown,
    }
}

fn actor(sender: &Sender) -> Actor {
    let automation = sender.kind == "Bot" || sender.login.ends_with("[bot]");
    Actor { name: sender.login.clone(), id: sender.id.map(|id| id.to_string()), automation }
}

/// Something that was said cannot be read.
pub fn malformed(error: &impl ToString) -> Failure {
    Failure::malformed("GitHub", error)
}

#[cfg(test)]
mod tests;
