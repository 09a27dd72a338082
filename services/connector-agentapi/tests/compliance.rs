//! The suite of `crates/connector` over the sandbox of agentapi, and what is peculiar to agents.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

#[path = "compliance/front.rs"]
mod front;

use std::collections::BTreeSet;
use std::time::Duration;

use bus::testing::Server;
use bus::{Bus, Feed, Outgoing, Stream, Tail};
use connector::calls::{CallSettings, Calls};
use connector::compliance::{Misbehave, World, check};
use connector::{Connector, Parts, Registration, Webhook};
use connector_agentapi::{Agentapi, REGISTRATION};
use front::Silent;
use model::{Native, RecordRef};
use proto::v1::{AgentState, Change, Observation};
use runtime::Process;
use sandbox::agentapi::{AgentapiOptions, AgentapiSandbox, start};
use serde_json::{Value, json};
use tokio::time::timeout;

/// Within this everything that should happen happens.
const DEADLINE: Duration = Duration::from_secs(30);

struct Agent(AgentapiSandbox);

impl Agent {
    async fn start() -> Self {
        // It redraws without a pause, as a busy terminal does.
        let options = AgentapiOptions { redraw: Duration::from_millis(5), ..AgentapiOptions::default() };
        Self(start(options).await.unwrap())
    }
}

impl Agent {
    /// What it was told.
    fn said(&self) -> Vec<Value> {
        let state = self.0.state();
        state["messages"].as_array().unwrap().iter().filter(|said| said["role"] == "user").cloned().collect()
    }

