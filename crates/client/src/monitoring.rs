//! What an operator watches: alerts, health, measurements, deliveries, conflicts; with how they stand now.

use crate::newest::{MAX, Newest};
use crate::{Change, Error, Handle, HealthChanged, Item, Message, SystemAlert, Watch, WatchBuilder};

const ROOMS: [&str; 5] = ["system_alerts", "health", "performance_metrics", "deliveries", "conflicts"];

/// Watches what an operator watches. How things stand follows from what [`next`](Self::next) has told; of each kind the newest 10,000
/// are known.
#[derive(Debug)]
pub struct MonitoringClient {
    watch: Watch,
    stands: Stands,
}

#[derive(Debug)]
struct Stands {
    alerts: Newest<SystemAlert>,
    health: Newest<HealthChanged>,
    held: Newest<Held>,
}

/// An item that waits for a person.
#[derive(Debug, Clone, PartialEq)]
pub enum Held {
    /// As a snapshot showed it.
    Item(Box<Item>),
    /// By the `conflict_opened` that told of it.
    Change(Box<Change>),
}

impl Held {
    /// The item's id.
    pub fn item(&self) -> &str {
        match self {
            Self::Item(item) => &item.id,
            Self::Change(change) => &change.item,
        }
    }
}

impl MonitoringClient {
    /// Begins to watch, by a watch with a backoff or callbacks of one's own.
    pub async fn open(watch: WatchBuilder) -> Result<Self, Error> {
        let watch = watch.rooms(ROOMS).open().await?;
        let (alerts, health, held) = (Newest::new(MAX), Newest::new(MAX), Newest::new(MAX));
        Ok(Self { watch, stands: Stands { alerts, health, held } })
    }

    /// The next message, as [`Watch::next`] gives it; then how things stand is known with it.
    pub async fn next(&mut self) -> Result<Message, Error> {
        let message = self.watch.next().await?;
        self.stands.hear(&message);
        Ok(message)
    }

    /// The newest of each alert that nobody acknowledged.
    pub fn alerts(&self) -> impl Iterator<Item = &SystemAlert> {
        self.stands.alerts.values()
    }

    /// The newest health level of each target.
    pub fn health(&self) -> impl Iterator<Item = &HealthChanged> {
        self.stands.health.values()
    }

    /// The items that wait for a person.
    pub fn held(&self) -> impl Iterator<Item = &Held> {
        self.stands.held.values()
    }

    /// Says that somebody saw to an alert.
    pub async fn acknowledge(&mut self, alert: &str) -> Result<(), Error> {
        self.watch.acknowledge(alert).await
    }

    /// What speaks for it from elsewhere, while [`next`](Self::next) waits here.
    pub fn handle(&self) -> Handle {
        self.watch.handle()
    }
}

impl Stands {
    fn hear(&mut self, message: &Message) {
        match message {
            Message::Reset(reset) => {
                let is = |room: &str| reset.rooms.iter().any(|name| name == room);
                if is("system_alerts") {
                    self.alerts.clear();
                }
                if is("health") {
                    self.health.clear();
                }
                if is("conflicts") {
                    self.held.clear();
                }
            }
            Message::Snapshot(snapshot) => {
                for item in &snapshot.items {
                    self.held.set(&item.id, Held::Item(Box::new(item.clone())));
                }
                snapshot.messages.iter().for_each(|message| self.hear(message));
            }
            Message::HealthChanged(health) => self.health.set(&health.target, (*health.event).clone()),
            Message::SystemAlert(alert) if alert.acknowledged_by.is_empty() => {
                self.alerts.set(&alert.id, (*alert.event).clone());
            }
            Message::SystemAlert(alert) => self.alerts.remove(&alert.id),
            Message::ConflictOpened(change) => self.held.set(&change.item, Held::Change(change.event.clone())),
            Message::ConflictResolved(change) => self.held.remove(&change.item),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
