//! What watchers are told, and what of it rooms and filters look at. Pure.

use std::borrow::Cow;

use prost::Message as _;
use proto::v1;
use proto::v1::told;

use crate::room::Kind;

/// One message, whatever it is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// An item changed, or a conflict about it began or ended: `kind` says which.
    Change(v1::Change),
    /// What became of a command.
    Delivery(v1::Delivery),
    /// What an agent does.
    AgentState(v1::AgentState),
    /// Measurements of one category, each with its sequence on the bus.
    Metrics(String, Vec<(u64, v1::PerformanceMetric)>),
    /// How far a workflow is.
    WorkflowExecution(v1::WorkflowExecution),
    /// Something happened to an agent's memory.
    MemoryTimeline(v1::MemoryTimeline),
    /// Something that a person should know.
    SystemAlert(v1::SystemAlert),
    /// A health level changed.
    HealthChanged(v1::HealthChanged),
    /// A step of an operation.
    OperationStep(v1::OperationStep),
}

/// What a filter's list `on` names, as bits.
pub mod on {
    /// A status is another one than before.
    pub const STATUS_CHANGE: u8 = 1;
    /// A health level is another one than before.
    pub const HEALTH_CHANGE: u8 = 2;
    /// It became a failed or error status, unhealthy, or is an alert of that weight that nobody has acknowledged.
    pub const ERROR_STATE: u8 = 4;
    /// It left such a state; an alert of that weight is over.
    pub const RECOVERY: u8 = 8;

    /// All of them, by name.
    pub const NAMES: [(&str, u8); 4] = [
        ("status_change", STATUS_CHANGE),
        ("health_change", HEALTH_CHANGE),
        ("error_state", ERROR_STATE),
        ("recovery", RECOVERY),
    ];
}

/// The severity of an alert that is kept until somebody acknowledges it.
pub const CRITICAL: &str = "critical";

fn is_error(status: &str) -> bool {
    matches!(status, "failed" | "error" | "unhealthy")
}

/// The bits of going from one status or health level to another; an unknown one before is another one.
fn moved(from: &str, to: &str, changed: u8) -> u8 {
    if from == to {
        return 0;
    }
    let error = if is_error(to) { on::ERROR_STATE } else { 0 };
    let recovery = if is_error(from) && !is_error(to) { on::RECOVERY } else { 0 };
    changed | error | recovery
}

/// The bits of an alert of weight. One that somebody has seen to is told again only so that it is kept, and calls nobody.
fn weighed(alert: &v1::SystemAlert) -> u8 {
    match (alert.is_over(), alert.acknowledged_by.is_empty()) {
        (true, _) => on::RECOVERY,
        (false, true) => on::ERROR_STATE,
        (false, false) => 0,
    }
}

impl Message {
    /// The type that clients know it by.
    pub fn name(&self) -> &str {
        match self {
            Self::Change(change) => &change.kind,
            Self::Delivery(_) => "delivery",
            Self::AgentState(_) => "agent_state",
            Self::Metrics(..) => "performance_metrics",
            Self::WorkflowExecution(_) => "workflow_execution",
            Self::MemoryTimeline(_) => "memory_timeline",
            Self::SystemAlert(_) => "system_alert",
            Self::HealthChanged(_) => "health_changed",
            Self::OperationStep(_) => "operation_step",
        }
    }

    /// What it is in the words of a filter's `on`.
    pub fn on(&self) -> u8 {
        match self {
            Self::Change(change) if change.kind == "status_changed" => {
                moved(&change.from, &change.to, on::STATUS_CHANGE)
            }
            Self::AgentState(state) => moved(&state.previous, &state.status, on::STATUS_CHANGE),
            Self::WorkflowExecution(execution) => moved(&execution.previous, &execution.status, on::STATUS_CHANGE),
            Self::HealthChanged(health) => moved(&health.previous, &health.health, on::HEALTH_CHANGE),
            Self::SystemAlert(alert) if matches!(alert.severity.as_str(), "error" | CRITICAL) => weighed(alert),
            Self::OperationStep(step) => moved("", &step.state, 0),
            Self::Delivery(delivery) if matches!(delivery.outcome.as_str(), "failed" | "rejected") => on::ERROR_STATE,
            _ => 0,
        }
    }

    /// Names every room in which it is heard.
    pub fn rooms(&self, mut heard: impl FnMut(Kind, &str)) {
        match self {
            Self::Change(change) => rooms_of_change(change, &mut heard),
            Self::Delivery(delivery) => {
                heard(Kind::Deliveries, "");
                heard(Kind::Item, &delivery.item);
                heard(Kind::Record, &delivery.record);
                if let Some(agent) = agent_of(&delivery.record) {
                    heard(Kind::Agent, agent);
                }
            }
            Self::AgentState(state) => {
                heard(Kind::All, "");
                heard(Kind::AgentStates, "");
                heard(Kind::Agent, &state.agent);
            }
            Self::Metrics(..) => heard(Kind::PerformanceMetrics, ""),
            Self::WorkflowExecution(execution) => {
                heard(Kind::All, "");
                heard(Kind::WorkflowExecutions, "");
                heard(Kind::Workflow, &execution.workflow);
            }
            Self::MemoryTimeline(event) => {
                heard(Kind::MemoryTimeline, "");
                heard(Kind::Agent, &event.agent);
            }
            Self::SystemAlert(_) => {
                heard(Kind::All, "");
                heard(Kind::SystemAlerts, "");
            }
            Self::HealthChanged(_) => {
                heard(Kind::All, "");
                heard(Kind::Health, "");
            }
            Self::OperationStep(step) => {
                heard(Kind::Operations, "");
                heard(Kind::Operation, &step.operation);
                if !step.agent.is_empty() {
                    heard(Kind::Agent, &step.agent);
                }
            }
        }
    }

