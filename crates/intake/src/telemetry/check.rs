//! What must hold of each message of telemetry, whichever way it came. Synonyms become the words that they stand for.

use model::LifecycleName;
use proto::v1;
use uuid::Uuid;

use super::{Terms, json};
use crate::refused::Wrong;
use crate::{metadata, moment};

/// How long a name may be, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// How long a text for people may be, in bytes.
const TEXT_BYTES_MAX: usize = 4 * 1024;
/// How long what came of something, or what it knows, may be, in bytes.
const CONTENT_BYTES_MAX: usize = 16 * 1024;
/// How many entries of metadata, and how many tags there may be.
const ENTRIES_MAX: usize = 100;

/// How well a thing may be.
pub const HEALTH: [&str; 4] = ["healthy", "degraded", "unhealthy", "unknown"];
const SEVERITIES: [&str; 4] = ["info", "warning", "error", "critical"];
const ACTIONS: [&str; 4] = ["created", "updated", "accessed", "deleted"];
const STATES: [&str; 4] = ["executing", "completed", "failed", "reset"];

/// The space of the ids of alerts that came without one. Any constant will do.
const ALERTS: Uuid = Uuid::from_u128(0x6c6f_636b_7374_6570_8000_616c_6572_7400);

type Checked = Result<(), Wrong>;

