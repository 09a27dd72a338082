//! One world: who lives in it, what happens there, and its end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::simulation::{Connection, Jetstream};
use bus::{Bus, Config};
use model::{Intent, Key, Link, Native, Origin, Policy};
use runtime::simulation::{self, below, chance, note};
use store::simulation::Database;
use tokio::time::Instant;

use crate::chaos;
use crate::land::{Author, Credential, Land, Remote};
use crate::oracle::{self, Verdict};
use crate::people::{self, pick};
use crate::services::{Role, Service};
use crate::settings::{Broken, PolicyKey, Settings, Wanted};
use crate::table::{self, Table};

pub struct World {
    pub wanted: Wanted,
    pub land: Arc<Land>,
    pub jetstream: Jetstream,
    pub database: Database,
    pub services: Vec<Arc<Service>>,
    /// The operators' way to the bus, which is never cut.
    pub operator: Connection,
    policy: Mutex<PolicyKey>,
    /// The items as first tied, by the places of their records.
    teams: Vec<Vec<usize>>,
}

/// What a run of a world came to.
pub struct Run {
    pub verdict: Verdict,
    pub trace: Vec<String>,
    pub fingerprint: u64,
    pub virtual_s: f64,
}

/// When every world begins, in milliseconds since 1970.
const BEGAN_MS: i64 = 1_800_000_000_000;
/// A world that takes longer to come to rest never will.
const REST_MAX: Duration = Duration::from_mins(30);

/// Writes log lines to the trace.
struct Noted;

impl std::io::Write for Noted {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        note(|| String::from_utf8_lossy(line).trim().to_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs the world of a seed.
pub fn run(seed: u64, wanted: Wanted, traced: bool) -> Run {
    // What the services log belongs to the story of one world; side by side, worlds would decide for each other what is logged.
    let logged = tracing_subscriber::fmt().with_writer(|| Noted).with_max_level(tracing::Level::DEBUG);
    let logged = logged.without_time().with_ansi(false).with_target(false).finish();
    let told = traced && std::env::var_os("LOCKSTEP_SEED").is_some();
    let _logged = told.then(|| tracing::subscriber::set_default(logged));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let here = simulation::World::enter(seed, BEGAN_MS, traced);
        let began = Instant::now();
        let verdict = World::live(wanted).await;
        Run { verdict, trace: here.trace(), fingerprint: here.fingerprint(), virtual_s: began.elapsed().as_secs_f64() }
    })
}

impl World {
    async fn live(wanted: Wanted) -> Verdict {
        let settings = Settings::drawn();
        let jetstream = Jetstream::new(settings.partitions);
        let (land, posted) = Land::new(settings.clone());
        let teams = populate(&land);
        let mut services = vec![Service::new(Role::Ingest, 0)];
        services.extend((0..settings.resolvers).map(|number| Service::new(Role::Resolver, number)));
        for system in ["linear", "github", "postgres", "agentapi"] {
            if land.look().remotes.iter().any(|remote| remote.system() == system) {
                let numbers = 0..settings.connectors;
                services.extend(numbers.map(|number| Service::new(Role::Connector(system), number)));
            }
        }
        let world = Arc::new(Self {
            wanted,
            land,
            operator: Connection::new(&jetstream),
            jetstream,
            database: Database::default(),
            services,
            policy: Mutex::new(PolicyKey::drawn(wanted)),
            teams,
        });
        world.happen(posted).await
    }

