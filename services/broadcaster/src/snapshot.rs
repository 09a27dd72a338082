//! How things stand: what a client is told before the changes come.

use axum::extract::ws::Utf8Bytes;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::frame::text;
use crate::room::Room;

/// The items of a room at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// As the API shows them.
    pub items: Vec<Value>,
    /// Which version of which item that is: changes up to it are contained.
    pub versions: Vec<(Uuid, u64)>,
    /// There are more items than a snapshot holds.
    pub truncated: bool,
}

/// Where snapshots come from.
pub trait Snapshots: Send + Sync + 'static {
    /// The items of a room, at most `max`. An `Err` is a sentence for the log.
    fn read<'a>(&'a self, room: &'a Room, max: usize) -> BoxFuture<'a, Result<Snapshot, String>>;
}

impl Snapshot {
    /// The messages that tell it: at least one, each with at most `page` items; all but the last say that more follows.
    pub fn messages(&self, room: &Room, position: u64, page: usize) -> Vec<Utf8Bytes> {
        let room = room.to_string();
        let pages = self.items.chunks(page.max(1));
        let count = pages.len().max(1);
        let items = pages.chain(self.items.is_empty().then_some(&[][..]));
        items
            .enumerate()
            .map(|(index, items)| {
                text(&json!({
                    "type": "snapshot",
                    "room": room,
                    "position": position,
                    "items": items,
                    "more": index + 1 < count,
                    "truncated": self.truncated,
                }))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(count: usize) -> Vec<Value> {
        let snapshot = Snapshot { items: vec![json!({"id": "x"}); count], ..Snapshot::default() };
        let messages = snapshot.messages(&Room::All, 5, 2);
        messages.iter().map(|message| serde_json::from_str(message).unwrap()).collect()
    }

    #[test]
    fn a_snapshot_is_at_least_one_message_and_only_the_last_says_that_it_is_whole() {
        let more = |count| pages(count).iter().map(|page| page["more"] == true).collect::<Vec<_>>();
        assert_eq!(more(0), [false]);
        assert_eq!(more(2), [false]);
        assert_eq!(more(3), [true, false]);
        assert_eq!(pages(3)[1]["items"].as_array().map(Vec::len), Some(1));
    }
}
