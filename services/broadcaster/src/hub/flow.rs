//! What a client should be told next. Pure, but for the history that it is asked to read.
//!
//! A client is *live* when it has been handed every event so far: the hub hands it each new one. It is *behind* when it has not, be it
//! that it reads slowly, that it waits for a snapshot, or that it came back: then it takes events from the history by itself, as
//! fast as it reads, until it has caught up. What waits for a client is therefore never more than a handful of events.
//!
//! All its rooms are taken from the history in one pass: it is told everything in order, and its position is one that all of
//! them have reached. A room that it comes back to takes it back to what it missed there, and what it was handed in other rooms
//! meanwhile is passed over.

use std::collections::HashMap;
use std::sync::Arc;

use super::round::{Mask, Round};
use crate::event::{After, Event};
use crate::filter::Filter;
use crate::history::History;
use crate::message::Message;
use crate::position::Position;
use crate::room::Room;

/// One room that a client is in.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Which.
    pub room: Room,
    /// What of it.
    pub filter: Option<Arc<Filter>>,
    /// From which event on.
    pub from: u64,
    /// With which asking of its client's it was joined: what was read for an earlier one is not shown here.
    pub joined: u64,
    /// For which asking a snapshot is read that tells all who follow the room; what another tells only some of them may have seen.
    pub told_by: u64,
    /// What it missed, where it has come back.
    pub missed: Option<Missed>,
    /// Events before this one it was handed already, though the client goes through them again for other rooms.
    pub handed: u64,
    /// What its snapshot told, and until when that is remembered.
    pub shown: Option<(Arc<Versions>, i64)>,
    /// The item of this key could not be looked up yet.
    pub sought: Option<Sought>,
    /// The room that the client asked for, where this is another beside it: of the item's id beside its key.
    pub beside: Option<Room>,
}

/// What a client missed in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// Up to where it had read it.
    pub known: Position,
    /// The last event that may be one of them.
    pub until: u64,
}

/// What a client is owed of an item that could not be looked up yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sought {
    /// From which event on it is followed by its id, when it can.
    pub from: u64,
    /// Up to where the client had read all before: with a later position it would come back behind what it is owed.
    pub known: Position,
}

impl Subscription {
    /// What is heard of a room from an event on.
    pub fn new(room: Room, filter: Option<Arc<Filter>>, from: u64, missed: Option<Missed>) -> Self {
        Self { room, filter, from, joined: 0, told_by: 0, missed, handed: 0, shown: None, sought: None, beside: None }
    }

    /// Whether it is the one that the client asked for by the name of this room.
    pub fn is_asked(&self, room: &Room) -> bool {
        self.beside.is_none() && self.room == *room
    }

    /// What of an event is heard here.
    fn hears(&self, event: &Event, now: &Position) -> After {
        if event.number < self.from || !self.wants(&event.message) || self.has_shown(event) {
            return After::Nothing;
        }
        match &self.missed {
            Some(missed) if event.number <= missed.until => event.after(&missed.known, now),
            _ => After::Whole,
        }
    }

    /// Whether its snapshot told what an event tells, or more.
    fn has_shown(&self, event: &Event) -> bool {
        let Some((versions, _)) = &self.shown else { return false };
        let Message::Change(change) = &event.message else { return false };
        change.kind == "status_changed" && versions.get(&change.item).is_some_and(|shown| change.version <= *shown)
    }

    fn wants(&self, message: &Message) -> bool {
        let mut heard = false;
        message.rooms(|kind, name| heard |= self.room.hears(kind, name));
        heard && self.filter.as_ref().is_none_or(|filter| filter.passes(message))
    }

    /// The next event that a client, which is at one, has not been handed of it.
    fn next(&self, at: u64) -> u64 {
        self.from.max(self.handed).max(at)
    }
}

/// By item the version that a snapshot told: changes up to it are old news.
pub type Versions = HashMap<String, u64>;

