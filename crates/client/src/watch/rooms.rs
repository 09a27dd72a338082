//! Which rooms a connection is for, and from where they go on after it broke. Pure: it is told what was said and says what to ask.
//!
//! All rooms of a connection go on together, from the position of the last event: each event once, as the protocol has it. Rooms
//! whose snapshot has not come whole begin anew, with a snapshot.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::said::{Refusal, Subscribed};
use crate::{Filter, Message, Reset, Snapshot};

/// Rooms of which servers keep nothing that could be shown.
const SHOW_NOTHING: [&str; 5] = ["performance_metrics", "memory_timeline", "operations", "operation:", "deliveries"];

/// How rooms begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With how they stand.
    Snapshot,
    /// With what comes from now on.
    Now,
    /// With what was missed since this position.
    Position(String),
}

/// How far a room is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It waits for its snapshot.
    Fresh,
    /// It wants none, and is not in effect yet.
    Begins,
    /// It goes on from the position.
    Followed,
    /// It was in effect, and the server does not grant it any more: it is asked for on the next connection, and begins anew there.
    Refused,
}

/// Rooms that are asked for together, and not answered.
#[derive(Debug)]
struct Ask {
    rooms: BTreeSet<String>,
    refused: Vec<Refusal>,
    /// How far those are that were joined on this connection before.
    before: BTreeMap<String, State>,
    /// They were in effect before: a refusal is then nobody's answer, and told.
    again: bool,
}

/// What a refusal is about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// Something else than rooms that somebody waits for: whoever listens is told.
    NoRoom,
    /// Rooms, which are left; it is told when the subscription is answered.
    Rooms,
    /// The server cannot go on with rooms now: to be asked anew, with a wait.
    Passing,
}

/// The answer to a subscription.
#[derive(Debug, PartialEq)]
pub(crate) struct Answered {
    /// What of it was refused.
    pub(crate) refused: Vec<Refusal>,
}

/// The rooms of one connection after another.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    filter: Filter,
    joined: BTreeMap<String, State>,
    /// Where all that go on are: at the last event, or where the first of them began while there was none.
    position: Option<String>,
    /// Where this connection was when rooms came into effect last.
    here: Option<String>,
    asked: BTreeMap<u64, Ask>,
    /// Subscriptions with a position that this connection has not said to be in effect: a ping behind one may be answered before.
    resumed: BTreeSet<u64>,
    asks: u64,
}

impl Rooms {
    /// None yet; of those that come, what passes.
    pub(crate) fn new(filter: Filter) -> Self {
        Self { filter, ..Self::default() }
    }

    /// Joins rooms: what to say for it, with the reference of the answer.
    pub(crate) fn join(&mut self, rooms: BTreeSet<String>, begin: Begin) -> (String, Vec<Value>) {
        let state = match begin {
            Begin::Snapshot => State::Fresh,
            Begin::Now => State::Begins,
            Begin::Position(position) => {
                self.position = Some(position);
                State::Followed
            }
        };
        let before = |room: &String| self.joined.get(room).map(|state| (room.clone(), *state));
        let before = rooms.iter().filter_map(before).collect();
        self.joined.extend(rooms.iter().map(|room| (room.clone(), state)));
        self.asks += 1;
        let said = self.said(self.asks, &rooms, state);
        if state == State::Followed {
            self.resumed.insert(self.asks);
        }
        self.asked.insert(self.asks, Ask { rooms, refused: Vec::new(), before, again: false });
        (reference(self.asks), said)
    }

    /// Leaves rooms: they are not asked for any more.
    pub(crate) fn leave(&mut self, rooms: &BTreeSet<String>) {
        self.joined.retain(|name, _| !rooms.contains(name));
        for ask in self.asked.values_mut() {
            ask.rooms.retain(|name| !rooms.contains(name));
        }
    }

