//! Webhooks into observations: several at once, because positions and not their arrival put them in order.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::{DeadLetter, Feed, Outgoing, Received, headers};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use model::{Lane, Observation, RecordRef, Timestamp};
use tracing::{Instrument, info_span};

use super::attempt::{End, attempts, in_progress};
use super::{FINISH, Loop, late};
use crate::{Connector, Decoded, Failure, Reading, Webhook};

/// One that had to wait for a limit comes again at the latest after twice this: the limit may be over sooner than was said.
const AGAIN_MAX: Duration = Duration::from_mins(1);
/// The same for one whose records are published: for what is shown beside them they are read and published each time.
const PUBLISHED_AGAIN_MAX: Duration = Duration::from_mins(10);

pub(super) async fn run<C: Connector>(parts: Loop<C>, mut feed: Feed) -> anyhow::Result<()> {
    let shutdown = parts.process.shutdown().clone();
    let mut work = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(()) = work.next() => {}
            message = feed.next(), if work.len() < parts.settings.concurrency => {
                let (message, parts) = (message?, parts.clone());
                let span = info_span!("webhook", system = C::SYSTEM, message.id = message.id());
                message.continue_trace(&span);
                work.push(async move { handle(&parts, &message).await }.instrument(span));
            }
        }
    }
    let finish = async { while work.next().await.is_some() {} };
    // What does not finish in time is not acknowledged, and comes again.
    let _ = tokio::time::timeout(FINISH, finish).await;
    Ok(())
}

async fn handle<C: Connector>(parts: &Loop<C>, message: &Received) {
    let count = |outcome: &str| {
        parts.process.metrics().webhooks_total.with_label_values(&[C::SYSTEM, outcome]).inc();
    };
    let taken = match decoded(parts, message).await {
        Ok(Decoded::Observations(seen)) => take(parts, message, &seen).await,
        Ok(Decoded::Ignored(reason)) => {
            tracing::debug!(reason, "webhook ignored");
            count("ignored");
            return parts.done(message).await;
        }
        Ok(Decoded::Incomplete(records) | Decoded::Unlearned { records, .. }) => {
            complete(parts, message, &records).await
        }
        Ok(Decoded::Late(seen)) => decide(parts, message, &seen).await,
        Err(unfinished) => Err(unfinished),
    };
    match taken {
        Ok(()) => {
            count("taken");
            parts.done(message).await;
        }
        Err(Unfinished::Dead(letter)) => {
            if in_progress(message, parts.bury(letter)).await {
                count("dead");
                parts.done(message).await;
            }
        }
        // Its place is for others meanwhile: those that say enough, or ask for what no limit is about.
        Err(Unfinished::Limited(wait)) => {
            if let Err(error) = message.nak(wait + wait.mul_f64(runtime::jitter())).await {
                tracing::debug!(%error, "it comes again when its time is over");
            }
        }
        // Not acknowledged: it comes again.
        Err(Unfinished::Dropped) => {}
    }
}

/// Why a webhook is not done with.
enum Unfinished {
    /// What it tells of cannot be read.
    Dead(DeadLetter),
    /// Not now: it comes again after so long.
    Limited(Duration),
    /// The process ends.
    Dropped,
}

impl Unfinished {
    /// A limit keeps it from being done for so long.
    fn limited(wait: Duration, is_published: bool) -> Self {
        Self::Limited(wait.min(if is_published { PUBLISHED_AGAIN_MAX } else { AGAIN_MAX }))
    }
}

/// What it says, once the words for it are learned where that can be done.
async fn decoded<C: Connector>(parts: &Loop<C>, message: &Received) -> Result<Decoded, Unfinished> {
    let dead = |failure: Failure| Unfinished::Dead(DeadLetter::of(message, failure.code(), failure.advice()));
    let webhook = webhook(message);
    let decoded = parts.connector.decode(&webhook).map_err(dead)?;
    let Decoded::Unlearned { what, .. } = &decoded else { return Ok(decoded) };
    let learn = || async { unless_limited(parts.connector.learn(what).await) };
    match attempts(&parts.settings.backoff, message, parts.process.shutdown(), learn).await.0 {
        Ok(Ok(())) => parts.connector.decode(&webhook).map_err(dead),
        Ok(Err(wait)) => Err(Unfinished::limited(wait, false)),
        // Whether the records can be read says what is wrong.
        Err(End::GivenUp { .. }) => Ok(decoded),
        Err(End::Dropped) => Err(Unfinished::Dropped),
    }
}

/// Publishes what was seen.
async fn take<C: Connector>(parts: &Loop<C>, message: &Received, seen: &[Observation]) -> Result<(), Unfinished> {
    let messages = seen.iter().map(|seen| Outgoing::observation(Lane::High, seen)).collect();
    let stored = in_progress(message, parts.follow_up(message, messages)).await;
    if stored { Ok(()) } else { Err(Unfinished::Dropped) }
}

