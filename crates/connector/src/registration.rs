//! One line for each connector: everything that the rest of Lockstep knows of it.

use bus::Bus;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::Backoff;
use runtime::Process;
use runtime::config::ConfigError;
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
    /// Makes what reads the system from its beginning; the key and why where its section does not serve, or leaves nothing to sweep, or it
    /// has no sweep.
    pub sweeper: fn(Value, &Process) -> Result<BoxSweeper, ConfigError>,
    /// Whether its section could be run with, without I/O; else the key and why.
    pub check: fn(&Value) -> Result<(), ConfigError>,
    /// Looks at the system with its section; see [`Connector::examine`]. A section that cannot be run with is the key and why.
    pub examine: fn(Value, Process) -> BoxFuture<'static, Result<Examined, ConfigError>>,
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
        let (connector, settings) = build::<C>(section, &process, true)?;
        crate::run(connector, settings, process, bus).await.map(drop)
    }
    .boxed()
}

fn check<C: Connector>(section: &Value) -> Result<(), ConfigError> {
    // A process that is only looked at by the connector's constructor, which does no I/O.
    build::<C>(section.clone(), &Process::new(C::SYSTEM, None), true).map(drop)
}

fn examine<C: Connector>(section: Value, process: Process) -> BoxFuture<'static, Result<Examined, ConfigError>> {
    async move {
        let (connector, _) = build::<C>(section, &process, false)?;
        Ok(connector.examine().await)
    }
    .boxed()
}

fn sweeper<C: Connector>(section: Value, process: &Process) -> Result<BoxSweeper, ConfigError> {
    if !C::HAS_SWEEP {
        let why = "cannot be asked what changed: its records tell of themselves as they change";
        return Err(wrong::<C>(format!("{} {why}", C::SYSTEM)));
    }
    let (connector, settings) = build::<C>(section, process, false)?;
    connector.sweeps_something().map_err(wrong::<C>)?;
    Ok(Box::new(Swept { connector, backoff: settings.backoff }))
}

fn build<C: Connector>(mut section: Value, process: &Process, hears: bool) -> Result<(C, Settings), ConfigError> {
    if section.is_null() {
        section = Value::Object(serde_json::Map::new());
    }
    let run =
        section.as_object_mut().and_then(|keys| keys.remove("run")).unwrap_or(Value::Object(serde_json::Map::new()));
    let name = format!("connector.{}", C::SYSTEM);
    // Through `section`, because the environment has nothing but texts.
    let settings: Settings = runtime::config::section(&format!("{name}.run"), &run)?;
    if settings.concurrency == 0 || settings.held_max < settings.concurrency {
        return Err(wrong::<C>("run: concurrency must be at least 1, and held_max at least as much".into()));
    }
    if settings.backoff.attempts == 0 {
        return Err(wrong::<C>("run.backoff.attempts: is 0; it must be at least 1, which tries once".into()));
    }
    if settings.sweep_least_s == 0 {
        return Err(wrong::<C>("run.sweep_least_s: must be at least 1".into()));
    }
    let config = runtime::config::section(&name, &section).map_err(with_run::<C>)?;
    let calls = Calls::new(C::SYSTEM, C::LIMITS, settings.calls.clone(), process.clone()).map_err(wrong::<C>)?;
    let connector = C::new(config, Parts { process: process.clone(), calls, hears }).map_err(wrong::<C>)?;
    Ok((connector, settings))
}

/// A connector's sentence, with the key that it begins with apart.
fn wrong<C: Connector>(sentence: String) -> ConfigError {
    let name = format!("connector.{}", C::SYSTEM);
    let is_key = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c));
    match sentence.split_once(": ") {
        Some((key, why)) if is_key(key) => ConfigError::new(format!("{name}.{key}"), why),
        _ => ConfigError::new(name, sentence),
    }
}

/// The keys that are known in a section, with the one that its owner never sees.
fn with_run<C: Connector>(mut error: ConfigError) -> ConfigError {
    let is_own = error.key.strip_prefix("connector.").and_then(|rest| rest.strip_prefix(C::SYSTEM));
    let is_own = is_own.is_some_and(|rest| rest.matches('.').count() == 1 && !rest.contains('['));
    if is_own && error.why.starts_with(runtime::config::UNKNOWN) {
        error.why.push_str(", run");
    }
    error
}