/// Where a client is among all events.
#[derive(Debug, Default)]
pub struct Flow {
    /// The next event to look at; `None` for a client that is live.
    behind: Option<u64>,
    /// It has come back, and is told what it missed.
    back: Option<Missed>,
    /// How many snapshots it waits for before it is told anything more.
    holds: u32,
    /// Whether it is remembered what the snapshot of one of its rooms told.
    has_shown: bool,
    /// Whether one of its rooms is [`Subscription::sought`].
    pub seeks: bool,
}

/// What came of taking from the history.
#[derive(Debug, PartialEq, Eq)]
pub enum Pulled {
    /// The client is live.
    Live,
    /// There is more to take.
    More,
    /// It waits for a snapshot.
    Held,
    /// What it missed in these rooms is forgotten: they begin anew.
    Lost(Vec<Room>),
    /// It reads too slowly: what it should be told next is forgotten.
    TooSlow,
}

/// How many events are looked at before others get their turn.
const LOOKED_AT: usize = 256;

impl Flow {
    /// Which of the events of a round a client should be handed now. One that is behind takes them by itself.
    pub fn takes(&self, round: &Round, events: Mask, rooms: &[Subscription]) -> Mask {
        if self.behind.is_some() {
            0
        } else if self.has_shown {
            round.retain(events, |event| !is_old_news(rooms, event))
        } else {
            events
        }
    }

    /// From this event on the client takes events by itself.
    pub fn fall_behind(&mut self, number: u64) {
        self.behind.get_or_insert(number);
    }

    /// Waits for a snapshot before anything more is told; `applied` is the newest event that the hub has handed out.
    pub fn hold(&mut self, applied: u64) {
        self.holds += 1;
        self.fall_behind(applied + 1);
    }

    /// What was waited for is there.
    pub fn release(&mut self) {
        self.holds = self.holds.saturating_sub(1);
    }

    /// What the snapshot of a room told is old news there until `until_ms`.
    pub fn remember(&mut self, room: &mut Subscription, versions: &Arc<Versions>, until_ms: i64) {
        room.shown = (!versions.is_empty()).then(|| (Arc::clone(versions), until_ms));
        self.has_shown |= room.shown.is_some();
    }

    /// Goes back to an event for rooms that are about to be joined, from the `rooms` that it is in; `applied` is the newest event
    /// that the hub has handed out. False when it was not further.
    pub fn go_back(&mut self, from: u64, rooms: &mut [Subscription], applied: u64) -> bool {
        let at = self.behind.unwrap_or(applied + 1);
        self.back = self.back.filter(|back| at <= back.until);
        if from >= at {
            return false;
        }
        for room in rooms {
            room.handed = room.handed.max(at);
        }
        self.behind = Some(from);
        true
    }

    /// Goes back to what was missed in rooms that are about to be joined.
    pub fn come_back(&mut self, from: u64, missed: Missed, rooms: &mut [Subscription], now: &Position) {
        if from > missed.until {
            return;
        }
        self.go_back(from, rooms, missed.until);
        self.back = Some(self.back.map_or(missed, |before| Missed {
            // A place that all of them have reached.
            known: before.known.earliest(&missed.known, now),
            until: before.until.max(missed.until),
        }));
    }

    /// The next event that a client has not been handed of a room; `applied` is the newest event that the hub has handed out.
    pub fn next_of(&self, room: &Subscription, applied: u64) -> u64 {
        room.next(self.behind.unwrap_or(applied + 1))
    }

    /// Up to where what is told now leaves nothing out: where the client came back from, or where its hub was when it began to wait.
    pub fn known(&self, at: Position) -> Position {
        self.back.map_or(at, |back| back.known)
    }

    /// Forgets what snapshots told long ago.
    pub fn forget(&mut self, rooms: &mut [Subscription], now_ms: i64) {
        if self.has_shown {
            for room in rooms.iter_mut() {
                room.shown.take_if(|(_, until)| *until <= now_ms);
            }
            self.has_shown = rooms.iter().any(|room| room.shown.is_some());
        }
    }

    /// Whether the client has been handed all there is.
    pub fn is_live(&self) -> bool {
        self.behind.is_none()
    }

