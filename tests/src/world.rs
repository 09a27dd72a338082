//! One test's whole world: servers, sandboxes, the table, and the executable.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bus::testing::Server;
use bus::{Bus, Stream};
use runtime::Process;
use sandbox::agentapi::{AgentapiOptions, AgentapiSandbox};
use sandbox::github::{GithubLimits, GithubOptions, GithubSandbox};
use sandbox::linear::{LinearLimits, LinearOptions, LinearSandbox, NewIssue};
use tempfile::TempDir;

use crate::database::Database;
use crate::edits::People;
use crate::face::Face;
use crate::lockstep::Lockstep;
use crate::oracle::{self, Piece, REPO};
use crate::postgres::Postgres;
use crate::settings::{self, Addresses, Settings, credentials};
use crate::table::Tasks;
use crate::{DEADLINE, eventually};

/// How often in a row nothing may have happened before it is quiet, and the time between two looks.
const QUIET: (u32, Duration) = (5, Duration::from_millis(60));

/// Everything that a test can touch.
pub struct World {
    /// Linear.
    pub linear: LinearSandbox,
    /// GitHub.
    pub github: GithubSandbox,
    /// The agent `agent-1`.
    pub agent: AgentapiSandbox,
    /// The table.
    pub tasks: Tasks,
    /// The executable.
    pub lockstep: Lockstep,
    /// Its HTTP faces.
    pub face: Face,
    /// The test's own connection to the bus, to look and not to speak.
    pub bus: Bus,
    /// The database, Lockstep's own tables in it included.
    pub database: Database,
    /// The pieces of work that show in every system.
    pub pieces: Vec<Piece>,
    /// NATS.
    pub nats: Server,
    /// PostgreSQL, where the test has its own.
    pub postgres: Option<Postgres>,
    /// What Lockstep was configured with.
    pub configuration: String,
    _folder: TempDir,
}

/// Makes a world, lets the test happen in it with Lockstep running and settled, and takes it down. When the test fails,
/// what Lockstep said is printed. An end that is not orderly fails the test, too.
pub async fn with_world(
    settings: Settings,
    test: impl AsyncFnOnce(&mut World) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut world = World::make(&settings).await?;
    let mut outcome = async {
        world.lockstep.start().await?;
        world.agrees(DEADLINE).await.context("at the start")?;
        test(&mut world).await
    }
    .await;
    if outcome.is_err() && world.lockstep.is_running() {
        let why = oracle::explained(&world).await.unwrap_or_else(|error| format!("cannot be told: {error:#}"));
        eprintln!("--- what was observed of what does not agree ---\n{why}");
    }
    if world.lockstep.is_running() {
        let stopped = world.lockstep.stop().await;
        outcome = outcome.and_then(|()| {
            let status = stopped?;
            ensure!(status.success(), "lockstep did not end in order: {status}");
            Ok(())
        });
    }
    let output = world.lockstep.output();
    if outcome.is_ok() && output.contains("panicked at") {
        outcome = Err(anyhow::anyhow!("a task of lockstep panicked"));
    }
    if outcome.is_err() {
        eprintln!("--- what lockstep said ---\n{}\n--- end ---", in_short(&output));
    }
    world.database.remove().await?;
    outcome
}

impl World {
    /// Makes a world in which Lockstep does not run yet.
    pub async fn make(settings: &Settings) -> anyhow::Result<Self> {
        Self::make_on(Server::start()?, settings).await
    }