/// A message that can be checked, and completed by what is known without its sender.
pub(super) trait Check {
    fn check(&mut self, terms: Terms<'_>) -> Checked;
}

impl Check for v1::AgentState {
    fn check(&mut self, terms: Terms<'_>) -> Checked {
        name("agent", &self.agent)?;
        status("status", &mut self.status, "agent", terms)?;
        if !self.previous.is_empty() {
            status("previous", &mut self.previous, "agent", terms)?;
        }
        text("task", &self.task)?;
        text("reason", &self.reason)?;
        if let Some(resources) = &self.resources {
            finite("resources.cpu_percent", resources.cpu_percent)?;
        }
        map("metadata", &self.metadata)?;
        at("at", &mut self.at, terms)
    }
}

impl Check for v1::PerformanceMetric {
    fn check(&mut self, terms: Terms<'_>) -> Checked {
        name("name", &self.name)?;
        finite("value", self.value)?;
        name_or_none("unit", &self.unit)?;
        name_or_none("category", &self.category)?;
        name_or_none("source", &self.source)?;
        map("tags", &self.tags)?;
        at("at", &mut self.at, terms)
    }
}

impl Check for v1::WorkflowExecution {
    fn check(&mut self, terms: Terms<'_>) -> Checked {
        name("workflow", &self.workflow)?;
        name_or_none("execution", &self.execution)?;
        name_or_none("stage", &self.stage)?;
        status("status", &mut self.status, "workflow", terms)?;
        if !self.previous.is_empty() {
            status("previous", &mut self.previous, "workflow", terms)?;
        }
        share("progress", self.progress)?;
        content("result", &self.result)?;
        text("error", &self.error)?;
        map("metadata", &self.metadata)?;
        at("at", &mut self.at, terms)
    }
}

impl Check for v1::MemoryTimeline {
    fn check(&mut self, terms: Terms<'_>) -> Checked {
        name("agent", &self.agent)?;
        word("action", &self.action, &ACTIONS)?;
        name_or_none("memory", &self.memory)?;
        text("summary", &self.summary)?;
        share("importance", self.importance)?;
        few("tags", self.tags.len())?;
        self.tags.iter().try_for_each(|tag| name("tags", tag))?;
        at("at", &mut self.at, terms)
    }
}

impl Check for v1::SystemAlert {
    fn check(&mut self, terms: Terms<'_>) -> Checked {
        word("severity", &self.severity, &SEVERITIES)?;
        name_or_none("component", &self.component)?;
        text("message", &self.message)?;
        if self.message.trim().is_empty() {
            return Err(Wrong::new("message", "must say what happened"));
        }
        if self.id.is_empty() {
            // The same alert told again is the same alert, so that it is not many of them.
            let what = format!("{}\n{}", self.component, self.message);
            self.id = Uuid::new_v5(&ALERTS, what.as_bytes()).to_string();
        }
        name("id", &self.id)?;
        text("action", &self.action)?;
        name_or_none("acknowledged_by", &self.acknowledged_by)?;
        if !self.acknowledged_by.is_empty() {
            at("acknowledged_at", &mut self.acknowledged_at, terms)?;
        } else if self.acknowledged_at != 0 {
            return Err(Wrong::new("acknowledged_by", "must say who, where acknowledged_at says when"));
        }
        map("metadata", &self.metadata)?;
        at("at", &mut self.at, terms)
    }
}

impl Check for v1::HealthChanged {
    fn check(&mut self, terms: Terms<'_>) -> Checked {
        name("target", &self.target)?;
        word("health", &self.health, &HEALTH)?;
        if !self.previous.is_empty() {
            word("previous", &self.previous, &HEALTH)?;
        }
        text("reason", &self.reason)?;
        at("at", &mut self.at, terms)
    }
}

impl Check for v1::OperationStep {
    fn check(&mut self, terms: Terms<'_>) -> Checked {
        name("operation", &self.operation)?;
        name_or_none("step", &self.step)?;
        word("state", &self.state, &STATES)?;
        text("description", &self.description)?;
        share("progress", self.progress)?;
        text("error", &self.error)?;
        content("data", &self.data)?;
        if !self.data.is_empty() && !json::is_json(&self.data) {
            return Err(Wrong::new("data", "must be a JSON text, or empty"));
        }
        name_or_none("agent", &self.agent)?;
        at("at", &mut self.at, terms)
    }
}

fn name(field: &str, value: &str) -> Checked {
    if value.trim().is_empty() {
        return Err(Wrong::new(field, "must not be empty"));
    }
    name_or_none(field, value)
}

fn name_or_none(field: &str, value: &str) -> Checked {
    if value.len() > NAME_BYTES_MAX || value.chars().any(char::is_control) {
        return Err(Wrong::new(field, format!("must be at most {NAME_BYTES_MAX} bytes without control characters")));
    }
    Ok(())
}

fn text(field: &str, value: &str) -> Checked {
    within(field, value, TEXT_BYTES_MAX)
}

fn content(field: &str, value: &str) -> Checked {
    within(field, value, CONTENT_BYTES_MAX)
}

fn within(field: &str, value: &str, bytes_max: usize) -> Checked {
    if value.len() > bytes_max {
        return Err(Wrong::new(field, format!("is over {bytes_max} bytes")));
    }
    Ok(())
}

fn word(field: &str, value: &str, known: &[&str]) -> Checked {
    if known.contains(&value) { Ok(()) } else { Err(Wrong::not_one_of(field, value, known)) }
}

/// A status of a lifecycle, which takes the place of its synonym.
fn status(field: &str, value: &mut String, lifecycle: &str, terms: Terms<'_>) -> Checked {
    let found = LifecycleName::new(lifecycle).ok().and_then(|name| terms.lifecycles.get(&name));
    let found =
        found.ok_or_else(|| Wrong::new(field, format!("cannot be judged: there is no lifecycle {lifecycle}")))?;
    let Some(known) = found.status(value) else {
        let statuses: Vec<&str> = found.statuses().iter().map(model::Status::as_str).collect();
        return Err(Wrong::not_one_of(field, value, &statuses));
    };
    known.as_str().clone_into(value);
    Ok(())
}

fn finite(field: &str, value: f64) -> Checked {
    if value.is_finite() { Ok(()) } else { Err(Wrong::new(field, "must be a finite number")) }
}

fn share(field: &str, value: f64) -> Checked {
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(Wrong::new(field, "must be from 0 to 1")) }
}

fn map(field: &str, entries: &std::collections::BTreeMap<String, String>) -> Checked {
    few(field, entries.len())?;
    entries.iter().try_for_each(|(key, text)| metadata::check(field, key, text))
}

fn few(field: &str, count: usize) -> Checked {
    if count > ENTRIES_MAX {
        return Err(Wrong::new(field, format!("has {count} entries, at most {ENTRIES_MAX} are taken")));
    }
    Ok(())
}

/// A moment; 0 is now.
fn at(field: &str, value: &mut i64, terms: Terms<'_>) -> Checked {
    *value = match *value {
        0 => terms.now_ms,
        given => moment::of_our_time(given)
            .and_then(|ms| moment::not_ahead(ms, terms.now_ms))
            .map_err(|why| Wrong::new(field, why))?,
    };
    Ok(())
}
