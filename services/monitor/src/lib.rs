//! Says what is in step and what is not, and why: health, metrics, alerts.
//!
//! Looks, counts, judges and tells; it changes nothing.

mod alerts;
mod config;
mod counts;
mod health;
mod telling;
mod watching;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bus::{Bus, Stream};
use http::{HeaderMap, StatusCode};
use model::Timestamp;
use runtime::{Problem, Process};
use store::Store;
use tokio::time::timeout;

pub use config::Config;

use alerts::{Alert, Stored};
use counts::Counts;
use health::{Health, Limits, Report, Seen};
use telling::Told;

/// How many held items are told of at most.
const HELD_MAX: u32 = 1_000;

/// How many statuses that no mapping knows are looked at: more than an alert names.
const UNMAPPED_MAX: u32 = 10;

/// What the tasks and the handlers share.
#[derive(Clone)]
struct Monitor(Arc<Shared>);

struct Shared {
    config: Config,
    limits: Limits,
    process: Process,
    bus: Bus,
    store: Store,
    counts: Counts,
    seen: Mutex<Seen>,
    told: Mutex<Told>,
    /// The alerts as they could be looked at last, and when.
    last: Mutex<Option<(Timestamp, Vec<Alert>)>>,
}

/// Starts the service; returns when it listens. It goes on until the process's shutdown.
pub async fn run(config: Config, process: Process, bus: Bus, store: Store) -> anyhow::Result<()> {
    let process = process.of("monitor");
    config.check()?;
    let listen = config.listen;
    let monitor = Monitor(Arc::new(Shared {
        limits: Limits { expect: config.expect.clone(), silent_ms: config.silent_ms, stale_ms: config.stale_ms },
        counts: Counts::new(process.metrics())?,
        config,
        process: process.clone(),
        bus,
        store,
        seen: Mutex::default(),
        told: Mutex::default(),
        last: Mutex::default(),
    }));
    monitor.watch().await?;
    let router = Router::new().route("/health", get(health)).route("/alerts", get(open_alerts)).with_state(monitor);
    runtime::access::tell_names(&process, listen);
    process.serve(listen, router)?;
    Ok(())
}

impl Monitor {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        // A panic elsewhere leaves signs of life that are still good.
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is stored that alerts are about, or why it cannot be known.
    async fn stored(&self) -> Result<Stored, String> {
        let shared = &self.0;
        let looked = async {
            let held = shared.store.held(HELD_MAX).await.map_err(|error| error.to_string())?;
            let unmapped = shared.store.unmapped(UNMAPPED_MAX).await.map_err(|error| error.to_string())?;
            let (dead_letters, _) =
                shared.bus.stream_info(Stream::DeadLetters).await.map_err(|error| format!("{error:#}"))?;
            Ok(Stored { held, unmapped, dead_letters })
        };
        let wait = shared.config.probe_wait();
        let late = || Err(format!("no answer within {} ms", wait.as_millis()));
        timeout(wait, looked).await.unwrap_or_else(|_| late())
    }

    /// The alerts that are open by what is stored and what was judged after it was read.
    fn opened(&self, stored: &Stored, report: &Report) -> Vec<Alert> {
        let open = alerts::open(stored, report);
        *self.last() = Some((Timestamp(report.at), open.clone()));
        open
    }

    fn last(&self) -> MutexGuard<'_, Option<(Timestamp, Vec<Alert>)>> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges everything now, and shows it in the metrics too.
    fn judge(&self) -> Report {
        let report = self.seen().judge(&self.0.limits, self.0.process.now_ms());
        self.0.counts.show(&report);
        report
    }
}

/// How well the whole and each part is: 200 while work goes on, 503 when it does not.
async fn health(State(monitor): State<Monitor>) -> Response {
    let report = monitor.judge();
    let status = if report.status == Health::Unhealthy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, Json(report)).into_response()
}

/// The alerts that are open. They name items and people, and no key guards them: other than `/health`, which a balancer asks by whatever
/// name, they are told only under names of ours.
async fn open_alerts(State(monitor): State<Monitor>, headers: HeaderMap) -> Result<Json<Vec<Alert>>, Problem> {
    let shared = &monitor.0;
    shared.process.http().admit_host(&headers)?;
    let why = match monitor.stored().await {
        Ok(stored) => return Ok(Json(monitor.opened(&stored, &monitor.judge()))),
        Err(why) => why,
    };
    tracing::warn!(why, "the alerts cannot be told as they are now");
    match &*monitor.last() {
        Some((at, alerts)) => Ok(Json(alerts::as_of(*at, alerts, &why))),
        // An empty list would say that all is well.
        None => Err(Problem::unavailable("alerts_unknown", "PostgreSQL or NATS did not answer; see /health")),
    }
}

#[cfg(test)]
mod tests;
