//! Every service as processes of their own, two of each, each behind networks that can be cut.

use std::fmt::Write as _;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use reqwest::{Client, Url};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::face::Face;
use crate::lockstep::executable;
use crate::proxy::Proxy;
use crate::world::free_address;
use crate::{World, eventually};

/// The services, as `lockstep serve` names them.
pub const SERVICES: [&str; 8] = [
    "resolver",
    "ingest",
    "connector-linear",
    "connector-github",
    "connector-postgres",
    "connector-agentapi",
    "broadcaster",
    "monitor",
];
/// How many there are of each.
const EACH: usize = 2;
const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_secs(40);
/// What lines of a log tell that something went wrong: the last is how the executable says that it ends with an error.
const WRONG: [&str; 4] = ["WARN", "ERROR", "panicked", "lockstep: "];

/// All processes, and the address before those that people and systems speak to.
pub struct Fleet {
    /// The processes: all of the first service, then those of the next.
    pub members: Vec<Member>,
    fronts: [Proxy; 3],
    _folder: TempDir,
}

/// One process.
pub struct Member {
    /// What it serves.
    pub service: &'static str,
    /// Between it and NATS.
    pub nats: Proxy,
    /// Between it and PostgreSQL.
    pub database: Proxy,
    /// Between it and the system that it connects, where that is not PostgreSQL.
    pub system: Option<Proxy>,
    name: String,
    listen: SocketAddr,
    folder: PathBuf,
    environment: Vec<(&'static str, String)>,
    child: Option<Child>,
}

impl Fleet {
    /// Starts all, and waits until all are ready. The world's people and webhooks speak to them from now on.
    pub async fn start(world: &mut World) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("lockstep.toml"), &world.configuration)?;
        let mut members = Vec::new();
        for service in SERVICES {
            for number in 1..=EACH {
                members.push(Member::new(world, service, number, folder.path().to_owned()).await?);
            }
        }
        let front = async |service: &str| {
            Proxy::before(members.iter().filter(|one| one.service == service).map(|one| one.listen).collect()).await
        };
        let fronts = [front("ingest").await?, front("resolver").await?, front("broadcaster").await?];
        let [ingest, resolver, broadcaster] = fronts.each_ref().map(|front| format!("http://{}", front.address()));
        world.linear.webhooks().set_target(Some(format!("{ingest}/webhooks/linear")));
        world.github.webhooks().set_target(Some(format!("{ingest}/webhooks/github")));
        world.face = Face::parts(ingest, resolver, broadcaster)?;
        let mut fleet = Self { members, fronts, _folder: folder };
        for member in &mut fleet.members {
            member.start()?;
        }
        fleet.ready().await?;
        Ok(fleet)
    }

    /// Waits until all are ready.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            member.ready().await?;
        }
        Ok(())
    }

    /// Those of a service.
    pub fn of(&mut self, service: &str) -> Vec<&mut Member> {
        self.members.iter_mut().filter(|member| member.service == service).collect()
    }

    /// Where people and systems send webhooks and statuses.
    pub fn front(&self) -> &Proxy {
        &self.fronts[0]
    }

    /// Ends all in order.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        for member in &self.members {
            member.signal("TERM").await?;
        }
        for member in &mut self.members {
            member.ended().await?;
        }
        Ok(())
    }

    /// The warnings and errors of all that ran, and whether one panicked.
    pub fn said(&self) -> (String, bool) {
        let mut said = String::new();
        for member in &self.members {
            let output = member.output();
            for line in output.lines().filter(|line| WRONG.iter().any(|word| line.contains(word))) {
                let _ = writeln!(said, "{}: {line}", member.name);
            }
        }
        let panicked = said.contains("panicked at");
        (said, panicked)
    }
}

