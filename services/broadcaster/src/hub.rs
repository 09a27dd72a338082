//! Who is in which room, and the handing of events to all who are.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::Event;
use crate::inbox::Inbox;
use crate::room::Room;

/// All rooms.
#[derive(Debug, Default)]
pub struct Hub {
    rooms: Mutex<Rooms>,
    clients: AtomicUsize,
}

#[derive(Debug, Default)]
struct Rooms {
    all: Vec<Arc<Inbox>>,
    items: HashMap<Arc<str>, Vec<Arc<Inbox>>>,
    records: HashMap<Arc<str>, Vec<Arc<Inbox>>>,
    /// Counts events handed out: tells an inbox that it has one already.
    number: u64,
    /// The newest position on the stream of changes.
    position: u64,
}

/// A client's place; given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    hub: Arc<Hub>,
    inbox: Arc<Inbox>,
    rooms: Vec<Room>,
}

impl Hub {
    /// A place for one more client, unless `max` are here already.
    pub fn admit(self: &Arc<Self>, inbox: Inbox, max: usize) -> Option<Place> {
        let taken =
            self.clients.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < max).then_some(now + 1));
        taken.ok().map(|_| Place { hub: Arc::clone(self), inbox: Arc::new(inbox), rooms: Vec::new() })
    }

    #[cfg(test)]
    pub(crate) fn clients(&self) -> usize {
        self.clients.load(Ordering::Acquire)
    }

    /// Whether anyone follows single items or records.
    pub fn has_single_rooms(&self) -> bool {
        let rooms = self.rooms();
        !(rooms.items.is_empty() && rooms.records.is_empty())
    }

    /// Hands events, in order, to all who are in a room of theirs.
    pub fn hand_out(&self, events: Vec<Event>, position: Option<u64>) {
        let mut rooms = self.rooms();
        for event in events {
            let event = Arc::new(event);
            rooms.number += 1;
            let number = rooms.number;
            let all = if event.to_all { rooms.all.as_slice() } else { &[] };
            let items = event.items.iter().filter_map(|item| rooms.items.get(item.as_str())).flatten();
            let records = event.records.iter().filter_map(|record| rooms.records.get(record.as_str())).flatten();
            for inbox in all.iter().chain(items).chain(records) {
                inbox.put(&event, number);
            }
        }
        rooms.position = position.unwrap_or(rooms.position);
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        // A panic elsewhere leaves lists that are still whole.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rooms {
    fn of(&mut self, room: &Room) -> &mut Vec<Arc<Inbox>> {
        match room {
            Room::All => &mut self.all,
            Room::Item(item) => self.items.entry(Arc::clone(item)).or_default(),
            Room::Record(record) => self.records.entry(Arc::clone(record)).or_default(),
        }
    }

    fn leave(&mut self, room: &Room, inbox: &Arc<Inbox>) {
        let inside = self.of(room);
        inside.retain(|other| !Arc::ptr_eq(other, inbox));
        if inside.is_empty() {
            match room {
                Room::All => {}
                Room::Item(item) => drop(self.items.remove(item)),
                Room::Record(record) => drop(self.records.remove(record)),
            }
        }
    }
}

impl Place {
    /// Enters a room; from now on its events come. The newest position before that.
    pub fn join(&mut self, room: &Room) -> u64 {
        let mut rooms = self.hub.rooms();
        if !self.rooms.contains(room) {
            rooms.of(room).push(Arc::clone(&self.inbox));
            self.rooms.push(room.clone());
        }
        rooms.position
    }

    /// Leaves a room; false when the client was not in it.
    pub fn leave(&mut self, room: &Room) -> bool {
        let Some(index) = self.rooms.iter().position(|inside| inside == room) else { return false };
        self.rooms.swap_remove(index);
        self.hub.rooms().leave(room, &self.inbox);
        true
    }

    /// What waits for the client.
    pub fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut rooms = self.hub.rooms();
        for room in &self.rooms {
            rooms.leave(room, &self.inbox);
        }
        drop(rooms);
        self.hub.clients.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use proto::v1;

    use super::*;

    fn place(hub: &Arc<Hub>, rooms: &[&str]) -> Place {
        let mut place = hub.admit(Inbox::new(100, 100_000), 10).unwrap();
        for room in rooms {
            place.join(&Room::named(room).unwrap());
        }
        place
    }

    fn change(key: &str, record: &str) -> Event {
        let change = v1::Change { key: key.into(), record: record.into(), ..v1::Change::default() };
        Event::change(change, 1, None).unwrap()
    }

    #[test]
    fn an_event_reaches_each_client_of_its_rooms_once() {
        let hub = Arc::new(Hub::default());
        let both = place(&hub, &["all", "item:ENG-1", "record:linear/issue/a"]);
        let one = place(&hub, &["item:ENG-2"]);
        hub.hand_out(vec![change("ENG-1", "linear/issue/a"), change("ENG-2", "linear/issue/b")], Some(2));
        assert_eq!((both.inbox().take(9).len(), one.inbox().take(9).len()), (2, 1));
    }

    #[test]
    fn deliveries_go_to_the_rooms_of_their_record_and_item_only() {
        let hub = Arc::new(Hub::default());
        let all = place(&hub, &["all"]);
        assert!(!hub.has_single_rooms());
        let record = place(&hub, &["record:linear/issue/a"]);
        assert!(hub.has_single_rooms());
        let delivery = v1::Delivery { record: "linear/issue/a".into(), ..v1::Delivery::default() };
        hub.hand_out(vec![Event::delivery(delivery, 1, None).unwrap()], None);
        assert_eq!((all.inbox().take(9).len(), record.inbox().take(9).len()), (0, 1));
    }

    #[test]
    fn a_place_that_is_dropped_leaves_nothing_behind() {
        let hub = Arc::new(Hub::default());
        let mut first = place(&hub, &["all", "item:ENG-1"]);
        let second = place(&hub, &["item:ENG-1"]);
        assert!(first.leave(&Room::All) && !first.leave(&Room::All));
        assert_eq!(hub.clients(), 2);
        drop((first, second));
        assert_eq!(hub.clients(), 0);
        assert!(hub.rooms().all.is_empty() && hub.rooms().items.is_empty());
    }

    #[test]
    fn one_client_more_than_there_are_places_is_not_admitted() {
        let hub = Arc::new(Hub::default());
        let places: Vec<_> = (0..3).filter_map(|_| hub.admit(Inbox::new(1, 1), 2)).collect();
        assert_eq!(places.len(), 2);
    }
}
