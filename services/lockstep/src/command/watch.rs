//! `lockstep watch`: one line a message.

use std::borrow::Cow;
use std::collections::HashMap;
use std::process::ExitCode;

use client::{Change, ConnectionState, Delivery, Message, Snapshot};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::cli::Watch;
use crate::{output, places};

/// Prints until it is interrupted, or nobody reads any more.
pub async fn run(watch: Watch) -> anyhow::Result<ExitCode> {
    let (client, at) = places::client(&watch.at)?;
    let opened = client.watch().rooms(watch.rooms).on_state(tell).open().await;
    let mut messages = opened.map_err(|error| places::hint(&at, error))?;
    let mut known = Known::default();
    loop {
        let message = messages.next().await.map_err(|error| places::hint(&at, error))?;
        let is_news = known.is_news(&message) || watch.all;
        let lines = match watch.json {
            true => vec![serde_json::to_string(&message)?],
            false if is_news => lines(&message),
            false => vec![],
        };
        if lines.iter().any(|line| !output::line(line)) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// How many states are remembered, of which one that is only told again is no news.
const KNOWN_MAX: usize = 10_000;

/// What state everything is in that tells it again and again, so that a new watcher is shown it: by what it is, and with why.
#[derive(Default)]
struct Known(HashMap<String, (String, String)>);

impl Known {
    /// Whether a message tells something that is not known.
    fn is_news(&mut self, message: &Message) -> bool {
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
            _ => return true,
        };
        let is_moved = *previous != now.0;
        if self.0.len() >= KNOWN_MAX && !self.0.contains_key(&name) {
            return is_moved;
        }
        match self.0.insert(name, now.clone()) {
            Some(before) => before != now,
            None => is_moved && !is_well(message),
        }
    }
}

/// Apart from the lines: a script that reads them is told the same by what comes, each once.
fn tell(state: ConnectionState) {
    output::complain(&match state {
        ConnectionState::Disconnected { why } => format!("the connection is lost ({why}); trying again…"),
        ConnectionState::Connected => "connected again; what was missed follows".to_owned(),
    });
}

fn lines(message: &Message) -> Vec<String> {
    texts(message).iter().map(|text| output::on_one_line(text)).collect()
}

fn texts(message: &Message) -> Vec<String> {
    let text = match message {
        Message::Snapshot(snapshot) => return snapshot_lines(snapshot),
        Message::Reset(reset) => format!("{}: what was missed is not known any more", reset.rooms.join(", ")),
        Message::StatusChanged(change) => change_line(change, &moved(change)),
        Message::Linked(change) => change_line(change, "linked"),
        Message::Unlinked(change) => change_line(change, "unlinked"),
        Message::ConflictOpened(change) => change_line(change, "conflict opened"),
        Message::ConflictResolved(change) => change_line(change, "conflict resolved"),
        Message::Delivery(delivery) => delivery_line(delivery),
        Message::AgentState(agent) => {
            live_line(agent.at, &agent.agent, &from_to(&agent.previous, &agent.status), &agent.task)
        }
        Message::PerformanceMetrics(batch) => return batch.metrics.iter().map(metric_line).collect(),
        Message::WorkflowExecution(workflow) => {
            let what = format!("{} {} ({:.0} %)", workflow.status, workflow.stage, workflow.progress * 100.0);
            live_line(workflow.at, &named(&workflow.workflow, &workflow.execution), &what, &workflow.error)
        }
        Message::MemoryTimeline(memory) => live_line(memory.at, &memory.agent, &memory.action, &memory.summary),
        Message::SystemAlert(alert) if alert.acknowledged_by.is_empty() => {
            live_line(alert.at, &alert.component, &alert.severity, &alert.message)
        }
        Message::SystemAlert(alert) if alert.is_over() => live_line(alert.at, &alert.component, "over", &alert.message),
        Message::SystemAlert(alert) => {
            let who = format!("by {}", alert.acknowledged_by);
            live_line(alert.acknowledged_at, &alert.component, "acknowledged", &who)
        }
        Message::HealthChanged(health) => {
            live_line(health.at, &health.target, &from_to(&health.previous, &health.health), &health.reason)
        }
        Message::OperationStep(step) => {
            let what = format!("{} {}", step.step, step.state);
            let why = if step.error.is_empty() { &step.description } else { &step.error };
            live_line(step.at, &step.operation, &what, why)
        }
        other => serde_json::to_string(other).unwrap_or_default(),
    };
    vec![text]
}

/// What a room's snapshot knows beside its items, and that it is whole.
fn snapshot_lines(snapshot: &Snapshot) -> Vec<String> {
    let mut all: Vec<String> = snapshot.messages.iter().filter(|message| !is_well(message)).flat_map(texts).collect();
    if !snapshot.more {
        all.push(format!("{}: watching", snapshot.room));
    }
    all
}

/// Whether it says of something that it is well, and was never known to be otherwise.
fn is_well(message: &Message) -> bool {
    matches!(message, Message::HealthChanged(health) if health.health == "healthy" && ["", "healthy"].contains(&&*health.previous))
}

fn moved(change: &Change) -> String {
    if change.from.is_empty() { format!("new, {}", change.to) } else { from_to(&change.from, &change.to) }
}

fn from_to(from: &str, to: &str) -> String {
    if from.is_empty() { to.to_owned() } else { format!("{from} → {to}") }
}

fn named(workflow: &str, execution: &str) -> String {
    if execution.is_empty() { workflow.to_owned() } else { format!("{workflow}/{execution}") }
}

fn change_line(change: &Change, what: &str) -> String {
    let name = if change.key.is_empty() { &change.item } else { &change.key };
    let actor = change.actor.as_ref().map_or(Value::Null, |actor| json!({"name": actor.name}));
    let irregular = if change.irregular { ", irregular" } else { "" };
    format!(
        "{}  {name:<12} {what:<28} {} ({}{irregular})",
        clock(change.at),
        output::place(&actor, &record(change)),
        change.reason
    )
}

/// The record whose edit it was, without an id that only programs read where the item has no other of its kind.
fn record(change: &Change) -> Cow<'_, str> {
    let kind = |record: &str| record.rsplit_once('/').map(|(kind, _)| kind.to_owned());
    let of_kind = change.records.iter().filter(|record| kind(record) == kind(&change.record));
    output::record(&change.record, (of_kind.count() == 1).then_some(""))
}

