//! Telemetry as it is published.

use serde::Serialize;

use crate::{
    AgentState, HealthChanged, MemoryTimeline, OperationStep, PerformanceMetric, SystemAlert, WorkflowExecution,
};

/// One message for `POST /v1/telemetry`. Its JSON form is the message's with its `type` beside.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Telemetry {
    /// What an agent does now.
    AgentState(AgentState),
    /// One measurement. Watchers get several at once.
    PerformanceMetric(PerformanceMetric),
    /// How far a workflow is.
    WorkflowExecution(WorkflowExecution),
    /// Something happened to an agent's memory.
    MemoryTimeline(MemoryTimeline),
    /// Something that a person should know.
    SystemAlert(SystemAlert),
    /// The health of something went from one level to another.
    HealthChanged(HealthChanged),
    /// One step of a long operation.
    OperationStep(OperationStep),
}

macro_rules! from {
    ($($name:ident),*) => {
        $(impl From<$name> for Telemetry {
            fn from(message: $name) -> Self {
                Self::$name(message)
            }
        })*
    };
}

from!(AgentState, PerformanceMetric, WorkflowExecution, MemoryTimeline, SystemAlert, HealthChanged, OperationStep);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_sent_with_its_type() {
        let step = OperationStep { operation: "o".into(), step: "s".into(), ..OperationStep::default() };
        let sent = serde_json::to_value(Telemetry::from(step)).unwrap();
        assert_eq!((sent["type"].as_str(), sent["operation"].as_str()), (Some("operation_step"), Some("o")));
    }
}
