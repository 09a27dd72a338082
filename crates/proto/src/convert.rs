//! Between the bus and the model: everything that enters the model is checked here.

use model::{
    Actor, Command, CommandMode, ConflictId, DeliveryOutcome, Earlier, Intent, ItemId, Key, NameError, Native,
    Observation, Origin, Position, RecordRef, Report, Source, Status, Timestamp, Version, Vocabulary, Word,
};
use uuid::Uuid;

use crate::v1;

/// A message whose bytes are well formed and whose content is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Malformed {
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

fn wrong(field: &'static str) -> impl FnOnce(NameError) -> Malformed {
    move |error| Malformed { field, why: error.to_string() }
}

fn unknown(field: &'static str, value: &str, right: &str) -> Malformed {
    Malformed { field, why: format!("{:?} is not one of {right}", value.chars().take(80).collect::<String>()) }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// How many identifiers a record may own, and how many it may mention.
const KEYS_MAX: usize = 50;
/// How many statuses a team may have.
const WORDS_MAX: usize = 200;
/// How many metadata entries one observation may bring.
const METADATA_MAX: usize = 100;

/// How long the value of one may be, in bytes.
const METADATA_BYTES_MAX: usize = 4_096;
/// How long an id may be, in bytes: that of a record, with what tells its edits apart.
const ID_MAX: usize = 2_048;
/// How much of an actor's name and id is kept, in characters; of a title; of an address.
const ACTOR_MAX: usize = 256;
const TITLE_MAX: usize = 500;
const URL_MAX: usize = 2_000;

/// An observation of the model from one of the bus.
pub fn observation_from(message: v1::Observation) -> Result<Observation, Malformed> {
    let record: RecordRef = message.record.parse().map_err(wrong("record"))?;
    let intent = intent(&message)?;
    let native = match (&intent, some(&message.native)) {
        (_, Some(native)) => Native::new(native).map_err(wrong("native"))?,
        // An operator's word is about the item; it shows nothing of a record.
        (Intent::Force(status), None) => Native::new(status.as_str()).map_err(wrong("argument"))?,
        (Intent::Status, None) => return Err(Malformed { field: "native", why: "must not be empty".into() }),
        (_, None) => Native::none(),
    };
    let origin = match message.origin.as_str() {
        "" | "unknown" => Origin::Unknown,
        "other" => Origin::Other,
        "own" => Origin::Own((message.own_version > 0).then_some(Version(message.own_version))),
        other => return Err(unknown("origin", other, "own, other, unknown")),
    };
    let source = match some(&message.source) {
        None => Source::Api,
        Some(code) => Source::of_code(code)
            .ok_or_else(|| unknown("source", code, "webhook, sweep, poll, stream, api, delivery"))?,
    };
    if message.id.len() > ID_MAX {
        return Err(Malformed { field: "id", why: format!("is over {ID_MAX} bytes") });
    }
    if message.metadata.iter().any(|(key, value)| key.len() > 128 || value.len() > METADATA_BYTES_MAX) {
        let why = format!("must have keys of at most 128 bytes and values of at most {METADATA_BYTES_MAX}");
        return Err(Malformed { field: "metadata", why });
    }
    if source == Source::Api {
        shown(&message)?;
    }
    bounded("keys", message.keys.len(), KEYS_MAX)?;
    bounded("mentions", message.mentions.len(), KEYS_MAX)?;
    bounded("vocabulary", message.vocabulary.len(), WORDS_MAX)?;
    bounded("metadata", message.metadata.len(), METADATA_MAX)?;
    Ok(Observation {
        id: message.id,
        record,
        native,
        position: position(message.position)?,
        occurred_at: moment("occurred_at", message.occurred_at)?,
        actor: message.actor.map(|actor| Actor {
            name: actor.name.chars().take(ACTOR_MAX).collect(),
            id: some(&actor.id).map(|id| id.chars().take(ACTOR_MAX).collect()),
            automation: actor.automation,
        }),
        origin,
        source,
        intent,
        lifecycle: some(&message.lifecycle).map(model::LifecycleName::new).transpose().map_err(wrong("lifecycle"))?,
        title: some(&message.title).map(|title| title.chars().take(TITLE_MAX).collect()),
        url: some(&message.url).filter(|url| is_address(url)).map(str::to_owned),
        keys: message.keys.iter().map(Key::new).collect::<Result<_, _>>().map_err(wrong("keys"))?,
        mentions: message.mentions.iter().map(Key::new).collect::<Result<_, _>>().map_err(wrong("mentions"))?,
        vocabulary: vocabulary(&message.vocabulary)?,
        metadata: message.metadata,
        item: some(&message.item).map(item_id).transpose()?,
    })
}

/// Whoever says what is only shown can be told that it is too long, or no address. What a connector read is taken without it: an edit counts,
/// however its record is called.
fn shown(message: &v1::Observation) -> Result<(), Malformed> {
    let within = |field, text: &str, most: usize| {
        let fits = text.chars().count() <= most;
        if fits { Ok(()) } else { Err(Malformed { field, why: format!("has at most {most} characters") }) }
    };
    within("title", &message.title, TITLE_MAX)?;
    if let Some(actor) = &message.actor {
        within("actor", &actor.name, ACTOR_MAX)?;
        within("actor", &actor.id, ACTOR_MAX)?;
    }
    if message.url.is_empty() || is_address(&message.url) {
        return Ok(());
    }
    let why = format!("must be an address that begins with http:// or https://, of at most {URL_MAX} characters");
    Err(Malformed { field: "url", why })
}

/// Whether people can be led there: another scheme may do something where it is shown.
fn is_address(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    scheme.is_some_and(|scheme| scheme == "http" || scheme == "https")
        && url.chars().count() <= URL_MAX
        && !url.chars().any(|char| char.is_control() || char.is_whitespace())
}

/// A position; 0 is none. PostgreSQL counts no further than 2^63, and edits beyond would lose their order.
fn position(given: u64) -> Result<Option<Position>, Malformed> {
    if i64::try_from(given).is_err() {
        return Err(Malformed { field: "position", why: "must be below 2^63".into() });
    }
    Ok((given > 0).then_some(Position(given)))
}

/// A moment; 0 is none.
fn moment(field: &'static str, given: i64) -> Result<Timestamp, Malformed> {
    if (0..=Timestamp::MAX.0).contains(&given) {
        return Ok(Timestamp(given));
    }
    Err(Malformed { field, why: "must be milliseconds since 1970, before the year 10000".into() })
}

fn item_id(text: &str) -> Result<ItemId, Malformed> {
    let id = Uuid::parse_str(text).map_err(|_| Malformed { field: "item", why: format!("{text:?} is not a UUID") })?;
    Ok(ItemId(id))
}

fn bounded(field: &'static str, count: usize, limit: usize) -> Result<(), Malformed> {
    if count > limit {
        return Err(Malformed { field, why: format!("has {count} entries, at most {limit} are taken") });
    }
    Ok(())
}

fn intent(message: &v1::Observation) -> Result<Intent, Malformed> {
    let argument = message.argument.as_str();
    let bad = |why: &str| Malformed { field: "argument", why: format!("{argument:?} {why}") };
    Ok(match message.intent.as_str() {
        "" | "status" => Intent::Status,
        "force" => Intent::Force(Status::new(argument).map_err(wrong("argument"))?),
        "rollback" => Intent::Rollback(Version(argument.parse().map_err(|_| bad("is not a version"))?)),
        "link" => Intent::Link(argument.parse().map_err(wrong("argument"))?),
        "unlink" => Intent::Unlink,
        "pick" => {
            let parts =
                argument.split_once('/').and_then(|(id, index)| Some((Uuid::parse_str(id).ok()?, index.parse().ok()?)));
            let (id, index) = parts.ok_or_else(|| bad("is not <conflict id>/<candidate index>"))?;
            Intent::Pick(ConflictId(id), index)
        }
        other => return Err(unknown("intent", other, "status, force, rollback, link, unlink, pick")),
    })
}

fn vocabulary(words: &[v1::Word]) -> Result<Option<Vocabulary>, Malformed> {
    if words.is_empty() {
        return Ok(None);
    }
    let word = |word: &v1::Word| Ok(Word { native: Native::new(&word.native)?, class: word.class.as_str().into() });
    let words = words.iter().map(word).collect::<Result<Vec<_>, _>>().map_err(wrong("vocabulary"))?;
    Ok(Some(Vocabulary(words.into())))
}

/// An observation of the bus from one of the model.
pub fn observation_to(observation: &Observation) -> v1::Observation {
    let (intent, argument) = match &observation.intent {
        Intent::Status => ("", String::new()),
        Intent::Force(status) => ("force", status.to_string()),
        Intent::Rollback(version) => ("rollback", version.to_string()),
        Intent::Link(record) => ("link", record.to_string()),
        Intent::Unlink => ("unlink", String::new()),
        Intent::Pick(conflict, index) => ("pick", format!("{conflict}/{index}")),
    };
    let (origin, own_version) = match observation.origin {
        Origin::Unknown => ("", 0),
        Origin::Other => ("other", 0),
        Origin::Own(version) => ("own", version.map_or(0, |version| version.0)),
    };
    v1::Observation {
        id: observation.id.clone(),
        record: observation.record.to_string(),
        native: observation.native.to_string(),
        position: observation.position.map_or(0, |position| position.0),
        occurred_at: observation.occurred_at.0,
        actor: observation.actor.as_ref().map(actor_to),
        origin: origin.into(),
        own_version,
        source: observation.source.code().into(),
        intent: intent.into(),
        argument,
        lifecycle: observation.lifecycle.as_ref().map(ToString::to_string).unwrap_or_default(),
        title: observation.title.clone().unwrap_or_default(),
        url: observation.url.clone().unwrap_or_default(),
        keys: observation.keys.iter().map(ToString::to_string).collect(),
        mentions: observation.mentions.iter().map(ToString::to_string).collect(),
        vocabulary: observation.vocabulary.iter().flat_map(|words| words.0.iter()).map(word_to).collect(),
        metadata: observation.metadata.clone(),
        item: observation.item.map(|item| item.to_string()).unwrap_or_default(),
    }
}

fn word_to(word: &Word) -> v1::Word {
    v1::Word { native: word.native.to_string(), class: word.class.to_string() }
}

/// An actor of the bus from one of the model.
pub fn actor_to(actor: &Actor) -> v1::Actor {
    v1::Actor { name: actor.name.clone(), id: actor.id.clone().unwrap_or_default(), automation: actor.automation }
}

/// A command of the bus from one of the model.
pub fn command_to(command: &Command) -> v1::Command {
    v1::Command {
        record: command.record.to_string(),
        item: command.item.to_string(),
        version: command.version.0,
        status: command.status.to_string(),
        previous: command.previous.as_ref().map(ToString::to_string).unwrap_or_default(),
        native: command.native.to_string(),
        mode: command.mode.code().into(),
        expects: command.expects.iter().map(ToString::to_string).collect(),
        key: command.key.clone().unwrap_or_default(),
        cause: command.cause,
        earlier: command.earlier.iter().map(earlier_to).collect(),
        position: command.position.map_or(0, |position| position.0),
    }
}

fn earlier_to(earlier: &Earlier) -> v1::Earlier {
    v1::Earlier { version: earlier.version.0, native: earlier.native.to_string(), since: earlier.since }
}

/// A connector's report of the model from one of the bus.
pub fn report_from(message: &v1::Delivery) -> Result<Report, Malformed> {
    let known = "applied, unchanged, superseded, overtaken, rejected, failed";
    Ok(Report {
        id: message.id.clone(),
        record: message.record.parse().map_err(wrong("record"))?,
        item: some(&message.item).map(item_id).transpose()?,
        version: Version(message.version),
        cause: (message.cause > 0).then_some(message.cause),
        outcome: DeliveryOutcome::of_code(&message.outcome)
            .ok_or_else(|| unknown("outcome", &message.outcome, known))?,
        mode: CommandMode::of_code(&message.mode).ok_or_else(|| unknown("mode", &message.mode, "tell, show"))?,
        native: some(&message.native).map(Native::new).transpose().map_err(wrong("native"))?,
        position: position(message.position)?,
        at: moment("at", message.at)?,
        reason: some(&message.reason).map(|reason| reason.chars().take(2_000).collect()),
    })
}

/// A command of the model from one of the bus.
#[expect(clippy::needless_pass_by_value, reason = "takes the message as its twin for observations does")]
pub fn command_from(message: v1::Command) -> Result<Command, Malformed> {
    let mode = CommandMode::of_code(&message.mode).ok_or_else(|| unknown("mode", &message.mode, "tell, show"))?;
    let item = item_id(&message.item)?;
    Ok(Command {
        record: message.record.parse().map_err(wrong("record"))?,
        item,
        version: Version(message.version),
        status: Status::new(&message.status).map_err(wrong("status"))?,
        previous: some(&message.previous).map(Status::new).transpose().map_err(wrong("previous"))?,
        native: Native::new(&message.native).map_err(wrong("native"))?,
        mode,
        expects: message.expects.iter().map(Native::new).collect::<Result<_, _>>().map_err(wrong("expects"))?,
        earlier: message.earlier.iter().map(earlier_from).collect::<Result<_, _>>()?,
        position: (message.position > 0).then_some(Position(message.position)),
        key: some(&message.key).map(str::to_owned),
        cause: message.cause,
    })
}

fn earlier_from(message: &v1::Earlier) -> Result<Earlier, Malformed> {
    let native = Native::new(&message.native).map_err(wrong("earlier"))?;
    Ok(Earlier { version: Version(message.version), native, since: message.since })
}
