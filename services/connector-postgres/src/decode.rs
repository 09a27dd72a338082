//! What PostgreSQL says, as observations: entries of the outbox, and rows as they stand.
//!
//! Pure. An entry and a row that tell of the same change make observations of the same id, so that copies vanish on the bus.

use std::collections::BTreeSet;

use model::{Actor, Key, Native, Observation, Origin, Position, RecordRef, Source, Timestamp};

use crate::config::{Table, system};
use crate::encode;

/// How many identifiers one row may mention.
const MENTIONS_MAX: usize = 20;
/// How many characters of a title are told: as many as are kept. The column may hold whole documents, and the bus takes no message of any
/// size.
pub const TITLE_MAX: usize = 500;

/// What the trigger did to a row's version, as it stands in the outbox and beside the row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capture {
    /// Rises with each of the row's captured changes; of a row that no trigger has seen, where its capture began.
    pub version: i64,
    /// The status it then had.
    pub status: Option<String>,
    /// The tag of the transaction that made it; see [`encode::tag`].
    pub origin: Option<String>,
    /// The database user that made it.
    pub actor: Option<String>,
    /// The `application_name` of that session.
    pub application: Option<String>,
    /// When, in milliseconds since 1970; 0 for a row that no trigger has seen.
    pub at_ms: i64,
}

/// What a row says beside its status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// What people call it.
    pub title: Option<String>,
    /// The values of the mention columns, as a JSON array.
    pub mentions: Option<String>,
}

/// One entry of the outbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the outbox.
    pub id: i64,
    /// The kind of the table it came from.
    pub kind: String,
    /// The row's key.
    pub key: String,
    /// `insert`, `update` or `delete`.
    pub operation: String,
    /// The status before.
    pub previous: Option<String>,
    /// Of a deletion: the row was inserted anew since.
    pub is_back: bool,
    /// The change.
    pub capture: Capture,
    /// The rest of the row.
    pub content: Content,
}

/// One row as it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: String,
    /// Its status.
    pub status: Option<String>,
    /// Its last captured change.
    pub capture: Capture,
    /// The rest of it.
    pub content: Content,
}

/// Why something that was seen makes no observation: a code for the metrics and the log.
pub type Ignored = &'static str;

/// A row version as a position. A row that no trigger has seen stands where its capture began, before every captured change.
pub fn position(version: i64) -> Position {
    Position(u64::try_from(version).unwrap_or_default().saturating_add(1))
}

/// The observation that an entry of the outbox tells of.
pub fn entry(table: &Table, entry: &Entry) -> Result<Observation, Ignored> {
    let capture = &entry.capture;
    if entry.operation == "delete" {
        // What it now shows is somebody's edit, whose entry follows.
        return if entry.is_back { Err("is_back") } else { deleted(table, entry) };
    }
    if capture.status.is_none() && entry.previous.is_none() {
        // A row that has no status yet is no record.
        return Err("no_status");
    }
    let seen =
        Seen { key: &entry.key, status: capture.status.as_deref(), capture: Some(capture), content: &entry.content };
    seen.observation(table, Source::Stream, Timestamp(capture.at_ms))
}

/// That a row is gone. Where a trigger saw it go, this tells what its entry does; else it stands where it was last seen, and `now` dates it.
pub fn gone(table: &Table, row: &Row, source: Source, now: Timestamp) -> Result<Observation, Ignored> {
    let was_seen = row.capture.status.is_none();
    let unseen = || Capture { version: row.capture.version, at_ms: now.0, ..Capture::default() };
    let capture = if was_seen { row.capture.clone() } else { unseen() };
    let origin = if was_seen { Origin::Other } else { Origin::Unknown };
    let entry = Entry { key: row.key.clone(), capture, ..Entry::default() };
    deleted(table, &entry).map(|seen| Observation { source, origin, ..seen })
}

/// That a row was deleted. Its content went with it.
fn deleted(table: &Table, entry: &Entry) -> Result<Observation, Ignored> {
    let record = RecordRef::new(system(), table.kind.clone(), &entry.key).map_err(|_| "unusable_key")?;
    let at = Timestamp(entry.capture.at_ms);
    let mut observation = Observation {
        actor: actor(&entry.capture, Origin::Other),
        origin: Origin::Other,
        lifecycle: Some(table.lifecycle.clone()),
        ..Observation::new(String::new(), record, Native::deleted(), Source::Stream, at)
    };
    at_version(&mut observation, entry.capture.version);
    Ok(observation)
}

/// The observation that a row as it stands makes. `now` dates a status that no trigger has seen being set.
///
/// A sweep passes over rows without a status: whether they had one, the outbox told.
pub fn row(table: &Table, row: &Row, source: Source, now: Timestamp) -> Result<Observation, Ignored> {
    if row.status.is_none() && source == Source::Sweep {
        return Err("no_status");
    }
    // A status that is not the captured one was set past the trigger, and nothing is known of whoever did it.
    let known = row.capture.at_ms > 0 && row.capture.status == row.status;
    let at = if known { Timestamp(row.capture.at_ms) } else { now };
    let capture = known.then_some(&row.capture);
    let seen = Seen { key: &row.key, status: row.status.as_deref(), capture, content: &row.content };
    let mut observation = seen.observation(table, source, at)?;
    if !known {
        at_version(&mut observation, row.capture.version);
    }
    if !known && row.capture.at_ms == 0 && row.capture.origin.as_deref() == Some(encode::BROUGHT_BACK) {
        observation.origin = Origin::Own(None);
    }
    Ok(observation)
}

