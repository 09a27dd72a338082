//! One line for each connector: everything that the rest of Lockstep knows of it.

use anyhow::anyhow;
use bus::Bus;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::Backoff;
use runtime::Process;
use serde::Deserialize;
use serde_json::Value;

use crate::calls::{CallSettings, Calls};
use crate::{BoxSweeper, Connector, Examined, Parts, Swept};

/// A connector as the list of connectors knows it.
#[derive(Clone, Copy)]
pub struct Registration {
    /// The system's name; its section of the configuration is called the same.
    pub name: &'static str,
    /// The built-in mapping, as TOML.
    pub mapping: &'static str,
    /// Starts it with its section. Returns when it is up; its tasks go on until the process's shutdown.
    pub run: fn(Value, Process, Bus) -> BoxFuture<'static, anyhow::Result<()>>,
    /// Makes what reads the system from its beginning; one sentence where its section does not serve, or leaves nothing to sweep, or it
    /// has no sweep.
    pub sweeper: fn(Value, &Process) -> Result<BoxSweeper, String>,
    /// Whether its section could be run with, without I/O; else one sentence that names the key.
    pub check: fn(&Value) -> Result<(), String>,
    /// Looks at the system with its section; see [`Connector::examine`]. A section that cannot be run with is one sentence.
    pub examine: fn(Value, Process) -> BoxFuture<'static, Result<Examined, String>>,
}

/// The registration of connector `C` with its built-in mapping.
pub const fn registration<C: Connector>(mapping: &'static str) -> Registration {
    Registration {
        name: C::SYSTEM,
        mapping,
        run: start::<C>,
        sweeper: sweeper::<C>,
        check: check::<C>,
        examine: examine::<C>,
    }
}

/// How the loop runs a connector: the key `run` of its section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Attempts at one command and the waits between them.
    pub backoff: Backoff,
    /// How many records are worked on at once, in each partition.
    pub concurrency: usize,
    /// How many commands of a partition are held at most, waiting ones included. Among those that are held the urgent go
    /// first; the others are read in the order of the stream.
    pub held_max: usize,
    /// How soon a sweep may follow another where no webhook tells of changes, in seconds; see the connector's own `sweep_s`.
    pub sweep_least_s: u64,
    /// Timeouts and bounds of HTTP calls.
    pub calls: CallSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            concurrency: 16,
            held_max: 1_024,
            sweep_least_s: 15,
            calls: CallSettings::default(),
        }
    }
}

fn start<C: Connector>(section: Value, process: Process, bus: Bus) -> BoxFuture<'static, anyhow::Result<()>> {
    async move {
        let (connector, settings) =
            build::<C>(section, &process, true).map_err(|why| anyhow!("{}: {why}", C::SYSTEM))?;
        crate::run(connector, settings, process, bus).await.map(drop)
    }
    .boxed()
}

fn check<C: Connector>(section: &Value) -> Result<(), String> {
    // A process that is only looked at by the connector's constructor, which does no I/O.
    build::<C>(section.clone(), &Process::new(C::SYSTEM, None), true).map(drop)
}

fn examine<C: Connector>(section: Value, process: Process) -> BoxFuture<'static, Result<Examined, String>> {
    async move {
        let (connector, _) = build::<C>(section, &process, false)?;
        Ok(connector.examine().await)
    }
    .boxed()
}

fn sweeper<C: Connector>(section: Value, process: &Process) -> Result<BoxSweeper, String> {
    if !C::HAS_SWEEP {
        return Err(format!(
            "{} cannot be asked what changed: its records tell of themselves as they change",
            C::SYSTEM
        ));
    }
    let (connector, settings) = build::<C>(section, process, false)?;
    connector.sweeps_something()?;
    Ok(Box::new(Swept { connector, backoff: settings.backoff }))
}

fn build<C: Connector>(mut section: Value, process: &Process, hears: bool) -> Result<(C, Settings), String> {
    if section.is_null() {
        section = Value::Object(serde_json::Map::new());
    }
    let run =
        section.as_object_mut().and_then(|keys| keys.remove("run")).unwrap_or(Value::Object(serde_json::Map::new()));
    // Through `section`, because the environment has nothing but texts.
    let settings: Settings = runtime::config::section("run", &run).map_err(|error| error.to_string())?;
    if settings.concurrency == 0 || settings.held_max < settings.concurrency {
        return Err("run: concurrency must be at least 1, and held_max at least as much".into());
    }
    if settings.sweep_least_s == 0 {
        return Err("run: sweep_least_s must be at least 1".into());
    }
    let config = runtime::config::section("", &section).map_err(|error| error.to_string())?;
    let calls = Calls::new(C::SYSTEM, C::LIMITS, settings.calls.clone(), process.clone())?;
    Ok((C::new(config, Parts { process: process.clone(), calls, hears })?, settings))
}
