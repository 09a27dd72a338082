//! The connector's side of agentapi: events and polls in, messages out. The only files that do I/O.

mod tell;
mod watch;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use connector::{Calls, Failure, Finding, Parts, Reading, Severity};
use model::{Actor, LifecycleName, Native, Observation, Origin, RecordRef, Source, Timestamp};
use reqwest::StatusCode;
use runtime::Process;

use crate::config::{self, Agent, Config};
use crate::decode;
use crate::often::Often;
use crate::watched::{Patience, Watched};

/// The agents.
pub(crate) struct Client {
    config: Config,
    process: Process,
    /// This one, among all that may watch the agents.
    watcher: String,
    lifecycle: LifecycleName,
    agents: Vec<Reached>,
    /// Rises with each observation, across restarts too: an agent has no positions of its own.
    point: AtomicU64,
    /// The messages sent last, so that an attempt at the others does not repeat them.
    sent: Mutex<VecDeque<String>>,
    /// What agents were told of each other.
    often: Mutex<Often>,
}

/// One agent with the ways to it.
struct Reached {
    agent: Agent,
    record: RecordRef,
    watch: Calls,
    /// What is known of it, from one watch to the next.
    watched: tokio::sync::Mutex<Watched>,
    /// Another process has watched it since: that is not to be gone by any more.
    by_another: AtomicBool,
    /// Apart from the other: a busy agent answers with a 500, which must not look like one out of reach.
    tell: Calls,
}

impl Client {
    pub(crate) fn new(config: Config, parts: &Parts) -> Result<Self, String> {
        let patience = patience(&config);
        let reached = |agent: Agent| {
            let (record, watched) = (config::record(&agent.name)?, Watched::new(patience).into());
            let (watch, tell) = (parts.calls.scoped(), parts.calls.scoped());
            Ok(Reached { agent, record, watched, by_another: AtomicBool::new(false), watch, tell })
        };
        let agents = config.all().into_iter().map(reached).collect::<Result<_, String>>()?;
        let lifecycle = LifecycleName::new("agent").map_err(|error| error.to_string())?;
        // Milliseconds leave room for a thousand observations in each before two starts could meet.
        let start = u64::try_from(parts.process.now_ms()).unwrap_or_default().saturating_mul(1_000);
        let process = parts.process.clone();
        let watcher = format!("{}/{}", process.instance(), runtime::unique());
        Ok(Self {
            config,
            process,
            watcher,
            lifecycle,
            agents,
            point: AtomicU64::new(start),
            sent: Mutex::default(),
            often: Mutex::default(),
        })
    }

    fn agent(&self, record: &RecordRef) -> Result<&Reached, Failure> {
        let found = self.agents.iter().find(|reached| reached.record == *record);
        found.ok_or_else(|| Failure::gone(format!("{record}: no agent of this name is configured")))
    }

    fn observation(&self, reached: &Reached, native: Native, source: Source) -> Observation {
        let Reached { agent, record, .. } = reached;
        let point = self.point.fetch_add(1, Ordering::Relaxed);
        Observation {
            actor: Some(Actor { name: agent.name.clone(), id: None, automation: true }),
            // It cannot be told a status, so what it shows is never our write.
            origin: Origin::Other,
            lifecycle: Some(self.lifecycle.clone()),
            title: Some(agent.name.clone()),
            url: agent.shown_url(),
            mentions: agent.item.iter().cloned().collect(),
            ..Observation::new(
                connector::observation_id(record, &native, point),
                record.clone(),
                native,
                source,
                Timestamp(self.process.now_ms()),
            )
        }
    }

    /// Whether each agent answers.
    pub(crate) async fn examine(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for reached in &self.agents {
            let about = format!("agentapi, {}", reached.agent.name);
            findings.push(match status(&reached.agent, &reached.watch).await {
                Ok(native) => Finding::new(Severity::Info, "reachable", about, format!("it is {native}"), ""),
                // Agents come and go with their work; the connector waits for them.
                Err(failure) => Finding { severity: Severity::Warning, ..Finding::failed(about, &failure) },
            });
        }
        findings
    }

    /// What an agent shows now, in its server's own word.
    pub(crate) async fn read(&self, record: &RecordRef) -> Result<Reading, Failure> {
        let reached = self.agent(record)?;
        let native = status(&reached.agent, &reached.watch).await?;
        Ok(Reading { observation: self.observation(reached, native, Source::Poll), extra: serde_json::Value::Null })
    }
}

fn patience(config: &Config) -> Patience {
    let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    Patience {
        stable_ms: ms(config.stable_ms),
        offline_ms: ms(config.offline_after_s.saturating_mul(1_000)),
        repeat_ms: ms(config.repeat_s.saturating_mul(1_000)),
    }
}

async fn status(agent: &Agent, calls: &Calls) -> Result<Native, Failure> {
    let answer = calls.send(calls.client().get(agent.address("status")), "status").await?;
    if answer.status == StatusCode::BAD_REQUEST {
        let why = "GET /status: answered with 400; agentapi's --allowed-hosts may lack the name under which connector.agentapi has it";
        return Err(Failure::refused("rejected", why));
    }
    let answer = answer.success("GET /status")?;
    decode::status(&answer.bytes).map_err(|why| Failure::refused("unexpected_answer", format!("GET /status: {why}")))
}
