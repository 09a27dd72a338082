//! Which alerts are open: what a person must see to, in a sentence each, and how.
//!
//! Pure. An alert follows from what is stored, so it is there exactly as long as its cause.

use bus::topology::{AS_SYSTEM, WEBHOOKS_OF};
use model::{Candidate, Timestamp};
use serde::Serialize;
use store::{ConflictRow, UnmappedRow};

use crate::health::{Component, Health, Report};

/// How urgent an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Somebody should see to it today.
    Warning,
    /// Somebody should see to it now.
    Critical,
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alert {
    /// Which kind: `flip_flop`, `conflict_held`, `dead_letters`, `unmapped`, `service_down`, `service_not_ready`, `reading_stalled`,
    /// `not_stored`, `webhooks_refused`, `system_failing` or `alerts_stale`.
    pub code: &'static str,
    /// How urgent it is.
    pub severity: Severity,
    /// What it is about: a service, a stream, a system, an item; `dead_letters`, `mappings` or `monitor`.
    pub component: String,
    /// Since when, where it began at a moment that is known.
    pub since: Option<Timestamp>,
    /// What is wrong, for a person.
    pub message: String,
    /// What to do about it.
    pub action: String,
    /// The item that stands still, if it is about one.
    #[serde(flatten)]
    pub held: Option<Held>,
}

/// An item that stands still.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Held {
    /// The item's id.
    pub item: model::ItemId,
    /// What people call it.
    pub key: Option<String>,
    /// The conflict that holds it.
    pub conflict: model::ConflictId,
    /// The two whose edits collided: who, by which record, and what each wants.
    pub sides: Vec<Side>,
}

/// One of those whose edits collided.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// The number by which it is picked.
    pub candidate: usize,
    /// Who made the edit; the record stands for whoever is not known.
    pub actor: String,
    /// Whether that is known to be a program.
    pub automation: bool,
    /// Where.
    pub record: String,
    /// What they want the item to be.
    pub status: String,
}

/// How long a service is down or not ready before somebody is told: one that is restarted is not worth it. Nor is a look that comes late.
pub const LASTING_MS: i64 = 60_000;

/// What is stored that a person must see to.
#[derive(Debug, Default)]
pub struct Stored {
    /// The conflicts that hold items.
    pub held: Vec<ConflictRow>,
    /// What records show that no mapping knows.
    pub unmapped: Vec<UnmappedRow>,
    /// How many dead letters there are.
    pub dead_letters: u64,
}

/// How many statuses that no mapping knows are named in one alert.
const NAMED_MAX: usize = 5;

/// The open alerts: the most urgent first, then the oldest.
pub fn open(stored: &Stored, report: &Report) -> Vec<Alert> {
    let mut alerts: Vec<Alert> = stored.held.iter().map(stands_still).collect();
    let ill = |part: &str| {
        let parts = report.components.get(part).into_iter().flatten();
        parts.filter(|(_, component)| component.status > Health::Healthy).collect::<Vec<_>>()
    };
    let alert = |code, severity, name: &str, component: &Component, action: &str| Alert {
        code,
        severity,
        component: name.to_owned(),
        since: None,
        message: format!("{name}: {}", component.reason.as_deref().unwrap_or("it is not well")),
        action: action.to_owned(),
        held: None,
    };
    let lasting = |component: &Component| component.since.is_some_and(|since| report.at - since > LASTING_MS);
    alerts.extend(ill("services").into_iter().filter(|(_, component)| lasting(component)).map(|(name, component)| {
        let (code, severity, action) = if component.status == Health::Unhealthy {
            let action = "start it, or see its log for why it ended; if it is not meant to run any more, stop it in order \
                          (SIGTERM), take it out of monitor.expect, or restart the monitor";
            ("service_down", Severity::Critical, action)
        } else {
            ("service_not_ready", Severity::Warning, "mend what stands in its way; see its log")
        };
        let since = component.since.map(Timestamp);
        Alert { since, ..alert(code, severity, name, component, action) }
    }));
    alerts.extend(ill("streams").into_iter().map(|(name, component)| {
        let action =
            "see whether who reads it runs, its log, and NATS's; after a disk was full, make room and restart NATS";
        alert("reading_stalled", Severity::Critical, name, component, action)
    }));
    alerts.extend(ill("systems").into_iter().map(|(name, component)| {
        if name.starts_with(AS_SYSTEM) {
            // In NATS's words: the stream's own part, not the disk.
            let is_full = component.reason.as_ref().is_some_and(|why| why.contains("maximum bytes exceeded"));
            let action = if is_full {
                "its part of nats.storage_mb is full: let what is unread be read (see `reading_stalled` and who reads it), or raise \
                 nats.storage_mb and restart the services; senders are told to come again"
            } else {
                "see NATS's log; after a disk was full, make room and restart NATS; senders are told to come again"
            };
            return alert("not_stored", Severity::Critical, name, component, action);
        }
        if let Some(system) = name.strip_prefix(WEBHOOKS_OF) {
            let action = format!(
                "set ingest.{system}.secrets to the secret of the webhook in {system}, or mend it there; \
                 what was refused meanwhile is found by sweeps. \
                 If others send them too, and genuine ones come, nothing is lost"
            );
            return alert("webhooks_refused", Severity::Warning, &format!("webhooks of {system}"), component, &action);
        }
        alert("system_failing", Severity::Warning, name, component, &failing(name, component))
    }));
    alerts.extend(given_up(stored.dead_letters));
    alerts.extend(unmapped(&stored.unmapped));
    // Stable: those of one severity stay in their order.
    alerts.sort_by_key(|alert| std::cmp::Reverse(alert.severity == Severity::Critical));
    alerts
}

