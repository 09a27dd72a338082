//! Items that clients follow by their keys. Their deliveries, and their changes under another key, name only the item's id: beside the
//! room of the key its client is in the room of the id, unseen.

use super::flow::{Missed, Sought, Subscription};
use super::index::Key;
use super::shard::Shard;
use crate::event::Event;
use crate::message::Message;
use crate::position::Position;
use crate::room::{Kind, Room};

/// Whether a room is an item's by its key.
pub fn is_by_key(room: &Room) -> bool {
    room.kind == Kind::Item && !room.wildcard && uuid::Uuid::parse_str(&room.name).is_err()
}

/// The room of an item with this key, or this id.
fn item(name: &str) -> Room {
    Room { kind: Kind::Item, name: name.into(), wildcard: false }
}

/// How often an item is looked up again at most; the client is then told that it cannot be.
const LOOKS: u32 = 8;
const WAIT_MS: i64 = 500;
const WAIT_MAX_MS: i64 = 30_000;

/// When something is looked up again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Looks {
    /// When; `None` where nothing is, or is just now.
    pub at_ms: Option<i64>,
    /// How often it was already.
    count: u32,
}

impl Looks {
    /// How long the next one waits, with a chance from 0 to 1 that keeps clients from coming all at once.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "half a minute at most")]
    fn wait_ms(self, jitter: f64) -> i64 {
        let wait = (WAIT_MS << self.count.min(16)).min(WAIT_MAX_MS);
        wait + (wait as f64 * jitter / 2.0) as i64
    }
}

impl Shard {
    /// It is known which item has the key of a room, or that none has. It is followed by its id from an event on, or from where it
    /// should have been already.
    pub(super) fn looked_up(&mut self, key: Key, room: &Room, id: Option<&str>, from: u64) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let Some(asked) = client.rooms.iter_mut().find(|known| known.is_asked(room)) else { return };
        let from = asked.sought.take().map_or(from, |sought| sought.from);
        self.looks_no_more(key);
        if let Some(id) = id {
            self.stand_beside(key, room, id, from);
        }
    }

    /// Lets a client into the room of an item's id, beside the room of the key that it asked for, and in the place of another there.
    fn stand_beside(&mut self, key: Key, room: &Room, id: &str, from: u64) {
        self.leave_beside(key, room);
        self.seeks_no_more(key, room);
        let until = self.applied;
        let Some(client) = self.clients.get_mut(key) else { return };
        let Some(asked) = client.rooms.iter().find(|known| known.is_asked(room)).cloned() else { return };
        let mut by_id = Subscription { room: item(id), beside: Some(room.clone()), from, handed: 0, ..asked };
        if client.flow.go_back(from, &mut client.rooms, until) {
            // When that is forgotten, the room begins anew.
            by_id.missed = by_id.missed.or(Some(Missed { known: Position::default(), until }));
            self.dirty.push(key);
        }
        self.join(key, by_id);
    }

    /// The item of a key could not be looked up by a client that was at this position when it asked. Says whether it is again later: the
    /// client stays in the room meanwhile.
    pub(super) fn looks_again(&mut self, key: Key, room: &Room, at: Position) -> bool {
        let (now, applied) = (self.now_ms, self.applied);
        let Some(client) = self.clients.get_mut(key) else { return false };
        if client.looks.count >= LOOKS {
            return false;
        }
        let Some(asked) = client.rooms.iter_mut().find(|known| known.is_asked(room)) else { return false };
        if asked.sought.is_none() {
            asked.sought = Some(Sought { from: client.flow.next_of(asked, applied), known: client.flow.known(at) });
        }
        client.flow.seeks = true;
        client.looks.at_ms.get_or_insert(now + client.looks.wait_ms(runtime::jitter()));
        true
    }

    /// Where a client seeks nothing more, nothing is looked up again.
    pub(super) fn looks_no_more(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if client.rooms.iter().all(|known| known.sought.is_none()) {
            client.looks = Looks::default();
            client.flow.seeks = false;
        }
    }

    /// Looks up once more what a client seeks.
    pub(super) fn look_again(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else { return };
        client.looks = Looks { at_ms: None, count: client.looks.count + 1 };
        let rooms: Vec<Room> =
            client.rooms.iter().filter(|known| known.sought.is_some()).map(|known| known.room.clone()).collect();
        self.look_up(key, rooms, false, false, self.askings);
    }

    /// Takes a client out of the rooms beside one that it asked for.
    pub(super) fn leave_beside(&mut self, key: Key, room: &Room) {
        let Some(client) = self.clients.get_mut(key) else { return };
        for left in client.rooms.extract_if(.., |known| known.beside.as_ref() == Some(room)) {
            self.index.leave(&left.room, left.filter.as_ref(), key);
        }
    }

    /// A client is in the room of a key whose item is not known yet: it may come to be later.
    pub(super) fn seeks(&mut self, key: Key, room: &Room) {
        self.seekers.entry(room.name.clone()).or_default().push(key);
    }

    /// A client has left the room of a key, or its item is known.
    pub(super) fn seeks_no_more(&mut self, key: Key, room: &Room) {
        let Some(seekers) = self.seekers.get_mut(&room.name) else { return };
        seekers.retain(|seeker| *seeker != key);
        if seekers.is_empty() {
            self.seekers.remove(&room.name);
        }
    }

    /// Whether an event names the key of an item that somebody waits for.
    pub(super) fn is_sought(&self, event: &Event) -> bool {
        // Of most events there is nothing to look up.
        !self.seekers.is_empty()
            && matches!(&event.message, Message::Change(change) if self.seekers.contains_key(&*change.key))
    }

    /// A change names an item's key: whoever waits for that item follows it by its id after it.
    pub(super) fn named(&mut self, event: &Event) {
        let Message::Change(change) = &event.message else { return };
        for key in self.seekers.remove(&*change.key).unwrap_or_default() {
            self.looked_up(key, &item(&change.key), Some(&change.item), event.number + 1);
        }
    }
}