impl Member {
    /// A process that does not run yet; its folder holds `lockstep.toml`.
    pub async fn new(world: &World, service: &'static str, number: usize, folder: PathBuf) -> anyhow::Result<Self> {
        let (nats, database) = (world.nats.address(), world.database.address()?);
        let (nats, database) = (Proxy::before(vec![nats]).await?, Proxy::before(vec![database]).await?);
        let database_url = world.database.url_at(database.address())?;
        let mut environment = vec![
            ("LOCKSTEP__NATS__URL", format!("nats://{}", nats.address())),
            ("LOCKSTEP__DATABASE__URL", database_url.clone()),
            ("LOCKSTEP__CONNECTOR__POSTGRES__URL", database_url),
            ("LOCKSTEP__DATABASE__CONNECTIONS", "6".to_owned()),
        ];
        let system = match service {
            "connector-linear" => Some(("LOCKSTEP__CONNECTOR__LINEAR__API_URL", world.linear.graphql_url())),
            "connector-github" => Some(("LOCKSTEP__CONNECTOR__GITHUB__API_URL", world.github.url())),
            _ => None,
        };
        let system = match system {
            Some((name, url)) => {
                let mut url = Url::parse(&url)?;
                let proxy = Proxy::before(url.socket_addrs(|| None)?).await?;
                url.set_port(Some(proxy.address().port())).ok().context("the address takes no port")?;
                environment.push((name, url.as_str().trim_end_matches('/').to_owned()));
                Some(proxy)
            }
            None => None,
        };
        let (name, listen) = (format!("{service}-{number}"), free_address()?);
        Ok(Self { service, nats, database, system, name, listen, folder, environment, child: None })
    }

    /// Starts it.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let output = File::options().create(true).append(true).open(self.log_file())?;
        let mut command = Command::new(executable()?);
        command
            .args(["serve", self.service, "--config"])
            .arg(self.folder.join("lockstep.toml"))
            .args(["--listen", &self.listen.to_string()])
            .current_dir(&self.folder)
            .env_clear()
            .envs(std::env::vars().filter(|(name, _)| matches!(name.as_str(), "PATH" | "HOME" | "RUST_LOG")))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("RUST_BACKTRACE", "1")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true);
        self.child = Some(command.spawn().context("lockstep serve")?);
        Ok(())
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let (http, url) =
            (Client::builder().timeout(Duration::from_secs(2)).build()?, format!("http://{}/readyz", self.listen));
        let child = self.child.as_mut().with_context(|| format!("{} does not run", self.name))?;
        let ended = eventually(START, &format!("{} is ready", self.name), async || {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(Some(status)));
            }
            let answer = http.get(&url).send().await?.error_for_status()?.json::<Value>().await?;
            // Another process may have taken the port.
            let (service, instance) = (answer["service"].as_str(), answer["instance"].as_str().unwrap_or_default());
            let own = child.id().is_some_and(|id| instance.contains(&format!("-{id}-")));
            ensure!(service == Some(self.service) && own, "{answer} answers in its place");
            Ok(Some(None))
        })
        .await?;
        ensure!(ended.is_none(), "{} ended by itself: {ended:?}\n{}", self.name, self.output());
        Ok(())
    }

    /// Ends it as `kill -9` does.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.take().with_context(|| format!("{} does not run", self.name))?.kill().await.context("kill -9")
    }

    /// Sends it a signal.
    pub async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.id().with_context(|| format!("{} does not run", self.name))?;
        let sent = Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status().await?;
        ensure!(sent.success(), "kill -{name}: {sent}");
        Ok(())
    }

    /// Waits until it has ended in order; how long that took.
    pub async fn ended(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let mut child = self.child.take().with_context(|| format!("{} does not run", self.name))?;
        let status = timeout(STOP, child.wait()).await.with_context(|| format!("{} does not end", self.name))??;
        ensure!(status.success(), "{} did not end in order: {status}\n{}", self.name, self.output());
        Ok(began.elapsed())
    }

    /// Where it listens, in all its lives.
    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Its process, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Its service and which of them it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All that it has said, in all its lives.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }
}
