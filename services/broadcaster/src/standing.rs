//! Reads how things stand from the database, in the form that the API shows.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use model::{Group, LifecycleName, Policy};
use serde_json::{Value, json};
use store::{ItemFilter, Store};

use crate::message::AGENTS;
use crate::room::{Kind, Room};
use crate::snapshot::{Items, Snapshots};

/// Snapshots from the database.
pub struct FromStore {
    store: Store,
    policy: Arc<Policy>,
}

impl FromStore {
    /// From this database; the policy says what a record should show.
    pub fn new(store: Store, policy: Arc<Policy>) -> Self {
        Self { store, policy }
    }
}

impl Snapshots for FromStore {
    fn read<'a>(&'a self, room: &'a Room, max: usize) -> BoxFuture<'a, Result<Items, String>> {
        Box::pin(async move {
            let mut groups = self.groups(room, max).await.map_err(|error| format!("{error:#}"))?;
            let truncated = groups.len() > max;
            groups.truncate(max);
            Ok(Items {
                shown: groups.iter().map(|group| shown(group, &self.policy)).collect(),
                versions: groups.iter().map(|group| (group.item.id.0, group.item.version.0)).collect(),
                truncated,
            })
        })
    }
}

impl FromStore {
    /// The items of a room, one more than `max` where there are more.
    async fn groups(&self, room: &Room, max: usize) -> anyhow::Result<Vec<Group>> {
        if !room.has_items() {
            return Ok(Vec::new());
        }
        let one_more = u32::try_from(max).unwrap_or(u32::MAX).saturating_add(1);
        let of =
            |lifecycle: &str| ItemFilter { lifecycle: LifecycleName::new(lifecycle).ok(), ..ItemFilter::default() };
        Ok(match room.kind {
            Kind::All => self.store.items(&ItemFilter::default(), one_more).await?,
            Kind::Lifecycle => self.store.items(&of(&room.name), one_more).await?,
            Kind::AgentStates => self.store.items(&of("agent"), one_more).await?,
            Kind::WorkflowExecutions => self.store.items(&of("workflow"), one_more).await?,
            Kind::Project => {
                let filter = ItemFilter { project: Some(room.name.to_string()), ..ItemFilter::default() };
                self.store.items(&filter, one_more).await?
            }
            Kind::Item | Kind::Record => Vec::from_iter(self.store.item(&room.name).await?),
            Kind::Agent => {
                let mut groups: Vec<Group> = Vec::new();
                for start in AGENTS {
                    let found = self.store.item(&format!("{start}{}", room.name)).await?;
                    // Both records may be of one item.
                    groups.extend(found.filter(|found| groups.iter().all(|known| known.item.id != found.item.id)));
                }
                groups
            }
            Kind::Conflicts => {
                let mut groups = Vec::new();
                for row in self.store.held(one_more).await? {
                    groups.extend(self.store.item(&row.conflict.item.to_string()).await?);
                }
                groups
            }
            _ => Vec::new(),
        })
    }
}

/// An item as the API shows it.
fn shown(group: &Group, policy: &Policy) -> Value {
    let records = group.links.iter().enumerate().map(|(index, link)| {
        json!({
            "record": link.record,
            "native": link.native,
            "want": group.wanted(index, policy),
            "step": group.step(index, policy),
            "url": link.url,
            "agreed": link.agreed,
            "last_error": link.last_error,
        })
    });
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
        "in_step": group.in_step(policy),
        "records": records.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