    /// Whether it is about something of this name: an item by id or key, a record, an agent, a workflow, …
    pub fn is_about(&self, name: &str) -> bool {
        match self {
            Self::Change(change) => {
                [&change.item, &change.key, &change.record].iter().any(|own| *own == name)
                    || change.records.iter().any(|record| record == name || agent_of(record) == Some(name))
            }
            Self::Delivery(delivery) => {
                delivery.item == name || delivery.record == name || agent_of(&delivery.record) == Some(name)
            }
            Self::AgentState(state) => state.agent == name,
            Self::Metrics(_, metrics) => metrics.iter().any(|(_, metric)| metric.name == name || metric.source == name),
            Self::WorkflowExecution(execution) => execution.workflow == name || execution.execution == name,
            Self::MemoryTimeline(event) => event.agent == name || event.memory == name,
            Self::SystemAlert(alert) => alert.id == name || alert.component == name,
            Self::HealthChanged(health) => health.target == name,
            Self::OperationStep(step) => step.operation == name || step.agent == name,
        }
    }

    /// The status that it says something has now; empty where it says none.
    pub fn status(&self) -> &str {
        match self {
            Self::Change(change) => &change.to,
            Self::Delivery(delivery) => &delivery.native,
            Self::AgentState(state) => &state.status,
            Self::WorkflowExecution(execution) => &execution.status,
            Self::OperationStep(step) => &step.state,
            _ => "",
        }
    }

    /// The health level that it tells; empty where it tells none.
    pub fn health(&self) -> &str {
        if let Self::HealthChanged(health) = self { &health.health } else { "" }
    }

    /// The system of the record whose edit or delivery it was; empty where there is none.
    pub fn system(&self) -> &str {
        let record = match self {
            Self::Change(change) => &change.record,
            Self::Delivery(delivery) => &delivery.record,
            _ => return "",
        };
        record.split('/').next().unwrap_or_default()
    }

    /// The lifecycle that its status belongs to; empty where it has none.
    pub fn lifecycle(&self) -> &str {
        match self {
            Self::Change(change) => &change.lifecycle,
            Self::AgentState(_) => "agent",
            Self::WorkflowExecution(_) => "workflow",
            Self::OperationStep(_) => "operation",
            _ => "",
        }
    }