    /// Takes from the history what the client should be told next. Where it is more than `conflate_over` events behind, only
    /// the newest of each level; but all that it missed while it was away.
    pub fn pull(
        &mut self,
        history: &History,
        rooms: &[Subscription],
        applied: u64,
        conflate_over: u64,
        mut tell: impl FnMut(Arc<Event>),
    ) -> Pulled {
        if self.holds > 0 {
            return Pulled::Held;
        }
        let Some(next) = self.behind else { return Pulled::Live };
        if next > applied {
            (self.behind, self.back) = (None, None);
            return Pulled::Live;
        }
        let Some(events) = history.from(next, LOOKED_AT) else { return self.forgotten(next, rooms, applied) };
        let now = history.position();
        let conflates = applied - next >= conflate_over;
        let owed = rooms.iter().filter_map(|room| Some(room.sought?.known));
        let owed = owed.reduce(|one, other| one.earliest(&other, &now));
        let mut after = next;
        for event in events.into_iter().take_while(|event| event.number <= applied) {
            after = event.number + 1;
            let back = self.back.as_mut().filter(|back| event.number <= back.until);
            let position = back.as_ref().map_or(event.position, |back| back.known.latest(&event.position, &now));
            let all_is_told = back.is_some();
            if let Some(back) = back {
                back.known = position;
            }
            let event = match due(rooms, &event, &now) {
                After::Nothing => continue,
                After::Whole => event,
                After::Part(part) => Arc::new(*part),
            };
            // Only where the newer one is told as well: a filter may want the one and not the other.
            let is_told = |newer: Arc<Event>| !matches!(due(rooms, &newer, &now), After::Nothing);
            if conflates && !all_is_told && history.superseding(&event).is_some_and(is_told) {
                continue;
            }
            // Broadcasters read the feeds each in its own order: in one that the client knows it may be further than this event was.
            // As long as it is owed something it goes no further than that: it would rather be told this twice than that never.
            let position = owed.map_or(position, |owed| owed.earliest(&position, &now));
            tell(if position == event.position { event } else { Arc::new(event.at(position)) });
        }
        self.behind = Some(after);
        Pulled::More
    }

    /// The next event is forgotten. Rooms that were come back to begin anew, and the client goes on with what is next for the others.
    fn forgotten(&mut self, next: u64, rooms: &[Subscription], applied: u64) -> Pulled {
        let (here, later): (Vec<_>, Vec<_>) = rooms.iter().partition(|room| room.next(next) == next);
        let (lost, slow): (Vec<_>, Vec<_>) =
            here.into_iter().partition(|room| room.missed.is_some_and(|missed| next <= missed.until));
        if !slow.is_empty() {
            return Pulled::TooSlow;
        }
        let after = later.into_iter().map(|room| room.next(next)).min().unwrap_or(u64::MAX);
        self.behind = Some(after.min(applied + 1));
        if lost.is_empty() {
            return Pulled::More;
        }
        let mut rooms: Vec<Room> =
            lost.into_iter().map(|lost| lost.beside.as_ref().unwrap_or(&lost.room).clone()).collect();
        rooms.sort();
        rooms.dedup();
        Pulled::Lost(rooms)
    }
}

/// Whether each of a client's rooms in which an event is heard had it in its snapshot.
fn is_old_news(rooms: &[Subscription], event: &Event) -> bool {
    rooms.iter().any(|room| room.has_shown(event))
        && !rooms.iter().any(|room| room.from <= event.number && !room.has_shown(event) && room.wants(&event.message))
}

/// What of an event a client is to be told by its rooms, unless it was told it by one of them before it went back.
fn due(rooms: &[Subscription], event: &Event, now: &Position) -> After {
    let mut due = After::Nothing;
    for room in rooms.iter().filter(|room| event.number >= room.handed) {
        let more = room.hears(event, now);
        if more.count() > due.count() {
            due = more;
        }
        if matches!(due, After::Whole) {
            break;
        }
    }
    if matches!(due, After::Nothing) {
        return due;
    }
    let mut before = rooms.iter().filter(|room| event.number < room.handed);
    if before.any(|room| !matches!(room.hears(event, now), After::Nothing)) { After::Nothing } else { due }
}

#[cfg(test)]
mod tests;
