//! What filters look at, for each kind of message.

use super::*;

/// A message, and what it is by `on`, `status`, `system` and `lifecycle`, with the names of what it is about.
type Case = (Message, u8, &'static str, &'static str, &'static str, &'static [&'static str]);

fn agent(previous: &str, status: &str) -> Message {
    let (agent, previous, status) = ("a".into(), previous.into(), status.into());
    Message::AgentState(v1::AgentState { agent, previous, status, ..v1::AgentState::default() })
}

fn run(previous: &str, status: &str) -> Message {
    let (workflow, execution) = ("w".into(), "7".into());
    let (previous, status) = (previous.into(), status.into());
    Message::WorkflowExecution(v1::WorkflowExecution { workflow, execution, previous, status, ..Default::default() })
}

fn health(previous: &str, health: &str) -> Message {
    let (target, previous, health) = ("db".into(), previous.into(), health.into());
    Message::HealthChanged(v1::HealthChanged { target, previous, health, ..v1::HealthChanged::default() })
}

fn delivery(outcome: &str) -> Message {
    let (record, item) = ("agentapi/agent/a".into(), "i".into());
    let (native, outcome) = ("open".into(), outcome.into());
    Message::Delivery(v1::Delivery { record, item, native, outcome, ..v1::Delivery::default() })
}

fn alert(severity: &str, is_over: bool) -> Message {
    let (id, component) = ("full".into(), "disk".into());
    let mut alert = v1::SystemAlert { id, component, severity: severity.into(), ..v1::SystemAlert::default() };
    alert.set_over(is_over);
    Message::SystemAlert(alert)
}

fn step(state: &str) -> Message {
    let (operation, agent, state) = ("o".into(), "a".into(), state.into());
    Message::OperationStep(v1::OperationStep { operation, agent, state, ..v1::OperationStep::default() })
}

fn change(kind: &str, from: &str, to: &str) -> Message {
    let (item, key, record) = ("i".into(), "ENG-1".into(), "linear/issue/1".into());
    let records = vec!["linear/issue/1".into(), "agentapi/agent/a".into()];
    let (kind, lifecycle, from, to) = (kind.into(), "work".into(), from.into(), to.into());
    Message::Change(v1::Change { kind, item, key, record, records, lifecycle, from, to, ..v1::Change::default() })
}

fn cases() -> Vec<Case> {
    use on::{ERROR_STATE, HEALTH_CHANGE, RECOVERY, STATUS_CHANGE};
    let changed: &[&str] = &["i", "ENG-1", "linear/issue/1", "agentapi/agent/a", "a"];
    let delivered: &[&str] = &["i", "agentapi/agent/a", "a"];
    let metric = v1::PerformanceMetric { name: "p".into(), source: "s".into(), ..v1::PerformanceMetric::default() };
    let memory = v1::MemoryTimeline { agent: "a".into(), memory: "m".into(), ..v1::MemoryTimeline::default() };
    vec![
        (change("status_changed", "todo", "done"), STATUS_CHANGE, "done", "linear", "work", changed),
        (change("status_changed", "todo", "failed"), STATUS_CHANGE | ERROR_STATE, "failed", "linear", "work", changed),
        (change("status_changed", "failed", "done"), STATUS_CHANGE | RECOVERY, "done", "linear", "work", changed),
        (change("linked", "todo", "done"), 0, "done", "linear", "work", changed),
        (delivery("applied"), 0, "open", "agentapi", "", delivered),
        (delivery("failed"), ERROR_STATE, "open", "agentapi", "", delivered),
        (delivery("rejected"), ERROR_STATE, "open", "agentapi", "", delivered),
        (agent("idle", "working"), STATUS_CHANGE, "working", "", "agent", &["a"]),
        (agent("working", "working"), 0, "working", "", "agent", &["a"]),
        (agent("working", "error"), STATUS_CHANGE | ERROR_STATE, "error", "", "agent", &["a"]),
        (agent("error", "idle"), STATUS_CHANGE | RECOVERY, "idle", "", "agent", &["a"]),
        (Message::Metrics("c".into(), vec![(1, metric)]), 0, "", "", "", &["p", "s"]),
        (run("pending", "running"), STATUS_CHANGE, "running", "", "workflow", &["w", "7"]),
        (run("running", "failed"), STATUS_CHANGE | ERROR_STATE, "failed", "", "workflow", &["w", "7"]),
        (run("failed", "running"), STATUS_CHANGE | RECOVERY, "running", "", "workflow", &["w", "7"]),
        (Message::MemoryTimeline(memory), 0, "", "", "", &["a", "m"]),
        (alert("warning", false), 0, "", "", "", &["full", "disk"]),
        (alert("error", false), ERROR_STATE, "", "", "", &["full", "disk"]),
        (alert("critical", false), ERROR_STATE, "", "", "", &["full", "disk"]),
        (alert("critical", true), RECOVERY, "", "", "", &["full", "disk"]),
        (health("healthy", "degraded"), HEALTH_CHANGE, "", "", "", &["db"]),
        (step("executing"), 0, "executing", "", "operation", &["o", "a"]),
        (step("failed"), ERROR_STATE, "failed", "", "operation", &["o", "a"]),
    ]
}

#[test]
fn a_filter_finds_in_each_kind_of_message_what_it_looks_at() {
    let is_wrong = |(message, on, status, system, lifecycle, names): &Case| {
        let seen = (message.on(), message.status(), message.system(), message.lifecycle());
        let others = message.is_about("other") || message.is_about("");
        seen != (*on, *status, *system, *lifecycle) || others || !names.iter().all(|name| message.is_about(name))
    };
    let wrong: Vec<Case> = cases().into_iter().filter(is_wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_was_before_is_taken_from_the_message_before_where_it_is_left_out() {
    let followed = |mut now: Message, before: &Message| {
        now.follow(before);
        now
    };
    for (now, before, whole) in [
        (agent("", "idle"), agent("", "error"), agent("error", "idle")),
        (run("", "running"), run("", "failed"), run("failed", "running")),
        (health("", "healthy"), health("", "unhealthy"), health("unhealthy", "healthy")),
    ] {
        assert_eq!(followed(now, &before), whole, "a recovery");
        assert_eq!(followed(whole.clone(), &whole), whole, "what was said stays");
    }
    assert_eq!(followed(health("", "healthy"), &agent("", "idle")), health("", "healthy"));
}
