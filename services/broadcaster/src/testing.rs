//! Real broadcasters for tests, on free ports beside a real nats-server, with the database played by the test. Needs the
//! feature `testing`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus::testing::Server;
use bus::{Bus, Outgoing};
use futures_util::future::BoxFuture;
use model::{LifecycleName, Lifecycles, Mappings, Policy};
use proto::v1;
use runtime::{HttpConfig, Process};
use serde_json::{Value, json};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use uuid::Uuid;

use crate::Config;
use crate::room::{Kind, Room};
use crate::snapshot::{Items, Snapshots};

/// A database of items: by number key, version and record; whether it is away, and whether it is slow.
#[derive(Clone, Default)]
pub struct Rows(Arc<Mutex<BTreeMap<u128, Row>>>, Arc<AtomicBool>, Arc<RwLock<()>>);

type Row = (String, u64, String);

impl Rows {
    /// The item is committed at this version, with the key `K<number>` and the record `x/y/<number>`.
    pub fn commit(&self, number: u128, version: u64) {
        self.commit_as(number, version, &format!("K{number}"));
    }

    /// The same, and it is found by this key.
    pub fn commit_as(&self, number: u128, version: u64, key: &str) {
        let row = (key.to_owned(), version, format!("x/y/{number}"));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number, row);
    }

    /// Nothing can be read for as long as it is away.
    pub fn be_away(&self, away: bool) {
        self.1.store(away, Ordering::Release);
    }

    /// Nothing is answered for as long as this is held.
    pub async fn hold(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.2).write_owned().await
    }
}

impl Snapshots for Rows {
    fn read<'a>(&'a self, room: &'a Room, max: usize) -> BoxFuture<'a, Result<Items, String>> {
        Box::pin(async move {
            let _answers = self.2.read().await;
            if self.1.load(Ordering::Acquire) {
                return Err("it is away".into());
            }
            let items = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let wanted = |number: u128, key: &str, record: &str| match room.kind {
                Kind::All => true,
                Kind::Item => *room.name == *key || *room.name == Uuid::from_u128(number).to_string(),
                Kind::Record => *room.name == *record,
                _ => false,
            };
            let found: Vec<_> =
                items.into_iter().filter(|(number, (key, _, record))| wanted(*number, key, record)).collect();
            let truncated = found.len() > max;
            let found = &found[..found.len().min(max)];
            let shown = |(number, (key, version, _)): &(u128, Row)| -> Value {
                json!({"id": Uuid::from_u128(*number), "key": key, "version": version})
            };
            Ok(Items {
                shown: found.iter().map(shown).collect(),
                versions: found.iter().map(|(number, (_, version, _))| (Uuid::from_u128(*number), *version)).collect(),
                truncated,
            })
        })
    }
}

/// A nats-server with what is published there, and the items that broadcasters show.
pub struct World {
    /// The nats-server.
    pub nats: Server,
    /// A connection to it, to publish by.
    pub bus: Bus,
    /// The database.
    pub rows: Rows,
    /// Keeps the connection.
    pub process: Process,
}

/// One broadcaster.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process; cancel its shutdown to stop it.
    pub process: Process,
}

impl World {
    /// A nats-server with all streams.
    pub async fn new() -> anyhow::Result<Self> {
        let nats = Server::start()?;
        let process = Process::new("test", None);
        let bus = Bus::connect(&nats.config(), &process).await?;
        bus.ensure_topology().await?;
        Ok(Self { nats, bus, rows: Rows::default(), process })
    }

    /// A broadcaster with its own connection, on a free port, with the defaults but for what `change` changes.
    pub async fn start(&self, change: impl FnOnce(&mut Config)) -> anyhow::Result<Running> {
        self.start_with(HttpConfig::default(), change).await
    }

    /// The same, which treats browsers so.
    pub async fn start_with(&self, http: HttpConfig, change: impl FnOnce(&mut Config)) -> anyhow::Result<Running> {
        let mut config = Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() };
        change(&mut config);
        let process = Process::new("broadcaster", None).with_http(http);
        let bus = Bus::connect(&self.nats.config(), &process).await?;
        let lifecycles = Lifecycles::built_in()?;
        let policy = Policy::new(lifecycles, Mappings::default(), LifecycleName::new("work")?);
        let rows = Box::new(self.rows.clone());
        let address = crate::start(config, process.clone(), bus, Arc::new(policy), rows).await?;
        Ok(Running { address, process })
    }

    /// An item's change comes by the bus.
    pub async fn announce(&self, number: u128, version: u64) {
        self.publish_all(vec![Self::change(number, version)]).await;
    }

    /// Changes of one item, one after another.
    pub async fn announce_all(&self, number: u128, versions: std::ops::RangeInclusive<u64>) {
        let all: Vec<_> = versions.map(|version| Self::change(number, version)).collect();
        for some in all.chunks(500) {
            self.publish_all(some.to_vec()).await;
        }
    }

    /// A change of an item as the resolver publishes it.
    pub fn change(number: u128, version: u64) -> Outgoing {
        let change = v1::Change {
            id: format!("{number}:{version}"),
            kind: "status_changed".into(),
            item: Uuid::from_u128(number).to_string(),
            key: format!("K{number}"),
            version,
            lifecycle: "work".into(),
            from: "todo".into(),
            to: "done".into(),
            record: format!("x/y/{number}"),
            ..v1::Change::default()
        };
        let subject = format!("lockstep.change.work.{}", change.item);
        Outgoing::new(subject, change.id.clone(), proto::encode(&change))
    }

    /// What became of a command for an item's record `x/y/<number>`: it names the item by its id only.
    pub async fn deliver(&self, number: u128, version: u64) {
        self.publish_all(vec![Self::delivery(number, version)]).await;
    }

    /// The same, as the gateway publishes it.
    pub fn delivery(number: u128, version: u64) -> Outgoing {
        let delivery = v1::Delivery {
            id: format!("{number}:{version}:delivered"),
            record: format!("x/y/{number}"),
            item: Uuid::from_u128(number).to_string(),
            version,
            outcome: "applied".into(),
            ..v1::Delivery::default()
        };
        let subject = format!("lockstep.delivery.high.x.y.{number}");
        Outgoing::new(subject, delivery.id.clone(), proto::encode(&delivery))
    }

    /// Telemetry as any client of NATS may publish it: the fields of a message, of a type, about a key.
    pub async fn tell(&self, kind: &str, key: &str, fields: Value) {
        let subject = match fields["severity"].as_str() {
            Some(severity) => bus::topology::alert(severity, key),
            None => bus::topology::live(kind, key),
        };
        let id = Uuid::now_v7().to_string();
        let json = Outgoing::new(subject, id, fields.to_string()).with_header("Content-Type", proto::JSON.to_owned());
        self.publish_all(vec![json]).await;
    }

    /// Publishes messages, and waits until they are stored.
    pub async fn publish_all(&self, messages: Vec<Outgoing>) {
        let stored = tokio::time::timeout(Duration::from_secs(30), self.bus.publish_all(messages)).await;
        match stored {
            Ok(Ok(_)) => {}
            other => panic!("a message of the test was not stored: {other:?}"),
        }
    }
}