/// The alerts as they were when they could be told last, and that they may be others now.
pub fn as_of(at: Timestamp, alerts: &[Alert], why: &str) -> Vec<Alert> {
    let stale = Alert {
        code: "alerts_stale",
        severity: Severity::Critical,
        component: "monitor".to_owned(),
        since: Some(at),
        message: format!(
            "PostgreSQL or NATS does not answer ({why}): these alerts are as they were then, and may be others now"
        ),
        action: "see /health for which, and start it or mend the way to it".to_owned(),
        held: None,
    };
    std::iter::once(stale).chain(alerts.iter().cloned()).collect()
}

/// What is to be done about a system to which no call succeeds. It is owed something: whether that waits goes by how it answers.
fn failing(name: &str, component: &Component) -> String {
    // Calls say `<system> answered <what> with <status>`.
    let why = component.reason.as_deref().unwrap_or_default();
    let refuses = why.rsplit_once(" with 4").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()));
    if refuses {
        return format!(
            "it answers and refuses: see whether it takes the credential (`lockstep doctor`). What it is owed does not wait and becomes dead \
             letters: mend the cause, restart connector-{name} where a setting changed, then `lockstep dead replay --service connector-{name}`"
        );
    }
    format!(
        "see whether it is up and can be reached: `lockstep doctor`; what it is owed waits, and what was tried too often meanwhile is among \
         the dead letters: `lockstep dead replay --service connector-{name}`"
    )
}

fn given_up(dead_letters: u64) -> Option<Alert> {
    let message = match dead_letters {
        0 => return None,
        1 => "1 message was given up".to_owned(),
        several => format!("{several} messages were given up"),
    };
    let action = "see them with `lockstep dead list`; replay them once the cause is mended, or discard them".to_owned();
    let (code, component) = ("dead_letters", "dead_letters".to_owned());
    Some(Alert { code, severity: Severity::Warning, component, since: None, message, action, held: None })
}

fn unmapped(rows: &[UnmappedRow]) -> Option<Alert> {
    let named: Vec<String> = rows
        .iter()
        .take(NAMED_MAX)
        .map(|row| {
            let (records, show) = if row.records == 1 { ("record", "shows") } else { ("records", "show") };
            format!("{} {records} of {}/{} {show} {:?}", row.records, row.system, row.kind, row.native)
        })
        .collect();
    if named.is_empty() {
        return None;
    }
    let others = if rows.len() > NAMED_MAX { ", and there are others" } else { "" };
    Some(Alert {
        code: "unmapped",
        severity: Severity::Warning,
        component: "mappings".to_owned(),
        since: None,
        message: format!("no mapping knows what is shown: {}{others}", named.join(", ")),
        action:
            "add it to the system's mapping and restart the services, or mend it where it is shown; which records: \
                 `lockstep status --not-in-step`"
                .to_owned(),
        held: None,
    })
}

