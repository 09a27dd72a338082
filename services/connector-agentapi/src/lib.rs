//! coder/agentapi: events and status polls in; configured messages out.
//!
//! An agent cannot be told a status, so its records are read-only; see `mapping.toml` for what its two words mean.

mod client;
mod config;
pub mod decode;
mod encode;
mod often;
mod watched;

use connector::{Connector, Examined, Failure, Parts, Reading, Registration, Sink, Written, registration};
use model::{Command, RecordRef};
use proto::v1::Change;

pub use config::{Agent, Config, Message, MessageKind, left_as_they_are};

use client::Client;

/// The connector's line in the list of connectors.
pub const REGISTRATION: Registration = registration::<Agentapi>(include_str!("../mapping.toml"));

/// The connector for agents behind coder/agentapi.
pub struct Agentapi {
    client: Client,
}

impl Connector for Agentapi {
    const SYSTEM: &'static str = "agentapi";
    const HAS_WEBHOOKS: bool = false;
    const HAS_SWEEP: bool = false;
    const HAS_COMMANDS: bool = false;
    const WATCHES_ALONE: bool = true;
    const HAS_CHANGES: bool = true;
    type Config = Config;

    fn new(config: Config, parts: Parts) -> Result<Self, String> {
        config.check()?;
        Ok(Self { client: Client::new(config, &parts)? })
    }

    async fn read(&self, record: &RecordRef) -> Result<Reading, Failure> {
        self.client.read(record).await
    }

    async fn write(&self, command: &Command, _: &Reading) -> Result<Written, Failure> {
        Err(Failure::refused("read_only", format!("{} cannot be told a status", command.record)))
    }

    async fn examine(&self) -> Examined {
        Examined { findings: self.client.examine().await, words: Vec::new() }
    }

    async fn watch(&self, sink: Sink) -> Result<(), Failure> {
        self.client.watch(&sink).await
    }

    fn is_told(&self, change: &Change, record: &RecordRef) -> bool {
        self.client.is_told(change, record)
    }

    async fn on_change(&self, change: &Change, record: &RecordRef) -> Result<(), Failure> {
        self.client.on_change(change, record).await
    }
}

#[cfg(test)]
mod tests {
    use model::{Lens, Lifecycle, Lifecycles, Mappings, Native, Status};

    use crate::config::record;

    fn with_lens(lifecycle: &str, check: impl Fn(&Lens, &Lifecycle)) {
        let lifecycles = Lifecycles::built_in().unwrap();
        let mut mappings = Mappings::default();
        mappings.add_toml(super::REGISTRATION.mapping, &lifecycles).unwrap();
        let (record, name) = (record("a").unwrap(), lifecycle.parse().unwrap());
        let lifecycle = lifecycles.get(&name).unwrap();
        let mapping = mappings.get(&record.system, &record.kind, &name).unwrap();
        check(&mapping.lens(lifecycle, None).unwrap(), lifecycle);
    }

    fn put(lens: &Lens, lifecycle: &Lifecycle, status: &str, native: &str) -> String {
        let (status, native) = (Status::new(status).unwrap(), Native::new(native).unwrap());
        lens.put(lifecycle, &status, &native, None).unwrap().to_string()
    }

    #[test]
    fn an_agents_own_item_follows_it_and_waiting_is_never_taken_for_idle() {
        with_lens("agent", |lens, lifecycle| {
            assert!(lens.is_read_only());
            let cases = [
                ("unknown", "running", "working"),
                ("working", "stable", "idle"),
                ("waiting", "stable", "waiting"),
                ("unknown", "idle", "idle"),
            ];
            for (status, native, becomes) in cases {
                assert_eq!(put(lens, lifecycle, status, native), becomes);
            }
            assert_eq!(put(lens, lifecycle, "tool_calling", "running"), "tool_calling");
            assert_eq!(put(lens, lifecycle, "idle", "offline"), "offline");
        });
    }

    #[test]
    fn beside_an_issue_running_takes_it_up_and_stable_only_ends_that() {
        with_lens("work", |lens, lifecycle| {
            assert!(lens.is_read_only());
            assert_eq!(put(lens, lifecycle, "todo", "running"), "in_progress");
            assert_eq!(put(lens, lifecycle, "in_progress", "stable"), "in_review");
            for status in ["todo", "blocked", "done", "canceled"] {
                assert_eq!(put(lens, lifecycle, status, "stable"), status);
            }
            for silent in ["offline", "unknown", "error", "idle"] {
                assert!(lens.is_silent(&Native::new(silent).unwrap()), "{silent}");
            }
        });
    }
}
