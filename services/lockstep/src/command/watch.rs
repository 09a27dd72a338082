//! `lockstep watch`: one line a change.

use std::process::ExitCode;

use client::{Change, Delivery, Message};
use time::OffsetDateTime;

use crate::cli::Watch;
use crate::{output, places};

/// Prints until it is interrupted, or nobody reads any more.
pub async fn run(watch: Watch) -> anyhow::Result<ExitCode> {
    let rooms: Vec<&str> = watch.rooms.iter().map(String::as_str).collect();
    let (client, at) = places::client(&watch.at)?;
    let mut changes = client.watch(&rooms)?;
    loop {
        let message = changes.next().await.map_err(|error| places::hint(&at, error))?;
        let line = if watch.json { Some(serde_json::to_string(&message)?) } else { line(&message) };
        if let Some(line) = line
            && !output::line(&line)
        {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn line(message: &Message) -> Option<String> {
    match message {
        Message::Snapshot(snapshot) if snapshot.more => None,
        Message::Snapshot(snapshot) => Some(format!("{}: watching", snapshot.room)),
        Message::Change(change) => Some(change_line(change)),
        Message::Delivery(delivery) => Some(delivery_line(delivery)),
    }
}

fn change_line(change: &Change) -> String {
    let name = if change.key.is_empty() { &change.item } else { &change.key };
    let what = match change.kind.as_str() {
        "status_changed" if change.from.is_empty() => format!("new, {}", change.to),
        "status_changed" => format!("{} → {}", change.from, change.to),
        other => other.replace('_', " "),
    };
    let actor = change.actor.as_ref().map(|actor| format!("{} in ", actor.name)).unwrap_or_default();
    let irregular = if change.irregular { ", irregular" } else { "" };
    format!(
        "{}  {name:<12} {what:<28} {actor}{} ({}{irregular})",
        clock(change.at),
        change.record,
        change.reason.replace('_', " ")
    )
}

fn delivery_line(delivery: &Delivery) -> String {
    let reason = if delivery.reason.is_empty() { String::new() } else { format!(": {}", delivery.reason) };
    format!("{}  {} {} {}{reason}", clock(delivery.at), delivery.record, delivery.outcome, delivery.native)
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

    #[test]
    fn a_change_is_one_line_with_who_did_it_where() {
        let change = Change {
            kind: "status_changed".into(),
            key: "ENG-1".into(),
            from: "todo".into(),
            to: "in_review".into(),
            record: "linear/issue/a".into(),
            reason: "edited".into(),
            at: 3_723_004,
            ..Change::default()
        };
        let line = change_line(&change);
        assert!(line.starts_with("01:02:03.004  ENG-1"), "{line}");
        assert!(line.contains("todo → in_review") && line.contains("linear/issue/a (edited)"), "{line}");
    }
}
