//! Connectors: each command is read before it is written, may be handled twice, and may land late.

use model::{
    Command, CommandMode, DeliveryOutcome, Earlier, Lane, Native, Origin, Position, Report, Source, Timestamp,
};

use super::bus::Body;
use super::remote::{Hold, Revision};
use super::world::World;

#[derive(Debug, Clone)]
enum Stage {
    Read,
    /// It showed what the command may replace, at this revision.
    Write(usize),
    Report(DeliveryOutcome, usize),
}

/// One command in one connector's hands.
#[derive(Debug, Clone)]
pub struct Work {
    pub remote: usize,
    command: Command,
    stored: u64,
    stage: Stage,
    /// Which of the record's holders carries it out.
    hold: usize,
}

impl World {
    /// The records for which a command waits that nobody handles, or that a second connector took over.
    pub fn startable(&mut self) -> Vec<usize> {
        let overlap = self.faults.overlap && self.rng.chance(40);
        let busy = |remote: usize| self.work.iter().filter(|work| work.remote == remote).count();
        let waits = |place: &usize| {
            let desired = &self.remotes[*place].desired;
            desired.stored > desired.acknowledged && busy(*place) < if overlap { 3 } else { 1 }
        };
        (0..self.remotes.len()).filter(waits).collect()
    }

    pub fn start_work(&mut self, remote: usize) {
        let desired = &self.remotes[remote].desired;
        let Some(command) = desired.command.clone() else { return };
        let stored = desired.stored;
        self.say(|w| format!("a connector takes {} v{} {}", w.remotes[remote].record, command.version, command.native));
        if self.work.iter().any(|work| work.remote == remote) {
            self.overlaps.insert(remote);
            self.change_hands(remote);
        }
        let hold = self.remotes[remote].holds.len() - 1;
        self.work.push(Work { remote, command, stored, stage: Stage::Read, hold });
    }

    pub fn do_work(&mut self, place: usize) {
        let work = self.work[place].clone();
        if self.remotes[work.remote].down {
            if self.faults.failures && self.rng.chance(10) {
                self.give_up(place);
            } else if !self.faults.outages {
                self.remotes[work.remote].down = false;
            }
            return;
        }
        if self.faults.connector_crashes && self.rng.chance(12) {
            self.say(|w| format!("a connector crashes with {} at {:?}", w.remotes[work.remote].record, work.stage));
            self.work.swap_remove(place);
            self.change_hands(work.remote);
            return;
        }
        match work.stage.clone() {
            Stage::Read => self.read(place, &work),
            Stage::Write(read) => self.write(place, &work, read),
            Stage::Report(outcome, revision) => {
                let shown = (work.command.mode == CommandMode::Tell)
                    .then(|| self.remotes[work.remote].revisions[revision].clone());
                self.report(&work, outcome, shown.as_ref(), Some(revision), None);
                self.end(place);
            }
        }
    }

    fn read(&mut self, place: usize, work: &Work) {
        let remote = &mut self.remotes[work.remote];
        let (native, revision) = (remote.now().native.clone(), remote.newest());
        if work.command.mode == CommandMode::Show {
            remote.shown = Some(work.command.status.to_string());
            self.work[place].stage = Stage::Report(DeliveryOutcome::Applied, revision);
        } else if native == work.command.native {
            self.work[place].stage = Stage::Report(DeliveryOutcome::Unchanged, revision);
        } else if work.command.expects.contains(&native) || self.may_be_ours(work, &native) {
            self.work[place].stage = Stage::Write(revision);
        } else {
            let is_asked_for = work.command.earlier.iter().any(|earlier| earlier.native == native);
            let origin = if is_asked_for { Origin::Other } else { Origin::Unknown };
            self.observe_of(work.remote, revision, Source::Poll, Lane::High, origin);
            self.report(work, DeliveryOutcome::Superseded, None, None, None);
            self.end(place);
        }
    }

    /// Somebody else carries out the commands from now on.
    fn change_hands(&mut self, remote: usize) {
        let hold = Hold { since: self.bus.sequence, ..Hold::default() };
        self.remotes[remote].holds.push(hold);
    }

    /// Whether an earlier command may have made the record show this.
    fn may_be_ours(&self, work: &Work, native: &Native) -> bool {
        let hold = &self.remotes[work.remote].holds[work.hold];
        let carried_out = |earlier: &&Earlier| earlier.since <= hold.since || hold.begun.contains(&earlier.version);
        work.command.earlier.iter().filter(carried_out).any(|earlier| earlier.native == *native)
    }

    fn write(&mut self, place: usize, work: &Work, read: usize) {
        let remote = &self.remotes[work.remote];
        if remote.conditional && remote.newest() != read {
            self.work[place].stage = Stage::Read;
            return;
        }
        let changes = remote.now().native != work.command.native;
        let revision = if changes {
            self.oracle.wrote(remote, work.remote, &work.command);
            self.remotes[work.remote].holds[work.hold].begun.insert(work.command.version);
            self.written(work.remote, &work.command.native, work.command.version)
        } else {
            self.remotes[work.remote].newest()
        };
        self.say(|w| {
            format!(
                "a connector writes {} v{} {} (revision {revision})",
                w.remotes[work.remote].record, work.command.version, work.command.native
            )
        });
        self.work[place].stage = Stage::Report(DeliveryOutcome::Applied, revision);
    }

    /// All attempts were used up.
    fn give_up(&mut self, place: usize) {
        let work = self.work[place].clone();
        self.say(|w| format!("a connector gives up on {}", w.remotes[work.remote].record));
        self.report(&work, DeliveryOutcome::Failed, None, None, Some("it is down".to_owned()));
        let remote = &mut self.remotes[work.remote];
        remote.failed = true;
        self.end(place);
    }

    fn end(&mut self, place: usize) {
        let work = self.work.swap_remove(place);
        let desired = &mut self.remotes[work.remote].desired;
        desired.acknowledged = desired.acknowledged.max(work.stored);
    }

    fn report(
        &mut self,
        work: &Work,
        outcome: DeliveryOutcome,
        shown: Option<&Revision>,
        revision: Option<usize>,
        reason: Option<String>,
    ) {
        let position: Option<Position> = shown.and_then(|shown| shown.position);
        let native: Option<Native> = shown.map(|shown| shown.native.clone());
        let known = &self.remotes[work.remote];
        let report = Report {
            id: format!(
                "d:{}:{}:{}:{}:{revision:?}",
                known.record,
                work.command.version,
                work.command.cause,
                outcome.code()
            ),
            record: known.record.clone(),
            item: Some(work.command.item),
            version: work.command.version,
            cause: Some(work.command.cause),
            outcome,
            mode: work.command.mode,
            native,
            position,
            at: Timestamp(self.now_ms),
            reason,
        };
        if matches!(outcome, DeliveryOutcome::Applied | DeliveryOutcome::Unchanged) {
            self.remotes[work.remote].failed = false;
        }
        let now_ms = self.now_ms;
        let revision = revision.filter(|_| shown.is_some());
        self.bus.publish(Body::Told(report), work.remote, revision, Lane::High, now_ms);
    }
}
