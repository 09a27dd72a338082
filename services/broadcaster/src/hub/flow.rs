//! What a client should be told next. Pure, but for the history that it is asked to read.
//!
//! A client is *live* when it has been handed every event so far: the hub hands it each new one. It is *behind* when it has not, be it
//! that it reads slowly, that it waits for a snapshot, or that it came back: then it takes events from the history by itself, as
//! fast as it reads, until it has caught up. What waits for a client is therefore never more than a handful of events.

use std::collections::{HashMap, VecDeque};
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
    /// Whether the client asked for it by this name; else it is the item's id beside the key that it asked for.
    pub asked: bool,
}

impl Subscription {
    fn wants(&self, message: &Message) -> bool {
        let mut heard = false;
        message.rooms(|kind, name| heard |= self.room.hears(kind, name));
        heard && self.filter.as_ref().is_none_or(|filter| filter.passes(message))
    }
}

/// What a client missed in rooms that it has come back to.
#[derive(Debug)]
pub struct CatchUp {
    /// The rooms.
    pub rooms: Vec<Room>,
    /// Up to where it has read them.
    pub known: Position,
    /// The next event to look at.
    pub next: u64,
    /// The last one to look at.
    pub until: u64,
}

/// By item the version that a snapshot told: changes up to it are old news.
pub type Versions = HashMap<String, u64>;

/// Where a client is among all events.
#[derive(Debug, Default)]
pub struct Flow {
    /// The next event to look at; `None` for a client that is live.
    behind: Option<u64>,
    catch_ups: VecDeque<CatchUp>,
    /// How many snapshots it waits for before it is told anything more.
    holds: u32,
    /// What snapshots told lately, and until when that is remembered.
    told: Vec<(Arc<Versions>, i64)>,
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
    pub fn takes(&self, round: &Round, events: Mask) -> Mask {
        if self.behind.is_some() {
            0
        } else if self.told.is_empty() {
            events
        } else {
            round.retain(events, |event| !self.is_old_news(event))
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

    /// What a snapshot told is old news until `until_ms`.
    pub fn remember(&mut self, versions: Arc<Versions>, until_ms: i64) {
        if !versions.is_empty() {
            self.told.push((versions, until_ms));
        }
    }

    /// Begins to tell what was missed in rooms; `applied` is the newest event that the hub has handed out.
    pub fn catch_up(&mut self, catch_up: CatchUp, applied: u64) {
        self.fall_behind(applied + 1);
        self.catch_ups.push_back(catch_up);
    }

    /// Forgets what snapshots told long ago.
    pub fn forget(&mut self, now_ms: i64) {
        if !self.told.is_empty() {
            self.told.retain(|(_, until)| *until > now_ms);
        }
    }

    /// Whether the client has been handed all there is.
    pub fn is_live(&self) -> bool {
        self.behind.is_none()
    }

    /// Forgets what was missed in a room that the client has left.
    pub fn leave(&mut self, room: &Room) {
        for catch_up in &mut self.catch_ups {
            catch_up.rooms.retain(|known| known != room);
        }
    }

    /// Takes from the history what the client should be told next. Where it is more than `conflate_over` events behind, only
    /// the newest of each level.
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
        if let Some(catch_up) = self.catch_ups.front_mut() {
            let Some(events) = history.from(catch_up.next, LOOKED_AT) else {
                let lost = self.catch_ups.pop_front().map(|lost| lost.rooms);
                return Pulled::Lost(lost.unwrap_or_default());
            };
            let now = history.position();
            for event in events.into_iter().take_while(|event| event.number <= catch_up.until) {
                catch_up.next = event.number + 1;
                if let Some(event) = missed(catch_up, rooms, event, &now) {
                    tell(event);
                }
            }
            if catch_up.next > catch_up.until {
                self.catch_ups.pop_front();
            }
            return Pulled::More;
        }
        let Some(next) = self.behind else { return Pulled::Live };
        if next > applied {
            self.behind = None;
            return Pulled::Live;
        }
        let Some(events) = history.from(next, LOOKED_AT) else { return Pulled::TooSlow };
        let conflates = applied - next >= conflate_over;
        let mut after = next;
        for event in events.into_iter().take_while(|event| event.number <= applied) {
            after = event.number + 1;
            let wanted = rooms.iter().any(|room| room.from <= event.number && room.wants(&event.message));
            if wanted && !self.is_old_news(&event) && !(conflates && history.is_superseded(&event)) {
                tell(event);
            }
        }
        self.behind = Some(after);
        Pulled::More
    }

    fn is_old_news(&self, event: &Event) -> bool {
        let Message::Change(change) = &event.message else { return false };
        change.kind == "status_changed"
            && self.told.iter().any(|(told, _)| told.get(&change.item).is_some_and(|told| change.version <= *told))
    }
}

/// What of an event a client missed in the rooms of a catch-up, and is not told through another room anyway.
fn missed(catch_up: &CatchUp, rooms: &[Subscription], event: Arc<Event>, now: &Position) -> Option<Arc<Event>> {
    let missed = |room: &&Subscription| catch_up.rooms.contains(&room.room);
    let wanted = rooms.iter().filter(missed).any(|room| room.wants(&event.message));
    let elsewhere = rooms.iter().any(|room| room.from <= event.number && room.wants(&event.message));
    if !wanted || elsewhere {
        return None;
    }
    match event.after(&catch_up.known, now) {
        After::Nothing => None,
        After::Whole => Some(event),
        After::Part(part) => Some(Arc::new(*part)),
    }
}

#[cfg(test)]
mod tests;
