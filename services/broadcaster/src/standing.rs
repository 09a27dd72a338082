//! Reads how things stand from the database, in the form that the API shows.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use model::{Group, Policy, Step};
use serde_json::{Value, json};
use store::{ItemFilter, Store};

use crate::room::Room;
use crate::snapshot::{Snapshot, Snapshots};

/// Snapshots from the database.
pub struct Standing {
    store: Store,
    policy: Arc<Policy>,
}

impl Standing {
    /// From this database; the policy says what a record should show.
    pub fn new(store: Store, policy: Arc<Policy>) -> Self {
        Self { store, policy }
    }
}

impl Snapshots for Standing {
    fn read<'a>(&'a self, room: &'a Room, max: usize) -> BoxFuture<'a, Result<Snapshot, String>> {
        Box::pin(async move {
            let found = match room {
                Room::All => {
                    let one_more = u32::try_from(max).unwrap_or(u32::MAX).saturating_add(1);
                    self.store.items(&ItemFilter::default(), one_more).await
                }
                Room::Item(name) | Room::Record(name) => self.store.item(name).await.map(Vec::from_iter),
            };
            let mut groups = found.map_err(|error| error.to_string())?;
            let truncated = groups.len() > max;
            groups.truncate(max);
            Ok(Snapshot {
                items: groups.iter().map(|group| shown(group, &self.policy)).collect(),
                versions: groups.iter().map(|group| (group.item.id.0, group.item.version.0)).collect(),
                truncated,
            })
        })
    }
}

/// An item as the API shows it.
fn shown(group: &Group, policy: &Policy) -> Value {
    let steps: Vec<Step> = (0..group.links.len()).map(|index| group.step(index, policy)).collect();
    let records = group.links.iter().zip(&steps).enumerate().map(|(index, (link, step))| {
        json!({
            "record": link.record,
            "native": link.native,
            "want": group.wanted(index, policy),
            "step": step,
            "url": link.url,
            "agreed": link.agreed,
            "last_error": link.last_error,
        })
    });
    let as_told = |step: &Step| matches!(step, Step::InStep | Step::AsClose | Step::ReadOnly);
    let item = &group.item;
    json!({
        "id": item.id,
        "key": item.key,
        "title": item.title,
        "lifecycle": item.lifecycle,
        "status": item.status,
        "status_since": item.status_since,
        "version": item.version,
        "held": item.held,
        "in_step": steps.iter().all(as_told),
        "records": records.collect::<Vec<_>>(),
    })
}
