//! `lockstep dead`: looks at dead letters, publishes their messages once more, or takes them away.

pub mod cli;
mod shown;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use bus::{Bus, Filter, Letter, Replayed, Stream};
use runtime::Process;
use serde_json::json;

use crate::settings::Settings;
use crate::{output, places};
use cli::{At, Chosen, Dead};

/// How long NATS may take to answer.
const PATIENCE_MS: u64 = 5_000;
/// How many letters are read at once.
const PAGE: usize = 500;

/// Does what was said.
pub async fn run(file: Option<&Path>, task: Dead) -> anyhow::Result<ExitCode> {
    match task {
        Dead::List { at, which, json, limit } => list(&open(file, &at).await?, &which.filter(), json, limit).await,
        Dead::Show { at, json, number } => show(&open(file, &at).await?, number, json).await,
        Dead::Replay { at, chosen } => {
            let filter = chosen.filter();
            replay(&open(file, &at).await?, &chosen, &filter).await
        }
        Dead::Discard { at, chosen, yes } => {
            let filter = chosen.filter();
            let settings = Settings::load(file)?;
            // Whoever asks one day where it went finds it in the logs.
            let _telemetry = runtime::telemetry::init(&settings.telemetry, "lockstep-dead")?;
            discard(&open(file, &at).await?, &chosen, &filter, yes).await
        }
    }
}

async fn open(file: Option<&Path>, at: &At) -> anyhow::Result<Bus> {
    let settings = Settings::load(file)?;
    let mut config = bus::Config { connect_timeout_ms: PATIENCE_MS, ..settings.nats };
    let unsaid = config.url == bus::Config::default().url;
    if let Some(url) = at.nats.clone().or_else(|| places::nats().filter(|_| unsaid)) {
        config.url = url;
    }
    let bus = Bus::connect(&config, &Process::new("lockstep-dead", None)).await?;
    // Any NATS may listen where nobody said which is meant.
    let there = bus.stream_info(Stream::DeadLetters).await;
    there.with_context(|| {
        format!("NATS at {} has no dead letters of Lockstep; another is named with --nats or NATS_URL", bus.shown_url())
    })?;
    Ok(bus)
}

async fn list(bus: &Bus, filter: &Filter, as_json: bool, limit: u16) -> anyhow::Result<ExitCode> {
    let limit = usize::from(limit);
    let mut letters = bus.letters(filter, 1, limit + 1).await?;
    let more = letters.len() > limit;
    letters.truncate(limit);
    let lines = if as_json {
        letters.iter().map(|letter| letter.facts().to_string()).collect()
    } else {
        shown::table(&letters)
    };
    for line in lines {
        if !output::line(&line) {
            return Ok(ExitCode::SUCCESS);
        }
    }
    if letters.is_empty() && !as_json {
        output::line("no dead letters");
        output::complain(&format!("asked was NATS at {}", bus.shown_url()));
    } else if more {
        output::complain("there are more; see --limit");
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(bus: &Bus, number: u64, as_json: bool) -> anyhow::Result<ExitCode> {
    let letter = bus.letter(number).await?.with_context(|| format!("there is no dead letter {number}"))?;
    if as_json {
        output::line(&shown::whole_as_json(&letter).to_string());
    } else {
        output::line(&shown::whole(&letter));
    }
    Ok(ExitCode::SUCCESS)
}

async fn replay(bus: &Bus, chosen: &Chosen, filter: &Filter) -> anyhow::Result<ExitCode> {
    let mut tally = Tally::default();
    each(bus, chosen, filter, async |letter, number| {
        let outcome = match bus.replay(number).await {
            Ok(Replayed::Published) => tally.count("replayed"),
            Ok(Replayed::Overtaken) => tally.count("overtaken"),
            Ok(Replayed::Gone) => tally.count("gone"),
            Err(error) => tally.fail(number, &error),
        };
        tell(chosen, number, outcome, letter)
    })
    .await?;
    Ok(tally.close(chosen))
}

async fn discard(bus: &Bus, chosen: &Chosen, filter: &Filter, yes: bool) -> anyhow::Result<ExitCode> {
    let mut tally = Tally::default();
    each(bus, chosen, filter, async |letter, number| {
        let outcome = match yes {
            false if letter.is_none() => tally.count("gone"),
            false => tally.count("would be discarded"),
            true => match bus.discard(number).await {
                Ok(true) => {
                    let about = letter.map(shown::in_short);
                    tracing::warn!(number, about, "a dead letter was discarded");
                    tally.count("discarded")
                }
                Ok(false) => tally.count("gone"),
                Err(error) => tally.fail(number, &error),
            },
        };
        tell(chosen, number, outcome, letter)
    })
    .await?;
    let code = tally.close(chosen);
    if !yes {
        output::complain("nothing was discarded; say --yes to do it");
        return Ok(ExitCode::FAILURE);
    }
    Ok(code)
}

/// Does something with each letter that is meant and was there at the beginning: a message that dies again is a new letter,
/// and must not be met again and again. `act` answers whether to go on.
async fn each(
    bus: &Bus,
    chosen: &Chosen,
    filter: &Filter,
    mut act: impl AsyncFnMut(Option<&Letter>, u64) -> bool,
) -> anyhow::Result<()> {
    let last = bus.stream_info(Stream::DeadLetters).await?.1;
    if !chosen.numbers.is_empty() {
        for number in &chosen.numbers {
            anyhow::ensure!((1..=last).contains(number), "there never was a dead letter {number}: the last is {last}");
        }
        for number in &chosen.numbers {
            let letter = bus.letter(*number).await?;
            if !act(letter.as_ref(), *number).await {
                return Ok(());
            }
        }
        return Ok(());
    }
    let mut from = 1;
    loop {
        let letters = bus.letters(filter, from, PAGE).await?;
        let page = letters.len();
        for letter in letters.into_iter().filter(|letter| letter.sequence <= last) {
            from = letter.sequence + 1;
            if !act(Some(&letter), letter.sequence).await {
                return Ok(());
            }
        }
        if page < PAGE || from > last {
            return Ok(());
        }
    }
}

/// One line for what became of a letter: the record of it that whoever runs this keeps.
fn tell(chosen: &Chosen, number: u64, outcome: &str, letter: Option<&Letter>) -> bool {
    output::line(&match (letter, chosen.json) {
        (letter, true) => {
            json!({"sequence": number, "outcome": outcome, "letter": letter.map(Letter::facts)}).to_string()
        }
        (Some(letter), false) => format!("{number}  {outcome}  {}", shown::in_short(letter)),
        (None, false) => format!("{number}  {outcome}"),
    })
}

/// How many letters came to what.
#[derive(Default)]
struct Tally {
    counts: std::collections::BTreeMap<&'static str, usize>,
    failed: usize,
}

impl Tally {
    fn count(&mut self, outcome: &'static str) -> &'static str {
        *self.counts.entry(outcome).or_default() += 1;
        outcome
    }

    fn fail(&mut self, number: u64, error: &anyhow::Error) -> &'static str {
        self.failed += 1;
        output::complain(&format!("dead letter {number}: {error:#}"));
        "failed"
    }

    fn close(self, chosen: &Chosen) -> ExitCode {
        let counts = self.counts.iter().map(|(outcome, count)| format!("{count} {outcome}"));
        let failed = (self.failed > 0).then(|| format!("{} failed", self.failed));
        let all: Vec<String> = counts.chain(failed).collect();
        if !chosen.json {
            output::line(&if all.is_empty() { "no dead letters are meant".to_owned() } else { all.join(", ") });
        }
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
