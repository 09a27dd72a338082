//! An item as people and programs see it.

use model::{Group, Lane, Policy};
use serde_json::{Map, Value, json};

/// The JSON form of an item with its records side by side.
pub(super) fn item(group: &Group, policy: &Policy) -> Value {
    let item = &group.item;
    let records: Vec<Value> = (0..group.links.len()).map(|place| record(group, place, policy)).collect();
    json!({
        "id": item.id,
        "key": item.key,
        "title": item.title,
        "lifecycle": item.lifecycle,
        "status": item.status,
        "status_since": item.status_since,
        "version": item.version,
        "changed_by": item.changed_by,
        "held": item.held,
        "metadata": item.metadata,
        "in_step": group.in_step(policy),
        "records": records,
    })
}

fn record(group: &Group, place: usize, policy: &Policy) -> Value {
    let link = &group.links[place];
    // Whoever published a status can tell by it whether its turn has come, even if it changed nothing.
    let taken: Map<String, Value> =
        Lane::ALL.iter().map(|lane| (lane.as_str().to_owned(), link.sequences[*lane as usize].into())).collect();
    json!({
        "record": link.record,
        "keys": link.keys,
        "native": link.native,
        "want": group.wanted(place, policy),
        "step": group.step(place, policy),
        "agreed": link.agreed,
        "position": link.position,
        "url": link.url,
        "last_error": link.last_error,
        "taken": taken,
    })
}