fn stands_still(row: &ConflictRow) -> Alert {
    let conflict = &row.conflict;
    let name = row.key.clone().unwrap_or_else(|| conflict.item.to_string());
    // Only the first two collided; the others came while it was held.
    let sides: Vec<Side> = conflict.candidates.iter().take(2).enumerate().map(side).collect();
    let who = match &sides[..] {
        // A hold keeps the newest edit of each record, which took the place of the other program's.
        [one, other] if one.record == other.record && one.actor == other.actor => {
            let place = row.called(&conflict.candidates[one.candidate].record);
            format!("{} and another in {place} ({}, {})", called(one), one.status, other.status)
        }
        _ => {
            let named = |(side, candidate): (&Side, &Candidate)| {
                format!("{} in {} ({})", called(side), row.called(&candidate.record), side.status)
            };
            sides.iter().zip(&conflict.candidates).map(named).collect::<Vec<_>>().join(" and ")
        }
    };
    let agree = matches!(&sides[..], [one, other] if one.status == other.status);
    let now = if agree { "; what they showed last is the same" } else { "" };
    let (code, severity, message) = if conflict.escalated {
        ("flip_flop", Severity::Critical, format!("{name} is held: {who} keep taking each other's change back{now}"))
    } else {
        ("conflict_held", Severity::Warning, format!("{name} is held until somebody decides: {who}"))
    };
    let end = format!(
        "`lockstep conflicts resolve {name} --pick N` or `--status S`, or POST /v1/conflicts/{}/pick",
        conflict.id
    );
    let action = match sides.iter().find(|side| side.automation) {
        Some(side) if conflict.escalated => format!("turn one of the two off (such as {}), then {end}", called(side)),
        None if conflict.escalated => format!("agree on who decides, then {end}"),
        _ => end,
    };
    let held = Held { item: conflict.item, key: row.key.clone(), conflict: conflict.id, sides };
    Alert { code, severity, component: name, since: Some(conflict.opened_at), message, action, held: Some(held) }
}

/// A table knows a program by the database user it writes as, which may be Lockstep's own: Lockstep's writes are marked, and no side.
fn called(side: &Side) -> String {
    if side.automation && side.record.starts_with("postgres/") {
        return format!("a program other than Lockstep, with the database user {},", side.actor);
    }
    side.actor.clone()
}

