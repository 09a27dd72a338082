//! The figures that need no grid of clients: memory, acceptance, a faster rate, compression, clients that do not read.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::load::{Load, Ready, Target};
use super::server::{Means, Name};
use super::{Plan, STEADY, measure, report};
use crate::outcome::{Outcome, median, say};

const FAST: u32 = 400;
/// Those that would be behind so far that only their queue is measured.
const BEHIND: [Name; 2] = [Name::Raw, Name::SocketIo];
const CLIENTS: usize = 1_000;
/// How many of them never read.
const DEAD: usize = 100;
const IDLE: usize = 5_000;
const ACCEPTED: usize = 8_000;
const DEFLATE: &str =
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";

/// Runs all of them for which there are servers.
pub fn run(means: &Means, servers: &[Name], plan: &Plan) -> Result<Vec<Outcome>> {
    if !servers.contains(&Name::Ours) {
        return Ok(Vec::new());
    }
    let mut outcomes = Vec::new();
    outcomes.push(idle(means, servers)?);
    outcomes.push(accept(means, servers, plan)?);
    outcomes.push(fast(means, servers, plan)?);
    outcomes.extend(deflate(means, plan)?);
    outcomes.push(dead_readers(means, plan)?);
    Ok(outcomes)
}

fn bare(target: &Target) -> Target {
    Target { path: "/v1/ws".into(), ready: Ready::Upgraded, ..target.clone() }
}

/// One process each: memory that a server has had once it keeps.
fn idle(means: &Means, servers: &[Name]) -> Result<Outcome> {
    let mut found = BTreeMap::new();
    for name in all(servers, Name::Raw) {
        let server = means.start_thrifty(name)?;
        found.insert(name.word(), measure::idle(&server, &server.target, IDLE)?);
    }
    let server = means.start_thrifty(Name::Ours)?;
    found.insert("ours-bare", measure::idle(&server, &bare(&server.target), IDLE)?);
    say(&format!("fanout: KB for an idle connection: {found:.1?}"));
    // The bare loop keeps next to nothing for a connection: no figure to divide by.
    let baseline = [Name::Nchan, Name::Ws].into_iter().find(|name| servers.contains(name)).unwrap_or(Name::Raw);
    let (ours, theirs) = (found[Name::Ours.word()], found[baseline.word()]);
    Outcome::new("fanout-idle-kb", ours, "KB/idle connection", theirs, report::described(baseline))
        .with("connections", IDLE)?
        .with("all", &found)
}

fn accept(means: &Means, servers: &[Name], plan: &Plan) -> Result<Outcome> {
    let mut found: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..plan.rounds {
        for name in all(servers, Name::Raw) {
            let server = means.start(name)?;
            // Ours answers 101 only to who is entitled; its snapshot is not waited for.
            let target = if name == Name::Ours { bare(&server.target) } else { server.target.clone() };
            found.entry(name.word()).or_default().push(measure::accepted(&target, ACCEPTED)?);
        }
    }
    say(&format!("fanout: connections accepted a second: {found:.0?}"));
    let (ours, raw) = (median(&found[Name::Ours.word()]), median(&found[Name::Raw.word()]));
    let is = "the bare loop over sockets, which looks at nothing";
    Outcome::new("fanout-accept", ours, "connections/s", raw, is).with("connections", ACCEPTED)?.with("rounds", &found)
}

/// What is there of the servers, with a baseline in any case.
fn all(servers: &[Name], baseline: Name) -> Vec<Name> {
    let others = servers.iter().copied().filter(|name| !matches!(name, Name::Joined) && *name != baseline);
    std::iter::once(baseline).chain(others).collect()
}

fn fast(means: &Means, servers: &[Name], plan: &Plan) -> Result<Outcome> {
    let mut found: BTreeMap<&str, Vec<measure::Steady>> = BTreeMap::new();
    for _ in 0..plan.rounds {
        for name in all(servers, Name::Joined).into_iter().filter(|name| !BEHIND.contains(name)) {
            let server = means.start(name)?;
            let mut load = Load::connect(&server.target, CLIENTS)?;
            let steady = measure::steady(&server, &mut load, CLIENTS as u64, FAST, plan)?;
            say(&format!(
                "fanout: {FAST}/s to {CLIENTS}: {:<9} p50 {:.1} ms, p99 {:.1} ms, {:.2} µs each, lost {}",
                name.word(),
                steady.p50_ms,
                steady.p99_ms,
                steady.cpu_us,
                steady.lost
            ));
            found.entry(name.word()).or_default().push(steady);
        }
    }
    let baseline = if servers.contains(&Name::Nchan) { Name::Nchan } else { Name::Joined };
    let p99 = |name: Name| {
        let rounds = found.get(name.word()).context("nothing was measured")?;
        anyhow::Ok(median(&rounds.iter().map(|steady| steady.p99_ms).collect::<Vec<_>>()))
    };
    Outcome::new("fanout-p99-400", p99(Name::Ours)?, "ms (p99, 400/s)", p99(baseline)?, report::described(baseline))
        .with("clients", CLIENTS)?
        .with("rounds", &found)
}

/// Processor time with compression beside that without; nothing, where the server does not compress.
fn deflate(means: &Means, plan: &Plan) -> Result<Option<Outcome>> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        for compressed in [true, false] {
            let server = means.start(Name::Ours)?;
            let mut target = server.target.clone();
            if compressed {
                target.heads.push_str(DEFLATE);
            }
            let mut load = Load::connect(&target, CLIENTS)?;
            if compressed && load.deflating == 0 {
                say("fanout: compression is left out: the server does not take it");
                return Ok(None);
            }
            let steady = measure::steady(&server, &mut load, CLIENTS as u64, STEADY, plan)?;
            if compressed { &mut with } else { &mut without }.push(steady.cpu_us);
        }
    }
    let is = "the same without permessage-deflate";
    let outcome = Outcome::new("fanout-deflate", median(&with), "µs CPU/delivery", median(&without), is);
    Ok(Some(outcome.with("clients", CLIENTS)?.with("with", &with)?.with("without", &without)?))
}

/// Deliveries to those who read, beside those without anybody who does not; and how the memory grew in both.
fn dead_readers(means: &Means, plan: &Plan) -> Result<Outcome> {
    let alive = (CLIENTS - DEAD) as u64;
    let (mut rates, mut growth) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let mut lost = 0;
    for _ in 0..plan.rounds {
        for (at, dead) in [0, DEAD].into_iter().enumerate() {
            let server = means.start(Name::Ours)?;
            let mut load = Load::connect(&server.target, CLIENTS - DEAD + dead)?;
            load.deafen(dead)?;
            let before = server.process.memory()?;
            let flooded = measure::flooded(&server, &mut load, alive, plan)?;
            rates[at].push(flooded.rate);
            growth[at].push(measure::real(server.process.memory()?.saturating_sub(before)) / 1024.0);
            lost += flooded.lost;
        }
    }
    say(&format!("fanout: deliveries/s without and with {DEAD} dead readers: {rates:.0?}; KB grown: {growth:.0?}"));
    let is = "the same 900 clients without them";
    Outcome::new("fanout-dead-readers", median(&rates[1]), "deliveries/s", median(&rates[0]), is)
        .with("alive", alive)?
        .with("dead", DEAD)?
        .with("lost", lost)?
        .with("kb_grown_without", &growth[0])?
        .with("kb_grown_with", &growth[1])
}
