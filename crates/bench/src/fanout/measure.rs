//! One measurement each, the same for every server.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;

use super::Plan;
use super::load::{Load, Target};
use super::server::Server;
use super::source::{Sending, Source};

/// So long without any message, and those that are missing will not come.
const STALLED: Duration = Duration::from_secs(3);
/// For how long a server is warmed up.
const WARM: Duration = Duration::from_millis(400);
/// For how long what a server does after a connection may settle before its memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// At a steady rate.
#[derive(Debug, Clone, Serialize)]
pub struct Steady {
    /// Microseconds of the server's processor time for each delivery.
    pub cpu_us: f64,
    /// From the moment a message was due to its reading, milliseconds: the middle one.
    pub p50_ms: f64,
    /// One in a hundred takes longer.
    pub p99_ms: f64,
    /// Deliveries that never came.
    pub lost: u64,
}

/// As fast as it goes.
#[derive(Debug, Clone, Serialize)]
pub struct Flooded {
    /// Deliveries a second, of all clients together.
    pub rate: f64,
    /// Microseconds of the server's processor time for each.
    pub cpu_us: f64,
    /// Deliveries that never came.
    pub lost: u64,
}

/// How many messages the source may be ahead where nothing else is asked for. The more, the more a server can join in one write: with
/// fewer it is the way from the source to the server that is measured, which for ours leads over the bus. Few clients take a message
/// faster than the bus brings the next, so there are more of them on the way.
pub fn lead(clients: u64) -> u64 {
    (64_000 / clients.max(1)).clamp(256, 1_024)
}

/// A rate of messages for some seconds.
pub fn steady(server: &Server, load: &mut Load, clients: u64, rate: u32, plan: &Plan) -> Result<Steady> {
    let warm = Source::connect(&server.feed, plan.size)?.steady(rate, WARM);
    let source = finish(load, warm, clients)?.0;
    load.restart(true);
    let before = server.process.cpu()?;
    let (_, lost) = finish(load, source.steady(rate, plan.time), clients)?;
    let cpu = server.process.cpu()? - before;
    let delivered = load.delivered();
    let waits = load.waits();
    if waits.is_empty() && load.deflating == 0 {
        bail!("{} delivered nothing of what was sent", server.name.word());
    }
    let at = |per_cent: usize| {
        let index = (waits.len() * per_cent / 100).min(waits.len().saturating_sub(1));
        waits.get(index).map_or(f64::NAN, |wait| f64::from(*wait) / 1e3)
    };
    Ok(Steady { cpu_us: cpu * 1e6 / real(delivered), p50_ms: at(50), p99_ms: at(99), lost })
}

/// As fast as it goes for some seconds.
pub fn flooded(server: &Server, load: &mut Load, clients: u64, plan: &Plan) -> Result<Flooded> {
    let ahead = plan.lead.unwrap_or_else(|| lead(clients));
    let warm = Source::connect(&server.feed, plan.size)?;
    load.restart(false);
    let source = finish(load, warm.flood(ahead, load.counter(), clients, WARM), clients)?.0;
    load.restart(false);
    let (before, began) = (server.process.cpu()?, Instant::now());
    let (_, lost) = finish(load, source.flood(ahead, load.counter(), clients, plan.time), clients)?;
    let cpu = server.process.cpu()? - before;
    let delivered = real(load.delivered());
    let elapsed = load.last.saturating_duration_since(began).as_secs_f64();
    if delivered < 1.0 {
        bail!("{} delivered nothing of what was sent", server.name.word());
    }
    Ok(Flooded { rate: delivered / elapsed, cpu_us: cpu * 1e6 / delivered, lost })
}

/// Reads until all that was sent has come, or nothing comes any more. The source, and how many are missing.
fn finish(load: &mut Load, sending: Sending, clients: u64) -> Result<(Source, u64)> {
    load.last = Instant::now();
    load.read_until(|load| {
        sending.done().is_some_and(|sent| load.delivered() >= sent * clients || load.last.elapsed() > STALLED)
    })?;
    let expected = sending.done().unwrap_or(0) * clients;
    Ok((sending.source()?, expected.saturating_sub(load.delivered())))
}

/// The kibibytes of memory that a connection without traffic takes: what as many more cost a server that has as many already.
pub fn idle(server: &Server, target: &Target, clients: usize) -> Result<f64> {
    let mut first = Load::connect(target, clients)?;
    settle(server, &mut first)?;
    let before = server.process.memory()?;
    let mut more = Load::connect(target, clients)?;
    settle(server, &mut more)?;
    let after = server.process.memory()?;
    settle(server, &mut first)?;
    Ok(real(after.saturating_sub(before)) / 1024.0 / real(clients as u64))
}

/// Waits until a server has done with these connections, none of which it may end.
fn settle(server: &Server, load: &mut Load) -> Result<()> {
    let began = Instant::now();
    load.read_until(|_| began.elapsed() > SETTLE)?;
    match load.ends.first() {
        Some(end) => bail!("{}: an idle connection ended: {end}", server.name.word()),
        None => Ok(()),
    }
}

/// Connections a second that are made and upgraded.
pub fn accepted(target: &Target, count: usize) -> Result<f64> {
    let began = Instant::now();
    let load = Load::connect(target, count)?;
    let elapsed = began.elapsed().as_secs_f64();
    drop(load);
    Ok(real(count as u64) / elapsed)
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "far from 2^52")]
pub fn real(count: u64) -> f64 {
    count as f64
}
