//! A service's sign of life, every two seconds.

use std::time::Duration;

use bus::{Bus, topology};
use proto::v1;
use runtime::Process;
use tokio::time::{MissedTickBehavior, interval};

const EVERY: Duration = Duration::from_secs(2);

/// Gives signs of life for the service whose view `process` is, until the shutdown.
pub fn start(process: &Process, bus: &Bus) {
    let (process, bus) = (process.clone(), bus.clone());
    process.clone().spawn("heartbeat", async move {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while process.shutdown().run_until_cancelled(ticks.tick()).await.is_some() {
            let sign = sign(&process);
            let subject = topology::heartbeat(&sign.service, &sign.instance);
            if let Err(error) = bus.announce(subject, proto::encode(&sign).into()).await {
                tracing::debug!(%error, "a heartbeat could not be sent");
            }
        }
        Ok(())
    });
}

fn sign(process: &Process) -> v1::Heartbeat {
    let parts = process.readiness();
    let wrong = parts.iter().find_map(|(part, state)| Some(format!("{part}: {}", state.as_ref().err()?)));
    v1::Heartbeat {
        service: process.service().to_owned(),
        instance: process.instance().to_owned(),
        at: process.now_ms(),
        ready: wrong.is_none(),
        reason: wrong.unwrap_or_default(),
        last_success: process.last_success(),
    }
}
