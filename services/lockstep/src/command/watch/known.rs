//! What a watcher was told: what is only told again is no news, and what changed while nothing could be told is. Pure.

use std::collections::{HashMap, HashSet};

use client::{Item, Message, Snapshot};

/// How many states are remembered, of which one that is only told again is no news; and how many items.
const KNOWN_MAX: usize = 10_000;

/// All that was told.
#[derive(Default)]
pub struct Known {
    /// What state everything is in that tells it again and again, so that a new watcher is shown it: by what it is, and with why.
    states: HashMap<String, (String, String)>,
    /// By item its version and status.
    items: HashMap<String, (u64, String)>,
    /// The rooms that were shown whole.
    rooms: HashSet<String>,
}

/// An item that a room shows otherwise than it was told of.
#[derive(Debug, PartialEq)]
pub struct Changed<'a> {
    /// As it is now.
    pub item: &'a Item,
    /// The status that was told last, unless nothing was.
    pub before: Option<String>,
}

impl Known {
    /// What a room that was shown before, and is shown anew, shows otherwise than it was told of.
    pub fn changed_meanwhile<'a>(&mut self, message: &'a Message) -> Vec<Changed<'a>> {
        let Message::Snapshot(snapshot) = message else { return Vec::new() };
        let was_shown = self.rooms.contains(&snapshot.room);
        let changed = snapshot.items.iter().filter_map(|item| self.changed(item)).filter(|_| was_shown).collect();
        self.shown(snapshot);
        changed
    }

    fn changed<'a>(&self, item: &'a Item) -> Option<Changed<'a>> {
        match self.items.get(&item.id) {
            Some((version, status)) => {
                (*version < item.version).then(|| Changed { item, before: Some(status.clone()) })
            }
            // Of more than are remembered it may have been told.
            None => (self.items.len() < KNOWN_MAX).then_some(Changed { item, before: None }),
        }
    }

    fn shown(&mut self, snapshot: &Snapshot) {
        for item in &snapshot.items {
            self.note(&item.id, item.version, &item.status);
        }
        if !snapshot.more {
            self.rooms.insert(snapshot.room.clone());
        }
    }

    fn note(&mut self, item: &str, version: u64, status: &str) {
        let is_full = self.items.len() >= KNOWN_MAX;
        match self.items.get_mut(item) {
            Some(known) if known.0 <= version => *known = (version, status.to_owned()),
            None if !is_full => {
                self.items.insert(item.to_owned(), (version, status.to_owned()));
            }
            _ => {}
        }
    }

    /// Whether a message tells something that is not known.
    pub fn is_news(&mut self, message: &Message) -> bool {
        let (name, previous, now) = match message {
            Message::Snapshot(snapshot) => {
                for message in &snapshot.messages {
                    self.is_news(message);
                }
                return true;
            }
            Message::AgentState(agent) => {
                (format!("agent {}", agent.agent), &agent.previous, (agent.status.clone(), agent.task.clone()))
            }
            Message::HealthChanged(health) => {
                (format!("health {}", health.target), &health.previous, (health.health.clone(), String::new()))
            }
            Message::StatusChanged(change) | Message::ConflictResolved(change) => {
                self.note(&change.item, change.version, &change.to);
                return true;
            }
            _ => return true,
        };
        let is_moved = *previous != now.0;
        if self.states.len() >= KNOWN_MAX && !self.states.contains_key(&name) {
            return is_moved;
        }
        match self.states.insert(name, now.clone()) {
            Some(before) => before != now,
            None => is_moved && !is_well(message),
        }
    }
}

/// Whether it says of something that it is well, and was never known to be otherwise.
pub fn is_well(message: &Message) -> bool {
    matches!(message, Message::HealthChanged(health) if health.health == "healthy" && ["", "healthy"].contains(&&*health.previous))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_is_only_told_again_is_no_news() {
        let mut known = Known::default();
        let mut is_news = |json: &str| known.is_news(&Message::parse(json).unwrap());
        let agent = |previous: &str, status: &str, task: &str| {
            format!(
                r#"{{"type": "agent_state", "agent": "a", "previous": "{previous}", "status": "{status}", "task": "{task}"}}"#
            )
        };
        assert!(!is_news(&agent("idle", "idle", "")), "it says itself that it was so before");
        assert!(is_news(&agent("idle", "working", "ENG-1")));
        assert!(!is_news(&agent("working", "working", "ENG-1")));
        assert!(is_news(&agent("working", "working", "ENG-2")), "another task");
        assert!(is_news(&agent("", "idle", "")));
        assert!(!is_news(&agent("", "idle", "")));
        let health = r#"{"type": "health_changed", "target": "db", "previous": "healthy", "health": "healthy"}"#;
        assert!(!is_news(health));
        let snapshot = r#"{"type": "snapshot", "room": "health", "messages": [{"type": "health_changed", "target": "x", "health": "degraded"}]}"#;
        assert!(is_news(snapshot));
        assert!(!is_news(r#"{"type": "health_changed", "target": "x", "health": "degraded"}"#));
        assert!(is_news(r#"{"type": "health_changed", "target": "x", "previous": "degraded", "health": "healthy"}"#));
        assert!(
            !is_news(r#"{"type": "health_changed", "target": "y", "health": "healthy"}"#),
            "it was never otherwise"
        );
    }

    #[test]
    fn what_changed_while_nothing_was_told_is_what_a_room_shows_otherwise_than_before() {
        let mut known = Known::default();
        let snapshot = |more: bool, items: &[(&str, &str, u64)]| {
            let item = |(id, status, version): &(&str, &str, u64)| serde_json::json!({"id": id, "lifecycle": "work", "status": status, "status_since": 0, "version": version});
            let items: Vec<_> = items.iter().map(item).collect();
            let json = serde_json::json!({"type": "snapshot", "room": "all", "items": items, "more": more});
            Message::parse(&json.to_string()).unwrap()
        };
        let mut changed = |message: &Message| -> Vec<(String, Option<String>)> {
            let changed = known.changed_meanwhile(message);
            let changed = changed.into_iter().map(|changed| (changed.item.id.clone(), changed.before)).collect();
            known.is_news(message);
            changed
        };
        assert_eq!(changed(&snapshot(true, &[("a", "todo", 1), ("b", "todo", 1)])), []);
        assert_eq!(changed(&snapshot(false, &[("c", "todo", 1)])), [], "the other page of what is shown first");
        let told = r#"{"type": "status_changed", "item": "a", "version": 2, "to": "done"}"#;
        assert_eq!(changed(&Message::parse(told).unwrap()), []);
        let anew = snapshot(false, &[("a", "done", 2), ("b", "done", 2), ("c", "todo", 3), ("d", "todo", 1)]);
        let was = |id: &str, before: Option<&str>| (id.to_owned(), before.map(str::to_owned));
        assert_eq!(changed(&anew), [was("b", Some("todo")), was("c", Some("todo")), was("d", None)]);
        assert_eq!(changed(&anew), [], "that was told");
    }
}