fn side((number, candidate): (usize, &Candidate)) -> Side {
    let system = candidate.record.system.as_str();
    let unknown = || format!("somebody or something in {system}");
    Side {
        candidate: number,
        actor: candidate.actor.as_ref().map_or_else(unknown, |actor| actor.name.clone()),
        automation: candidate.actor.as_ref().is_some_and(|actor| actor.automation),
        record: candidate.record.to_string(),
        status: candidate.status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{Actor, Conflict, ConflictId, ItemId, Native, Status, Strategy, Version};
    use uuid::Uuid;

    use super::*;

    fn row(escalated: bool, number: u128) -> ConflictRow {
        let candidate = |record: &str, actor: Option<&str>| Candidate {
            record: record.parse().unwrap(),
            native: Native::new("x").unwrap(),
            status: Status::new("done").unwrap(),
            position: None,
            actor: actor.map(|name| Actor { name: name.to_owned(), id: None, automation: true }),
            at: Timestamp(1),
        };
        let conflict = Conflict {
            id: ConflictId(Uuid::from_u128(number)),
            item: ItemId(Uuid::from_u128(9)),
            version: Version(3),
            base: Native::new("x").unwrap(),
            candidates: vec![
                candidate("github/pull_request/acme/web#3", Some("merge-bot")),
                candidate("linear/issue/a", None),
                candidate("postgres/task/1", Some("late")),
            ],
            strategy: Strategy::PriorityBased,
            escalated,
            winner: None,
            opened_at: Timestamp(7),
            resolved_at: None,
        };
        ConflictRow { conflict, key: Some("ENG-1".to_owned()), title: None, names: BTreeMap::new(), ended_by: None }
    }

    fn well() -> Report {
        Report { status: Health::Healthy, at: 0, components: BTreeMap::new() }
    }

    #[test]
    fn a_fight_names_both_sides_and_what_ends_it_and_comes_before_all_else() {
        let alerts =
            open(&Stored { held: vec![row(false, 1), row(true, 2)], dead_letters: 1, ..Stored::default() }, &well());
        let codes: Vec<_> = alerts.iter().map(|alert| alert.code).collect();
        assert_eq!(codes, ["flip_flop", "conflict_held", "dead_letters"]);
        let fight = &alerts[0];
        assert_eq!((fight.severity, fight.since), (Severity::Critical, Some(Timestamp(7))));
        for part in ["ENG-1", "merge-bot in github/pull_request/acme/web#3", "somebody or something in linear"] {
            assert!(fight.message.contains(part), "{part:?} is not in {:?}", fight.message);
        }
        assert!(!fight.message.contains("late"), "who came later is no side: {:?}", fight.message);
        assert!(fight.action.contains("lockstep conflicts resolve ENG-1"), "{}", fight.action);
        assert!(fight.action.contains("turn one of the two off (such as merge-bot)"), "{}", fight.action);
        assert_eq!(serde_json::to_value(fight).unwrap()["sides"][0]["actor"], "merge-bot");
    }

    #[test]
    fn a_record_that_only_programs_can_read_is_called_what_people_call_it() {
        let (mut row, issue) = (row(false, 1), "linear/issue/ab9e2088-483c-437c-9fee-e6cab39f3857");
        row.conflict.candidates[1].record = issue.parse().unwrap();
        row.names =
            [issue, "github/pull_request/acme/web#3"].map(|record| (record.to_owned(), "ENG-7".to_owned())).into();
        let told = open(&Stored { held: vec![row], ..Stored::default() }, &well()).remove(0);
        assert_eq!(
            told.message,
            "ENG-1 is held until somebody decides: merge-bot in github/pull_request/acme/web#3 (done) and \
             somebody or something in linear in linear/issue ENG-7 (done)"
        );
        assert_eq!(told.held.unwrap().sides[1].record, issue, "programs are told its name");
    }

    #[test]
    fn a_program_that_writes_as_our_database_user_is_not_taken_for_us() {
        let mut row = row(true, 1);
        let actor = Actor { name: "lockstep".to_owned(), id: None, automation: true };
        (row.conflict.candidates[0].record, row.conflict.candidates[0].actor) =
            ("postgres/task/1".parse().unwrap(), Some(actor));
        let told =
            |row: &ConflictRow| open(&Stored { held: vec![row.clone()], ..Stored::default() }, &well()).remove(0);
        let fight = told(&row);
        let program = "a program other than Lockstep, with the database user lockstep,";
        for text in [&fight.message, &fight.action] {
            assert!(text.contains(program), "{text}");
        }
        assert!(fight.message.ends_with("; what they showed last is the same"), "{}", fight.message);
        row.conflict.candidates[1] =
            Candidate { status: Status::new("todo").unwrap(), ..row.conflict.candidates[0].clone() };
        let fight = told(&row);
        assert!(
            fight.message.contains("lockstep, and another in postgres/task/1 (done, todo) keep"),
            "{}",
            fight.message
        );
    }

    #[test]
    fn what_becomes_of_what_a_system_is_owed_goes_by_how_it_answers() {
        let action = |why: &str| {
            let ill = Component {
                status: Health::Degraded,
                reason: Some(why.into()),
                age_ms: None,
                instances: None,
                since: None,
            };
            let components = BTreeMap::from([("systems", BTreeMap::from([("linear".to_owned(), ill)]))]);
            open(&Stored::default(), &Report { components, ..well() }).remove(0).action
        };
        let refused = action("calls to it fail: linear answered issue with 401 Unauthorized");
        assert!(refused.contains("becomes dead letters") && !refused.contains("owed waits"), "{refused}");
        assert!(refused.contains("`lockstep dead replay --service connector-linear`"), "{refused}");
        for away in
            ["calls to it fail: linear answered issue with 503 Service Unavailable", "no call to it has succeeded yet"]
        {
            assert!(action(away).contains("what it is owed waits"), "{away}");
        }
    }

    #[test]
    fn people_who_take_each_others_change_back_are_not_told_to_turn_something_off() {
        let mut row = row(true, 1);
        row.conflict.candidates[0].actor = None;
        let fight = &open(&Stored { held: vec![row], ..Stored::default() }, &well())[0];
        assert!(fight.action.starts_with("agree on who decides, then"), "{}", fight.action);
    }

    #[test]
    fn where_nothing_waits_there_is_no_alert() {
        assert!(open(&Stored::default(), &well()).is_empty());
    }

    #[test]
    fn what_is_not_read_and_who_does_not_answer_are_told_of() {
        let ill = |status, reason: &str| Component {
            status,
            reason: Some(reason.into()),
            age_ms: None,
            instances: None,
            since: None,
        };
        let streams = BTreeMap::from([("OBSERVATIONS".to_owned(), ill(Health::Unhealthy, "nothing is read"))]);
        let systems = [
            ("linear", "calls to it fail: 500"),
            ("nats:WEBHOOKS", "calls to it fail: no space left"),
            ("webhooks:github", "refused: the signature does not match"),
        ];
        let systems = systems.map(|(name, why)| (name.to_owned(), ill(Health::Degraded, why))).into();
        let components = BTreeMap::from([("streams", streams), ("systems", systems)]);
        let alerts = open(&Stored { dead_letters: 1, ..Stored::default() }, &Report { components, ..well() });
        let told: Vec<_> = alerts.iter().map(|alert| (alert.code, alert.severity, alert.message.as_str())).collect();
        let wanted = [
            ("reading_stalled", Severity::Critical, "OBSERVATIONS: nothing is read"),
            ("not_stored", Severity::Critical, "nats:WEBHOOKS: calls to it fail: no space left"),
            ("system_failing", Severity::Warning, "linear: calls to it fail: 500"),
            ("webhooks_refused", Severity::Warning, "webhooks of github: refused: the signature does not match"),
            ("dead_letters", Severity::Warning, "1 message was given up"),
        ];
        assert_eq!(told, wanted);
        assert!(alerts[1].action.contains("disk"), "{}", alerts[1].action);
    }

    #[test]
    fn a_stream_whose_part_is_full_wants_its_reader_and_not_a_disk() {
        let why =
            "calls to it fail: JetStream did not acknowledge lockstep.webhook.linear in time: maximum bytes exceeded";
        let full = Component {
            status: Health::Degraded,
            reason: Some(why.into()),
            age_ms: None,
            instances: None,
            since: None,
        };
        let components = BTreeMap::from([("systems", BTreeMap::from([("nats:WEBHOOKS".to_owned(), full)]))]);
        let alert = open(&Stored::default(), &Report { components, ..well() }).remove(0);
        assert!(alert.action.contains("raise nats.storage_mb") && !alert.action.contains("disk"), "{}", alert.action);
    }

    #[test]
    fn a_service_that_stays_away_or_is_not_ready_is_told_of_and_one_that_is_restarted_is_not() {
        let ill = |status, since| Component {
            status,
            reason: Some("why".into()),
            age_ms: None,
            instances: Some(0),
            since: Some(since),
        };
        let services = [
            ("connector-github", ill(Health::Degraded, 0)),
            ("connector-linear", ill(Health::Unhealthy, 5)),
            ("ingest", ill(Health::Unhealthy, 50_000)),
        ];
        let services = services.map(|(name, component)| (name.to_owned(), component)).into();
        let report = Report { at: 70_000, components: BTreeMap::from([("services", services)]), ..well() };
        let told: Vec<_> = open(&Stored::default(), &report)
            .into_iter()
            .map(|alert| (alert.code, alert.severity, alert.message, alert.since))
            .collect();
        let wanted = [
            ("service_down", Severity::Critical, "connector-linear: why".to_owned(), Some(Timestamp(5))),
            ("service_not_ready", Severity::Warning, "connector-github: why".to_owned(), Some(Timestamp(0))),
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn what_no_mapping_knows_is_told_of_once_for_all_records_that_show_it() {
        let row = |native: &str, records| UnmappedRow {
            system: "linear".into(),
            kind: "issue".into(),
            native: native.into(),
            records,
        };
        let rows = |rows| Stored { unmapped: rows, ..Stored::default() };
        let alerts = open(&rows(vec![row("QA 2", 3), row("Parked", 1)]), &well());
        let wanted = "no mapping knows what is shown: 3 records of linear/issue show \"QA 2\", 1 record of linear/issue shows \"Parked\"";
        assert_eq!((alerts.len(), alerts[0].code, alerts[0].message.as_str()), (1, "unmapped", wanted));
        let many = (0..=NAMED_MAX).map(|number| row(&number.to_string(), 1)).collect();
        assert!(open(&rows(many), &well())[0].message.ends_with("shows \"4\", and there are others"));
    }
}
