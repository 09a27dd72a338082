//! Processes: each begun, killed at any await, and begun again by a supervisor.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::Bus;
use bus::simulation::Connection;
use connector::Settings as RunSettings;
use runtime::Process;
use runtime::simulation::{below, note};
use tokio::sync::{Notify, watch};

use crate::connectors::{Agentapi, Github, Kind, Linear, Postgres, Simulated};
use crate::world::World;

/// What a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Ingest,
    Resolver,
    Connector(&'static str),
}

/// A process among others of its kind.
pub struct Service {
    pub name: String,
    pub role: Role,
    life: Mutex<Option<Life>>,
    /// Ends this life.
    pub kill: Notify,
    /// Whether it can reach what lies behind it: the database, or its system.
    pub reaches: watch::Sender<bool>,
}

/// One life of a process.
#[derive(Clone)]
pub struct Life {
    pub connection: Connection,
    pub bus: Bus,
}

/// What was begun is finished within this, as `main` does.
const FINISH: Duration = Duration::from_secs(6);

impl Service {
    pub fn new(role: Role, number: usize) -> Arc<Self> {
        let name = match role {
            Role::Ingest => "ingest",
            Role::Resolver => "resolver",
            Role::Connector(system) => system,
        };
        Arc::new(Self {
            name: format!("{name}-{number}"),
            role,
            life: Mutex::new(None),
            kill: Notify::new(),
            reaches: watch::Sender::new(true),
        })
    }

    pub fn life(&self) -> Option<Life> {
        self.life.lock().unwrap().clone()
    }

    /// Runs it, over and over.
    pub async fn supervise(self: Arc<Self>, world: Arc<World>) {
        loop {
            let process = Process::new(&self.name, None);
            let skew = i64::try_from(below(world.land.settings.skew_ms + 1)).unwrap();
            process.skew(skew - i64::try_from(world.land.settings.skew_ms / 2).unwrap());
            let connection = Connection::new(&world.jetstream);
            let bus = connection.bus(world.bus_config());
            *self.life.lock().unwrap() = Some(Life { connection: connection.clone(), bus: bus.clone() });
            note(|| format!("{} begins", self.name));
            let lived = async {
                if let Err(error) = self.start(&world, &process, bus).await {
                    note(|| format!("{} could not begin: {error:#}", self.name));
                    return;
                }
                if let Err(error) = process.finished(FINISH).await {
                    note(|| format!("{} ended: {error:#}", self.name));
                }
            };
            tokio::select! {
                biased;
                () = self.kill.notified() => note(|| format!("{} is killed", self.name)),
                () = lived => {}
            }
            *self.life.lock().unwrap() = None;
            process.crash();
            connection.kill();
            let pause = if world.land.look().calm { 500 } else { 6_000 };
            tokio::time::sleep(Duration::from_millis(100 + below(pause))).await;
        }
    }

    async fn start(&self, world: &World, process: &Process, bus: Bus) -> anyhow::Result<()> {
        match self.role {
            Role::Ingest => Ok(()),
            Role::Resolver => {
                let store = world.database.store(self.reaches.subscribe());
                let policy = world.policy();
                resolver::resolve(world.land.settings.batch, process, &bus, &store, &policy).await
            }
            Role::Connector("linear") => self.connect::<Linear>(world, process, bus).await,
            Role::Connector("github") => self.connect::<Github>(world, process, bus).await,
            Role::Connector("postgres") => self.connect::<Postgres>(world, process, bus).await,
            Role::Connector(_) => self.connect::<Agentapi>(world, process, bus).await,
        }
    }

    async fn connect<K: Kind>(&self, world: &World, process: &Process, bus: Bus) -> anyhow::Result<()> {
        let connector = Simulated::<K>::over(Arc::clone(&world.land), process.clone(), self.reaches.subscribe());
        connector::run(connector, RunSettings::default(), process.clone(), bus).await.map(drop)
    }
}
