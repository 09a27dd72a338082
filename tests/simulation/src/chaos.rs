//! What goes wrong: processes die, connections are cut, systems and servers go away, configuration changes; all of it heals.

use std::sync::Arc;
use std::time::Duration;

use runtime::simulation::{below, note};

use crate::people::pick;
use crate::services::{Role, Service};
use crate::world::World;

#[derive(Debug, Clone, Copy)]
enum Fault {
    Crash,
    Cut,
    Unreachable,
    Outage,
    ServerRestart,
    Reconfiguration,
}

/// Lets things go wrong until it is dropped.
pub async fn reign(world: Arc<World>) {
    let settings = &world.land.settings;
    let possible: Vec<Fault> = [
        (settings.crashes, Fault::Crash),
        (settings.cuts, Fault::Cut),
        (settings.database_cuts, Fault::Unreachable),
        (settings.outages, Fault::Outage),
        (settings.server_restarts, Fault::ServerRestart),
        (settings.reconfigurations, Fault::Reconfiguration),
    ]
    .into_iter()
    .filter_map(|(on, fault)| on.then_some(fault))
    .collect();
    if possible.is_empty() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(Duration::from_millis(500 + below(12_000))).await;
        strike(&world, pick(&possible)).await;
    }
}

async fn strike(world: &Arc<World>, fault: Fault) {
    let service = Arc::clone(&world.services[below(world.services.len() as u64) as usize]);
    match fault {
        Fault::Crash => service.kill.notify_one(),
        Fault::Cut => drop(tokio::spawn(cut(service))),
        Fault::Unreachable => {
            note(|| format!("{} cannot reach what lies behind it", service.name));
            service.reaches.send_replace(false);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(below(15_000))).await;
                service.reaches.send_replace(true);
            });
        }
        Fault::Outage => {
            let system = pick(&["linear", "github", "postgres", "agentapi"]);
            let down = below(2) == 0;
            note(|| format!("{system} is {}", if down { "down" } else { "up" }));
            world.land.look().down.insert(system, down);
        }
        Fault::ServerRestart => {
            note(|| "the bus restarts".to_owned());
            let lives: Vec<_> = world.services.iter().filter_map(|service| service.life()).collect();
            for life in &lives {
                life.connection.notice();
            }
            tokio::time::sleep(Duration::from_millis(below(4_000))).await;
            world.jetstream.forget();
            for life in &lives {
                life.connection.mend();
            }
        }
        Fault::Reconfiguration => {
            note(|| "the resolvers are configured anew".to_owned());
            world.reconfigure();
            let resolvers = world.services.iter().filter(|service| service.role == Role::Resolver);
            for resolver in resolvers {
                resolver.kill.notify_one();
            }
        }
    }
}

/// A process and the bus do not hear each other for a while.
async fn cut(service: Arc<Service>) {
    let Some(life) = service.life() else { return };
    note(|| format!("{} and the bus are cut off from each other", service.name));
    life.connection.cut();
    tokio::time::sleep(Duration::from_millis(below(10_000))).await;
    life.connection.notice();
    tokio::time::sleep(Duration::from_millis(below(10_000))).await;
    life.connection.mend();
    note(|| format!("{} and the bus hear each other again", service.name));
}

/// Everything works again.
pub fn heal(world: &World) {
    note(|| "everything works again".to_owned());
    {
        let mut inside = world.land.look();
        inside.calm = true;
        inside.down.clear();
    }
    world.jetstream.set_faults(bus::simulation::Faults { lag_ms: world.land.settings.lag_ms, ..Default::default() });
    world.database.set_faults(store::simulation::Faults::default());
    for service in &world.services {
        service.reaches.send_replace(true);
        if let Some(life) = service.life() {
            life.connection.mend();
        }
    }
}
