//! The targets: each a parser of ours, and what must hold of what it makes of any bytes.

use std::io::Write;

use connector::Decoded;
use connector_github::decode::Terms;
use connector_linear::decode::Us;
use connector_linear::scope::Scope;
use intake::telemetry::Telemetry;
use intake::{Context, Refused};
use model::{Lifecycles, Mappings, Native, RecordRef, Vocabulary, Word};
use proto::v1;
use serde::Deserialize;
use uuid::Uuid;

use crate::onward;

/// A parser, and what must hold of it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Takes any bytes; panics when something does not hold.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "agent_events", run: agent_events },
    Target { name: "configuration", run: configuration },
    Target { name: "github_webhook", run: github_webhook },
    Target { name: "linear_webhook", run: linear_webhook },
    Target { name: "mappings", run: mappings },
    Target { name: "protobuf", run: protobuf },
    Target { name: "signature", run: signature },
    Target { name: "sse", run: sse },
    Target { name: "status", run: status },
    Target { name: "telemetry", run: telemetry },
];

/// A moment soon after those in the corpus: what is older is read again instead of believed.
const NOW_MS: i64 = 1_795_167_001_000;

fn decoded(decoded: Result<Decoded, connector::Failure>) {
    match decoded {
        Ok(Decoded::Observations(seen) | Decoded::Late(seen)) => seen.iter().for_each(onward::crosses_the_bus),
        Ok(Decoded::Ignored(_) | Decoded::Incomplete(_) | Decoded::Unlearned { .. }) => {}
        // A body is what it should be or it is refused: a decoder asks nobody, so nothing can be away.
        Err(failure) => assert!(bus::reason(failure.code()).is_some(), "{failure}"),
    }
}

/// The first line names the event.
fn github_webhook(data: &[u8]) {
    let split = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (event, body) = data.split_at(split);
    let event = String::from_utf8_lossy(event);
    for login in [None, Some("lockstep[bot]")] {
        let body = body.get(1..).unwrap_or_default();
        decoded(connector_github::decode::webhook(&event, body, &Terms::default(), login, NOW_MS));
    }
}

fn linear_webhook(data: &[u8]) {
    let words =
        |_: &str, native: &Native| Some(Vocabulary([Word { native: native.clone(), class: "started".into() }].into()));
    decoded(connector_linear::decode::webhook(data, &Us::default(), &Scope::default(), words));
    decoded(connector_linear::decode::webhook(data, &Us::default(), &Scope::new(&["ENG".to_owned()]), |_, _| None));
    // Whether it is fresh is judged before anybody decodes it.
    let _ = ingest::testing::is_fresh(data, NOW_MS);
}

/// The first line is the header, the rest the body: without the secret nobody signs anything.
fn signature(data: &[u8]) {
    const SECRET: &str = "no input ever holds this";
    let split = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, body) = data.split_at(split);
    let header = String::from_utf8_lossy(header);
    let digest = header.strip_prefix("sha256=").unwrap_or(&header);
    assert!(!ingest::testing::is_signed(&[SECRET.into()], body, digest), "{digest} was taken for a signature");
}

fn status(data: &[u8]) {
    let Ok(body) = serde_json::from_slice(data) else { return };
    match intake::statuses(body).and_then(|list| intake::ready(list, &context())) {
        Ok(taken) => taken.iter().for_each(|ready| onward::crosses_the_bus(&ready.observation)),
        Err(refused) => is_short(&refused),
    }
}

fn agent_events(data: &[u8]) {
    let Ok(body) = serde_json::from_slice(data) else { return };
    match intake::agent_events::events(body).and_then(|list| intake::agent_events::ready(list, &context())) {
        Ok(taken) => taken.iter().for_each(|ready| onward::crosses_the_bus(&ready.observation)),
        Err(refused) => are_short(&refused),
    }
}

/// As a request, and as any client may have put it onto the bus: what was taken is read back as it was.
fn telemetry(data: &[u8]) {
    for (subject, kind) in [("lockstep.live.agent_state.a", None), ("lockstep.alert.info.a", Some(proto::JSON))] {
        if let Err(wrong) = intake::telemetry::from_bus(subject, kind, data, NOW_MS, onward::lifecycles()) {
            assert!(wrong.to_string().len() < 8 * 1024, "{} bytes", wrong.to_string().len());
        }
    }
    let Ok(body) = serde_json::from_slice(data) else { return };
    match intake::telemetry::messages(body).and_then(|list| intake::telemetry::ready(list, &context())) {
        Ok(taken) => taken.iter().for_each(|ready| is_read_back(&ready.telemetry)),
        Err(refused) => are_short(&refused),
    }
}

