//! The workspace that the Linear sandbox keeps: entities by type, each a JSON object with its fields and the ids of others.
//!
//! It keeps and journals. What a change means is said in [`super::change`], what a query means in [`super::execute`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::{
    clock,
    journal::{Entry, Journal},
    linear::{error::ApiError, hooks::Secrets},
    webhooks::Webhooks,
};

/// An entity's fields.
pub type Row = Map<String, Value>;

/// The types of which entities are kept.
pub const KEPT: [&str; 12] = [
    "Organization",
    "Application",
    "User",
    "Team",
    "WorkflowState",
    "IssueLabel",
    "Issue",
    "IssueHistory",
    "Comment",
    "Webhook",
    "Integration",
    "GitAutomationState",
];

/// Who does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The person, by hand or with a personal API key.
    Person,
    /// The application, with an OAuth token.
    App,
    /// Linear's own GitHub integration, which moves issues when pull requests move. It never calls the API.
    Github,
}

/// All entities, and where their changes go.
pub struct World {
    tables: BTreeMap<String, Table>,
    journal: Journal,
    /// Where webhooks are sent from.
    pub webhooks: Webhooks,
    /// The secrets of the webhooks, which the signer shares.
    pub secrets: Secrets,
    /// The latest time that a change was stamped with.
    last_ms: i64,
    /// Grows with every change, as Linear's sync id does.
    pub sync_id: u64,
    /// Fields that were asked for and that the schema does not have.
    pub unknown_fields: BTreeSet<String>,
}

#[derive(Default)]
struct Table {
    /// In the order of creation.
    rows: BTreeMap<u64, Row>,
    places: HashMap<String, u64>,
    next: u64,
}

impl World {
    /// A world with the entities of a journal.
    pub fn new(journal: Journal, entries: Vec<Entry>, webhooks: Webhooks, secrets: Secrets) -> anyhow::Result<Self> {
        let mut world = Self {
            tables: BTreeMap::new(),
            journal,
            webhooks,
            secrets,
            last_ms: 0,
            sync_id: 0,
            unknown_fields: BTreeSet::new(),
        };
        for entry in entries {
            let Value::Object(row) = entry.value else {
                anyhow::bail!("{} {} in the journal is not an object", entry.kind, entry.key);
            };
            world.set(&entry.kind, row);
        }
        Ok(world)
    }

    /// Keeps an entity's new state: in the journal first.
    pub fn put(&mut self, kind: &str, row: Row) -> Result<(), ApiError> {
        let id = text(&row, "id").unwrap_or_default();
        self.journal
            .append(kind, id, &row)
            .with_context(|| format!("cannot journal {kind} {id}"))
            .map_err(|error| ApiError::internal(format!("{error:#}")))?;
        self.set(kind, row);
        Ok(())
    }

    /// Keeps an entity without journaling it: for what every start makes anew.
    pub fn set(&mut self, kind: &str, row: Row) {
        let id = text(&row, "id").unwrap_or_default().to_owned();
        if kind == "Webhook" {
            self.secrets.set(&id, text(&row, "secret").unwrap_or_default());
        }
        self.last_ms = self.last_ms.max(text(&row, "updatedAt").and_then(clock::parse).unwrap_or(0));
        let table = self.tables.entry(kind.to_owned()).or_default();
        let place = *table.places.entry(id).or_insert_with(|| {
            table.next += 1;
            table.next
        });
        table.rows.insert(place, row);
        self.sync_id += 1;
    }

    /// Forgets an entity.
    pub fn remove(&mut self, kind: &str, id: &str) -> Result<(), ApiError> {
        self.journal.remove(kind, id).map_err(|error| ApiError::internal(format!("{error:#}")))?;
        if let Some(table) = self.tables.get_mut(kind)
            && let Some(place) = table.places.remove(id)
        {
            table.rows.remove(&place);
        }
        self.sync_id += 1;
        Ok(())
    }

    /// The time of a change made now to an entity that was last changed at `before`.
    ///
    /// No two versions of an entity share a time, and no change is stamped earlier than one that was made before it; changes
    /// of different entities can share a time.
    pub fn stamp(&self, before: Option<&str>) -> i64 {
        let after = before.and_then(clock::parse).map_or(0, |before| before + 1);
        clock::now_ms().max(self.last_ms).max(after)
    }

    /// One entity.
    pub fn get(&self, kind: &str, id: &str) -> Option<&Row> {
        let table = self.tables.get(kind)?;
        table.rows.get(table.places.get(id)?)
    }

    /// The place of an entity in the order of creation.
    pub fn place(&self, kind: &str, id: &str) -> Option<u64> {
        self.tables.get(kind)?.places.get(id).copied()
    }

    /// All entities of a type with their places, in the order of creation.
    pub fn rows(&self, kind: &str) -> impl Iterator<Item = (u64, &Row)> {
        self.tables.get(kind).into_iter().flat_map(|table| table.rows.iter().map(|(place, row)| (*place, row)))
    }

    /// The first entity of a type whose `field` is `value`.
    pub fn find(&self, kind: &str, field: &str, value: &str) -> Option<&Row> {
        self.rows(kind).map(|(_, row)| row).find(|row| text(row, field) == Some(value))
    }

    /// The issue with this id or identifier, a former one included.
    pub fn issue(&self, key: &str) -> Option<&Row> {
        if let Some(row) = self.get("Issue", key) {
            return Some(row);
        }
        let key = key.to_uppercase();
        self.find("Issue", "identifier", &key).or_else(|| {
            self.rows("Issue")
                .map(|(_, row)| row)
                .find(|row| list(row, "previousIdentifiers").any(|former| former == key))
        })
    }

    /// The state of a team by name, whatever its case.
    pub fn state(&self, team: &str, name: &str) -> Option<&Row> {
        self.rows("WorkflowState").map(|(_, row)| row).find(|row| {
            text(row, "teamId") == Some(team) && text(row, "name").is_some_and(|other| other.eq_ignore_ascii_case(name))
        })
    }

    /// Everything, by type.
    pub fn dump(&self) -> Value {
        let mut all = Map::new();
        for (kind, table) in &self.tables {
            let rows: Vec<_> = table.rows.values().map(|row| Value::Object(without_secret(row))).collect();
            all.insert(kind.clone(), json!(rows));
        }
        Value::Object(all)
    }
}

/// A field's text.
pub fn text<'a>(row: &'a Row, field: &str) -> Option<&'a str> {
    row.get(field)?.as_str()
}

/// A field's list of texts.
pub fn list<'a>(row: &'a Row, field: &str) -> impl Iterator<Item = &'a str> {
    row.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The fields of a JSON object, or none.
pub fn row(value: Value) -> Row {
    match value {
        Value::Object(row) => row,
        _ => Row::new(),
    }
}

fn without_secret(entity: &Row) -> Row {
    let mut entity = entity.clone();
    entity.remove("secret");
    entity
}