    /// A connection stands: what to say. What goes on comes first. References that were given out and are not answered stay good.
    pub(crate) fn connected(&mut self) -> Vec<Value> {
        self.here = None;
        self.resumed.clear();
        let mut asked = std::mem::take(&mut self.asked);
        asked.retain(|_, ask| !ask.again);
        for state in self.joined.values_mut().filter(|state| **state == State::Refused) {
            *state = State::Fresh;
        }
        for ask in asked.values_mut() {
            // What of it is in effect goes on with the others; an answer is owed all the same, of what was refused, too.
            ask.rooms.retain(|room| self.joined.get(room).is_some_and(|state| *state != State::Followed));
            // Those that were in effect before it go on with the others as well: it may be refused once more.
            ask.before.retain(|room, state| *state == State::Followed && ask.rooms.contains(room));
        }
        let mut said = Vec::new();
        for state in [State::Followed, State::Fresh, State::Begins] {
            let joining = |room: &String| asked.values().any(|ask| ask.rooms.contains(room));
            let before = |room: &String| asked.values().any(|ask| ask.before.contains_key(room));
            let goes = |room: &String, known: State| {
                if joining(room) { state == State::Followed && before(room) } else { known == state }
            };
            let rooms = self.joined.iter().filter(|(room, known)| goes(room, **known));
            let rooms: BTreeSet<String> = rooms.map(|(room, _)| room.clone()).collect();
            if !rooms.is_empty() {
                self.asks += 1;
                said.extend(self.said(self.asks, &rooms, state));
                if state == State::Followed {
                    self.resumed.insert(self.asks);
                }
                self.asked.insert(self.asks, Ask { rooms, refused: Vec::new(), before: BTreeMap::new(), again: true });
            }
        }
        for (number, ask) in &asked {
            let state = ask.rooms.first().and_then(|room| self.joined.get(room));
            said.extend(self.said(*number, &ask.rooms, state.copied().unwrap_or(State::Fresh)));
        }
        self.asked.extend(asked);
        said
    }

    /// A subscription, and a ping whose answer shows that it has been looked at whole.
    fn said(&self, number: u64, rooms: &BTreeSet<String>, state: State) -> Vec<Value> {
        let reference = reference(number);
        let ping = json!({"type": "ping", "ref": reference});
        if rooms.is_empty() {
            return vec![ping];
        }
        let mut subscribe = json!({"type": "subscribe", "ref": reference, "rooms": rooms});
        if !self.filter.is_empty() {
            subscribe["filter"] = json!(self.filter);
        }
        match (state, &self.position) {
            (State::Followed, Some(position)) => subscribe["position"] = json!(position),
            (State::Begins, _) => subscribe["snapshot"] = json!(false),
            _ => {}
        }
        vec![subscribe, ping]
    }

    /// Whether all that was asked for is in effect.
    pub(crate) fn is_whole(&self) -> bool {
        self.asked.is_empty()
    }

    /// Rooms are in effect. Those that have nothing to show go on from here.
    pub(crate) fn subscribed(&mut self, said: &Subscribed) {
        let Some(number) = said.reference.as_deref().and_then(number) else { return };
        self.resumed.remove(&number);
        let Some(ask) = self.asked.get(&number) else { return };
        for room in &ask.rooms {
            if let Some(state) = self.joined.get_mut(room)
                && (*state == State::Begins || (*state == State::Fresh && shows_nothing(room)))
            {
                *state = State::Followed;
            }
        }
        self.begin(&said.position);
        self.here = Some(said.position.clone()).filter(|here| !here.is_empty());
    }

    /// A page of how a room stands. Once it is whole the room goes on.
    pub(crate) fn snapshot(&mut self, said: &Snapshot) {
        if said.more {
            return;
        }
        if let Some(state) = self.joined.get_mut(&said.room) {
            *state = State::Followed;
        }
        self.begin(&said.position);
    }

    /// The oldest place counts: what comes after it is told again, rather than lost, to a room that began later.
    fn begin(&mut self, position: &str) {
        if self.position.is_none() && !position.is_empty() {
            self.position = Some(position.to_owned());
        }
    }

