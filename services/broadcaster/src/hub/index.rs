//! Who is in which room: from an event to all who should be told, each filter asked once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::filter::Filter;
use crate::message::Message;
use crate::room::{Kind, Room};

/// A client's place in the hub.
pub type Key = usize;

/// All rooms that somebody is in.
#[derive(Debug)]
pub struct Index {
    /// By a kind's index.
    kinds: [Rooms; Kind::ALL.len()],
}

/// The rooms of one kind.
#[derive(Debug, Default)]
struct Rooms {
    exact: HashMap<Box<str>, Members>,
    /// By what the names begin with.
    wildcards: HashMap<Box<str>, Members>,
    /// How many wildcards of each length there are: those lengths of a name are looked up.
    lengths: BTreeMap<usize, usize>,
    /// How many subscriptions there are in all.
    count: usize,
}

/// Those in one room, by what they want of it.
#[derive(Debug, Default)]
struct Members(Vec<(Option<Arc<Filter>>, Vec<Key>)>);

impl Default for Index {
    fn default() -> Self {
        Self { kinds: std::array::from_fn(|_| Rooms::default()) }
    }
}

impl Index {
    /// Lets a client into a room.
    pub fn join(&mut self, room: &Room, filter: Option<&Arc<Filter>>, key: Key) {
        let rooms = &mut self.kinds[room.kind.index()];
        rooms.count += 1;
        let members = if room.wildcard {
            if !rooms.wildcards.contains_key(&room.name) {
                *rooms.lengths.entry(room.name.len()).or_default() += 1;
            }
            rooms.wildcards.entry(room.name.clone()).or_default()
        } else {
            rooms.exact.entry(room.name.clone()).or_default()
        };
        match members.0.iter_mut().find(|(of, _)| of.as_ref() == filter) {
            Some((_, keys)) => keys.push(key),
            None => members.0.push((filter.cloned(), vec![key])),
        }
    }

    /// Takes a client out of a room that it joined with this filter.
    pub fn leave(&mut self, room: &Room, filter: Option<&Arc<Filter>>, key: Key) {
        let rooms = &mut self.kinds[room.kind.index()];
        let all = if room.wildcard { &mut rooms.wildcards } else { &mut rooms.exact };
        let Some(members) = all.get_mut(&room.name) else { return };
        let Some(group) = members.0.iter().position(|(of, _)| of.as_ref() == filter) else { return };
        let keys = &mut members.0[group].1;
        let Some(place) = keys.iter().rposition(|known| *known == key) else { return };
        keys.swap_remove(place);
        rooms.count -= 1;
        if !keys.is_empty() {
            return;
        }
        members.0.swap_remove(group);
        if !members.0.is_empty() {
            return;
        }
        all.remove(&room.name);
        if room.wildcard
            && let Some(count) = rooms.lengths.get_mut(&room.name.len())
        {
            *count -= 1;
            if *count == 0 {
                rooms.lengths.remove(&room.name.len());
            }
        }
    }

    /// Hands over everyone who should be told a message; who is in several rooms of it comes several times.
    pub fn each(&self, message: &Message, told: impl FnMut(Key)) {
        self.each_that_passes(message, |filter| filter.passes(message), told);
    }

    fn each_that_passes(&self, message: &Message, mut passes: impl FnMut(&Filter) -> bool, mut told: impl FnMut(Key)) {
        // Mostly few filters are asked about one message, and the same again; each client may have one of its own.
        let mut asked: BTreeMap<*const Filter, bool> = BTreeMap::new();
        message.rooms(|kind, name| {
            let rooms = &self.kinds[kind.index()];
            if rooms.count == 0 {
                return;
            }
            let exact = rooms.exact.get(name);
            let beginnings =
                rooms.lengths.keys().map_while(|length| name.get(..*length).or_else(|| later(name, *length)));
            let wildcards = beginnings.filter_map(|beginning| rooms.wildcards.get(beginning));
            for (filter, keys) in exact.into_iter().chain(wildcards).flat_map(|members| &members.0) {
                let mut once = |filter| *asked.entry(Arc::as_ptr(filter)).or_insert_with(|| passes(filter));
                if filter.as_ref().is_none_or(&mut once) {
                    for key in keys {
                        told(*key);
                    }
                }
            }
        });
    }