    async fn is_told(&self, first: &str) {
        timeout(DEADLINE, async {
            while self.said().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("it is told");
        assert_eq!(self.said()[0]["content"], first);
    }
}

impl World for Agent {
    type Connector = Agentapi;

    fn registration(&self) -> Registration {
        REGISTRATION
    }

    fn section(&self) -> Value {
        json!({"url": self.0.url(), "name": self.0.name(), "item": "ENG-1", "stable_ms": 200, "poll_s": 1})
    }

    fn statuses(&self) -> [Native; 2] {
        ["running", "running"].map(|native| Native::new(native).unwrap())
    }

    fn can(&self, _: Misbehave) -> bool {
        false
    }

    async fn make(&self) -> RecordRef {
        format!("agentapi/agent/{}", self.0.name()).parse().unwrap()
    }

    async fn edit(&self, _: &RecordRef, _: &Native) {
        self.0.run("Mending the roof").unwrap();
    }

    async fn shows(&self, _: &RecordRef) -> Native {
        Native::new(self.0.status()).unwrap()
    }

    async fn writes(&self, _: &RecordRef) -> u64 {
        0
    }

    async fn webhooks(&self) -> Vec<Webhook> {
        Vec::new()
    }

    async fn misbehave(&self, _: Misbehave) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connector_complies() {
    check(&Agent::start().await).await;
}

/// A running connector, and what it publishes.
struct Running {
    process: Process,
    bus: Bus,
    seen: Feed,
    server: Server,
}

impl Running {
    async fn start(section: Value) -> Self {
        let server = Server::start().unwrap();
        let process = Process::new("connector-agentapi", None);
        let bus = Bus::connect(&server.config(), &process).await.unwrap();
        bus.ensure_topology().await.unwrap();
        let seen = bus.tail(Stream::Observations, &[], Tail::New).await.unwrap();
        (REGISTRATION.run)(section, process.clone(), bus.clone()).await.unwrap();
        Self { process, bus, seen, server }
    }

    async fn next(&mut self) -> Observation {
        let message = timeout(DEADLINE, self.seen.next()).await.expect("something is seen").unwrap();
        proto::decode(None, &message.payload).unwrap()
    }

    async fn shows(&mut self, native: &str) -> Observation {
        let seen = self.next().await;
        assert_eq!(seen.native, native);
        seen
    }

    /// Waits until a change is acknowledged: its agents are told, or it is a dead letter.
    async fn is_done(&self, sequence: u64) {
        timeout(DEADLINE, async {
            let done = |lag: &bus::Lag| lag.stream == "CHANGES" && lag.acked >= sequence;
            while !self.bus.consumer_lag().await.unwrap().iter().any(done) {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the change is done with");
    }

    async fn end(self) {
        self.process.shutdown().cancel();
        self.process.finished(DEADLINE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_day_is_told_once_each() {
    let agent = Agent::start().await;
    let mut section = agent.section();
    section["offline_after_s"] = json!(1);
    let mut running = Running::start(section).await;
    let first = running.shows("stable").await;
    assert_eq!((first.mentions, first.origin.as_str(), first.position), (vec!["ENG-1".to_owned()], "other", 0));
    agent.0.run("Mending the roof").unwrap();
    let second = running.shows("running").await;
    assert_ne!(first.id, second.id);
    agent.0.stand_still().unwrap();
    let third = running.shows("stable").await;
    assert_ne!(first.id, third.id, "the same word again is news");
    agent.0.fail("the agent's process ended");
    running.shows("error").await;
    agent.0.run("Once more").unwrap();
    running.shows("running").await;
    agent.0.stop().await;
    running.shows("offline").await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_several_agents_is_seen_whatever_becomes_of_the_others() {
    let (first, second) = (Agent::start().await, Agent::start().await);
    let agents = json!([{"name": "first", "url": first.0.url()}, {"name": "second", "url": second.0.url()}]);
    let section = json!({"agents": agents, "stable_ms": 200, "poll_s": 1, "offline_after_s": 1});
    first.0.run("Mending the roof").unwrap();
    second.0.run("Painting the door").unwrap();
    let mut running = Running::start(section).await;
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        seen.insert(running.shows("running").await.record);
    }
    assert_eq!(Vec::from_iter(seen), ["agentapi/agent/first", "agentapi/agent/second"]);
    first.0.stop().await;
    assert_eq!(running.shows("offline").await.record, "agentapi/agent/first");
    second.0.stand_still().unwrap();
    assert_eq!(running.shows("stable").await.record, "agentapi/agent/second");
    running.end().await;
}

/// An agent whose event stream is silent, polled this often.
fn silent_section(agent: &Silent, poll_s: u64) -> Value {
    json!({"url": agent.url, "name": "agent-1", "stable_ms": 200, "poll_s": poll_s, "offline_after_s": 600})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_event_stream_leaves_out_is_seen_by_the_polls() {
    let agent = Silent::start("stable").await;
    let mut running = Running::start(silent_section(&agent, 1)).await;
    running.shows("stable").await;
    agent.turns(Some("running"));
    running.shows("running").await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_asked_for_its_status_as_soon_as_its_event_stream_is_open() {
    let agent = Silent::start("running").await;
    let mut running = Running::start(silent_section(&agent, 600)).await;
    running.shows("running").await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_status_cannot_be_polled_is_connected_to_anew() {
    let mut agent = Silent::start("stable").await;
    let mut running = Running::start(silent_section(&agent, 1)).await;
    running.shows("stable").await;
    agent.is_opened().await;
    agent.turns(None);
    timeout(DEADLINE, agent.is_opened()).await.expect("there is a new session");
    agent.turns(Some("running"));
    running.shows("running").await;
    running.end().await;
}

/// The bus is away for longer than a lease is believed to be held.
const OUTAGE: Duration = Duration::from_secs(7);

/// What an agent shows that was off when the bus went away, and stood still when it was back.
async fn shows_after_an_outage(another_watched: bool) -> String {
    let agent = Agent::start().await;
    let (mut section, listen) = (agent.section(), agent.0.addr());
    section["offline_after_s"] = json!(1);
    let mut running = Running::start(section).await;
    running.shows("stable").await;
    agent.0.stop().await;
    running.shows("offline").await;
    if another_watched {
        running.bus.store_cursor("watch/agentapi", "another".into()).await.unwrap();
    }
    running.server.kill();
    tokio::time::sleep(OUTAGE).await;
    let agent = start(AgentapiOptions { listen, ..AgentapiOptions::default() }).await.unwrap();
    running.server.restart().unwrap();
    let shown = running.next().await.native;
    agent.stop().await;
    running.end().await;
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_off_hands_nothing_over_though_the_bus_was_away_meanwhile() {
    assert_eq!(shows_after_an_outage(false).await, "idle");
}

/// The other may have seen it run.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_another_process_watched_meanwhile_hands_over() {
    assert_eq!(shows_after_an_outage(true).await, "stable");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_failed_before_it_was_watched_has_failed() {
    let agent = Agent::start().await;
    agent.0.run("Mending the roof").unwrap();
    agent.0.stand_still().unwrap();
    agent.0.fail("the agent's process ended");
    let mut section = agent.section();
    section["stable_ms"] = json!(10_000);
    let mut running = Running::start(section).await;
    running.shows("error").await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_is_told_of_an_agents_state_whatever_its_item_is() {
    let agent = Agent::start().await;
    let running = Running::start(agent.section()).await;
    let mut live =
        running.bus.tail(Stream::Live, &["lockstep.live.agent_state.*".into()], Tail::Sequence(1)).await.unwrap();
    let mut told = async || {
        let message = timeout(DEADLINE, live.next()).await.expect("a state is told").unwrap();
        let state: AgentState = proto::decode(None, &message.payload).unwrap();
        assert_eq!((state.agent.as_str(), state.task.as_str()), (agent.0.name(), "ENG-1"));
        (state.previous, state.status)
    };
    assert_eq!(told().await, (String::new(), "idle".into()));
    agent.0.run("Mending the roof").unwrap();
    assert_eq!(told().await, ("idle".into(), "working".into()));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_shows_is_told_again_from_time_to_time() {
    let agent = Agent::start().await;
    agent.0.run("Mending the roof").unwrap();
    let mut section = agent.section();
    section["repeat_s"] = json!(1);
    let mut running = Running::start(section).await;
    let first = running.shows("running").await;
    let again = running.shows("running").await;
    assert_ne!(first.id, again.id, "or the bus would take it for a copy");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_never_there_is_unknown() {
    let agent = Agent::start().await;
    let mut section = agent.section();
    section["offline_after_s"] = json!(1);
    agent.0.stop().await;
    let mut running = Running::start(section).await;
    running.shows("unknown").await;
    running.end().await;
}

/// A change of the item that an agent works on.
fn change(id: &str, to: &str, agent: &str, at: i64) -> Change {
    Change {
        id: id.into(),
        kind: "status_changed".into(),
        item: format!("0192f0c1-2d3e-7000-8000-00000000000{}", agent.len() % 10),
        version: 4,
        lifecycle: "work".into(),
        key: "ENG-1".into(),
        from: "in_progress".into(),
        to: to.into(),
        record: "linear/issue/1".into(),
        recorded_at: at,
        records: vec!["linear/issue/1".into(), format!("agentapi/agent/{agent}")],
        ..Change::default()
    }
}

#[tokio::test]
async fn an_agent_that_does_not_allow_our_name_for_it_says_what_to_do() {
    let options = AgentapiOptions { allowed_hosts: vec!["agent.example".to_owned()], ..AgentapiOptions::default() };
    let agent = Agent(start(options).await.unwrap());
    let process = Process::new("agentapi", None);
    let calls = Calls::new("agentapi", Agentapi::LIMITS, CallSettings::default(), process.clone()).unwrap();
    let config = serde_json::from_value(json!({"url": agent.0.url(), "name": agent.0.name()})).unwrap();
    let connector = Agentapi::new(config, Parts { process, calls, hears: true }).unwrap();
    let findings = connector.examine().await.findings;
    assert!(findings[0].message.contains("--allowed-hosts"), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_do_not_set_each_other_to_work_without_end() {
    let agent = Agent::start().await;
    let mut section = agent.section();
    section["messages"] = json!([{"on": ["in_review"], "text": "look", "type": "raw"}]);
    let running = Running::start(section).await;
    let now = running.process.now_ms();
    for turn in 0..4 {
        let moved = change(&format!("i:{turn}"), "in_review", agent.0.name(), now + turn);
        let moved = Change { record: "agentapi/agent/another".into(), ..moved };
        let sequence = running.bus.publish(Outgoing::change(&moved).unwrap()).await.unwrap();
        // Else the next one would take its place before the agent is told.
        running.is_done(sequence).await;
    }
    let mut dead = running.bus.tail(Stream::DeadLetters, &[], Tail::Sequence(1)).await.unwrap();
    let letter = timeout(DEADLINE, dead.next()).await.expect("the fourth is a dead letter").unwrap();
    assert_eq!(letter.subject, "lockstep.dead.connector-agentapi.told_too_often");
    let last: Change = proto::decode(None, &letter.payload).unwrap();
    assert_eq!(last.id, "i:3");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_gone_or_busy_keeps_no_other_from_being_told() {
    let (gone, busy, idle) = (Agent::start().await, Agent::start().await, Agent::start().await);
    busy.0.run("Mending the roof").unwrap();
    let agents = json!([
        {"name": "gone", "url": gone.0.url()}, {"name": "busy-1", "url": busy.0.url()}, {"name": "idle--2", "url": idle.0.url()}
    ]);
    gone.0.stop().await;
    let text = "{agent}: {key} was {to}.";
    let running = Running::start(json!({"agents": agents, "messages": [{"on": ["canceled"], "text": text}]})).await;
    let now = running.process.now_ms();
    for (id, agent) in [("g:1", "gone"), ("b:1", "busy-1"), ("i:1", "idle--2")] {
        running.bus.publish(Outgoing::change(&change(id, "canceled", agent, now)).unwrap()).await.unwrap();
    }
    idle.is_told("idle--2: ENG-1 was canceled.").await;
    assert_eq!(busy.said().len(), 0);
    busy.0.stand_still().unwrap();
    busy.is_told("busy-1: ENG-1 was canceled.").await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_change_is_told_once_as_soon_as_the_agent_stands_still() {
    let agent = Agent::start().await;
    agent.0.run("Mending the roof").unwrap();
    let mut section = agent.section();
    section["messages"] = json!([{"on": ["canceled"], "text": "{key} was {to}."}]);
    let mut running = Running::start(section).await;
    running.shows("running").await;
    let now = running.process.now_ms();
    // The third is what a crash after the message and before its note leaves: the same change under another id.
    let change = |id: &str, to: &str| change(id, to, "agent-1", now);
    for change in [change("i:3", "done"), change("i:4", "canceled"), change("i:4-again", "canceled")] {
        running.bus.publish(Outgoing::change(&change).unwrap()).await.unwrap();
    }
    let busy = timeout(Duration::from_millis(500), running.next()).await;
    assert!(busy.is_err(), "a busy agent is left alone: {busy:?}");
    agent.0.stand_still().unwrap();
    // The message sets it to work again, at the latest after it was shown as stable.
    agent.is_told("ENG-1 was canceled.").await;
    timeout(DEADLINE, async {
        let taken = |lag: &bus::Lag| {
            lag.consumer.contains("agentapi") && lag.stream == "CHANGES" && lag.pending + lag.ack_pending == 0
        };
        while !running.bus.consumer_lag().await.unwrap().iter().any(taken) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("all changes are taken");
    assert_eq!(agent.said().len(), 1);
    running.end().await;
}