/// Publishes what the records show now; only then it is seen to what is shown beside them, which may fail for long.
async fn complete<C: Connector>(parts: &Loop<C>, message: &Received, records: &[RecordRef]) -> Result<(), Unfinished> {
    let readings = read_all(parts, message, records).await?;
    let seen: Vec<Observation> = readings.iter().map(|reading| reading.observation.clone()).collect();
    take_and_keep(parts, message, &seen, &readings).await
}

/// Publishes what was seen late, and what the records show now, which decides.
async fn decide<C: Connector>(parts: &Loop<C>, message: &Received, seen: &[Observation]) -> Result<(), Unfinished> {
    let records: Vec<RecordRef> = seen.iter().map(|seen| seen.record.clone()).collect();
    let readings = read_all(parts, message, &records).await?;
    let of = |seen: &Observation| readings.iter().find(|reading| reading.observation.record == seen.record);
    let told: Vec<Observation> = seen
        .iter()
        .flat_map(|seen| late::told(seen, delivery(message), of(seen).map(|reading| &reading.observation)))
        .collect();
    take_and_keep(parts, message, &told, &readings).await
}

async fn take_and_keep<C: Connector>(
    parts: &Loop<C>,
    message: &Received,
    seen: &[Observation],
    readings: &[Reading],
) -> Result<(), Unfinished> {
    take(parts, message, seen).await?;
    for reading in readings {
        keep_shown(parts, message, reading).await?;
    }
    Ok(())
}

/// What the records show now; a record that is gone shows nothing.
async fn read_all<C: Connector>(
    parts: &Loop<C>,
    message: &Received,
    records: &[RecordRef],
) -> Result<Vec<Reading>, Unfinished> {
    let mut readings = Vec::new();
    for record in records {
        let read = || async { unless_limited(parts.connector.read(record).await) };
        let (read, tries) = attempts(&parts.settings.backoff, message, parts.process.shutdown(), read).await;
        match read {
            Ok(Ok(reading)) => readings.push(reading),
            Ok(Err(wait)) => return Err(Unfinished::limited(wait, false)),
            Err(End::GivenUp { failure: Failure::Gone { .. }, .. }) => {}
            Err(End::GivenUp { reason, failure, .. }) => {
                return Err(Unfinished::Dead(DeadLetter::of(message, reason, failure.advice()).after(tries.into())));
            }
            Err(End::Dropped) => return Err(Unfinished::Dropped),
        }
    }
    Ok(readings)
}

async fn keep_shown<C: Connector>(parts: &Loop<C>, message: &Received, reading: &Reading) -> Result<(), Unfinished> {
    let keep = || async { unless_limited(parts.connector.keep_shown(reading).await) };
    match attempts(&parts.settings.backoff, message, parts.process.shutdown(), keep).await.0 {
        Ok(Ok(())) => {}
        Ok(Err(wait)) => return Err(Unfinished::limited(wait, true)),
        Err(End::GivenUp { failure, .. }) => {
            let record = &reading.observation.record;
            tracing::warn!(%record, %failure, "it does not show what it did before; the next webhook or sweep tries again");
        }
        Err(End::Dropped) => return Err(Unfinished::Dropped),
    }
    Ok(())
}

/// What was done, or how long a limit keeps it from being done: that is not waited for here.
fn unless_limited<T>(done: Result<T, Failure>) -> Result<Result<T, Duration>, Failure> {
    match done {
        Err(Failure::Limited { retry_after, .. }) => Ok(Err(retry_after)),
        done => done.map(Ok),
    }
}

/// The system's own id for a webhook.
fn delivery(message: &Received) -> &str {
    // The bus's id has the system in front, so that two systems' ids cannot meet.
    message.id().splitn(3, ':').nth(2).unwrap_or_else(|| message.id())
}

fn webhook(message: &Received) -> Webhook {
    let kept: BTreeMap<String, String> =
        message.headers().map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Webhook {
        id: delivery(message).to_owned(),
        event: message.header(headers::EVENT).unwrap_or_default().to_owned(),
        received_at: Timestamp(message.first_at_ms()),
        headers: kept,
        body: message.payload.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_whose_records_are_published_is_read_again_less_often() {
        let comes_again = |wait, is_published| match Unfinished::limited(Duration::from_secs(wait), is_published) {
            Unfinished::Limited(again) => again.as_secs(),
            _ => panic!("it waits for a limit"),
        };
        assert_eq!([30, 3_600].map(|wait| comes_again(wait, false)), [30, 60]);
        assert_eq!([30, 3_600].map(|wait| comes_again(wait, true)), [30, 600]);
    }
}
