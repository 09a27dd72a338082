//! What a client can follow: a room by its name, or all rooms whose names begin alike. Pure.

use std::fmt;

use model::{Key, LifecycleName, RecordRef};
use uuid::Uuid;

use crate::position::Feed;

/// What kind of room, and thereby who is heard there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Everything about items, agents, workflows, health and alerts.
    All,
    /// One item, by its id or its key.
    Item,
    /// The item of one record.
    Record,
    /// The items of one lifecycle.
    Lifecycle,
    /// The items whose keys begin alike.
    Project,
    /// All agents.
    AgentStates,
    /// One agent.
    Agent,
    /// All workflows.
    WorkflowExecutions,
    /// One workflow.
    Workflow,
    /// Measurements.
    PerformanceMetrics,
    /// What happens to agents' memories.
    MemoryTimeline,
    /// The steps of all operations.
    Operations,
    /// The steps of one operation.
    Operation,
    /// Health levels.
    Health,
    /// Alerts.
    SystemAlerts,
    /// Conflicts.
    Conflicts,
    /// What became of commands.
    Deliveries,
}

impl Kind {
    /// All kinds; a kind's place here is its index.
    pub const ALL: [Self; 17] = [
        Self::All,
        Self::Item,
        Self::Record,
        Self::Lifecycle,
        Self::Project,
        Self::AgentStates,
        Self::Agent,
        Self::WorkflowExecutions,
        Self::Workflow,
        Self::PerformanceMetrics,
        Self::MemoryTimeline,
        Self::Operations,
        Self::Operation,
        Self::Health,
        Self::SystemAlerts,
        Self::Conflicts,
        Self::Deliveries,
    ];

    /// The name: of the one room of that kind, or what stands before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Item => "item",
            Self::Record => "record",
            Self::Lifecycle => "lifecycle",
            Self::Project => "project",
            Self::AgentStates => "agent_states",
            Self::Agent => "agent",
            Self::WorkflowExecutions => "workflow_executions",
            Self::Workflow => "workflow",
            Self::PerformanceMetrics => "performance_metrics",
            Self::MemoryTimeline => "memory_timeline",
            Self::Operations => "operations",
            Self::Operation => "operation",
            Self::Health => "health",
            Self::SystemAlerts => "system_alerts",
            Self::Conflicts => "conflicts",
            Self::Deliveries => "deliveries",
        }
    }

    /// Whether there are many rooms of the kind, each with a name after a colon.
    pub fn has_names(self) -> bool {
        matches!(
            self,
            Self::Item
                | Self::Record
                | Self::Lifecycle
                | Self::Project
                | Self::Agent
                | Self::Workflow
                | Self::Operation
        )
    }

    /// From which feeds comes what is heard there.
    pub fn feeds(self) -> &'static [Feed] {
        use Feed::{Alerts, Changes, Deliveries, Live, Metrics};
        match self {
            Self::All => &[Changes, Alerts, Live],
            Self::Item | Self::Record => &[Changes, Deliveries],
            Self::Lifecycle | Self::Project | Self::Conflicts => &[Changes],
            Self::AgentStates | Self::WorkflowExecutions | Self::Workflow => &[Changes, Live],
            Self::Agent => &[Changes, Deliveries, Live],
            Self::PerformanceMetrics => &[Metrics],
            Self::MemoryTimeline | Self::Operations | Self::Operation | Self::Health => &[Live],
            Self::SystemAlerts => &[Alerts],
            Self::Deliveries => &[Deliveries],
        }
    }

    /// Its place in [`Kind::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Names under which earlier systems knew a room. It is told by its own.
const SYNONYMS: [(&str, Kind); 1] = [("health_status", Kind::Health)];

/// The longest name of a room, in bytes: that of a record.
const NAME_MAX: usize = 1_024;

/// A room, or all rooms of one kind whose names begin alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Room {
    /// Its kind.
    pub kind: Kind,
    /// What stands after the colon; with a wildcard what the names begin with.
    pub name: Box<str>,
    /// All rooms whose names begin so.
    pub wildcard: bool,
}

impl Room {
    /// The one room of a kind.
    pub fn of(kind: Kind) -> Self {
        Self { kind, name: "".into(), wildcard: false }
    }

