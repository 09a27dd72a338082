//! What follows from what `lockstep doctor` saw.
//!
//! Pure.

use std::collections::BTreeMap;

use connector::{Finding, Severity, Words};
use model::{Native, Policy, RecordRef, Status};

/// PostgreSQL's oldest version that is good enough, as it counts it.
const POSTGRES_MIN: u32 = 150_000;
/// A clock that differs by more makes edits of its tables look newer or older than they are.
const SKEW_MS_MAX: i64 = 5_000;
const MIB: u64 = 1024 * 1024;

/// Something without which nothing goes.
pub fn away(about: &str, message: impl Into<String>, action: &str) -> Finding {
    Finding::new(Severity::Error, "unavailable", about, message, action)
}

/// A NATS server that is good enough to connect to.
pub fn nats(standing: &bus::Standing, config: &bus::Config, ingest: &ingest::Config) -> Vec<Finding> {
    let mut findings =
        vec![Finding::new(Severity::Info, "reachable", "nats", format!("version {}", standing.version), "")];
    if !standing.missing.is_empty() {
        let message = format!("not there yet: {}; the first start makes them", standing.missing.join(", "));
        findings.push(Finding::new(Severity::Info, "streams_missing", "nats", message, ""));
    }
    if let Some(max) = standing.storage_max {
        let wanted = if standing.missing.is_empty() { 0 } else { u64::from(config.storage_mb) * MIB };
        let free = max.saturating_sub(standing.storage_reserved);
        if free < wanted {
            let message = format!("{} MiB are free for streams that may take {} MiB", free / MIB, wanted / MIB);
            let action = "raise jetstream.max_file_store of the server, or lower nats.storage_mb";
            findings.push(Finding::new(Severity::Error, "storage_short", "nats", message, action));
        }
    }
    if let Some(known) = standing.partitions.filter(|known| *known != config.partitions) {
        let message = format!("nats.partitions is {}, and the streams have {known}", config.partitions);
        let action =
            format!("set it to {known}; or stop all resolvers and connectors, and start them with the new number");
        findings.push(Finding::new(Severity::Warning, "other_partitions", "nats", message, action));
    }
    let webhooks = [
        ("ingest.linear.body_max_bytes", ingest.linear.body_max_bytes, &ingest.linear.secrets),
        ("ingest.github.body_max_bytes", ingest.github.body_max_bytes, &ingest.github.secrets),
    ];
    for (key, bytes, _) in webhooks.iter().filter(|(.., secrets)| !secrets.is_empty()) {
        if *bytes > standing.message_bytes_max {
            let most = standing.message_bytes_max;
            let message = format!(
                "it takes messages of up to {most} bytes, and webhooks may have {bytes} ({key}): larger ones are refused"
            );
            let action = format!("raise max_payload of the server (32MB is plenty), or lower {key}");
            findings.push(Finding::new(Severity::Warning, "payload_short", "nats", message, action));
        }
    }
    findings
}

/// A database that answers.
pub fn postgres(standing: &store::Standing, now_ms: i64) -> Vec<Finding> {
    let (major, minor) = (standing.version / 10_000, standing.version % 10_000);
    let mut findings =
        vec![Finding::new(Severity::Info, "reachable", "postgresql", format!("version {major}.{minor}"), "")];
    let mut add = |severity, code, message: String, action: &str| {
        findings.push(Finding::new(severity, code, "postgresql", message, action));
    };
    if standing.version < POSTGRES_MIN {
        add(Severity::Error, "too_old", format!("version {major}.{minor} is too old"), "use PostgreSQL 15 or newer");
    }
    if !standing.schema && !standing.may_create {
        let message = "the schema lockstep is not there, and the user may not make it".to_owned();
        add(
            Severity::Error,
            "may_not_create",
            message,
            "grant CREATE on the database, or make the schema for the user",
        );
    }
    if standing.newer {
        let message = "the schema lockstep is of a newer version than this program".to_owned();
        add(Severity::Error, "schema_newer", message, "run the newer version; it does not go back");
    } else if standing.pending > 0 {
        let message = format!("{} migrations are to come; the resolver's start sees to them", standing.pending);
        add(Severity::Info, "migrations", message, "");
    }
    let apart = standing.clock_ms - now_ms;
    if apart.abs() > SKEW_MS_MAX {
        let message = format!("its clock is {} s apart from this machine's", apart.abs() / 1_000);
        add(Severity::Warning, "clock_skew", message, "let both keep their time by NTP");
    }
    findings
}

