//! Resolvers: each takes one message, commits, publishes and acknowledges, and may die between any two of these.

use std::rc::Rc;

use model::{Command, RecordRef};

use super::super::bus::{Body, Message};
use super::super::store::Outcome;
use super::{Broken, World};

impl World {
    pub(super) fn resolve_next(&mut self, (remote, lane): (usize, usize)) -> Result<(), Broken> {
        if self.faults.resolver_crashes && self.rng.chance(8) {
            self.say(|_| "a resolver crashes before its commit".to_owned());
            return Ok(());
        }
        let message = self.bus.queues[remote][lane].pop_front().expect("something waits");
        self.resolve_message(message)
    }

    /// A resolver commits one message, publishes what follows and acknowledges, or dies between.
    pub(super) fn resolve_message(&mut self, mut message: Message) -> Result<(), Broken> {
        let item = self.store.item_of(&self.remotes[message.remote].record);
        let before = item.and_then(|id| self.store.groups.get(&id).cloned());
        let policy = Rc::clone(&self.policy);
        let outcome = self.store.apply(&message, &policy);
        self.say(|w| describe(w, &message, &outcome));
        message.delivered += 1;
        self.committed.push(message.clone());
        self.judged(|oracle, world| oracle.committed(world, &message, before.as_ref(), &outcome))?;
        let mut commands = outcome.commands;
        for command in &commands {
            let place = self.place_of(&command.record);
            self.oracle.asked(place, command);
        }
        if self.faults.resolver_crashes && self.rng.chance(15) && message.delivered < 4 {
            let published = self.rng.below(commands.len() + 1);
            commands.truncate(published);
            self.say(|_| format!("a resolver crashes after {published} of its commands"));
            self.bus.queues[message.remote][message.receipt.lane as usize].push_front(message);
        } else if self.faults.resolver_crashes && self.rng.chance(8) && message.delivered < 4 {
            self.say(|_| "an acknowledgement is lost".to_owned());
            self.bus.unacknowledged.push(message);
        }
        if self.faults.slow_publishing && self.rng.chance(40) && !commands.is_empty() {
            self.slow.push(commands);
            return Ok(());
        }
        for command in commands {
            self.publish_command(command);
        }
        Ok(())
    }

    pub(super) fn publish_command(&mut self, command: Command) {
        let id = format!("c:{}:{}:{}", command.record, command.version, command.cause);
        let now_ms = self.now_ms;
        let place = self.place_of(&command.record);
        let taken = self.bus.takes(&id, now_ms);
        self.say(|_| {
            let known = if taken { "" } else { " (known)" };
            format!(
                "command{known} {} v{} {:?} {} expects {:?}",
                command.record, command.version, command.mode, command.native, command.expects
            )
        });
        if taken {
            // A version is told a second time, or a slow resolver comes last: an old command is carried out late, as if a
            // second connector had kept it.
            let version = format!("{} {} {}", command.record, command.item, command.version);
            let newest = self.remotes[place].desired.command.as_ref();
            let newer = newest.is_some_and(|newest| newest.version > command.version);
            if !self.stored.insert(version) || newer {
                self.overlaps.insert(place);
            }
            let desired = &mut self.remotes[place].desired;
            desired.stored += 1;
            desired.command = Some(command);
        }
    }

    pub fn place_of(&self, record: &RecordRef) -> usize {
        self.remotes.iter().position(|remote| remote.record == *record).expect("known")
    }
}

fn describe(world: &World, message: &Message, outcome: &Outcome) -> String {
    let group = outcome.item.and_then(|id| world.store.groups.get(&id));
    let record = &world.remotes[message.remote].record;
    let now = group.map(|group| {
        let link = group.link(record);
        let link = link.map(|link| {
            format!(
                "shadow {} agreed {} sent {:?}",
                link.native,
                link.agreed,
                link.sent.iter().map(|s| (s.version.0, s.native.as_str())).collect::<Vec<_>>()
            )
        });
        format!(
            "{} v{}{} {}",
            group.item.status,
            group.item.version,
            if group.item.held.is_some() { " held" } else { "" },
            link.unwrap_or_default()
        )
    });
    let what = match &message.body {
        Body::Seen(seen) => {
            format!("{} {} at {:?} {:?}", seen.id, seen.native, seen.position.map(|p| p.0 % 1_000_000), seen.origin)
        }
        Body::Told(told) => {
            format!("{} {:?} {:?} at {:?}", told.id, told.outcome, told.native, told.position.map(|p| p.0 % 1_000_000))
        }
    };
    format!(
        "resolve #{} {record} {what} -> {:?}: {}",
        message.receipt.sequence,
        outcome.verdict,
        now.unwrap_or_default()
    )
}
