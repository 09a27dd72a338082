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

/// What became of a command, for its report.
struct Became {
    outcome: DeliveryOutcome,
    shows: Option<(Native, Option<Position>)>,
    reason: String,
    /// What nobody may have seen yet.
    seen: Option<Observation>,
    /// It was given up.
    letter: Option<DeadLetter>,
}

impl Became {
    fn shown(outcome: DeliveryOutcome, native: Native, position: Option<Position>) -> Self {
        Self { outcome, shows: Some((native, position)), reason: String::new(), seen: None, letter: None }
    }

    fn seen(outcome: DeliveryOutcome, seen: Observation, reason: &str) -> Self {
        let shown = Self::shown(outcome, seen.native.clone(), seen.position);
        Self { reason: reason.into(), seen: Some(seen), ..shown }
    }

    fn overtaken(reason: &str) -> Self {
        Self { outcome: DeliveryOutcome::Overtaken, shows: None, reason: reason.into(), seen: None, letter: None }
    }
}

/// A command in hand, and what ends the work on it.
pub(super) struct Job<C> {
    pub(super) parts: Loop<C>,
    pub(super) lane: Lane,
    pub(super) message: Received,
    pub(super) command: Command,
    pub(super) writes: Writes,
    /// Cancelled when a newer command for the record arrives.
    pub(super) superseded: CancellationToken,
    /// Cancelled when somebody else may hold the partition: what is not reported then comes again to the next holder.
    pub(super) stop: CancellationToken,
}

impl<C: Connector> Job<C> {
    /// Carries the command out, and reports and acknowledges it.
    pub(super) async fn deliver(self) {
        let (carried, tries) = self.attempt().await;
        let became = match carried {
            Ok(Carried::Shows { outcome, native, position }) => Became::shown(outcome, native, position),
            Ok(Carried::ShowsElse(seen)) => Became::seen(DeliveryOutcome::Applied, self.anew(*seen), ""),
            Ok(Carried::Edited(seen)) => {
                Became::seen(DeliveryOutcome::Superseded, self.anew(*seen), "edited_meanwhile")
            }
            Ok(Carried::Overtaken(reason)) => Became::overtaken(reason),
            Err(End::Dropped) if self.superseded.is_cancelled() => Became::overtaken(NEWER_COMMAND),
            Err(End::Dropped) => return,
            Err(End::GivenUp { outcome, reason, failure }) => {
                let letter = DeadLetter::of(&self.message, reason, failure.advice()).after(tries.into());
                Became { outcome, shows: None, reason: failure.to_string(), seen: None, letter: Some(letter) }
            }
        };
        report(&self.parts, &self.message, &self.command, became, tries).await;
    }

    /// Tries until it is carried out, given up, or dropped.
    async fn attempt(&self) -> (Result<Carried, End>, u32) {
        // Both end the waits, also those for a place among the calls; which of them it was is asked afterwards.
        let drop_it = self.superseded.child_token();
        let act = || asking(self.lane, drop_it.clone(), self.in_turn());
        let tried = attempts(&self.parts.settings.backoff, &self.message, &drop_it, act);
        let mut tried = std::pin::pin!(tried);
        tokio::select! {
            biased;
            done = &mut tried => done,
            () = self.stop.cancelled() => {
                drop_it.cancel();
                tried.await
            }
        }
    }

    /// Carries the command out when it is its turn to write, where writes go by turns.
    async fn in_turn(&self) -> Result<Carried, Failure> {
        match self.parts.connector.calls() {
            Some(calls) => calls.in_turn(self.carry_out()).await,
            None => self.carry_out().await,
        }
    }