fn is_read_back(telemetry: &Telemetry) {
    let subject = match telemetry {
        Telemetry::SystemAlert(alert) => bus::topology::alert(&alert.severity, &alert.id),
        other => bus::topology::live(other.kind(), other.key()),
    };
    let read = intake::telemetry::from_bus(&subject, None, &telemetry.encode(), NOW_MS, onward::lifecycles());
    assert_eq!(read.as_ref(), Ok(telemetry), "{subject}");
}

/// So are its parts, of which a request can have as many as it has messages.
fn are_short(refused: &Refused) {
    is_short(refused);
    for error in &refused.errors {
        assert!(error.to_string().len() < 8 * 1024, "{} bytes of an error", error.to_string().len());
    }
}

fn context() -> Context<'static> {
    Context { now_ms: NOW_MS, request_key: Some("key".into()), lifecycles: onward::lifecycles(), fresh_id: Uuid::nil }
}

/// The answer goes to whoever sent it, and a stranger must not make it long.
fn is_short(refused: &Refused) {
    assert!(refused.detail.len() < 8 * 1024, "{} bytes of detail", refused.detail.len());
}

/// The first byte says whether the rest is protobuf or JSON.
fn protobuf(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let kind = (kind % 2 == 1).then_some(proto::JSON);
    if let Ok(message) = proto::decode::<v1::Observation>(kind, bytes)
        && let Ok(observation) = proto::observation_from(message)
    {
        let again = proto::observation_from(proto::observation_to(&observation)).expect("it was taken once");
        assert_eq!(again, observation, "what was taken once says the same when it is sent on");
        onward::is_resolved(&observation);
    }
    if let Ok(message) = proto::decode::<v1::Command>(kind, bytes)
        && let Ok(command) = proto::command_from(message)
    {
        assert_eq!(proto::command_from(proto::command_to(&command)), Ok(command));
    }
    if let Ok(message) = proto::decode::<v1::Delivery>(kind, bytes) {
        let _ = proto::report_from(&message);
    }
    let _ = proto::decode::<v1::Change>(kind, bytes);
    let _ = proto::decode::<v1::Heartbeat>(kind, bytes);
}

/// The first byte says into how large parts the rest is cut: the events are the same however it is.
fn sse(data: &[u8]) {
    use connector_agentapi::decode::{Stream, event};
    let Some((cut, bytes)) = data.split_first() else { return };
    let events = |size: usize| -> Result<Vec<(String, String)>, String> {
        let mut stream = Stream::default();
        let parts: Result<Vec<_>, _> = bytes.chunks(size.max(1)).map(|part| stream.push(part)).collect();
        parts.map(|parts| parts.into_iter().flatten().collect())
    };
    let whole = events(bytes.len());
    assert_eq!(whole, events(usize::from(*cut)), "in parts of {cut}");
    for (name, data) in whole.into_iter().flatten() {
        let _ = event(&name, &data);
    }
}

/// The sections that services read, put together as the executable does.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Settings {
    database: store::Config,
    nats: bus::Config,
    ingest: ingest::Config,
    resolver: resolver::Config,
    broadcaster: broadcaster::Config,
    monitor: monitor::Config,
    telemetry: runtime::telemetry::TelemetryConfig,
}

/// As a file, and as the value of an environment variable.
fn configuration(data: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(data).expect("a file that can be written");
    if let Ok(settings) = runtime::config::load_from::<Settings>(Some(file.path()), &[], []) {
        let _ = settings.nats.check();
        let _ = settings.ingest.check(None);
        let _ = settings.resolver.check(None);
        let _ = settings.broadcaster.check();
        let _ = settings.monitor.check();
    }
    let text = String::from_utf8_lossy(data).into_owned();
    for name in ["LOCKSTEP__INGEST__API_KEYS", "LOCKSTEP__RESOLVER__BATCH", "LOCKSTEP__INGEST"] {
        let _ = runtime::config::load_from::<Settings>(None, &[], [(name.to_owned(), text.clone())]);
    }
}

/// A lifecycle or mapping that is taken can be worked with.
fn mappings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lifecycles: Lifecycles = onward::lifecycles().clone();
    let _ = lifecycles.add_toml(&text);
    let mut mappings = Mappings::default();
    if mappings.add_toml(&text, &lifecycles).is_err() {
        return;
    }
    for mapping in mappings.iter() {
        let Some(lifecycle) = lifecycles.get(&mapping.lifecycle) else { continue };
        let Ok(lens) = mapping.lens(lifecycle, None) else { continue };
        let record = RecordRef::new(mapping.system.clone(), mapping.kind.clone(), "any");
        assert!(record.is_ok(), "a mapping is of records that there can be");
        for status in lifecycle.statuses() {
            let shown = lens.get(status);
            assert_eq!(lens.put(lifecycle, status, shown, None).as_ref(), Some(status), "GetPut");
        }
    }
}
