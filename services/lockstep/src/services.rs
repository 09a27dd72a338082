//! Starts services: one in this process, or all. Wires; decides nothing.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use bus::Bus;
use model::Policy;
use runtime::Process;
use serde_json::{Map, Value};
use store::Store;
use tokio::sync::OnceCell;

use crate::cli::{Serve, Service, Up};
use crate::connectors::{self, Listed};
use crate::settings::Settings;
use crate::{asynchronously, output, ready};

/// How long the tasks may take to finish what they have in hand.
const FINISH: Duration = Duration::from_secs(25);

/// Runs one service until it is told to stop.
pub fn serve(file: Option<&Path>, serve: &Serve) -> anyhow::Result<ExitCode> {
    let service = serve.service;
    let mut settings = Settings::load(file)?;
    let policy = settings.policy()?;
    let connector = connector_of(service);
    // One that nobody set up idles, as `up` leaves it out: whoever keeps it running would start it over and over.
    let missing = connector.and_then(|listed| listed.missing(&settings.connector(listed)));
    match connector {
        Some(listed) if missing.is_none() => settings.check_connector(listed)?,
        None if service != Service::Ingest => settings.need_database()?,
        Some(_) | None => {}
    }
    if let Some(listen) = serve.listen {
        *match service {
            Service::Ingest => &mut settings.ingest.listen,
            Service::Resolver => &mut settings.resolver.listen,
            Service::Broadcaster => &mut settings.broadcaster.listen,
            Service::Monitor => &mut settings.monitor.listen,
            _ => &mut settings.admin.listen,
        } = listen;
    }
    settings.check_service(service, None)?;
    let _telemetry = runtime::telemetry::init(&settings.telemetry, service.name())?;
    asynchronously(async {
        let process = Process::new(service.name(), None).with_http(settings.http.clone());
        let start = Box::pin(async {
            // Who only reads and tells goes by what is there: its settings may be another installation's.
            let only_reads = matches!(service, Service::Monitor | Service::Broadcaster);
            let topology = if only_reads { Topology::Complete } else { Topology::Ensure };
            let running = Running::connect(&settings, &process, policy, topology).await?;
            match connector {
                Some(listed) => {
                    process.serve(settings.admin.listen, Router::new()).map_err(|error| {
                        anyhow::anyhow!("{error:#}; where another connector runs, name another address with --listen")
                    })?;
                    match missing {
                        None => running.connector(listed).await,
                        Some(missing) => {
                            process.idle(missing);
                            running.bus.keep_announcing(&process);
                            Ok(())
                        }
                    }
                }
                None => running.service(service).await,
            }
        });
        until_stopped(&process, start).await
    })
}

/// Runs every service in this process until it is told to stop.
pub fn up(file: Option<&Path>, up: &Up) -> anyhow::Result<ExitCode> {
    let mut settings = Settings::load(file)?;
    let policy = settings.policy()?;
    let mut wrong = settings.wrong();
    if let Some(last) = wrong.pop() {
        for error in &wrong {
            output::complain(&error.to_string());
        }
        return Err(last.into());
    }
    let gateway = settings.gateway.listen;
    // Here the gateway is ingest's address too.
    settings.ingest.listen = gateway;
    let mut wanted = Vec::new();
    for listed in &connectors::ALL {
        match listed.missing(&settings.connector(listed)) {
            None => wanted.push(listed),
            Some(missing) => output::complain(&format!("{} is left out: {missing}", listed.service())),
        }
    }
    let _telemetry = runtime::telemetry::init(&settings.telemetry, "lockstep")?;
    asynchronously(async {
        let process = Process::new("lockstep", Some(gateway)).with_http(settings.http.clone());
        let start = Box::pin(async {
            let running = Running::connect(&settings, &process, policy, Topology::Ensure).await?;
            // The resolver brings the database up to date, which the others read.
            for service in [Service::Resolver, Service::Ingest, Service::Broadcaster, Service::Monitor] {
                running.service(service).await?;
            }
            for listed in wanted {
                running.connector(listed).await?;
            }
            process.start_gateway()?;
            if let Some(file) = &up.ready_file {
                let addresses = process.addresses();
                let addresses: Map<String, Value> =
                    addresses.into_iter().map(|(name, address)| (name, format!("http://{address}").into())).collect();
                ready::write(file, &addresses.into())?;
            }
            tracing::info!(address = %gateway, "everything runs");
            Ok(())
        });
        until_stopped(&process, start).await
    })
}

