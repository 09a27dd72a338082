//! How many observations a second go through `resolve()` alone.
//!
//! A history is made first: on 10,000 items of three records each, people edit, connectors report what they wrote, webhooks
//! come late, twice and behind their successors. Then the same messages are replayed in turns by `resolve()` and by the
//! baseline, which touches the same items in the same order and decides nothing: it copies the item, finds the record, notes
//! what it shows and hashes the result. What is above that is the price of the rules.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result};
use model::{
    Class, Group, Lane, Native, Observation, Origin, Policy, Position, Receipt, RecordRef, Source, Timestamp,
    Vocabulary, Word,
};

use crate::dice::Dice;
use crate::outcome::{Outcome, median, say};
use crate::policy::policy;

const ITEMS: usize = 10_000;
const MESSAGES: usize = 200_000;
const ROUNDS: usize = 5;

struct Message {
    item: usize,
    observation: Observation,
    receipt: Receipt,
}

/// Runs it.
pub fn run() -> Result<Outcome> {
    let policy = policy()?;
    let start = groups(&policy)?;
    let (messages, verdicts) = history(&policy, start.clone())?;
    let (mut figures, mut baselines) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        figures.push(rate(|| {
            replay(start.clone(), &messages, |group, message| {
                let resolved = model::resolve(group, &message.observation, message.receipt, &policy);
                black_box((&resolved.rows, &resolved.commands, &resolved.conflicts, resolved.verdict));
                resolved.group
            })
        }));
        baselines
            .push(rate(|| replay(start.clone(), &messages, |group, message| copied(&group, &message.observation))));
    }
    say(&format!("resolve: {:.0} observations/s, baseline {:.0}", median(&figures), median(&baselines)));
    let is = "the same messages by a loop that copies the item, notes what the record shows and hashes the result";
    Outcome::new("resolve", median(&figures), "observations/s", median(&baselines), is)
        .with("items", ITEMS)?
        .with("records_per_item", 3)?
        .with("messages", MESSAGES)?
        .with("verdicts", verdicts)?
        .with("figures", figures)?
        .with("baselines", baselines)
}

fn rate(run: impl FnOnce() -> f64) -> f64 {
    f64::from(u32::try_from(MESSAGES).unwrap_or(u32::MAX)) / run()
}

/// The seconds that all messages took.
fn replay(groups: Vec<Group>, messages: &[Message], mut step: impl FnMut(Group, &Message) -> Group) -> f64 {
    let mut groups: Vec<Option<Group>> = groups.into_iter().map(Some).collect();
    let began = Instant::now();
    for message in messages {
        let place = &mut groups[message.item];
        *place = place.take().map(|group| step(group, message));
    }
    let took = began.elapsed().as_secs_f64();
    black_box(&groups);
    took
}

fn copied(group: &Group, observation: &Observation) -> Group {
    let mut group = group.clone();
    if let Some(place) = group.index_of(&observation.record) {
        group.links[place].native = observation.native.clone();
        group.links[place].position = observation.position;
    }
    let mut hasher = DefaultHasher::new();
    group.item.status.hash(&mut hasher);
    for link in &group.links {
        (&link.record, &link.native, link.position, link.agreed).hash(&mut hasher);
    }
    black_box(hasher.finish());
    group
}

/// Items of a Linear issue with its team's states, a GitHub issue and a row of a table, all agreeing on `todo`.
fn groups(policy: &Policy) -> Result<Vec<Group>> {
    (0..ITEMS).map(|number| group(policy, number)).collect()
}

fn group(policy: &Policy, number: usize) -> Result<Group> {
    let records = [
        (format!("linear/issue/{number:08x}-0000-4000-8000-000000000000"), "Todo"),
        (format!("github/issue/acme/web#{number}"), "open"),
        (format!("postgres/task/{number}"), "todo"),
    ];
    let mut whole: Option<Group> = None;
    for (place, (record, native)) in records.into_iter().enumerate() {
        let record: RecordRef = record.parse()?;
        let mut observation = observation(&record, native, 1)?;
        if record.system.as_str() == "linear" {
            observation.vocabulary = Some(team()?);
        }
        let begun = model::begin(&observation, receipt(0), policy);
        let mut group = begun.map_err(|reason| anyhow::anyhow!("no item for {record}: {}", reason.code()))?.group;
        match &mut whole {
            None => whole = Some(group),
            Some(whole) => {
                let mut link = group.links.pop().context("an item has a record")?;
                link.order = u32::try_from(place)?;
                whole.links.push(link);
            }
        }
    }
    whole.context("an item has records")
}