    /// What was missed of rooms cannot be told: they begin anew, and snapshots follow.
    pub(crate) fn reset(&mut self, said: &Reset) {
        let named = said.rooms.iter().any(|room| self.joined.contains_key(room));
        for (room, state) in &mut self.joined {
            // A server may write names its own way; then it is all that went on.
            if *state == State::Followed && (!named || said.rooms.contains(room)) && !shows_nothing(room) {
                *state = State::Fresh;
            }
        }
        let here = self.here.take();
        let goes_on = |(room, state): (&String, &State)| *state == State::Followed && !said.rooms.contains(room);
        if named && self.joined.iter().any(goes_on) {
            // What others missed since where they were is still to come.
            return;
        }
        // What comes next comes after this; what was gone on from is of no use any more.
        self.position = here.filter(|here| self.position.as_ref() != Some(here));
    }

    /// An event: the rooms go on from it.
    pub(crate) fn event(&mut self, message: &Message) {
        if let Some(position) = message.position() {
            self.position = Some(position.to_owned());
        }
    }

    /// Where a quiet connection is that has told all: the rooms go on from there, once all that was asked for is in effect.
    pub(crate) fn quiet(&mut self, position: String) {
        let follows = self.joined.values().all(|state| matches!(state, State::Followed | State::Refused));
        if follows && self.asked.is_empty() && self.resumed.is_empty() {
            self.position = Some(position);
        }
    }

    /// The answer to a ping: the subscription before it has been looked at whole.
    pub(crate) fn pong(&mut self, reference: &str) -> Option<Answered> {
        let ask = self.asked.remove(&number(reference)?)?;
        Some(Answered { refused: ask.refused })
    }

    /// Something was not done.
    pub(crate) fn refused(&mut self, refusal: &Refusal) -> Blame {
        let asked = refusal.reference.as_deref().and_then(number).and_then(|number| self.asked.get_mut(&number));
        let passing = matches!(refusal.code.as_str(), "unavailable" | "busy");
        let Some(ask) = asked else {
            // How a room stands is read after its subscription was answered.
            let Some(state) = refusal.room.as_ref().and_then(|room| self.joined.get_mut(room)) else {
                return Blame::NoRoom;
            };
            if passing {
                return Blame::Passing;
            }
            // A new token does not grant it. What the others go on from says nothing of what is missed there.
            *state = State::Refused;
            return Blame::NoRoom;
        };
        if ask.again {
            if passing {
                return Blame::Passing;
            }
            let lost: BTreeSet<String> = match &refusal.room {
                Some(room) if ask.rooms.contains(room) => BTreeSet::from([room.clone()]),
                _ => ask.rooms.clone(),
            };
            ask.rooms.retain(|room| !lost.contains(room));
            self.joined.extend(lost.into_iter().map(|room| (room, State::Refused)));
            return Blame::NoRoom;
        }
        let rooms = match &refusal.room {
            Some(room) if ask.rooms.contains(room) => BTreeSet::from([room.clone()]),
            _ => {
                // Nothing of it was done: what was joined before stays as it was, unless its snapshot has come meanwhile.
                let before = std::mem::take(&mut ask.before);
                for (room, state) in &before {
                    if let Some(known) = self.joined.get_mut(room).filter(|known| **known != State::Followed) {
                        *known = *state;
                    }
                }
                ask.rooms.iter().filter(|room| !before.contains_key(*room)).cloned().collect()
            }
        };
        ask.refused.push(refusal.clone());
        self.leave(&rooms);
        Blame::Rooms
    }
}

fn reference(number: u64) -> String {
    format!("s{number}")
}

fn number(reference: &str) -> Option<u64> {
    reference.strip_prefix('s')?.parse().ok()
}

fn shows_nothing(room: &str) -> bool {
    let named = |known: &&str| if known.ends_with(':') { room.starts_with(*known) } else { *room == **known };
    room.ends_with('*') || SHOW_NOTHING.iter().any(named)
}

#[cfg(test)]
mod tests;
