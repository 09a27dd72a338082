//! Items that clients follow by their keys. Their deliveries, and their changes under another key, name only the item's id: beside the
//! room of the key its client is in the room of the id, unseen.

use super::flow::Subscription;
use super::index::Key;
use super::shard::Shard;
use crate::event::Event;
use crate::message::Message;
use crate::room::{Kind, Room};

/// Whether a room is an item's by its key.
pub fn is_by_key(room: &Room) -> bool {
    room.kind == Kind::Item && !room.wildcard && uuid::Uuid::parse_str(&room.name).is_err()
}

/// The room of an item with this key, or this id.
fn item(name: &str) -> Room {
    Room { kind: Kind::Item, name: name.into(), wildcard: false }
}

impl Shard {
    /// Lets a client into the room of an item's id, beside the room of the key that it asked for, and in the place of another there.
    /// It hears there what it has not been handed in that room from an event on.
    pub(super) fn stand_beside(&mut self, key: Key, room: &Room, id: &str, from: u64) {
        self.leave_beside(key, room);
        self.seeks_no_more(key, room);
        let Some(client) = self.clients.get(key) else { return };
        let Some(asked) = client.rooms.iter().find(|known| known.is_asked(room)) else { return };
        let by_id = Subscription { room: item(id), beside: Some(room.clone()), from, handed: 0, ..asked.clone() };
        self.join(key, by_id);
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

    /// A change names an item's key: whoever waits for that item follows it by its id from now on.
    pub(super) fn named(&mut self, event: &Event) {
        let Message::Change(change) = &event.message else { return };
        for key in self.seekers.remove(&*change.key).unwrap_or_default() {
            self.stand_beside(key, &item(&change.key), &change.item, event.number + 1);
        }
    }
}
