//! PostgreSQL tables: a trigger-filled outbox in, a conditional update with the origin tag out.
//!
//! Knows the tables that its configuration names, and nothing of what their statuses mean; see `mapping.toml`.

mod client;
mod config;
mod decode;
mod encode;
mod install;
mod name;

use std::time::Duration;

use connector::{Connector, Examined, Failure, Page, Parts, Reading, Registration, Sink, Written, registration};
use model::{Command, RecordRef, Timestamp};
use serde_json::Value;

pub use config::{Config, Table};
pub use install::install_sql;
pub use name::{Name, TableName};

use client::Client;

/// The connector's line in the list of connectors.
pub const REGISTRATION: Registration = registration::<Postgres>(include_str!("../mapping.toml"));

/// Installs the outbox and its triggers: what [`install_sql`] prints, in one transaction.
pub async fn install(config: &Config, role: Option<&Name>) -> anyhow::Result<()> {
    client::install(config, role).await
}

/// The connector for the tracked tables of one database.
pub struct Postgres {
    client: Client,
}

impl Connector for Postgres {
    const SYSTEM: &'static str = "postgres";
    const HAS_WEBHOOKS: bool = false;
    const HAS_SWEEP: bool = true;
    const HAS_COMMANDS: bool = true;
    type Config = Config;

    fn new(config: Config, parts: Parts) -> Result<Self, String> {
        config.check()?;
        Ok(Self { client: Client::new(config, parts.process)? })
    }

    fn sweep_every(&self) -> Duration {
        Duration::from_secs(self.client.config().sweep_s)
    }

    async fn read(&self, record: &RecordRef) -> Result<Reading, Failure> {
        self.client.read(record).await
    }

    async fn write(&self, command: &Command, reading: &Reading) -> Result<Written, Failure> {
        self.client.write(command, reading).await
    }

    async fn sweep(&self, cursor: Option<Value>, next: Option<Value>) -> Result<Page, Failure> {
        self.client.sweep(cursor, next).await
    }

    fn cursor_since(&self, since: Timestamp) -> Option<Value> {
        self.client.cursor_since(since)
    }

    async fn count(&self, cursor: Option<Value>) -> Result<Option<u64>, Failure> {
        self.client.count(cursor).await
    }

    async fn examine(&self) -> Examined {
        Examined { findings: self.client.examine().await, words: Vec::new() }
    }

    async fn watch(&self, sink: Sink) -> Result<(), Failure> {
        self.client.watch(&sink).await
    }
}

#[cfg(test)]
mod tests {
    use model::{Kind, LifecycleName, Lifecycles, Mappings, Native, Status, System};

    #[test]
    fn the_built_in_mapping_is_lawful_and_takes_what_people_write() {
        let lifecycles = Lifecycles::built_in().unwrap();
        let mut mappings = Mappings::default();
        mappings.add_toml(super::REGISTRATION.mapping, &lifecycles).unwrap();
        let name = (System::new("postgres").unwrap(), Kind::new("task").unwrap(), LifecycleName::new("work").unwrap());
        let lifecycle = lifecycles.get(&name.2).unwrap();
        let lens = mappings.get(&name.0, &name.1, &name.2).unwrap().lens(lifecycle, None).unwrap();
        let todo = Status::new("todo").unwrap();
        for (native, status) in
            [("pending", "backlog"), ("completed", "done"), ("cancelled", "canceled"), ("failed", "failed")]
        {
            let put = lens.put(lifecycle, &todo, &Native::new(native).unwrap(), None);
            assert_eq!(put, Some(Status::new(status).unwrap()), "{native}");
        }
        assert!(!lens.is_read_only());
    }
}