fn team() -> Result<Vocabulary> {
    let states = [
        ("Backlog", "backlog"),
        ("Todo", "unstarted"),
        ("In Progress", "started"),
        ("In Review", "started"),
        ("Done", "completed"),
        ("Canceled", "canceled"),
    ];
    let word = |(name, class)| Ok(Word { native: Native::new(name)?, class: Class::from(class) });
    Ok(Vocabulary(states.into_iter().map(word).collect::<Result<_>>()?))
}

fn observation(record: &RecordRef, native: &str, position: u64) -> Result<Observation> {
    Ok(Observation {
        position: Some(Position(position)),
        ..Observation::new(
            format!("bench:{record}:{position}"),
            record.clone(),
            Native::new(native)?,
            Source::Webhook,
            Timestamp(i64::try_from(position)?),
        )
    })
}

/// Messages are a second apart, so that an item's edits are hours apart and two at once are the exception that they are.
fn receipt(sequence: u64) -> Receipt {
    let received_at = Timestamp(i64::try_from(sequence.saturating_mul(1_000)).unwrap_or_default());
    Receipt::new(Lane::High, sequence, received_at)
}

/// What may happen to a record.
#[derive(Clone, Copy)]
enum Happening {
    /// A connector reports the newest command as carried out, if one is under way; else a person edits.
    Report,
    /// A person edits.
    Edit,
    /// A sweep finds what was there before.
    Again,
    /// A webhook comes behind its successor.
    Late,
    /// The bus delivers a message twice.
    Twice,
}

/// Messages that make sense one after the other, and how often each rule decided.
fn history(policy: &Policy, mut groups: Vec<Group>) -> Result<(Vec<Message>, BTreeMap<&'static str, usize>)> {
    let mut dice = Dice(1);
    let mut verdicts = BTreeMap::new();
    let mut messages = Vec::with_capacity(MESSAGES);
    for number in 1..=MESSAGES {
        let item = dice.below(ITEMS);
        let happening = match dice.below(100) {
            0..75 => Happening::Report,
            75..82 => Happening::Edit,
            82..92 => Happening::Again,
            92..96 => Happening::Late,
            _ => Happening::Twice,
        };
        let sequence = if matches!(happening, Happening::Twice) { 0 } else { u64::try_from(number)? };
        let observation = seen(&groups[item], happening, sequence, &mut dice)?;
        let receipt = receipt(sequence);
        let resolved = model::resolve(groups[item].clone(), &observation, receipt, policy);
        *verdicts.entry(resolved.verdict.code()).or_default() += 1;
        groups[item] = resolved.group;
        messages.push(Message { item, observation, receipt });
    }
    Ok((messages, verdicts))
}

fn seen(group: &Group, happening: Happening, sequence: u64, dice: &mut Dice) -> Result<Observation> {
    let told = group.links.iter().find(|link| !link.sent.is_empty());
    let link = &group.links[dice.below(group.links.len())];
    let known = link.position.map_or(0, |position| position.0);
    let at = |position, native: &str, link: &model::Link| {
        let mut observation = observation(&link.record, native, position)?;
        observation.occurred_at = receipt(sequence).received_at;
        anyhow::Ok(observation)
    };
    match (happening, told) {
        (Happening::Report, Some(link)) => {
            let sent = link.sent.last().context("a told link was sent something")?;
            let next = link.position.map_or(0, |position| position.0) + 1;
            let mut observation = at(next, sent.native.as_str(), link)?;
            observation.origin = Origin::Own(Some(sent.version));
            Ok(observation)
        }
        (Happening::Report | Happening::Edit, _) => {
            let words: &[&str] = match link.record.system.as_str() {
                "linear" => &["Backlog", "Todo", "In Progress", "In Review", "Done", "Canceled"],
                "github" => &["open", "closed/completed", "closed/not_planned"],
                _ => &["backlog", "todo", "in_progress", "blocked", "in_review", "done", "canceled"],
            };
            at(known + 1, words[dice.below(words.len())], link)
        }
        (Happening::Again | Happening::Twice, _) => at(known + 1, link.native.as_str(), link),
        (Happening::Late, _) => at(known.saturating_sub(1), link.native.as_str(), link),
    }
}