struct Seen<'a> {
    key: &'a str,
    status: Option<&'a str>,
    capture: Option<&'a Capture>,
    content: &'a Content,
}

impl Seen<'_> {
    fn observation(&self, table: &Table, source: Source, at: Timestamp) -> Result<Observation, Ignored> {
        let record = RecordRef::new(system(), table.kind.clone(), self.key).map_err(|_| "unusable_key")?;
        let native = native(self.status);
        let origin = self.capture.map_or(Origin::Unknown, |capture| origin(capture, &record, &native));
        let mut observation = Observation {
            actor: self.capture.and_then(|capture| actor(capture, origin)),
            origin,
            lifecycle: Some(table.lifecycle.clone()),
            title: self.content.title.as_deref().and_then(title),
            mentions: mentions(self.content.mentions.as_deref()),
            ..Observation::new(String::new(), record, native, source, at)
        };
        at_version(&mut observation, self.capture.map_or(0, |capture| capture.version));
        Ok(observation)
    }
}

/// A status as a native. Text that is none (empty, too long, with control characters) is shown in quotes, with escapes, cut: so the
/// record shows what no mapping knows, and not for ever what it showed before. So is NULL.
pub fn native(status: Option<&str>) -> Native {
    let Some(status) = status else { return Native::new(NULL).unwrap_or_else(|_| Native::none()) };
    // A row that says so itself is none of both.
    let taken = [NULL, Native::deleted().as_str()].contains(&status);
    let shown = if taken { Native::new(quoted(status)) } else { Native::new(status) };
    shown.unwrap_or_else(|_| Native::new(quoted(status)).unwrap_or_else(|_| Native::none()))
}

/// What NULL is shown as.
const NULL: &str = "(null)";

/// At most 112 bytes.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for (taken, escaped) in text.chars().map(char::escape_debug).enumerate() {
        let escaped: String = escaped.collect();
        if quoted.len() + escaped.len() > 80 {
            return format!("{quoted}…\" and {} more", text.chars().count() - taken);
        }
        quoted.push_str(&escaped);
    }
    quoted + "\""
}

fn title(text: &str) -> Option<String> {
    let title: String = text.trim().chars().take(TITLE_MAX).collect();
    (!title.is_empty()).then_some(title)
}

fn at_version(observation: &mut Observation, version: i64) {
    let position = position(version);
    observation.position = Some(position);
    observation.id = connector::observation_id(&observation.record, &observation.native, position.0);
}

/// Whose write it was: every write of ours carries a tag, so one without is somebody else's. What an old copy brought back is nobody's.
fn origin(capture: &Capture, record: &RecordRef, native: &Native) -> Origin {
    if capture.origin.as_deref() == Some(encode::BROUGHT_BACK) {
        return Origin::Own(None);
    }
    let version = capture.origin.as_deref().and_then(|tag| encode::tagged(tag, record, native));
    version.map_or(Origin::Other, |version| Origin::Own(Some(version)))
}

fn actor(capture: &Capture, origin: Origin) -> Option<Actor> {
    let id = capture.actor.clone().filter(|actor| !actor.is_empty())?;
    let application = capture.application.as_deref().filter(|application| !application.is_empty());
    let name = application.map_or_else(|| id.clone(), |application| format!("{id} ({application})"));
    let typed = application
        .is_some_and(|application| PEOPLES_TOOLS.iter().any(|tool| application.to_ascii_lowercase().starts_with(tool)));
    Some(Actor { name, id: Some(id), automation: matches!(origin, Origin::Own(_)) || !typed })
}

/// The tools that people type SQL into, by what they call themselves. What programs write through mostly has no name.
const PEOPLES_TOOLS: [&str; 8] =
    ["psql", "pgadmin", "dbeaver", "datagrip", "tableplus", "postico", "beekeeper", "navicat"];

/// The identifiers in the values of the mention columns: strings, or lists of them, divided by commas or spaces.
fn mentions(values: Option<&str>) -> Vec<Key> {
    let Some(values) = values.and_then(|values| serde_json::from_str::<serde_json::Value>(values).ok()) else {
        return Vec::new();
    };
    let mut texts = Vec::new();
    collect(&values, &mut texts);
    let words = texts.iter().flat_map(|text| text.split([',', ' ', ';', '\n', '\t']));
    let mut seen = BTreeSet::new();
    words
        .filter_map(|word| Key::new(word.trim()).ok())
        .filter(|key| seen.insert(key.clone()))
        .take(MENTIONS_MAX)
        .collect()
}

fn collect(value: &serde_json::Value, texts: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => texts.push(text.clone()),
        serde_json::Value::Number(number) => texts.push(number.to_string()),
        serde_json::Value::Array(values) => values.iter().for_each(|value| collect(value, texts)),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
