//! Telemetry: what is worth seeing at once. Times are milliseconds since 1970; empty texts and 0 mean unknown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What an agent does now. The newest of an agent counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentState {
    /// The agent's name, as in its record `agentapi/agent/<name>`.
    pub agent: String,
    /// `unknown`, `offline`, `idle`, `working`, `tool_calling`, `waiting`, `error` or `completed`.
    pub status: String,
    /// The status before it.
    pub previous: String,
    /// What it works on, for a person.
    pub task: String,
    /// What it uses, where that is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// One word: why it changed.
    pub reason: String,
    /// When.
    pub at: i64,
    /// What else is known.
    pub metadata: BTreeMap<String, String>,
}

/// What a process uses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Of one core; 200 are two cores.
    pub cpu_percent: f64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Tokens so far.
    pub tokens: u64,
}

/// One measurement.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PerformanceMetric {
    /// What was measured.
    pub name: String,
    /// How much.
    pub value: f64,
    /// `ms`, `bytes`, `count`, …
    pub unit: String,
    /// What it is sorted under: `latency`, `throughput`, …
    pub category: String,
    /// Who measured it.
    pub source: String,
    /// When.
    pub at: i64,
    /// What else is known.
    pub tags: BTreeMap<String, String>,
}

/// Measurements of one category, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PerformanceMetrics {
    /// The category.
    pub category: String,
    /// The measurements.
    pub metrics: Vec<PerformanceMetric>,
}

/// How far a workflow is. The newest of an execution counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkflowExecution {
    /// The workflow.
    pub workflow: String,
    /// Which run of it; empty where there is only one.
    pub execution: String,
    /// Where it is.
    pub stage: String,
    /// `pending`, `running`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// The status before, where it is known.
    pub previous: String,
    /// From 0 to 1.
    pub progress: f64,
    /// What came of it, when it is completed.
    pub result: String,
    /// Why, when it failed.
    pub error: String,
    /// When.
    pub at: i64,
    /// What else is known.
    pub metadata: BTreeMap<String, String>,
}

/// Something happened to an agent's memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryTimeline {
    /// The agent.
    pub agent: String,
    /// `created`, `updated`, `accessed` or `deleted`.
    pub action: String,
    /// The memory's id.
    pub memory: String,
    /// What it is about.
    pub summary: String,
    /// From 0 to 1.
    pub importance: f64,
    /// What it is sorted under.
    pub tags: Vec<String>,
    /// When.
    pub at: i64,
}

/// Something that a person should know. The newest of an id counts; a critical one is kept until somebody acknowledges it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SystemAlert {
    /// Its id.
    pub id: String,
    /// `info`, `warning`, `error` or `critical`.
    pub severity: String,
    /// What it is about: a service, a host, a job.
    pub component: String,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub action: String,
    /// When.
    pub at: i64,
    /// Who has seen to it; empty as long as nobody has.
    pub acknowledged_by: String,
    /// When they did.
    pub acknowledged_at: i64,
    /// What else is known.
    pub metadata: BTreeMap<String, String>,
}

impl SystemAlert {
    /// Whether its cause is gone, where the monitor raised it: of others that is known when somebody acknowledges them.
    pub fn is_over(&self) -> bool {
        self.metadata.get("state").is_some_and(|state| state == "cleared")
    }
}

/// The health of something went from one level to another. The newest of a target counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthChanged {
    /// What it is about: a server, an endpoint, a service.
    pub target: String,
    /// `healthy`, `degraded`, `unhealthy` or `unknown`.
    pub health: String,
    /// The level before it.
    pub previous: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: i64,
}

/// One step of a long operation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OperationStep {
    /// The operation.
    pub operation: String,
    /// The step.
    pub step: String,
    /// `executing`, `completed`, `failed` or `reset`.
    pub state: String,
    /// What it does, for a person.
    pub description: String,
    /// Of the whole operation, from 0 to 1.
    pub progress: f64,
    /// Why, when it failed.
    pub error: String,
    /// When.
    pub at: i64,
    /// What the step knows, as a JSON text; empty for nothing.
    pub data: String,
    /// The agent that works on it; empty where there is none.
    pub agent: String,
}