    async fn happen(self: Arc<Self>, posted: tokio::sync::mpsc::UnboundedReceiver<people::Posted>) -> Verdict {
        note(|| format!("{:?} {:?}", self.land.settings, self.policy.lock().unwrap()));
        tokio::spawn(people::post_office(Arc::clone(&self), posted));
        chaos::heal(&self);
        for service in &self.services {
            tokio::spawn(Arc::clone(service).supervise(Arc::clone(&self)));
        }
        self.begin().await?;
        oracle::tied(&self)?;
        let start = oracle::Start::of(&self);
        self.let_things_go_wrong();
        match self.wanted.broken {
            Some(Broken::Bus(duty)) => self.jetstream.leave_out(duty),
            Some(Broken::Database(duty)) => self.database.leave_out(duty),
            broken => self.land.look().broken = broken,
        }
        let settings = &self.land.settings;
        let trouble = tokio::spawn(chaos::reign(Arc::clone(&self)));
        let end = Instant::now() + Duration::from_secs(settings.chaos_s);
        for _ in 0..settings.edits {
            tokio::time::sleep(Duration::from_millis(below(settings.pace_ms))).await;
            if settings.operators && chance(120) {
                people::operate(&self).await;
            } else if settings.links && chance(120) {
                people::tie_or_untie(&self).await;
            } else {
                people::edit(&self);
            }
        }
        tokio::time::sleep_until(end).await;
        trouble.abort();
        chaos::heal(&self);
        self.rest("the faults ended").await?;
        if self.land.look().remotes.iter().any(Remote::had_turns_within_a_second) {
            // What a second that held several edits ended with may go by a name that was given before: until the bus has
            // forgotten that name nobody is told.
            tokio::time::sleep(Duration::from_secs(bus::Stream::Observations.spec().duplicate_window_s)).await;
        }
        if settings.old_copies {
            self.go_back().await?;
        }
        people::release(&self).await;
        self.swept(2).await?;
        self.rest("two sweeps").await?;
        oracle::judge(&self, &start)
    }

    /// Old copies are brought back; what was known of them must be long ago before a sweep can tell.
    async fn go_back(&self) -> Verdict {
        for remote in &mut self.land.look().remotes {
            if matches!(remote.system(), "linear" | "github") {
                remote.go_back(below(remote.revisions.len() as u64) as usize);
            }
        }
        let long_ago = Duration::from_millis(Link::OLD_COPY_MS.unsigned_abs());
        // What sweeps saw too early goes by the same name.
        tokio::time::sleep(long_ago + Duration::from_secs(bus::Stream::Observations.spec().duplicate_window_s)).await;
        self.rest("old copies were brought back").await
    }

    /// The records are seen for the first time, and tied.
    async fn begin(&self) -> Verdict {
        let remotes = self.land.look().remotes.len();
        for place in 0..remotes {
            people::send_webhook_of_ours(&self.land, place, 0);
        }
        self.rest("the first sight of the records").await?;
        if !self.land.settings.by_keys {
            for team in &self.teams {
                for other in &team[1..] {
                    let record = self.land.look().remotes[*other].record.clone();
                    people::say(self, team[0], Intent::Link(record)).await;
                }
            }
            self.rest("tying the records").await?;
        }
        Ok(())
    }

    fn let_things_go_wrong(&self) {
        let settings = &self.land.settings;
        note(|| "from here on things go wrong".to_owned());
        self.land.look().calm = false;
        self.jetstream.set_faults(bus::simulation::Faults {
            lag_ms: settings.lag_ms,
            lost: settings.lost_requests,
            unanswered: settings.lost_answers,
        });
        self.database
            .set_faults(store::simulation::Faults { lag_ms: settings.lag_ms / 4, broken: settings.database_breaks });
    }

    /// Waits until nothing is on its way.
    async fn rest(&self, after: &str) -> Verdict {
        let deadline = Instant::now() + REST_MAX;
        let mut quiet = 0;
        while quiet < 4 {
            if Instant::now() > deadline {
                return Err(format!("no loops: after {after} the world does not come to rest: {}", self.unrest()));
            }
            // Longer than a batch is in the resolver's hands.
            tokio::time::sleep(Duration::from_millis(700 + 12 * self.land.settings.lag_ms)).await;
            quiet = if self.is_quiet() { quiet + 1 } else { 0 };
        }
        Ok(())
    }

    fn is_quiet(&self) -> bool {
        let inside = self.land.look();
        let passed_on = |remote: &Remote| {
            !matches!(remote.system(), "postgres" | "agentapi") || remote.passed_on == remote.revisions.len()
        };
        let up = self.services.iter().all(|service| service.life().is_some());
        let seen = |remote: &Remote| self.database.knows(&remote.record);
        up && inside.remotes.iter().all(seen)
            && inside.under_way == 0
            && inside.remotes.iter().all(passed_on)
            && self.jetstream.is_idle()
    }