fn delivery_line(delivery: &Delivery) -> String {
    let reason = if delivery.reason.is_empty() { String::new() } else { format!(": {}", delivery.reason) };
    format!("{}  {} {} {}{reason}", clock(delivery.at), delivery.record, delivery.outcome, delivery.native)
}

fn metric_line(metric: &client::PerformanceMetric) -> String {
    let what = format!("{} {}", metric.value, metric.unit);
    live_line(metric.at, &named(&metric.category, &metric.name), &what, &metric.source)
}

fn live_line(at: i64, name: &str, what: &str, why: &str) -> String {
    format!("{}  {name:<12} {what:<28} {why}", clock(at)).trim_end().to_owned()
}

/// The time of day in UTC.
fn clock(at_ms: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ms) * 1_000_000);
    let moment = moment.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!("{:02}:{:02}:{:02}.{:03}", moment.hour(), moment.minute(), moment.second(), moment.millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(json: &str) -> Vec<String> {
        lines(&Message::parse(json).unwrap())
    }

    #[test]
    fn a_change_is_one_line_with_who_did_it_where() {
        let line = said(
            r#"{"type": "status_changed", "key": "ENG-1", "from": "todo", "to": "in_review",
                "record": "linear/issue/a", "reason": "edited", "at": 3723004}"#,
        );
        assert!(line[0].starts_with("01:02:03.004  ENG-1"), "{line:?}");
        assert!(line[0].contains("todo → in_review") && line[0].contains("linear/issue/a (edited)"), "{line:?}");
    }

    #[test]
    fn an_id_for_programs_is_left_out_where_nothing_else_can_be_meant() {
        let record = "linear/issue/ab9e2088-483c-437c-9fee-e6cab39f3857";
        let line = |records: &str| {
            let json =
                format!(r#"{{"type": "linked", "record": "{record}", "reason": "adopted", "records": {records}}}"#);
            said(&json).remove(0)
        };
        let (alone, beside) =
            (format!(r#"["{record}", "github/issue/a#1"]"#), format!(r#"["{record}", "linear/issue/b"]"#));
        assert!(line(&alone).ends_with("linear/issue (adopted)"), "{}", line(&alone));
        assert!(line(&beside).ends_with(&format!("{record} (adopted)")), "{}", line(&beside));
    }

    #[test]
    fn every_room_has_lines_of_its_own() {
        for (json, parts) in [
            (
                r#"{"type": "agent_state", "agent": "a", "previous": "idle", "status": "working"}"#,
                ["a", "idle → working"],
            ),
            (
                r#"{"type": "system_alert", "component": "db", "severity": "critical", "message": "full"}"#,
                ["db", "full"],
            ),
            (r#"{"type": "health_changed", "target": "db", "health": "degraded"}"#, ["db", "degraded"]),
            (
                r#"{"type": "operation_step", "operation": "o", "step": "s", "state": "failed", "error": "x"}"#,
                ["s failed", "x"],
            ),
            (
                r#"{"type": "performance_metrics", "metrics": [{"name": "p99", "value": 3.5, "unit": "ms"}]}"#,
                ["p99", "3.5 ms"],
            ),
            (
                r#"{"type": "workflow_execution", "workflow": "w", "stage": "build", "progress": 0.5}"#,
                ["build", "50 %"],
            ),
            (r#"{"type": "moon_phase", "phase": "full"}"#, ["moon_phase", "full"]),
        ] {
            let line = said(json);
            assert!(line.len() == 1 && parts.iter().all(|part| line[0].contains(part)), "{line:?}");
        }
    }

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
    fn nobodys_words_pass_for_a_line_of_their_own() {
        for json in [
            r#"{"type": "system_alert", "component": "ci", "message": "ok\n03:09:00.000  ENG-1  todo → done"}"#,
            r#"{"type": "performance_metrics", "metrics": [{"name": "a\u2028b"}]}"#,
        ] {
            let lines = said(json);
            assert!(lines.len() == 1 && !lines[0].contains(['\n', '\u{2028}']), "{lines:?}");
        }
    }

    #[test]
    fn a_snapshot_ends_with_that_it_is_watched() {
        let page = r#"{"type": "snapshot", "room": "health", "messages": [{"type": "health_changed", "target": "db"}],
            "more": MORE}"#;
        assert_eq!(said(&page.replace("MORE", "true")).len(), 1);
        assert_eq!(said(&page.replace("MORE", "false")).last().map(String::as_str), Some("health: watching"));
    }
}