/// The mapping, held against the words that a system's owners chose.
pub fn words(words: &Words, policy: &Policy) -> Vec<Finding> {
    let about = format!("{}, {}", words.system, words.whose);
    let Ok(record) = RecordRef::new(words.system.clone(), words.kind.clone(), "any") else { return Vec::new() };
    let Some(lifecycle) = policy.lifecycles.get(policy.lifecycle_for(&record)) else { return Vec::new() };
    let Some(lens) = policy.lens(&record, Some(&words.vocabulary), lifecycle) else {
        let message = "its statuses and the mapping do not fit together";
        let action = "give it a mapping of its own, or a status for each of the lifecycle's";
        return vec![Finding::new(Severity::Error, "mapping_unlawful", about, message, action)];
    };
    let mut findings = Vec::new();
    for status in lens.missing() {
        let message = format!("it has no status for {status}: {:?} stands for it", lens.get(status));
        let action = "add one, or name another in the mapping";
        findings.push(Finding::new(Severity::Warning, "no_such_state", about.clone(), message, action));
    }
    let mut shared: BTreeMap<&Native, Vec<&Status>> = BTreeMap::new();
    for status in lifecycle.statuses() {
        shared.entry(lens.get(status)).or_default().push(status);
    }
    for (native, statuses) in &shared {
        let all = statuses.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(", ");
        let ended = statuses.iter().filter(|status| lifecycle.is_terminal(status)).count();
        if ended > 0 && ended < statuses.len() {
            let message = format!("{native:?} stands for {all}: work that ends would be shown as if it had not");
            let action = "add a status for what has ended, or name one in the mapping";
            findings.push(Finding::new(Severity::Error, "no_ending", about.clone(), message, action));
        } else if statuses.len() > 1 {
            let message = format!("{native:?} stands for {all}: it does not tell them apart");
            findings.push(Finding::new(Severity::Info, "coarse", about.clone(), message, ""));
        }
    }
    let unknown = words.vocabulary.0.iter().map(|word| &word.native);
    let unknown = unknown.filter(|native| lens.normal(native).is_none() && !lens.is_silent(native));
    for native in unknown {
        let message = format!("no mapping knows its status {native:?}: whoever sets it changes nothing elsewhere");
        findings.push(Finding::new(Severity::Warning, "unmapped", about.clone(), message, "add it to the mapping"));
    }
    findings
}

/// A finding for a person: what is so, and what to do.
pub fn lines(finding: &Finding) -> Vec<String> {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    let fact = format!("{severity:<8} {}: {} ({})", finding.about, finding.message, finding.code);
    let action = (!finding.action.is_empty()).then(|| format!("{:8} -> {}", "", finding.action));
    std::iter::once(fact).chain(action).collect()
}

#[cfg(test)]
mod tests {
    use model::{Kind, System, Vocabulary, Word};

    use super::*;
    use crate::settings::Settings;

