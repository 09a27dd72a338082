//! Speaking over the socket of a watch.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use super::calls::{Command, Waiter};
use super::links::{Link, Links};
use super::rooms::Begin;
use crate::{Accepted, Error, Filter, Status};

/// How long an answer may take, connecting again included.
const ANSWER: Duration = Duration::from_secs(15);
/// How many statuses a server takes in one message.
const STATUSES: usize = 500;
/// How many bytes a message has at most beside its statuses.
const BESIDE: usize = 128;

/// Speaks for a [`Watch`](crate::Watch): joins and leaves its rooms, stores statuses, acknowledges alerts. What was said when a
/// connection broke is said again on the next. A clone is the same.
#[derive(Debug, Clone)]
pub struct Handle {
    links: Arc<Links>,
}

impl Handle {
    pub(super) fn new(links: Links) -> Self {
        Self { links: Arc::new(links) }
    }

    /// Joins rooms, with a snapshot of each, or gives those that are joined another filter. On an error the rooms that
    /// were refused are not joined, and others are.
    ///
    /// Rooms of another filter than the watch was opened with go by a connection of their own: what happens in rooms of two filters is
    /// told for each.
    pub async fn join<R: Into<String>>(&self, rooms: impl IntoIterator<Item = R>, filter: Filter) -> Result<(), Error> {
        self.join_from(names(rooms), filter, Begin::Snapshot).await
    }

    pub(super) async fn join_from(&self, rooms: BTreeSet<String>, filter: Filter, begin: Begin) -> Result<(), Error> {
        if rooms.is_empty() {
            return Err(refused("no_rooms", "name at least one room"));
        }
        let link = self.links.joins(&rooms, &filter);
        self.leave_all(self.links.leaves(&rooms, Some(&filter))).await?;
        ask(&link, |answer| Command::Join { rooms, begin, answer }).await.map(drop)
    }

    /// Leaves rooms.
    pub async fn leave<R: Into<String>>(&self, rooms: impl IntoIterator<Item = R>) -> Result<(), Error> {
        self.leave_all(self.links.leaves(&names(rooms), None)).await
    }

    async fn leave_all(&self, links: Vec<(Link, BTreeSet<String>)>) -> Result<(), Error> {
        for (link, rooms) in links {
            let left = |answer| {
                // Not before it is certain to be done: who could not say it must be able to say it again.
                self.links.left(&link, &rooms);
                Command::Leave { rooms, answer }
            };
            ask(&link, left).await?;
        }
        Ok(())
    }

    /// Says that somebody sees to an alert.
    pub async fn acknowledge(&self, alert: &str) -> Result<(), Error> {
        let what = json!({"type": "acknowledge", "alert": alert});
        ask(&self.links.first()?, |answer| Command::Say { what, answer }).await.map(drop)
    }

    /// Stores statuses. Answered once they are durable. A status without an id gets one, so that saying it again after a broken
    /// connection changes nothing. After an error that says that no answer came they may be stored.
    ///
    /// Those that fit into one message, 500 at most, are stored all or none. More go in several, one after another: after an
    /// error those before may be stored, and with ids of their own all can be stored again. When one alone is larger than
    /// the server takes, nothing is sent.
    pub async fn update_status(&self, statuses: &[Status]) -> Result<Vec<Accepted>, Error> {
        let named = |status: &Status| {
            let id = status.id.clone().unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
            Status { id: Some(id), ..status.clone() }
        };
        let link = self.links.first()?;
        let statuses = statuses.iter().map(|status| json!(named(status))).collect();
        let mut accepted = Vec::new();
        for statuses in parted(statuses, self.links.message_max_bytes())? {
            let what = json!({"type": "status_update", "statuses": statuses});
            accepted.extend(ask(&link, |answer| Command::Say { what, answer }).await?);
        }
        Ok(accepted)
    }
}

/// The statuses of each message to a server that takes `max` bytes.
fn parted(statuses: Vec<Value>, max: usize) -> Result<Vec<Vec<Value>>, Error> {
    let max = max.saturating_sub(BESIDE);
    let (mut parts, mut filled) = (vec![Vec::new()], 0);
    for status in statuses {
        let size = status.to_string().len() + 1;
        if size > max {
            let record = status["record"].as_str().unwrap_or_default();
            let detail =
                format!("{record}: the status has {size} bytes as JSON; the server takes {max} (message_max_bytes)");
            return Err(refused("too_large", &detail));
        }
        if filled + size > max || parts.last().is_some_and(|part| part.len() == STATUSES) {
            parts.push(Vec::new());
            filled = 0;
        }
        filled += size;
        if let Some(part) = parts.last_mut() {
            part.push(status);
        }
    }
    Ok(parts)
}

pub(super) async fn ask(link: &Link, command: impl FnOnce(Waiter) -> Command) -> Result<Vec<Accepted>, Error> {
    let (answer, answered) = oneshot::channel();
    let asking = async {
        link.reserve().await.map_err(|_| ended())?.send(command(answer));
        answered.await.map_err(|_| ended())?
    };
    let late = || Error::unavailable(format!("no answer within {} s", ANSWER.as_secs()));
    timeout(ANSWER, asking).await.unwrap_or_else(|_| Err(late()))
}

pub(super) fn ended() -> Error {
    Error::Ended { why: "its task has stopped".into() }
}

pub(super) fn names<R: Into<String>>(rooms: impl IntoIterator<Item = R>) -> BTreeSet<String> {
    rooms.into_iter().map(|room| written(room.into())).collect()
}

/// A room's name as servers write it: by that they tell of it. They take the id of an item in every form of a UUID.
fn written(room: String) -> String {
    match room.strip_prefix("item:").and_then(|name| Uuid::try_parse(name).ok()) {
        Some(id) => format!("item:{id}"),
        None => room,
    }
}

fn refused(code: &str, detail: &str) -> Error {
    Error::Refused { status: 0, code: code.into(), detail: detail.into(), errors: Vec::new() }
}