    /// The same with this NATS.
    pub async fn make_on(nats: Server, settings: &Settings) -> anyhow::Result<Self> {
        let postgres = if settings.own_postgres { Some(Postgres::start().await?) } else { None };
        let database = match &postgres {
            Some(postgres) => Database::create_on(postgres.url()).await?,
            None => Database::create().await?,
        };
        let tasks = Tasks::create(database.pool()).await?;
        let gateway = free_address()?;
        let linear = linear_sandbox().await?;
        let github = github_sandbox().await?;
        let agent = sandbox::agentapi::start(AgentapiOptions::default()).await?;
        let pieces = pieces(settings.pieces, &linear, &github, &tasks).await?;
        // What is there before is found by the first sweeps; from now on there are webhooks.
        linear.webhooks().set_target(Some(format!("http://{gateway}/webhooks/linear")));
        github.webhooks().set_target(Some(format!("http://{gateway}/webhooks/github")));
        let folder = tempfile::tempdir()?;
        let configuration = settings::toml(
            settings,
            &Addresses {
                gateway,
                nats: &with_password(&nats.url(), credentials::NATS_PASSWORD)?,
                database: &database.url()?,
                linear: &linear.graphql_url(),
                github: &github.url(),
                agent: &with_password(&agent.url(), credentials::AGENT_PASSWORD)?,
            },
        );
        let process = Process::new("system-tests", None);
        let bus = Bus::connect(&nats.config(), &process).await?;
        // The same that every service does at its start; the test only wants the streams to be there when it looks.
        bus.ensure_topology().await?;
        Ok(Self {
            lockstep: Lockstep::new(folder.path(), &configuration)?,
            face: Face::new(format!("http://{gateway}"))?,
            linear,
            github,
            agent,
            tasks,
            bus,
            database,
            pieces,
            nats,
            postgres,
            configuration,
            _folder: folder,
        })
    }

    /// The people who edit in it.
    pub fn people(&self) -> People<'_> {
        People {
            pieces: &self.pieces,
            tasks: &self.tasks,
            linear: &self.linear,
            github: &self.github,
            face: &self.face,
        }
    }

    /// Waits until nothing is under way: every reader has read everything, no webhook waits to be sent, the outbox is
    /// empty, and nothing new came for a while.
    pub async fn quiet(&self, deadline: Duration) -> anyhow::Result<()> {
        let mut seen = (Vec::new(), 0);
        eventually(deadline, "nothing is under way any more", async || {
            tokio::time::sleep(QUIET.1).await;
            let busy = self.under_way().await?;
            let mut now = Vec::new();
            for stream in [Stream::Webhooks, Stream::Observations, Stream::Commands, Stream::Changes] {
                now.push(self.bus.stream_info(stream).await?.1);
            }
            seen = if busy.is_empty() && seen.0 == now { (now, seen.1 + 1) } else { (now, 0) };
            ensure!(busy.is_empty(), "{}", busy.join(", "));
            Ok((seen.1 >= QUIET.0).then_some(()))
        })
        .await
    }

    async fn under_way(&self) -> anyhow::Result<Vec<String>> {
        let mut busy: Vec<String> = Vec::new();
        for lag in self.bus.consumer_lag().await? {
            if lag.pending + lag.ack_pending > 0 {
                busy.push(format!("{} has {} and {} to read", lag.consumer, lag.pending, lag.ack_pending));
            }
        }
        let sending = [("Linear", self.linear.webhooks().pending()), ("GitHub", self.github.webhooks().pending())];
        busy.extend(sending.iter().filter(|(_, n)| *n > 0).map(|(who, n)| format!("{who} has {n} webhooks to send")));
        let waiting = self.tasks.waiting().await?;
        if waiting > 0 {
            busy.push(format!("the outbox holds {waiting}"));
        }
        Ok(busy)
    }

    /// Waits until all is quiet and every system shows what it should.
    pub async fn agrees(&self, deadline: Duration) -> anyhow::Result<()> {
        eventually(deadline, "everything agrees", async || {
            self.quiet(deadline).await?;
            let wrong = oracle::disagreements(self).await?;
            ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
            Ok(Some(()))
        })
        .await
    }

    /// All that was observed of these records and reported by connectors, in the order of the stream.
    pub async fn observed(&self, records: &[String]) -> anyhow::Result<Vec<String>> {
        let last = self.bus.stream_info(Stream::Observations).await?.1;
        let mut lines = Vec::new();
        for sequence in 1..=last {
            let Some(message) = self.bus.peek(Stream::Observations, sequence).await? else { continue };
            let told = if message.subject.starts_with("lockstep.delivery.") {
                let seen: proto::v1::Delivery = message.decode()?;
                (seen.record, format!("{} {} {} v{}", seen.outcome, seen.native, seen.position, seen.version), seen.id)
            } else {
                let seen: proto::v1::Observation = message.decode()?;
                (seen.record, format!("{} {} {} {}", seen.source, seen.native, seen.position, seen.origin), seen.id)
            };
            if records.contains(&told.0) {
                lines.push(format!("{sequence} at {}: {} {} ({})", message.published_at_ms, told.0, told.1, told.2));
            }
        }
        Ok(lines)
    }

    /// The piece of work with that key.
    pub fn piece(&self, key: &str) -> anyhow::Result<&Piece> {
        self.pieces.iter().find(|piece| piece.key == key).with_context(|| format!("there is no piece {key}"))
    }
}