    /// How many subscriptions there are to rooms of each kind.
    pub fn counts(&self) -> impl Iterator<Item = (Kind, usize)> {
        Kind::ALL.into_iter().map(|kind| (kind, self.kinds[kind.index()].count))
    }
}

/// A length within the name but amid a character is no beginning, and does not end the search as a length beyond it does.
fn later(name: &str, length: usize) -> Option<&str> {
    (length < name.len()).then_some("\0")
}

#[cfg(test)]
mod tests {
    use proto::v1;

    use super::*;
    use crate::filter::Filters;

    fn state(agent: &str, status: &str) -> Message {
        Message::AgentState(v1::AgentState { agent: agent.into(), status: status.into(), ..Default::default() })
    }

    fn told(index: &Index, message: &Message) -> Vec<Key> {
        let mut keys = Vec::new();
        index.each(message, |key| keys.push(key));
        keys.sort_unstable();
        keys
    }

    fn room(name: &str) -> Room {
        Room::named(name).unwrap()
    }

    #[test]
    fn everyone_in_a_room_of_the_message_is_told_and_nobody_else() {
        let mut index = Index::default();
        for (key, name) in [
            (1, "all"),
            (2, "agent:a"),
            (3, "agent:b"),
            (4, "agent:*"),
            (5, "agent:a*"),
            (6, "agent:ü*"),
            (7, "agent:aaaa*"),
        ] {
            index.join(&room(name), None, key);
        }
        assert_eq!(told(&index, &state("a", "idle")), [1, 2, 4, 5]);
        assert_eq!(told(&index, &state("b", "idle")), [1, 3, 4]);
        assert_eq!(told(&index, &state("ü", "idle")), [1, 4, 6]);
        assert_eq!(told(&index, &state("éa", "idle")), [1, 4]);
    }

    #[test]
    fn a_filter_keeps_back_what_its_client_does_not_want() {
        let mut index = Index::default();
        let busy = Arc::new(Filter { statuses: ["working".to_owned()].into(), ..Filter::default() });
        index.join(&room("all"), Some(&busy), 1);
        index.join(&room("agent:*"), Some(&busy), 2);
        index.join(&room("all"), None, 3);
        assert_eq!(told(&index, &state("a", "idle")), [3]);
        assert_eq!(told(&index, &state("a", "working")), [1, 2, 3]);
    }

    #[test]
    fn each_filter_is_asked_once_however_many_clients_and_rooms_it_has() {
        let (mut index, mut filters) = (Index::default(), Filters::default());
        for key in 0..1_000 {
            let status = if key % 2 == 0 { "working" } else { "idle" };
            let filter = filters.share(Filter { statuses: [status.to_owned()].into(), ..Filter::default() });
            for name in ["all", "agent_states", "agent:a", "agent:*"] {
                index.join(&room(name), filter.as_ref(), key);
            }
        }
        let (mut asked, mut heard) = (0, 0);
        let message = state("a", "working");
        let passes = |filter: &Filter| {
            asked += 1;
            filter.passes(&message)
        };
        index.each_that_passes(&message, passes, |_| heard += 1);
        assert_eq!((asked, heard), (2, 4 * 500));
    }

    #[test]
    fn whoever_leaves_is_told_nothing_and_leaves_nothing_behind() {
        let mut index = Index::default();
        let filter = Arc::new(Filter::default());
        let joined = [("all", None), ("agent:a*", None), ("agent:a*", Some(&filter)), ("agent:a", None)];
        for (name, filter) in joined {
            index.join(&room(name), filter, 1);
        }
        index.leave(&room("agent:x"), None, 1);
        index.leave(&room("all"), None, 2);
        assert_eq!(told(&index, &state("a", "idle")).len(), 4);
        for (name, filter) in joined {
            index.leave(&room(name), filter, 1);
        }
        assert!(index.counts().all(|(_, count)| count == 0));
        assert!(
            index
                .kinds
                .iter()
                .all(|rooms| { rooms.exact.is_empty() && rooms.wildcards.is_empty() && rooms.lengths.is_empty() })
        );
    }
}