    fn codes(findings: &[Finding]) -> Vec<&'static str> {
        findings.iter().map(|finding| finding.code).filter(|code| *code != "reachable").collect()
    }

    fn team(states: &[(&str, &str)]) -> Vec<Finding> {
        let word = |(name, class): &(&str, &str)| Word { native: Native::new(name).unwrap(), class: (*class).into() };
        let team = Words {
            whose: "team ENG".to_owned(),
            system: System::new("linear").unwrap(),
            kind: Kind::new("issue").unwrap(),
            vocabulary: Vocabulary(states.iter().map(word).collect()),
        };
        words(&team, &Settings::default().policy().unwrap())
    }

    const WHOLE: [(&str, &str); 5] = [
        ("Later", "backlog"),
        ("Next", "unstarted"),
        ("Doing", "started"),
        ("Shipped", "completed"),
        ("Dropped", "canceled"),
    ];

    #[test]
    fn a_team_that_does_not_tell_statuses_apart_is_told_of_it_and_works() {
        let found = team(&WHOLE);
        assert!(found.iter().all(|finding| finding.code == "coarse"), "{found:?}");
        assert!(
            found
                .iter()
                .any(|finding| finding.message.contains("\"Doing\" stands for in_progress, blocked, in_review")),
            "{found:?}"
        );
    }

    #[test]
    fn a_team_without_a_state_for_what_has_ended_and_one_with_an_unknown_state_are_told() {
        let found = team(&WHOLE[..3]);
        let ending = found.iter().find(|finding| finding.code == "no_ending").unwrap();
        assert!(
            ending.severity == Severity::Error && ending.message.contains("\"Later\" stands for backlog, done"),
            "{found:?}"
        );
        let odd = [&WHOLE[..], &[("Waiting room", "limbo")]].concat();
        let found = team(&odd);
        let unmapped = found.iter().find(|finding| finding.code == "unmapped").unwrap();
        assert!(unmapped.severity == Severity::Warning && unmapped.message.contains("Waiting room"), "{found:?}");
    }

    #[test]
    fn a_server_without_room_for_what_is_not_there_yet_is_an_error() {
        let mut ingest = ingest::Config::default();
        let standing = |missing: &[&'static str], max| bus::Standing {
            version: "2.15.1".to_owned(),
            storage_reserved: 10 * MIB,
            storage_max: max,
            partitions: Some(2),
            message_bytes_max: 1024 * 1024,
            missing: missing.to_vec(),
        };
        let config = bus::Config { storage_mb: 100, ..bus::Config::default() };
        assert_eq!(
            codes(&nats(&standing(&["CHANGES"], Some(50 * MIB)), &config, &ingest)),
            ["streams_missing", "storage_short"]
        );
        assert_eq!(codes(&nats(&standing(&["CHANGES"], None), &config, &ingest)), ["streams_missing"]);
        assert_eq!(codes(&nats(&standing(&[], Some(50 * MIB)), &config, &ingest)), Vec::<&str>::new());
        ingest.github.secrets = vec![runtime::Secret::new("x")];
        let found = nats(&standing(&[], None), &config, &ingest);
        assert_eq!(codes(&found), ["payload_short"]);
        assert!(found[1].message.contains("up to 1048576 bytes") && found[1].message.contains("25000000"), "{found:?}");
        ingest.github.body_max_bytes = 1024 * 1024;
        let other = bus::Config { partitions: 4, ..config.clone() };
        assert_eq!(codes(&nats(&standing(&[], None), &other, &ingest)), ["other_partitions"]);
    }

    #[test]
    fn a_database_is_judged_by_version_rights_schema_and_clock() {
        let good =
            store::Standing { version: 160_004, may_create: true, schema: true, pending: 0, newer: false, clock_ms: 0 };
        assert_eq!(codes(&postgres(&good, 1_000)), Vec::<&str>::new());
        let bad = store::Standing {
            version: 140_001,
            may_create: false,
            schema: false,
            pending: 2,
            newer: false,
            clock_ms: 60_000,
        };
        assert_eq!(codes(&postgres(&bad, 0)), ["too_old", "may_not_create", "migrations", "clock_skew"]);
        assert_eq!(codes(&postgres(&store::Standing { newer: true, ..good }, 0)), ["schema_newer"]);
    }

    #[test]
    fn a_finding_says_what_to_do_where_something_is_to_be_done() {
        let finding =
            Finding::new(Severity::Warning, "git_automation", "linear, team ENG", "it moves issues", "turn it off");
        assert_eq!(
            lines(&finding),
            ["warning  linear, team ENG: it moves issues (git_automation)", "         -> turn it off"]
        );
        assert_eq!(lines(&Finding { action: String::new(), ..finding }).len(), 1);
    }
}
