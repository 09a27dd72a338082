//! The subjects. Ids are written as one token each, so that any id is safe in them.

use model::{ItemId, Lane, LifecycleName, RecordRef, System};
pub use proto::{token, untoken};

/// Where an observation is published. It is stored with its partition after the second token, and without the record's id.
pub fn observe(lane: Lane, record: &RecordRef) -> String {
    format!("lockstep.observe.{}.{}", lane.as_str(), of_record(record))
}

/// What is stored of a system's records: observations and deliveries.
pub fn seen_of(system: &System) -> String {
    format!("lockstep.*.*.*.{system}.>")
}

/// Where a delivery is published: in the lane `high`, a person waits for it. Stored as observations are.
pub fn delivery(record: &RecordRef) -> String {
    format!("lockstep.delivery.{}.{}", Lane::High.as_str(), of_record(record))
}

/// Where a command is published.
pub fn command(system: &System, partition: u32, record: &RecordRef) -> String {
    format!("lockstep.command.{system}.{partition}.{}", token(&format!("{}/{}", record.kind, record.id())))
}

/// Where an item's changes are published.
pub fn change(lifecycle: &LifecycleName, item: ItemId) -> String {
    format!("lockstep.change.{lifecycle}.{item}")
}

/// Where a system's webhooks are published.
pub fn webhook(system: &System) -> String {
    format!("lockstep.webhook.{system}")
}

/// Where telemetry is published.
pub fn live(kind: &str, key: &str) -> String {
    format!("lockstep.live.{}.{}", token(kind), token(key))
}

/// Where an alert is published.
pub fn alert(severity: &str, id: &str) -> String {
    format!("lockstep.alert.{}.{}", token(severity), token(id))
}

/// Where what nobody could handle is published.
pub fn dead(service: &str, reason: &str) -> String {
    format!("lockstep.dead.{}.{}", token(service), token(reason))
}

/// The subject on which a message was published, from the one that it is stored under, and from its record where that is known:
/// observations and deliveries are stored with their partition and without the record's id. Where nobody knows the record, another
/// stands for it.
pub fn published(stored: &str, record: Option<&RecordRef>) -> String {
    let tokens: Vec<&str> = stored.split('.').collect();
    match tokens.as_slice() {
        // As older releases stored it.
        ["lockstep", what @ ("observe" | "delivery"), _, lane, system, kind, id] => {
            format!("lockstep.{what}.{lane}.{system}.{kind}.{id}")
        }
        ["lockstep", what @ ("observe" | "delivery"), partition, lane, system, kind] if is_partition(partition) => {
            match record {
                Some(record) => format!("lockstep.{what}.{lane}.{}", of_record(record)),
                None => format!("lockstep.{what}.{lane}.{system}.{kind}.{UNNAMED}"),
            }
        }
        _ => stored.to_owned(),
    }
}

/// Stands for a record that its message does not tell. Its readers go by what is in the message.
const UNNAMED: &str = "unnamed";

fn is_partition(token: &str) -> bool {
    token.parse::<u32>().is_ok()
}

/// The record that a message is about, as far as its subject says: `None` for webhooks, changes, stored observations and deliveries, and
/// subjects of others.
pub fn record_of(subject: &str) -> Option<RecordRef> {
    let tokens: Vec<&str> = subject.split('.').collect();
    let name = match tokens.as_slice() {
        ["lockstep", "observe" | "delivery", lane, system, kind, id]
        | ["lockstep", "observe" | "delivery", _, lane, system, kind, id]
            if Lane::named(lane).is_some() =>
        {
            format!("{system}/{kind}/{}", untoken(id)?)
        }
        ["lockstep", "command", system, _, record] => format!("{system}/{}", untoken(record)?),
        _ => return None,
    };
    name.parse().ok()
}

/// Whether a stored observation is among those of its record's kind: what is read in order there is what was published so.
pub fn is_kind_of(stored: &str, record: &RecordRef) -> bool {
    let mut tokens = stored.split('.').skip(4);
    tokens.next() == Some(record.system.as_str()) && tokens.next() == Some(record.kind.as_str())
}

/// The system that a message is about, as far as its subject says.
pub fn system_of(subject: &str) -> Option<System> {
    let tokens: Vec<&str> = subject.split('.').collect();
    match tokens.as_slice() {
        ["lockstep", "webhook" | "command" | "sweep", system, ..] => System::new(system).ok(),
        ["lockstep", "observe" | "delivery", partition, _, system, _] if is_partition(partition) => {
            System::new(system).ok()
        }
        _ => record_of(subject).map(|record| record.system),
    }
}

/// What stands for a subject in the dead letter of something that a sweep could not read. Nothing is published there.
pub fn swept(system: &System, name: &str) -> String {
    format!("lockstep.sweep.{system}.{}", token(name))
}

/// Where a service shows that it lives. Not kept.
pub fn heartbeat(service: &str, instance: &str) -> String {
    format!("lockstep.heartbeat.{}.{}", token(service), token(instance))
}

fn of_record(record: &RecordRef) -> String {
    format!("{}.{}.{}", record.system, record.kind, token(record.id()))
}

/// The partition of a record's commands, from 0 below `partitions`: the same in every process and version (FNV-1a, then mixed).
pub fn partition_of(record: &RecordRef, partitions: u32) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in record.to_string().bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // FNV-1a leaves ids that differ in their last letters close together; this spreads them (the finish of MurmurHash3).
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    u32::try_from(hash % u64::from(partitions.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_tells_what_its_message_is_about() {
        let record: RecordRef = "github/issue/acme/web.x#7".parse().unwrap();
        let observed = observe(Lane::High, &record);
        let stored = "lockstep.observe.3.high.github.issue";
        let stored_before = format!("{stored}.{}", token(record.id()));
        assert_eq!(published(stored, Some(&record)), observed);
        assert_eq!(published(&stored_before, None), observed);
        assert_eq!(published(stored, None), "lockstep.observe.high.github.issue.unnamed");
        let commanded = command(&record.system, 3, &record);
        assert_eq!(published(&commanded, None), commanded);
        assert_eq!(published(&observed, None), observed);
        for subject in [&observed, &stored_before, &commanded, &delivery(&record)] {
            assert_eq!(record_of(subject), Some(record.clone()), "{subject}");
            assert_eq!(system_of(subject), Some(record.system.clone()), "{subject}");
        }
        assert_eq!((record_of(stored), system_of(stored)), (None, Some(record.system.clone())));
        assert_eq!(system_of(&webhook(&record.system)), Some(record.system.clone()));
        assert_eq!(record_of("lockstep.webhook.github"), None);
        assert!(is_kind_of(stored, &record) && is_kind_of(&stored_before, &record));
        assert!(!is_kind_of("lockstep.observe.3.high.github.pull_request", &record));
        assert_eq!((record_of("lockstep.observe.high.github.issue.=z"), system_of("other.thing")), (None, None));
    }

    #[test]
    fn records_spread_over_all_partitions_and_stay_where_they_are() {
        let mut counts = [0_u32; 8];
        for at in 0..8_000 {
            let record: RecordRef = format!("linear/issue/{at}").parse().unwrap();
            counts[partition_of(&record, 8) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
        let record: RecordRef = "github/issue/acme/web#7".parse().unwrap();
        assert_eq!(partition_of(&record, 64), partition_of(&record, 64));
        assert_eq!(partition_of(&record, 1), 0);
    }
}