    /// What it is the newest state of, where it is a level: a newer message of the same name says all that this one says. `None`
    /// for what happened once, which nothing else tells.
    pub fn level(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Change(change) if change.kind == "status_changed" => Some(format!("item {}", change.item).into()),
            Self::AgentState(state) => Some(format!("agent {}", state.agent).into()),
            Self::WorkflowExecution(run) => Some(format!("workflow {}\n{}", run.workflow, run.execution).into()),
            Self::HealthChanged(health) => Some(format!("health {}", health.target).into()),
            Self::SystemAlert(alert) => Some(format!("alert {}\n{}", alert.id, alert.severity).into()),
            _ => None,
        }
    }

    /// Takes what it says of the state before from the newest message of its level, where its sender left that out: without it nobody
    /// could tell a recovery, or what is only said again.
    pub fn follow(&mut self, before: &Self) {
        let (previous, was) = match (self, before) {
            (Self::AgentState(now), Self::AgentState(before)) => (&mut now.previous, &before.status),
            (Self::WorkflowExecution(now), Self::WorkflowExecution(before)) => (&mut now.previous, &before.status),
            (Self::HealthChanged(now), Self::HealthChanged(before)) => (&mut now.previous, &before.health),
            _ => return,
        };
        if previous.is_empty() {
            previous.clone_from(was);
        }
    }

    /// Whether it belongs to what a new watcher is shown: the newest of what has no item, and critical alerts that nobody has seen to.
    pub fn stands(&self) -> bool {
        match self {
            Self::AgentState(_) | Self::WorkflowExecution(_) | Self::HealthChanged(_) => true,
            Self::SystemAlert(alert) => alert.severity == CRITICAL && alert.acknowledged_by.is_empty(),
            _ => false,
        }
    }

    /// Whether what it is about goes on no more: nobody will tell another state of it.
    pub fn has_ended(&self) -> bool {
        let Self::WorkflowExecution(run) = self else { return false };
        matches!(run.status.as_str(), "completed" | "failed" | "cancelled")
    }

    /// About how many bytes its texts have.
    pub fn size(&self) -> usize {
        match self {
            Self::Change(change) => change.encoded_len(),
            Self::Delivery(delivery) => delivery.encoded_len(),
            Self::AgentState(state) => state.encoded_len(),
            Self::Metrics(_, metrics) => metrics.iter().map(|(_, metric)| metric.encoded_len() + 16).sum(),
            Self::WorkflowExecution(execution) => execution.encoded_len(),
            Self::MemoryTimeline(event) => event.encoded_len(),
            Self::SystemAlert(alert) => alert.encoded_len(),
            Self::HealthChanged(health) => health.encoded_len(),
            Self::OperationStep(step) => step.encoded_len(),
        }
    }

    /// The same in protobuf.
    pub fn told(&self) -> told::Event {
        match self.clone() {
            Self::Change(change) => told::Event::Change(change),
            Self::Delivery(delivery) => told::Event::Delivery(delivery),
            Self::AgentState(state) => told::Event::AgentState(state),
            Self::Metrics(category, metrics) => told::Event::PerformanceMetrics(batch(category, metrics)),
            Self::WorkflowExecution(execution) => told::Event::WorkflowExecution(execution),
            Self::MemoryTimeline(event) => told::Event::MemoryTimeline(event),
            Self::SystemAlert(alert) => told::Event::SystemAlert(alert),
            Self::HealthChanged(health) => told::Event::HealthChanged(health),
            Self::OperationStep(step) => told::Event::OperationStep(step),
        }
    }

    /// Its own fields as a JSON object.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        match self {
            Self::Change(change) => serde_json::to_string(change),
            Self::Delivery(delivery) => serde_json::to_string(&apart(serde_json::to_value(delivery)?)),
            Self::AgentState(state) => serde_json::to_string(state),
            Self::Metrics(category, metrics) => serde_json::to_string(&batch(category.clone(), metrics.clone())),
            Self::WorkflowExecution(execution) => serde_json::to_string(execution),
            Self::MemoryTimeline(event) => serde_json::to_string(event),
            Self::SystemAlert(alert) => serde_json::to_string(alert),
            Self::HealthChanged(health) => serde_json::to_string(health),
            Self::OperationStep(step) => serde_json::to_string(step),
        }
    }
}

fn batch(category: String, metrics: Vec<(u64, v1::PerformanceMetric)>) -> v1::PerformanceMetrics {
    v1::PerformanceMetrics { category, metrics: metrics.into_iter().map(|(_, metric)| metric).collect() }
}

fn rooms_of_change(change: &v1::Change, heard: &mut impl FnMut(Kind, &str)) {
    heard(Kind::All, "");
    heard(Kind::Item, &change.item);
    heard(Kind::Lifecycle, &change.lifecycle);
    if !change.key.is_empty() {
        heard(Kind::Item, &change.key);
        if let Some(project) = project_of(&change.key) {
            heard(Kind::Project, project);
        }
    }
    match change.lifecycle.as_str() {
        "agent" => heard(Kind::AgentStates, ""),
        "workflow" => heard(Kind::WorkflowExecutions, ""),
        _ => {}
    }
    if change.kind.starts_with("conflict_") {
        heard(Kind::Conflicts, "");
    }
    let more = (!change.records.contains(&change.record)).then_some(&change.record);
    for record in change.records.iter().chain(more) {
        heard(Kind::Record, record);
        match change.lifecycle.as_str() {
            "agent" => {
                if let Some(agent) = id_of(record) {
                    heard(Kind::Agent, agent);
                }
            }
            "workflow" => {
                if let Some(workflow) = id_of(record) {
                    heard(Kind::Workflow, workflow);
                }
            }
            _ => {
                if let Some(agent) = agent_of(record) {
                    heard(Kind::Agent, agent);
                }
            }
        }
    }
}

/// The id of a record `system/kind/id`.
fn id_of(record: &str) -> Option<&str> {
    record.splitn(3, '/').nth(2)
}

/// What the records of agents begin with: of those behind an AgentAPI, and of those that are told of by `POST /v1/agent-events`.
pub const AGENTS: [&str; 2] = ["agentapi/agent/", "agent/session/"];

/// The agent that a record is, where it is one.
fn agent_of(record: &str) -> Option<&str> {
    AGENTS.iter().find_map(|start| record.strip_prefix(start))
}

/// What an item's key begins with: `ENG` of `ENG-1`, `acme/web` of `acme/web#7`.
pub fn project_of(key: &str) -> Option<&str> {
    let (project, number) = key.rsplit_once(['-', '#'])?;
    (!project.is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(project)
}

/// A delivery's own position, on the time line of its record, beside the position that every event has.
fn apart(mut delivery: serde_json::Value) -> serde_json::Value {
    if let serde_json::Value::Object(fields) = &mut delivery
        && let Some(position) = fields.remove("position")
    {
        fields.insert("record_position".into(), position);
    }
    delivery
}

#[cfg(test)]
mod kinds;

#[cfg(test)]
mod tests;
