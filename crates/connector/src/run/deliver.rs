//! Carries one command out: looks first, writes only over what the command expects, and reports what became of it.

use std::time::Duration;

use bus::{DeadLetter, Outgoing, Received};
use model::{Command, CommandMode, DeliveryOutcome, Lane, Native, OLDER_COMMAND, Observation, Origin, Position};
use proto::v1;
use tokio_util::sync::CancellationToken;

use super::Loop;
use super::attempt::{End, attempts, in_progress};
use super::writes::Writes;
use crate::calls::asking;
use crate::{Connector, Failure, Reading};

/// Why a command was not carried out when a newer one came.
pub(super) const NEWER_COMMAND: &str = "newer_command";

/// What came of one attempt that did not fail.
enum Carried {
    /// The record shows this now, and whether we made it.
    Shows { outcome: DeliveryOutcome, native: Native, position: Option<Position> },
    /// The status is shown beside it, and it shows what nobody knows of.
    ShowsElse(Box<Observation>),
    /// Somebody edited the record: this is what it shows.
    Edited(Box<Observation>),
    /// Nothing was done: a newer command came (`NEWER_COMMAND`), or was carried out before ([`OLDER_COMMAND`]).
    Overtaken(&'static str),
}

/// A report without what every report of this command has.
#[derive(Default)]
struct Report {
    shows: Option<(Native, Option<Position>)>,
    reason: String,
}

/// Carries a command out and acknowledges its message. `superseded` is cancelled when a newer command for the record arrives.
/// What is not reported when `stop` is cancelled comes again to the next holder.
pub(super) async fn deliver<C: Connector>(
    parts: &Loop<C>,
    lane: Lane,
    message: &Received,
    command: &Command,
    writes: &Writes,
    superseded: &CancellationToken,
    stop: &CancellationToken,
) {
    // Both end the waits; which of them it was is asked afterwards.
    let drop_it = superseded.child_token();
    let watched = stop.clone();
    let (carried, tries) = {
        // The waits for a place among the calls are ended by it as well.
        let act = || asking(lane, drop_it.clone(), in_turn(parts, command, writes, superseded, stop));
        let tried = attempts(&parts.settings.backoff, message, &drop_it, act);
        let mut tried = std::pin::pin!(tried);
        tokio::select! {
            biased;
            done = &mut tried => done,
            () = watched.cancelled() => {
                drop_it.cancel();
                tried.await
            }
        }
    };
    let mut messages = Vec::new();
    let mut letter = None;
    let (outcome, report) = match carried {
        Ok(Carried::Shows { outcome, native, position }) => {
            (outcome, Report { shows: Some((native, position)), ..Report::default() })
        }
        Ok(Carried::ShowsElse(seen)) => {
            let seen = anew(*seen, command);
            messages.push(Outgoing::observation(Lane::High, &seen));
            (DeliveryOutcome::Applied, Report { shows: Some((seen.native, seen.position)), ..Report::default() })
        }
        Ok(Carried::Edited(seen)) => {
            let seen = anew(*seen, command);
            messages.push(Outgoing::observation(Lane::High, &seen));
            let report = Report { shows: Some((seen.native, seen.position)), reason: "edited_meanwhile".into() };
            (DeliveryOutcome::Superseded, report)
        }
        Ok(Carried::Overtaken(reason)) => (DeliveryOutcome::Overtaken, undone(reason)),
        Err(End::Dropped) if superseded.is_cancelled() => (DeliveryOutcome::Overtaken, undone(NEWER_COMMAND)),
        Err(End::Dropped) => return,
        Err(End::GivenUp { outcome, reason, failure }) => {
            letter = Some(DeadLetter::of(message, reason, failure.advice()).after(tries.into()));
            (outcome, Report { reason: failure.to_string(), ..Report::default() })
        }
    };
    let delivery = delivery(parts.process.now_ms(), command, outcome, tries, report);
    match Outgoing::delivery(&delivery) {
        Ok(delivery) => messages.push(delivery),
        Err(error) => tracing::error!(%error, "a delivery has no record"),
    }
    let reported = in_progress(message, async {
        parts.follow_up(message, messages).await
            && match letter {
                Some(letter) => parts.bury(letter).await,
                None => true,
            }
    });
    if reported.await {
        parts.process.metrics().deliveries_total.with_label_values(&[C::SYSTEM, outcome.code()]).inc();
        tracing::info!(outcome = outcome.code(), attempts = tries, "command carried out");
        parts.done(message).await;
    }
}

/// Seen anew, whatever was seen at this position before: as a copy of that it would vanish on the bus, and the next command would meet
/// the same again.
fn anew(seen: Observation, command: &Command) -> Observation {
    Observation { id: format!("{}~{}:{}", seen.id, command.version, command.cause), ..seen }
}

fn undone(reason: &str) -> Report {
    Report { reason: reason.into(), ..Report::default() }
}

/// Reports a command that was never begun: a newer one came, or was there.
pub(super) async fn report_overtaken<C: Connector>(
    parts: &Loop<C>,
    message: &Received,
    command: &Command,
    reason: &'static str,
) {
    let outcome = DeliveryOutcome::Overtaken;
    let delivery = delivery(parts.process.now_ms(), command, outcome, 0, undone(reason));
    let Ok(delivery) = Outgoing::delivery(&delivery) else { return };
    if parts.follow_up(message, vec![delivery]).await {
        parts.process.metrics().deliveries_total.with_label_values(&[C::SYSTEM, outcome.code()]).inc();
        parts.done(message).await;
    }
}

/// Carries a command out when it is its turn to write, where writes go by turns.
async fn in_turn<C: Connector>(
    parts: &Loop<C>,
    command: &Command,
    writes: &Writes,
    superseded: &CancellationToken,
    stop: &CancellationToken,
) -> Result<Carried, Failure> {
    let work = carry_out(parts, command, writes, superseded, stop);
    match parts.connector.calls() {
        Some(calls) => calls.in_turn(work).await,
        None => work.await,
    }
}

async fn carry_out<C: Connector>(
    parts: &Loop<C>,
    command: &Command,
    writes: &Writes,
    superseded: &CancellationToken,
    stop: &CancellationToken,
) -> Result<Carried, Failure> {
    if writes.is_behind(command) {
        return Ok(Carried::Overtaken(OLDER_COMMAND));
    }
    let reading = parts.connector.read(&command.record).await?;
    if superseded.is_cancelled() {
        return Ok(Carried::Overtaken(NEWER_COMMAND));
    }
    if stop.is_cancelled() {
        // Somebody else may hold the partition now: from here on only they write.
        return Err(Failure::Limited { why: "the partition was given up".into(), retry_after: Duration::ZERO });
    }
    if reading.observation.native.is_deleted() {
        // Nothing can be told or shown there, and nobody else may have seen it.
        return Ok(Carried::Edited(Box::new(reading.observation)));
    }
    match command.mode {
        CommandMode::Tell => tell(parts, command, writes, reading).await,
        CommandMode::Show => {
            writes.begin(command);
            parts.connector.show(command, &reading).await?;
            let shown = reading.observation;
            if shown.native == command.native || command.expects.contains(&shown.native) {
                let Observation { native, position, .. } = shown;
                return Ok(Carried::Shows { outcome: DeliveryOutcome::Applied, native, position });
            }
            // It was left to a command to say whose it is, and this one took that one's place.
            Ok(Carried::ShowsElse(Box::new(attributed(command, writes, shown))))
        }
    }
}

async fn tell<C: Connector>(
    parts: &Loop<C>,
    command: &Command,
    writes: &Writes,
    reading: Reading,
) -> Result<Carried, Failure> {
    let shown = &reading.observation;
    if shown.native == command.native {
        writes.begin(command);
        let (native, position) = (shown.native.clone(), shown.position);
        writes.made(command, position, false);
        return Ok(Carried::Shows { outcome: DeliveryOutcome::Unchanged, native, position });
    }
    if writes.is_edited_since(command, shown) {
        // Though it expects what is there: that is what the record showed before it was carried out.
        return Ok(Carried::Edited(Box::new(Observation { origin: Origin::Other, ..reading.observation })));
    }
    if !command.expects.contains(&shown.native) && !is_ours(command, writes, &shown.native) {
        return Ok(Carried::Edited(Box::new(attributed(command, writes, reading.observation))));
    }
    writes.begin(command);
    let is_sure = writes.begin_write(&command.record);
    let written = parts.connector.write(command, &reading).await?;
    writes.made(command, written.position, is_sure);
    Ok(Carried::Shows { outcome: DeliveryOutcome::Applied, native: written.native, position: written.position })
}

/// Whether an earlier command that asked for this may have been carried out.
fn is_ours(command: &Command, writes: &Writes, native: &Native) -> bool {
    let earlier = command.earlier.iter().filter(|earlier| earlier.native == *native);
    earlier.into_iter().any(|earlier| writes.may_have_been(&command.record, earlier))
}

/// What the record shows, with what is known of who made it.
fn attributed(command: &Command, writes: &Writes, shown: Observation) -> Observation {
    let asked = command.earlier.iter().any(|earlier| earlier.native == shown.native);
    if asked && !is_ours(command, writes, &shown.native) {
        // Without this it would be taken for the echo of a command that nobody carried out.
        return Observation { origin: Origin::Other, ..shown };
    }
    shown
}

fn delivery(now_ms: i64, command: &Command, outcome: DeliveryOutcome, tries: u32, report: Report) -> v1::Delivery {
    let (native, position) = report.shows.map_or_else(Default::default, |(native, position)| {
        (native.to_string(), position.map_or(0, |position| position.0))
    });
    v1::Delivery {
        // The position tells a second write of one command from the first: two connectors may each have made one while a lease
        // changed hands, and the later one counts.
        id: format!("d:{}:{}:{}:{}:{position}", command.record, command.version, command.cause, outcome.code()),
        record: command.record.to_string(),
        item: command.item.to_string(),
        version: command.version.0,
        outcome: outcome.code().into(),
        mode: command.mode.code().into(),
        native,
        position,
        at: now_ms,
        reason: report.reason,
        attempts: tries,
        status: command.status.to_string(),
        cause: command.cause,
    }
}
