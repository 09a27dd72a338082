//! One client's rooms: the joining of snapshot and changes without gap or repeat, whatever carries them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use uuid::Uuid;

use crate::Broadcaster;
use crate::event::Event;
use crate::frame::Refusal;
use crate::hub::Place;
use crate::inbox::Inbox;
use crate::room::Room;

/// One client.
pub struct Session {
    broadcaster: Broadcaster,
    place: Place,
    /// The rooms asked for, each with the room by the item's id where it was asked for by key.
    rooms: BTreeMap<Room, Option<Room>>,
    /// By item the version that a snapshot told; changes up to it are old news.
    told: HashMap<Uuid, u64>,
}

impl Session {
    /// A client with a place.
    pub fn new(broadcaster: Broadcaster, place: Place) -> Self {
        Self { broadcaster, place, rooms: BTreeMap::new(), told: HashMap::new() }
    }

    /// What waits for the client.
    pub fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(self.place.inbox())
    }

    /// Enters a room and reads how it stands. The room is entered first: what changes meanwhile waits in the inbox, and
    /// of that the snapshot's own versions are left out later.
    pub async fn subscribe(&mut self, room: Room) -> Result<Vec<Utf8Bytes>, Refusal> {
        let config = &self.broadcaster.0.config;
        if !self.rooms.contains_key(&room) && self.rooms.len() >= config.rooms_max {
            let reason = format!("a client can be in {} rooms; leave one first", config.rooms_max);
            return Err(Refusal::room("too_many_rooms", &room.to_string(), reason));
        }
        let mut position = self.place.join(&room);
        let mut snapshot = self.read(&room).await;
        let by_id = match (&room, &snapshot) {
            (Room::Item(name), Ok(found)) => {
                let id = found.versions.first().map(|(id, _)| Room::Item(id.to_string().into()));
                id.filter(|id| !matches!(id, Room::Item(id) if id == name))
            }
            _ => None,
        };
        if let Some(id) = &by_id {
            // The item has other keys than the one it is shown by, and its changes carry that one: its id is safe.
            position = self.place.join(id);
            snapshot = self.read(&room).await;
        }
        match snapshot {
            Ok(snapshot) => {
                self.told.extend(snapshot.versions.iter().copied());
                let messages = snapshot.messages(&room, position, config.snapshot_page);
                self.rooms.insert(room, by_id);
                Ok(messages)
            }
            Err(refusal) => {
                self.leave_unneeded([Some(room), by_id]);
                Err(refusal)
            }
        }
    }

    async fn read(&self, room: &Room) -> Result<crate::snapshot::Snapshot, Refusal> {
        let shared = &self.broadcaster.0;
        let reading = shared.snapshots.read(room, shared.config.snapshot_max);
        let why = match tokio::time::timeout(shared.config.snapshot_wait(), reading).await {
            Ok(Ok(snapshot)) => return Ok(snapshot),
            Ok(Err(why)) => why,
            Err(_) => format!("no answer within {} ms", shared.config.snapshot_wait_ms),
        };
        tracing::warn!(room = %room, why, "a snapshot could not be read; the client was told");
        Err(Refusal::room("unavailable", &room.to_string(), "how things stand cannot be read now; subscribe again"))
    }

    /// Leaves a room; false when the client was not in it.
    pub fn unsubscribe(&mut self, room: &Room) -> bool {
        let Some(by_id) = self.rooms.remove(room) else { return false };
        self.leave_unneeded([Some(room.clone()), by_id]);
        true
    }

    fn leave_unneeded(&mut self, rooms: [Option<Room>; 2]) {
        for room in rooms.into_iter().flatten() {
            let needed = self.rooms.iter().any(|(name, by_id)| *name == room || by_id.as_ref() == Some(&room));
            if !needed {
                self.place.leave(&room);
            }
        }
    }

    /// Takes up to `max` of what waits, without what a snapshot has told already.
    pub fn take(&mut self, max: usize) -> Vec<Arc<Event>> {
        let mut events = self.place.inbox().take(max);
        events.retain(|event| match event.brings {
            Some((item, version)) => self.told.get(&item).is_none_or(|told| version > *told),
            None => true,
        });
        events
    }

    /// Notes that messages went to the client.
    pub fn sent(&self, count: usize) {
        self.broadcaster.0.process.metrics().broadcast_messages_total.inc_by(count as u64);
    }

    /// The broadcaster that it is a client of.
    pub fn broadcaster(&self) -> &Broadcaster {
        &self.broadcaster
    }
}