    async fn carry_out(&self) -> Result<Carried, Failure> {
        let Self { parts, command, writes, .. } = self;
        if writes.is_behind(command) {
            return Ok(Carried::Overtaken(OLDER_COMMAND));
        }
        let reading = parts.connector.read(&command.record).await?;
        if self.superseded.is_cancelled() {
            return Ok(Carried::Overtaken(NEWER_COMMAND));
        }
        if self.stop.is_cancelled() {
            // Somebody else may hold the partition now: from here on only they write.
            return Err(Failure::Limited { why: "the partition was given up".into(), retry_after: Duration::ZERO });
        }
        if reading.observation.native.is_deleted() {
            // Nothing can be told or shown there, and nobody else may have seen it.
            return Ok(Carried::Edited(Box::new(reading.observation)));
        }
        match command.mode {
            CommandMode::Tell => self.tell(reading).await,
            CommandMode::Show => {
                writes.begin(command);
                parts.connector.show(command, &reading).await?;
                let shown = reading.observation;
                if shown.native == command.native || command.expects.contains(&shown.native) {
                    let Observation { native, position, .. } = shown;
                    return Ok(Carried::Shows { outcome: DeliveryOutcome::Applied, native, position });
                }
                // It was left to a command to say whose it is, and this one took that one's place.
                Ok(Carried::ShowsElse(Box::new(self.attributed(shown))))
            }
        }
    }

    async fn tell(&self, reading: Reading) -> Result<Carried, Failure> {
        let Self { parts, command, writes, .. } = self;
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
        if !command.expects.contains(&shown.native) && !self.is_ours(&shown.native) {
            return Ok(Carried::Edited(Box::new(self.attributed(reading.observation))));
        }
        writes.begin(command);
        let is_sure = writes.begin_write(&command.record);
        let written = parts.connector.write(command, &reading).await?;
        writes.made(command, written.position, is_sure);
        Ok(Carried::Shows { outcome: DeliveryOutcome::Applied, native: written.native, position: written.position })
    }

    /// Whether an earlier command that asked for this may have been carried out.
    fn is_ours(&self, native: &Native) -> bool {
        let earlier = self.command.earlier.iter().filter(|earlier| earlier.native == *native);
        earlier.into_iter().any(|earlier| self.writes.may_have_been(&self.command.record, earlier))
    }

    /// What the record shows, with what is known of who made it.
    fn attributed(&self, shown: Observation) -> Observation {
        let asked = self.command.earlier.iter().any(|earlier| earlier.native == shown.native);
        if asked && !self.is_ours(&shown.native) {
            // Without this it would be taken for the echo of a command that nobody carried out.
            return Observation { origin: Origin::Other, ..shown };
        }
        shown
    }

    /// Seen anew, whatever was seen at this position before: as a copy of that it would vanish on the bus, and the next command would
    /// meet the same again.
    fn anew(&self, seen: Observation) -> Observation {
        let Command { version, cause, .. } = &self.command;
        Observation { id: format!("{}~{version}:{cause}", seen.id), ..seen }
    }
}

/// Reports a command that was never begun: a newer one came, or was there.
pub(super) async fn report_overtaken<C: Connector>(
    parts: &Loop<C>,
    message: &Received,
    command: &Command,
    reason: &'static str,
) {
    report(parts, message, command, Became::overtaken(reason), 0).await;
}

/// Tells what became of a command, and acknowledges it. If the process ends first it comes again.
async fn report<C: Connector>(parts: &Loop<C>, message: &Received, command: &Command, became: Became, tries: u32) {
    let Became { outcome, shows, reason, seen, letter } = became;
    let delivery = delivery(parts.process.now_ms(), command, outcome, tries, shows, reason);
    let mut messages: Vec<Outgoing> = seen.iter().map(|seen| Outgoing::observation(Lane::High, seen)).collect();
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
        tracing::info!(outcome = outcome.code(), attempts = tries, "command done with");
        parts.done(message).await;
    }
}

fn delivery(
    now_ms: i64,
    command: &Command,
    outcome: DeliveryOutcome,
    tries: u32,
    shows: Option<(Native, Option<Position>)>,
    reason: String,
) -> v1::Delivery {
    let (native, position) = shows.map_or_else(Default::default, |(native, position)| {
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
        reason,
        attempts: tries,
        status: command.status.to_string(),
        cause: command.cause,
    }
}
