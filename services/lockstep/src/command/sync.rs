//! `lockstep sync`: reads a system from its beginning, and has everything brought in step with it.
//!
//! A process of its own beside the services: it publishes what it reads, as their sweeps do, and the resolver decides. A dry
//! run decides here, by the resolver's code, and is given neither a bus nor a transaction that could write.

mod plan;
mod progress;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use bus::Bus;
use connector::{Backfill, BoxSweeper, Order, Step};
use model::{System, Timestamp};
use resolver::Planner;
use runtime::Process;
use runtime::config::ConfigError;
use runtime::telemetry::TelemetryConfig;
use store::Store;
use tokio::time::Instant;

use crate::cli::Resync;
use crate::connectors::{self};
use crate::output;
use crate::places;
use crate::settings::Settings;
use progress::Telling;

/// Read to the end, but some records could not be read: they are dead letters.
const INCOMPLETE: u8 = 3;
/// Interrupted, as shells have it.
const INTERRUPTED: u8 = 130;
/// How long what is in hand may take to end.
const FINISH: Duration = Duration::from_secs(5);

/// Runs one, or a dry run.
pub async fn run(file: Option<&Path>, order: Resync) -> anyhow::Result<ExitCode> {
    places::tell_environment();
    let settings = Settings::load(file)?;
    let listed = connectors::named(&order.system)?;
    let mut section = settings.connector(listed);
    if let Some(install) = section.get_mut("install").filter(|_| order.dry_run) {
        // It changes nothing anywhere.
        *install = false.into();
    }
    if let Some(missing) = listed.missing(&section) {
        return Err(ConfigError::new(format!("connector.{}", order.system), missing).into());
    }
    // The last line is the count, and not that a connection was closed.
    let level = format!("{},async_nats=warn", settings.telemetry.level);
    let _telemetry = runtime::telemetry::init(&TelemetryConfig { level, ..settings.telemetry.clone() }, "sync")?;
    let process = Process::new("sync", None);
    process.watch_signals()?;
    let sweeper = (listed.registration.sweeper)(section, &process.of(&listed.service()));
    let sweeper = sweeper.map_err(|error| settings.named(error))?;
    let work = Box::pin(async {
        if order.dry_run {
            dry_run(&settings, &process, sweeper, &order).await
        } else {
            backfill(&settings, &process.of(&listed.service()), sweeper, &order).await
        }
    });
    let done = process.shutdown().run_until_cancelled(work).await;
    process.shutdown().cancel();
    // The lease is given back.
    let ended = process.finished(FINISH).await;
    let Some(done) = done else {
        output::complain(if order.dry_run {
            "stopped; nothing was changed, and the same command begins anew"
        } else {
            "stopped; the same command goes on where it stopped"
        });
        return Ok(ExitCode::from(INTERRUPTED));
    };
    let code = done?;
    ended.map(|()| code)
}

async fn backfill(
    settings: &Settings,
    process: &Process,
    sweeper: BoxSweeper,
    order: &Resync,
) -> anyhow::Result<ExitCode> {
    let bus = Bus::connect(&settings.nats, process).await?;
    bus.complete_topology().await?;
    let (since, words) = order.since.clone().map(|since| (since.at, since.words)).unzip();
    let wanted = Order { since, words: words.unwrap_or_default(), fresh: order.fresh };
    let mut backfill = Backfill::begin(sweeper, System::new(&order.system)?, wanted, process.clone(), bus).await?;
    let mut telling = Telling::new(&order.system, order.json, Instant::now(), backfill.progress().seen);
    if backfill.is_resumed() {
        telling.resumed(backfill.progress());
    }
    loop {
        match backfill.step().await? {
            Step::Read => telling.read(backfill.progress(), Instant::now()),
            Step::Waited(behind) => telling.waited(behind, Instant::now()),
            Step::Ended => break,
        }
    }
    telling.ended(backfill.progress(), Instant::now());
    let code = if backfill.progress().unreadable > 0 { ExitCode::from(INCOMPLETE) } else { ExitCode::SUCCESS };
    Ok(code)
}

async fn dry_run(
    settings: &Settings,
    process: &Process,
    sweeper: BoxSweeper,
    order: &Resync,
) -> anyhow::Result<ExitCode> {
    settings.need_database()?;
    let store = Store::connect(&settings.database, process).await?;
    let decides = Planner::new(store, settings.policy()?);
    let system = System::new(&order.system)?;
    let since = order.since.as_ref().map(|since| since.at);
    let cursor = since.map(|since| connector::beginning(sweeper.as_ref(), &system, since)).transpose()?;
    let (mut next, mut sum) = (None, plan::Sum::default());
    loop {
        let page = sweeper.page(cursor.clone(), next).await?;
        let plans = decides.plan(page.observations, Timestamp(process.now_ms())).await;
        let plans = plans.context("Lockstep's tables cannot be read; a service that ran once makes them")?;
        for line in sum.take(&plans, &page.unreadable, order.json) {
            if !output::line(&line) {
                bail!("nobody reads what is printed");
            }
        }
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    output::line(&sum.line(order.json));
    Ok(if sum.unreadable > 0 { ExitCode::from(INCOMPLETE) } else { ExitCode::SUCCESS })
}
