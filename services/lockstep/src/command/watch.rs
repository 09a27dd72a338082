//! `lockstep watch`: one line a message.

mod known;

use std::borrow::Cow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use client::{Change, ConnectionState, Delivery, Message, Reset, Snapshot};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::Notify;

use crate::cli::Watch;
use crate::{output, places};
use known::{Changed, Known};

/// Prints until it is interrupted, or nobody reads any more.
pub async fn run(watch: Watch) -> anyhow::Result<ExitCode> {
    let (client, at) = places::client(&watch.at)?;
    let watched = watch.rooms.len();
    let connection = Arc::new(Connection::default());
    let told = Arc::clone(&connection);
    let opened = client.watch().rooms(watch.rooms).on_state(move |state| told.changed(state)).open().await;
    let mut messages = opened.map_err(|error| places::hint(&at, error))?;
    let mut known = Known::default();
    loop {
        let message = tokio::select! {
            // A room that begins anew comes before the word that all stands again, and says what does not follow.
            biased;
            message = messages.next() => message.map_err(|error| places::hint(&at, error))?,
            () = connection.is_back.notified() => {
                connection.say_back(None, watched);
                continue;
            }
        };
        if let Message::Reset(reset) = &message {
            connection.say_back(Some(reset), watched);
        }
        let changed = known.changed_meanwhile(&message);
        let is_news = known.is_news(&message) || watch.all;
        let lines = match watch.json {
            true => vec![serde_json::to_string(&message)?],
            false if is_news => changed.iter().map(item_line).chain(lines(&message)).collect(),
            false => vec![],
        };
        if lines.iter().any(|line| !output::line(line)) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Whether the connection is there. It is said apart from the lines: a script that reads them is told the same by what comes, each once.
#[derive(Default)]
struct Connection {
    is_lost: AtomicBool,
    is_back: Notify,
}

impl Connection {
    fn changed(&self, state: ConnectionState) {
        match state {
            ConnectionState::Disconnected { why } => {
                self.is_lost.store(true, Ordering::Relaxed);
                output::complain(&format!("the connection is lost ({why}); trying again…"));
            }
            ConnectionState::Connected => self.is_back.notify_one(),
        }
    }

    /// Says once that it is back, and what follows. A room that begins anew says so itself.
    fn say_back(&self, anew: Option<&Reset>, watched: usize) {
        if self.is_lost.swap(false, Ordering::Relaxed) {
            output::complain(match anew {
                None => "connected again; what was missed follows",
                Some(reset) if reset.rooms.len() < watched => "connected again; what was missed in other rooms follows",
                Some(_) => "connected again",
            });
        }
    }
}

fn lines(message: &Message) -> Vec<String> {
    texts(message).iter().map(|text| output::on_one_line(text)).collect()
}

fn texts(message: &Message) -> Vec<String> {
    let text = match message {
        Message::Snapshot(snapshot) => return snapshot_lines(snapshot),
        Message::Reset(reset) => reset_line(reset),
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

/// That not all of what was missed can be told, and why. What the room's snapshot shows otherwise than it was known comes next.
fn reset_line(reset: &Reset) -> String {
    let why = match reset.reason.as_str() {
        "other_epoch" => "a stream began anew; telemetry's, which is kept in memory, does whenever NATS restarts",
        "too_old" => "it is too long ago",
        "ahead" => "this broadcaster has not heard all of it yet",
        other => other,
    };
    format!(
        "{}: not all that was missed is known any more ({why}); what is different now follows",
        reset.rooms.join(", ")
    )
}

/// An item that is not as it was told of last.
fn item_line(changed: &Changed) -> String {
    let Changed { item, before } = changed;
    let what = match before {
        Some(before) if *before == item.status => format!("{before} again"),
        Some(before) => from_to(before, &item.status),
        None => item.status.clone(),
    };
    let name = item.key.as_deref().unwrap_or(&item.id);
    output::on_one_line(&live_line(item.status_since, name, &what, "(changed meanwhile)"))
}

/// What a room's snapshot knows beside its items, and that it is whole.
fn snapshot_lines(snapshot: &Snapshot) -> Vec<String> {
    let mut all: Vec<String> =
        snapshot.messages.iter().filter(|message| !known::is_well(message)).flat_map(texts).collect();
    if !snapshot.more {
        all.push(format!("{}: watching", snapshot.room));
    }
    all
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
    fn an_item_that_changed_while_nothing_was_told_is_one_line() {
        let line = |before: Option<&str>| {
            let item = r#"{"id": "i", "key": "ENG-1", "title": null, "lifecycle": "work", "status": "done",
                "status_since": 3723004, "version": 3}"#;
            item_line(&Changed { item: &serde_json::from_str(item).unwrap(), before: before.map(str::to_owned) })
        };
        for (before, what) in [(Some("todo"), "todo → done"), (Some("done"), "done again"), (None, "done")] {
            let line = line(before);
            assert!(line.starts_with("01:02:03.004  ENG-1        "), "{line}");
            assert!(line.contains(&format!(" {what} ")) && line.ends_with("(changed meanwhile)"), "{line}");
        }
    }

    #[test]
    fn a_room_that_begins_anew_says_why_and_what_follows() {
        let reset = |reason: &str| said(&format!(r#"{{"type": "reset", "rooms": ["all"], "reason": "{reason}"}}"#));
        for (reason, why) in [("other_epoch", "telemetry's"), ("too_old", "too long ago"), ("new_word", "new_word")] {
            let lines = reset(reason);
            assert!(lines.len() == 1 && lines[0].starts_with("all: not all that was missed"), "{lines:?}");
            assert!(lines[0].contains(why) && lines[0].ends_with("what is different now follows"), "{lines:?}");
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