/// What went wrong, and the last of what it said.
fn in_short(output: &str) -> String {
    const LAST: usize = 60;
    let lines: Vec<&str> = output.lines().collect();
    let (before, last) = lines.split_at(lines.len().saturating_sub(LAST));
    let wrong = before.iter().filter(|line| ["WARN", "ERROR", "panicked"].iter().any(|word| line.contains(word)));
    wrong.chain(last).copied().collect::<Vec<_>>().join("\n")
}

/// A port that was free a moment ago: it must be known before the start, and stay the same after a restart. It is below those
/// that the system gives to connections, which would take it while its process is down. None is given out twice.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..100 {
        let port = rand::random_range(15_000..30_000);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            && given.insert(port)
        {
            return Ok(listener.local_addr()?);
        }
    }
    anyhow::bail!("no port is free")
}

/// An address in which somebody's password stands.
fn with_password(url: &str, password: &str) -> anyhow::Result<String> {
    let (scheme, place) = url.split_once("://").with_context(|| format!("{url} is no address"))?;
    Ok(format!("{scheme}://somebody:{password}@{place}"))
}

async fn linear_sandbox() -> anyhow::Result<LinearSandbox> {
    let sandbox = sandbox::linear::start(LinearOptions {
        webhook_secret: credentials::LINEAR_SECRET.to_owned(),
        oauth_token: credentials::LINEAR_TOKEN.to_owned(),
        seed_demo: false,
        ..LinearOptions::default()
    })
    .await?;
    sandbox.set_limits(LinearLimits { requests: 1_000_000, complexity: 1_000_000_000, ..LinearLimits::default() });
    Ok(sandbox)
}

async fn github_sandbox() -> anyhow::Result<GithubSandbox> {
    let sandbox = sandbox::github::start(GithubOptions {
        webhook_secret: credentials::GITHUB_SECRET.to_owned(),
        tokens: vec![credentials::GITHUB_TOKEN.to_owned()],
        limits: GithubLimits { primary: 1_000_000, ..GithubLimits::default() },
        ..GithubOptions::default()
    })
    .await?;
    sandbox.create_repo(REPO)?;
    Ok(sandbox)
}

/// Makes the pieces of work, all of them to do; `ENG-2` has a draft pull request as well.
async fn pieces(
    count: usize,
    linear: &LinearSandbox,
    github: &GithubSandbox,
    tasks: &Tasks,
) -> anyhow::Result<Vec<Piece>> {
    let mut pieces = Vec::with_capacity(count);
    for number in 1..=count {
        let new = NewIssue {
            team: "ENG".to_owned(),
            title: format!("Piece {number}"),
            state: Some("Todo".to_owned()),
            ..NewIssue::default()
        };
        let key = linear.create_issue(&new)?.identifier;
        let body = format!("Tracked as {key}.");
        let issue = github.open_issue(REPO, &format!("{key}: piece {number}"), &body)?;
        let pulls = if number == 2 {
            vec![github.open_pull(
                REPO,
                &format!("{key}: a change"),
                &body,
                &format!("{}-change", key.to_lowercase()),
                true,
            )?]
        } else {
            Vec::new()
        };
        let task = format!("T-{number}");
        tasks.add(&task, "todo", &key).await?;
        pieces.push(Piece { key, issue, task, pulls });
    }
    Ok(pieces)
}