/// Starts, unless the process is told to stop meanwhile, and then waits for the end.
async fn until_stopped(process: &Process, start: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    process.watch_signals()?;
    if let Some(Err(error)) = process.shutdown().run_until_cancelled(start).await {
        process.shutdown().cancel();
        // What was started must not outlive the reason; the reason is what counts.
        let _ = process.finished(FINISH).await;
        return Err(error);
    }
    process.finished(FINISH).await?;
    tracing::info!("stopped in order");
    Ok(ExitCode::SUCCESS)
}

fn connector_of(service: Service) -> Option<&'static Listed> {
    connectors::ALL.iter().find(|listed| listed.service() == service.name())
}

/// What a process does about the streams when it starts.
#[derive(Debug, Clone, Copy)]
enum Topology {
    /// Makes them what its settings say.
    Ensure,
    /// Makes those that are missing.
    Complete,
}

/// What every service is given.
struct Running<'a> {
    settings: &'a Settings,
    process: &'a Process,
    policy: Arc<Policy>,
    bus: Bus,
    /// One pool of connections for all services of the process.
    store: OnceCell<Store>,
}

impl<'a> Running<'a> {
    async fn connect(
        settings: &'a Settings,
        process: &'a Process,
        policy: Arc<Policy>,
        topology: Topology,
    ) -> anyhow::Result<Self> {
        let bus = Bus::connect(&settings.nats, process).await?;
        match topology {
            Topology::Ensure => bus.ensure_topology().await?,
            Topology::Complete => bus.complete_topology().await?,
        }
        Ok(Self { settings, process, policy, bus, store: OnceCell::new() })
    }

    async fn store(&self) -> anyhow::Result<Store> {
        let connecting = || Store::connect(&self.settings.database, self.process);
        self.store.get_or_try_init(connecting).await.cloned()
    }

    async fn service(&self, service: Service) -> anyhow::Result<()> {
        let name = service.name();
        let (process, bus) = (self.process.of(name), self.bus.clone());
        let started = match service {
            Service::Ingest => ingest::run(self.settings.ingest.clone(), &process, bus, Arc::clone(&self.policy)),
            Service::Resolver => {
                let (config, store) = (self.settings.resolver.clone(), self.store().await?);
                resolver::run(config, process, bus, store, Arc::clone(&self.policy)).await
            }
            Service::Broadcaster => {
                let (config, store) = (self.settings.broadcaster.clone(), self.store().await?);
                broadcaster::run(config, process, bus, store, Arc::clone(&self.policy)).await
            }
            Service::Monitor => {
                let (config, store) = (self.settings.monitor.clone(), self.store().await?);
                monitor::run(config, process, bus, store).await
            }
            Service::ConnectorLinear
            | Service::ConnectorGithub
            | Service::ConnectorPostgres
            | Service::ConnectorAgentapi => match connector_of(service) {
                Some(listed) => return self.connector(listed).await,
                None => Ok(()),
            },
        };
        started.with_context(|| format!("{name} cannot start"))?;
        self.bus.keep_announcing(&self.process.of(name));
        Ok(())
    }

    async fn connector(&self, listed: &Listed) -> anyhow::Result<()> {
        let section = self.settings.connector(listed);
        let process = self.process.of(&listed.service());
        let started = (listed.registration.run)(section, process, self.bus.clone()).await;
        started.with_context(|| format!("{} cannot start", listed.service()))
    }
}