    /// The room of that name, or what is wrong with the name.
    pub fn named(name: &str) -> Result<Self, String> {
        if name.len() > NAME_MAX {
            return Err(format!("a room's name has at most {NAME_MAX} bytes"));
        }
        let (kind, rest) = match name.split_once(':') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (name, None),
        };
        let kind = SYNONYMS.iter().find(|(theirs, _)| *theirs == kind).map_or(kind, |(_, ours)| ours.name());
        let Some(kind) =
            Kind::ALL.into_iter().find(|known| known.name() == kind && known.has_names() == rest.is_some())
        else {
            return Err(known());
        };
        let Some(rest) = rest else { return Ok(Self::of(kind)) };
        if let Some(start) = rest.strip_suffix('*') {
            return Ok(Self { kind, name: start.into(), wildcard: true });
        }
        let name = checked(kind, rest)?;
        Ok(Self { kind, name: name.into(), wildcard: false })
    }

    /// Whether its snapshot has items, which must be read from the database.
    pub fn has_items(&self) -> bool {
        let has = match self.kind {
            Kind::All
            | Kind::Item
            | Kind::Record
            | Kind::Lifecycle
            | Kind::Project
            | Kind::AgentStates
            | Kind::Agent
            | Kind::WorkflowExecutions
            | Kind::Conflicts => true,
            Kind::Workflow
            | Kind::PerformanceMetrics
            | Kind::MemoryTimeline
            | Kind::Operations
            | Kind::Operation
            | Kind::Health
            | Kind::SystemAlerts
            | Kind::Deliveries => false,
        };
        has && !self.wildcard
    }

    /// Whether what happens in the room of this kind and name is heard here.
    pub fn hears(&self, kind: Kind, name: &str) -> bool {
        self.kind == kind && if self.wildcard { name.starts_with(&*self.name) } else { *self.name == *name }
    }
}

/// A name as rooms of that kind have it.
fn checked(kind: Kind, name: &str) -> Result<String, String> {
    let plain = |name: &str| {
        let good = !name.is_empty() && !name.chars().any(char::is_control);
        if good { Ok(name.to_owned()) } else { Err("the name must not be empty or hold control characters".to_owned()) }
    };
    match kind {
        Kind::Item => match Uuid::parse_str(name) {
            Ok(id) => Ok(id.to_string()),
            Err(_) => Key::new(name).map(String::from).map_err(|error| error.to_string()),
        },
        Kind::Record => {
            let record: RecordRef = name.parse().map_err(|error: model::NameError| error.to_string())?;
            Ok(record.to_string())
        }
        Kind::Lifecycle => LifecycleName::new(name).map(|name| name.to_string()).map_err(|error| error.to_string()),
        _ => plain(name),
    }
}

fn known() -> String {
    let names = Kind::ALL.iter().map(|kind| match kind {
        Kind::Item => "item:<id or key>".to_owned(),
        Kind::Record => "record:<system>/<kind>/<id>".to_owned(),
        kind if kind.has_names() => format!("{}:<name>", kind.name()),
        kind => kind.name().to_owned(),
    });
    format!("rooms are {}; those with a name may end with *", names.collect::<Vec<_>>().join(", "))
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        if self.kind.has_names() {
            write!(f, ":{}{}", self.name, if self.wildcard { "*" } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_named_as_it_prints() {
        for name in [
            "all",
            "agent_states",
            "item:ENG-1",
            "item:acme/web#3",
            "record:github/issue/acme/web#3",
            "record:github/*",
            "agent:*",
            "project:acme/web",
            "lifecycle:work",
            "workflow:nightly build",
        ] {
            assert_eq!(Room::named(name).unwrap().to_string(), name);
        }
        let id = Room::named("item:6C6F636B-7374-6570-8000-6974656D7300").unwrap();
        assert_eq!(id.to_string(), "item:6c6f636b-7374-6570-8000-6974656d7300");
    }

    #[test]
    fn a_room_that_earlier_systems_had_is_found_by_its_name_there() {
        assert_eq!(Room::named("health_status").unwrap().to_string(), "health");
        assert!(Room::named("health_status:x").is_err());
    }

    #[test]
    fn other_names_are_refused_with_what_would_be_right() {
        let wrong = [
            "",
            "ALL",
            "item:",
            "item: ",
            "item",
            "all:x",
            "all*",
            "*",
            "record:github",
            "record:GitHub/issue/1",
            "agent:",
            "agent:\n",
        ];
        for name in wrong {
            assert!(Room::named(name).is_err(), "{name}");
        }
        assert!(Room::named("everything").unwrap_err().contains("item:<id or key>"));
        assert!(Room::named(&format!("agent:{}", "x".repeat(2_000))).is_err());
    }

    #[test]
    fn a_wildcard_hears_all_that_begin_alike_and_no_other_kind() {
        let room = Room::named("record:github/*").unwrap();
        assert!(room.hears(Kind::Record, "github/issue/a#1") && !room.hears(Kind::Record, "linear/issue/a"));
        assert!(!room.hears(Kind::Item, "github/issue/a#1"));
        assert!(Room::named("agent:*").unwrap().hears(Kind::Agent, "x"));
        assert!(!Room::named("agent:x").unwrap().hears(Kind::Agent, "xy"));
    }

    #[test]
    fn a_kinds_index_is_its_place() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
        }
    }
}
