//! Signs of life: every two seconds, whatever else happens; and a last one of a process that was told to stop.

use std::time::Duration;

use proto::v1;
use runtime::Process;

use crate::{Bus, topology};

const EVERY: Duration = Duration::from_secs(2);

impl Bus {
    /// Announces for as long as the process lives that this service does, whether it is ready, and which systems answer it.
    pub fn keep_announcing(&self, process: &Process) {
        let (bus, process) = (self.clone(), process.clone());
        let subject = topology::heartbeat(process.service(), process.instance());
        process.clone().spawn("heartbeat", async move {
            loop {
                // Nobody misses one that is lost.
                let _ = bus.announce(subject.clone(), proto::encode(&heartbeat(&process)).into()).await;
                tokio::select! {
                    biased;
                    () = process.shutdown().cancelled() => break,
                    () = tokio::time::sleep(EVERY) => {}
                }
            }
            // One that ends because something failed is missed until it is back.
            if !process.has_failed() {
                let last = v1::Heartbeat { leaving: true, ..heartbeat(&process) };
                let _ = bus.announce(subject, proto::encode(&last).into()).await;
                let _ = tokio::time::timeout(EVERY, bus.flush()).await;
            }
            Ok(())
        });
    }
}

fn heartbeat(process: &Process) -> v1::Heartbeat {
    let stands_in_the_way =
        process.readiness().into_iter().find_map(|(part, state)| state.err().map(|why| format!("{part}: {why}")));
    v1::Heartbeat {
        service: process.service().to_owned(),
        instance: process.instance().to_owned(),
        at: process.now_ms(),
        ready: stands_in_the_way.is_none(),
        reason: stands_in_the_way.unwrap_or_default(),
        last_success: process.last_success().into_iter().collect(),
        failing: process.failing().into_iter().collect(),
        leaving: false,
    }
}