    fn unrest(&self) -> String {
        let inside = self.land.look();
        format!("{} under way, bus idle: {}", inside.under_way, self.jetstream.is_idle())
    }

    /// Waits until so many sweeps of each system have ended.
    async fn swept(&self, times: u64) -> Verdict {
        let deadline = Instant::now() + REST_MAX;
        let before = self.land.look().sweeps.clone();
        let systems: Vec<&'static str> = before.keys().copied().collect();
        let done = |system: &&'static str| self.land.look().sweeps[system] > before[system] + times;
        while !systems.iter().all(done) {
            if Instant::now() > deadline {
                return Err("convergence: the sweeps stopped".to_owned());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }

    /// The bus as ingest has it; one that is dead answers nobody.
    pub fn ingest(&self) -> Bus {
        let ingest = self.services.iter().find(|service| service.role == Role::Ingest);
        if let Some(life) = ingest.and_then(|ingest| ingest.life()) {
            return life.bus;
        }
        let dead = Connection::new(&self.jetstream);
        dead.cut();
        dead.bus(self.bus_config())
    }

    pub fn bus_config(&self) -> Config {
        Config { partitions: self.land.settings.partitions, ..Config::default() }
    }

    pub fn policy(&self) -> Arc<Policy> {
        self.policy.lock().unwrap().policy()
    }

    pub fn reconfigure(&self) {
        let mut key = self.policy.lock().unwrap();
        *key = key.changed();
    }

    pub fn teams(&self) -> &[Vec<usize>] {
        &self.teams
    }

    pub fn has_links(&self) -> bool {
        self.land.settings.links
    }
}

/// Who lives there: one item or two, each of several records.
fn populate(land: &Land) -> Vec<Vec<usize>> {
    let items = if chance(250) { 2 } else { 1 };
    let known = [&table::LINEAR_ISSUE, &table::GITHUB_ISSUE, &table::PULL, &table::TASK, &table::AGENT];
    (0..items)
        .map(|item| {
            let mut tables: Vec<&'static Table> = known.into_iter().filter(|_| chance(550)).collect();
            if !tables.iter().any(|table| table.system == "linear") {
                // Somebody must own the identifier.
                tables.insert(0, &table::LINEAR_ISSUE);
            }
            if tables.len() == 1 {
                tables.push(&table::GITHUB_ISSUE);
            }
            if chance(300) && tables.iter().any(|table| table.kind == "pull_request") {
                tables.push(&table::PULL);
            }
            let add = |(place, table): (usize, &'static Table)| add(land, table, item, place);
            tables.into_iter().enumerate().map(add).collect()
        })
        .collect()
}

fn add(land: &Land, table: &'static Table, item: usize, number: usize) -> usize {
    let settings = &land.settings;
    let credential = match table.system {
        "postgres" => Credential::Tagged,
        _ if chance(600) => Credential::App,
        _ => Credential::Personal,
    };
    let skew = i64::try_from(below(settings.skew_ms + 1)).unwrap() - i64::try_from(settings.skew_ms / 2).unwrap();
    let key = Key::new(format!("ENG-{item}")).unwrap();
    let (keys, mentions) = match (settings.by_keys, number) {
        (false, _) => (vec![], vec![]),
        (true, 0) => (vec![key], vec![]),
        (true, _) => (vec![], vec![key]),
    };
    let mut remote = Remote {
        record: format!("{}/{}/{item}-{number}", table.system, table.kind).parse().unwrap(),
        table,
        credential,
        skew_ms: skew,
        keys,
        mentions,
        revisions: vec![],
        shown: None,
        writing: 0,
        overlapped: false,
        refused: false,
        passed_on: 0,
    };
    let natives = table.natives();
    let native = Native::new(pick(&natives[..natives.len().min(4)])).unwrap();
    remote.change(&native, Author::Start, Origin::Unknown);
    land.look().add(remote)
}
