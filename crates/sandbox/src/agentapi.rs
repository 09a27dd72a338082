//! A stand-in for coder/agentapi: one server per agent, with its messages, its two statuses and its event stream.
//!
//! There is no agent behind it: a message makes it run, and a person's hand makes it stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::control::{self, Controls};
use crate::counters::Counters;
use crate::faults::{Faults, SharedFaults};
use crate::journal::Journal;
use crate::server::{self, Server};

mod conversation;
mod problem;
mod routes;

use conversation::Conversation;
use routes::Agent;

/// How an agent's sandbox starts.
#[derive(Debug, Clone)]
pub struct AgentapiOptions {
    /// The agent's name: the key of its writes among the counts, and of its journal.
    pub name: String,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder for its journal; without one it forgets everything.
    pub data: Option<PathBuf>,
    /// What kind of agent it says it is.
    pub agent_type: String,
    /// How often a running agent's last message changes.
    pub redraw: Duration,
    /// Names that the `Host` header may have; `*` is any.
    pub allowed_hosts: Vec<String>,
    /// What it does wrong.
    pub faults: Faults,
}

impl Default for AgentapiOptions {
    fn default() -> Self {
        Self {
            name: "agent-1".to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data: None,
            agent_type: "claude".to_owned(),
            redraw: Duration::from_millis(250),
            allowed_hosts: ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec(),
            faults: Faults::default(),
        }
    }
}

/// A running agent's sandbox.
pub struct AgentapiSandbox {
    agent: Arc<Agent>,
    server: Server,
    _redrawing: DropGuard,
}

/// Starts an agent's sandbox.
pub async fn start(options: AgentapiOptions) -> anyhow::Result<AgentapiSandbox> {
    let path = options.data.as_ref().map(|folder| folder.join(format!("agentapi-{}.jsonl", options.name)));
    let (journal, entries) = Journal::open(path.as_deref())?;
    let agent = Arc::new(Agent {
        name: options.name,
        held: Mutex::new(Conversation::replayed(options.agent_type, journal, entries)?),
        counters: Counters::default(),
        faults: SharedFaults::new(options.faults),
        allowed_hosts: options.allowed_hosts,
    });
    let controls = Controls { faults: agent.faults.clone(), counters: agent.counters.clone(), webhooks: None };
    let router =
        routes::controls().merge(routes::api(&agent)).with_state(Arc::clone(&agent)).merge(control::router(controls));
    let server = server::serve(options.listen, router).await?;
    let stopping = CancellationToken::new();
    tokio::spawn(redraw(Arc::clone(&agent), options.redraw, stopping.clone()));
    Ok(AgentapiSandbox { agent, server, _redrawing: stopping.drop_guard() })
}

/// Redraws the screen of a running agent until the server stops.
async fn redraw(agent: Arc<Agent>, every: Duration, stopping: CancellationToken) {
    let every = every.max(Duration::from_millis(1));
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return agent.lock().close(),
            _ = ticks.tick() => agent.lock().redraw(),
        }
    }
}

impl AgentapiSandbox {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Its address, without a slash at its end.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The agent's name.
    pub fn name(&self) -> &str {
        &self.agent.name
    }

    /// What it was asked for.
    pub fn counters(&self) -> &Counters {
        &self.agent.counters
    }

    /// What it does wrong.
    pub fn faults(&self) -> &SharedFaults {
        &self.agent.faults
    }

    /// Makes the agent run, saying `doing`.
    pub fn run(&self, doing: &str) -> anyhow::Result<()> {
        self.agent.by_hand(|held| held.run(doing))
    }

    /// Makes its screen stand still: `stable`.
    pub fn stand_still(&self) -> anyhow::Result<()> {
        self.agent.by_hand(Conversation::stop)
    }

    /// Reports an error beside the conversation.
    pub fn fail(&self, message: &str) {
        self.agent.by_hand(|held| held.fail(message, "error"));
    }

    /// `running` or `stable`.
    pub fn status(&self) -> &'static str {
        self.agent.lock().status()
    }

    /// Everything it remembers.
    pub fn state(&self) -> Value {
        self.agent.lock().dump()
    }

    /// Ends its event streams, stops it, and frees its port.
    pub async fn stop(self) {
        self.agent.lock().close();
        self.server.stop().await;
    }
}
