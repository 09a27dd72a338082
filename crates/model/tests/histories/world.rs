//! One simulated world on one seed: people, remote systems, the bus, resolvers and connectors, and everything that can go
//! wrong between them. One thread; each step is drawn.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use model::{
    Actor, Command, ConflictId, Intent, Lane, Native, Observation, Origin, Policy, RecordRef, Source, Status,
    Timestamp, Version,
};

use super::bus::{Body, Bus, Message};
use super::connector::Work;
use super::oracle::Oracle;
use super::remote::{Author, Credential, Desired, Remote};
use super::rng::Rng;
use super::settings::{Faults, Wanted, policy};
use super::store::Store;
use super::table::{self, Table};

/// A webhook that has not arrived yet.
#[derive(Debug, Clone)]
struct Webhook {
    remote: usize,
    revision: usize,
}

pub struct World {
    pub rng: Rng,
    pub wanted: Wanted,
    pub faults: Faults,
    pub policy: Rc<Policy>,
    pub now_ms: i64,
    pub remotes: Vec<Remote>,
    pub bus: Bus,
    pub store: Store,
    pub work: Vec<Work>,
    pub oracle: Oracle,
    pub trace: Vec<String>,
    /// Every message in the order in which it was committed.
    pub committed: Vec<Message>,
    webhooks: Vec<Webhook>,
    /// Commands that a slow resolver has not published yet.
    slow: Vec<Vec<Command>>,
    counter: u64,
    pub edits: usize,
    pub overlaps: BTreeSet<usize>,
    links: bool,
    /// The versions that each record was ever told.
    stored: BTreeSet<String>,
    /// The items as first tied: remotes by item.
    pub teams: Vec<Vec<usize>>,
}

/// A property that did not hold, in words.
pub type Broken = String;

/// So many steps without an end mean a loop.
const STEPS_MAX: usize = 20_000;

impl World {
    pub fn new(seed: u64, wanted: Wanted) -> Self {
        let mut rng = Rng::new(seed);
        let faults = Faults::drawn(&mut rng, wanted.calm);
        let policy = policy(&mut rng, wanted);
        let mut world = Self {
            bus: Bus { dedup_ms: faults.dedup_ms, ..Bus::default() },
            rng,
            wanted,
            faults,
            policy,
            now_ms: 1_700_000_000_000,
            remotes: vec![],
            store: Store::default(),
            work: vec![],
            oracle: Oracle::default(),
            trace: vec![],
            committed: vec![],
            webhooks: vec![],
            slow: vec![],
            counter: 0,
            edits: 0,
            overlaps: BTreeSet::new(),
            links: false,
            stored: BTreeSet::new(),
            teams: vec![],
        };
        world.populate();
        world
    }

    pub fn say(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.wanted.trace {
            let line = line(self);
            self.trace.push(format!("{:>6} {line}", self.now_ms - 1_700_000_000_000));
        }
    }

    /// A number that no other message of this world has.
    pub fn fresh(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn populate(&mut self) {
        let items = if self.rng.chance(25) { 2 } else { 1 };
        for item in 0..items {
            let mut team = vec![];
            let mut tables: Vec<&'static Table> = vec![];
            for table in table::ALL {
                let copies =
                    if table.kind == "pull_request" && self.rng.chance(50) { 1 + self.rng.below(2) } else { 1 };
                if self.rng.chance(55) {
                    tables.extend(vec![table; copies]);
                }
            }
            if tables.is_empty() {
                tables = vec![&table::LINEAR_ISSUE, &table::GITHUB_ISSUE];
            }
            for (place, table) in tables.into_iter().enumerate() {
                team.push(self.add_remote(table, &format!("{item}-{place}")));
            }
            self.teams.push(team);
        }
    }

    fn add_remote(&mut self, table: &'static Table, id: &str) -> usize {
        let credential = match table.system {
            "postgres" => Credential::Tagged,
            "board" => Credential::App,
            _ if self.rng.chance(50) => Credential::App,
            _ => Credential::Personal,
        };
        let skew = self.faults.skew_ms;
        let skew_ms = if skew > 0 { i64::try_from(self.rng.below(7)).expect("small") * 1_000 - skew } else { 0 };
        let mut remote = Remote {
            record: format!("{}/{}/{id}", table.system, table.kind).parse().unwrap(),
            table,
            credential,
            skew_ms,
            conditional: table.system == "postgres",
            down: false,
            revisions: vec![],
            shown: None,
            desired: Desired::default(),
            writes: 0,
            failed: false,
        };
        let natives = table.natives();
        let native = Native::new(*self.rng.pick(&natives[..natives.len().min(4)])).unwrap();
        remote.change(&native, Author::Start, Origin::Unknown, self.now_ms);
        self.remotes.push(remote);
        self.bus.queues.push(Default::default());
        self.remotes.len() - 1
    }

    /// Runs the whole history.
    pub fn run(&mut self) -> Result<(), Broken> {
        let faults = self.faults.clone();
        self.calm_down();
        for remote in 0..self.remotes.len() {
            self.observe(remote, 0, Source::Webhook, Lane::High);
        }
        self.settle("the first sight of the records")?;
        for team in self.teams.clone() {
            for other in &team[1..] {
                self.say_word(team[0], Intent::Link(self.remotes[*other].record.clone()));
                self.settle("tying the records")?;
            }
        }
        self.links = faults.links;
        self.faults = faults;
        self.bus.dedup_ms = self.faults.dedup_ms;
        self.oracle.start(&self.store);
        let edits = 3 + self.rng.below(if self.wanted.calm { 6 } else { 14 });
        for _ in 0..edits {
            if self.wanted.calm {
                self.settle("an edit")?;
                self.judged(Oracle::calm)?;
                self.pass(10_000);
            }
            self.edit();
            let steps = self.rng.below(self.rng_limit());
            for _ in 0..steps {
                self.step()?;
            }
        }
        self.finish()
    }

    fn rng_limit(&self) -> usize {
        if self.wanted.calm { 1 } else { 14 }
    }

    fn finish(&mut self) -> Result<(), Broken> {
        let lossless = !self.faults.lose_edits;
        self.calm_down();
        self.settle("the edits stopped")?;
        if lossless && !self.oracle.tainted() && !self.wanted.calm {
            Oracle::converged(self, "without a sweep")?;
        }
        for round in 0..2 {
            self.sweep_all();
            self.settle("a sweep")?;
            if round == 0 {
                self.release();
                self.settle("an operator's choice")?;
            }
        }
        self.judged(Oracle::judge)
    }

    /// Lets the oracle look at the world.
    fn judged(&mut self, judge: impl FnOnce(&mut Oracle, &Self) -> Result<(), Broken>) -> Result<(), Broken> {
        let mut oracle = std::mem::take(&mut self.oracle);
        let judgement = judge(&mut oracle, self);
        self.oracle = oracle;
        judgement
    }

    /// Whether two connectors had a command of this record in hand at once.
    pub fn had_overlaps(&self, place: usize) -> bool {
        self.overlaps.contains(&place)
    }

    /// Whether items were tied and untied on the way, so that versions of several count.
    pub fn had_links(&self) -> bool {
        self.links
    }

    fn sweep_all(&mut self) {
        for remote in 0..self.remotes.len() {
            let newest = self.remotes[remote].newest();
            self.observe(remote, newest, Source::Sweep, Lane::Low);
        }
    }

    /// An operator ends most holds.
    fn release(&mut self) {
        let held: Vec<(RecordRef, ConflictId, usize)> = self
            .store
            .groups
            .values()
            .filter_map(|group| {
                let conflict = group.conflict.as_ref()?;
                Some((group.links[0].record.clone(), conflict.id, conflict.candidates.len()))
            })
            .collect();
        for (record, conflict, candidates) in held {
            if self.rng.chance(80) {
                let remote = self.remotes.iter().position(|remote| remote.record == record).expect("known");
                let candidate = self.rng.below(candidates);
                self.say_word(remote, Intent::Pick(conflict, candidate));
            }
        }
    }

    /// No more faults: everything that is on its way arrives.
    fn calm_down(&mut self) {
        self.faults.lose_edits = false;
        self.faults.lose_echoes = false;
        self.faults.resolver_crashes = false;
        self.faults.slow_publishing = false;
        self.faults.connector_crashes = false;
        self.faults.overlap = false;
        self.faults.outages = false;
        self.faults.failures = false;
        self.faults.sweeps = false;
        for remote in &mut self.remotes {
            remote.down = false;
        }
    }

    /// Steps until nothing is on its way.
    fn settle(&mut self, after: &str) -> Result<(), Broken> {
        for _ in 0..STEPS_MAX {
            if !self.step()? {
                return Ok(());
            }
        }
        Err(format!("no loops: after {after}, {STEPS_MAX} steps were not enough"))
    }

    /// One thing happens. False when there is nothing left to happen.
    pub fn step(&mut self) -> Result<bool, Broken> {
        if self.rng.chance(30) {
            let jump = *self.rng.pick(&[0, 1, 40, 300, 900, 2_500]);
            self.pass(jump);
        }
        if self.faults.sweeps && self.rng.chance(5) {
            let remote = self.rng.below(self.remotes.len());
            let newest = self.remotes[remote].newest();
            self.observe(remote, newest, Source::Sweep, Lane::Low);
        }
        if self.faults.outages && self.rng.chance(6) {
            let remote = self.rng.below(self.remotes.len());
            self.remotes[remote].down = !self.remotes[remote].down;
        }
        let startable = self.startable();
        let waiting = self.bus.waiting();
        let kinds = [
            self.webhooks.len(),
            waiting.len(),
            self.bus.unacknowledged.len(),
            self.slow.len(),
            startable.len(),
            self.work.len(),
        ];
        let possible: Vec<usize> = (0..kinds.len()).filter(|kind| kinds[*kind] > 0).collect();
        if possible.is_empty() {
            return Ok(false);
        }
        let kind = *self.rng.pick(&possible);
        let place = self.rng.below(kinds[kind]);
        match kind {
            0 => self.deliver_webhook(place),
            1 => self.resolve_next(waiting[place])?,
            2 => {
                let message = self.bus.unacknowledged.swap_remove(place);
                self.resolve_message(message)?;
            }
            3 => {
                if self.slow[place].is_empty() {
                    self.slow.swap_remove(place);
                } else {
                    let command = self.slow[place].remove(0);
                    self.publish_command(command);
                }
            }
            4 => self.start_work(startable[place]),
            _ => self.do_work(place),
        }
        Ok(true)
    }

    fn pass(&mut self, milliseconds: i64) {
        self.now_ms += milliseconds;
    }

    /// A person does something.
    fn edit(&mut self) {
        if self.faults.operators && self.rng.chance(12) {
            return self.operate();
        }
        if self.faults.links && self.rng.chance(10) {
            return self.tie_or_untie();
        }
        let place = self.rng.below(self.remotes.len());
        let remote = &self.remotes[place];
        let touch = self.faults.odd_statuses && self.rng.chance(15);
        let native = if touch {
            remote.now().native.clone()
        } else if self.faults.odd_statuses && self.rng.chance(12) {
            Native::new(*self.rng.pick(&["???", "queued"])).unwrap()
        } else {
            let natives = remote.table.natives();
            // Few words, so that people often have the same idea, and go back to what was.
            let few = if self.rng.chance(80) { natives.len().min(4) } else { natives.len() };
            Native::new(*self.rng.pick(&natives[..few])).unwrap()
        };
        if !touch && native == remote.now().native {
            return;
        }
        let origin = match remote.credential {
            // Who touched something else did not set the status.
            _ if touch => Origin::Unknown,
            Credential::Personal if self.rng.chance(50) => Origin::Unknown,
            _ => Origin::Other,
        };
        let by = if touch { Author::Touch } else { Author::Person };
        let now_ms = self.now_ms;
        let revision = self.remotes[place].change(&native, by, origin, now_ms);
        self.edits += 1;
        self.say(|w| format!("{by:?} sets {} to {native} (revision {revision}, {origin:?})", w.remotes[place].record));
        if self.wanted.calm {
            self.oracle.expect(place, revision);
        }
        let lost = self.faults.lose_edits && self.rng.chance(30);
        self.send_webhook(place, revision, lost);
    }

    /// Our own write changed the record.
    pub fn written(&mut self, place: usize, native: &Native, version: Version) -> usize {
        let origin = self.remotes[place].own_origin(version);
        let now_ms = self.now_ms;
        let revision = self.remotes[place].change(native, Author::Us(version), origin, now_ms);
        self.remotes[place].writes += 1;
        let lost = self.faults.lose_echoes && self.rng.chance(50);
        // A board tells nothing of what we write: without a time line an echo could not be told from an edit.
        self.send_webhook(place, revision, lost || self.remotes[place].table.system == "board");
        revision
    }

    fn send_webhook(&mut self, remote: usize, revision: usize, lost: bool) {
        if lost {
            self.say(|w| format!("the webhook of {} revision {revision} is lost", w.remotes[remote].record));
            return;
        }
        self.webhooks.push(Webhook { remote, revision });
        let ordered = self.remotes[remote].now().position.is_none();
        if self.faults.double && !ordered && self.rng.chance(30) {
            self.webhooks.push(Webhook { remote, revision });
        }
    }

    fn deliver_webhook(&mut self, place: usize) {
        let chosen = &self.webhooks[place];
        let ordered = !self.faults.reorder || self.remotes[chosen.remote].now().position.is_none();
        let remote = chosen.remote;
        let first = self.webhooks.iter().position(|webhook| webhook.remote == remote).expect("it is there");
        let webhook = self.webhooks.remove(if ordered { first } else { place });
        let one_lane = !self.faults.lanes || self.remotes[remote].now().position.is_none();
        let lane = if one_lane { Lane::High } else { *self.rng.pick(&Lane::ALL) };
        self.observe(remote, webhook.revision, Source::Webhook, lane);
    }

    /// Somebody publishes what a record showed at a revision.
    pub fn observe(&mut self, remote: usize, revision: usize, source: Source, lane: Lane) {
        let number = self.fresh();
        let known = &self.remotes[remote];
        let at = &known.revisions[revision];
        let id = match source {
            Source::Webhook => format!("w:{remote}:{revision}"),
            _ => format!("{}:{remote}:{revision}:{number}", source.code()),
        };
        let lane = if at.position.is_none() { Lane::High } else { lane };
        let mut observation = blank(id, known.record.clone(), at.native.clone(), at.at);
        observation.position = at.position;
        observation.origin = if source == Source::Webhook { at.origin } else { Origin::Unknown };
        observation.actor =
            (source == Source::Webhook).then(|| Actor { name: format!("{:?}", at.by), id: None, automation: false });
        observation.source = source;
        observation.vocabulary = known.table.vocabulary();
        self.say(|w| format!("{source:?} of {} revision {revision}: {}", w.remotes[remote].record, observation.native));
        let now_ms = self.now_ms;
        self.bus.publish(Body::Seen(observation), remote, Some(revision), lane, now_ms);
    }

    /// An operator speaks about the item of a record.
    fn say_word(&mut self, remote: usize, intent: Intent) {
        let number = self.fresh();
        let mut observation =
            blank(format!("o:{number}"), self.remotes[remote].record.clone(), Native::none(), Timestamp(self.now_ms));
        observation.intent = intent;
        self.say(|w| format!("operator on {}: {:?}", w.remotes[remote].record, observation.intent));
        let now_ms = self.now_ms;
        self.bus.publish(Body::Seen(observation), remote, None, Lane::Critical, now_ms);
    }

    fn operate(&mut self) {
        let remote = self.rng.below(self.remotes.len());
        let Some(id) = self.store.item_of(&self.remotes[remote].record) else { return };
        let group = &self.store.groups[&id];
        let version = usize::try_from(group.item.version.0).expect("small");
        let intent = match (&group.conflict, self.rng.below(3)) {
            (Some(conflict), 0 | 1) => Intent::Pick(conflict.id, self.rng.below(conflict.candidates.len() + 1)),
            (_, 2) => Intent::Rollback(Version(1 + self.rng.below(version + 1) as u64)),
            _ => Intent::Force(Status::new(*self.rng.pick(&table::STATUSES)).unwrap()),
        };
        self.say_word(remote, intent);
    }

    fn tie_or_untie(&mut self) {
        let one = self.rng.below(self.remotes.len());
        let other = self.rng.below(self.remotes.len());
        let intent = if self.rng.chance(50) && one != other {
            Intent::Link(self.remotes[other].record.clone())
        } else {
            Intent::Unlink
        };
        self.say_word(one, intent);
    }

    fn resolve_next(&mut self, (remote, lane): (usize, usize)) -> Result<(), Broken> {
        if self.faults.resolver_crashes && self.rng.chance(8) {
            self.say(|_| "a resolver crashes before its commit".to_owned());
            return Ok(());
        }
        let message = self.bus.queues[remote][lane].pop_front().expect("something waits");
        self.resolve_message(message)
    }

    /// A resolver commits one message, publishes what follows and acknowledges, or dies between.
    fn resolve_message(&mut self, mut message: Message) -> Result<(), Broken> {
        let item = self.store.item_of(&self.remotes[message.remote].record);
        let before = item.and_then(|id| self.store.groups.get(&id).cloned());
        let policy = Rc::clone(&self.policy);
        let outcome = self.store.apply(&message, &policy);
        self.say(|w| describe(w, &message, &outcome));
        message.delivered += 1;
        self.committed.push(message.clone());
        self.judged(|oracle, world| oracle.committed(world, &message, before.as_ref(), &outcome))?;
        let mut commands = outcome.commands;
        for command in &commands {
            let place = self.place_of(&command.record);
            self.oracle.asked(place, command);
        }
        if self.faults.resolver_crashes && self.rng.chance(15) && message.delivered < 4 {
            let published = self.rng.below(commands.len() + 1);
            commands.truncate(published);
            self.say(|_| format!("a resolver crashes after {published} of its commands"));
            self.bus.queues[message.remote][message.receipt.lane as usize].push_front(message);
        } else if self.faults.resolver_crashes && self.rng.chance(8) && message.delivered < 4 {
            self.say(|_| "an acknowledgement is lost".to_owned());
            self.bus.unacknowledged.push(message);
        }
        if self.faults.slow_publishing && self.rng.chance(40) && !commands.is_empty() {
            self.slow.push(commands);
            return Ok(());
        }
        for command in commands {
            self.publish_command(command);
        }
        Ok(())
    }

    fn publish_command(&mut self, command: Command) {
        let id = format!("c:{}:{}:{}", command.record, command.version, command.cause);
        let now_ms = self.now_ms;
        let place = self.place_of(&command.record);
        let taken = self.bus.takes(&id, now_ms);
        self.say(|_| {
            let known = if taken { "" } else { " (known)" };
            format!(
                "command{known} {} v{} {:?} {} expects {:?}",
                command.record, command.version, command.mode, command.native, command.expects
            )
        });
        if taken {
            // A version is told a second time, or a slow resolver comes last: an old command is carried out late, as if a
            // second connector had kept it.
            let version = format!("{} {} {}", command.record, command.item, command.version);
            let newest = self.remotes[place].desired.command.as_ref();
            let newer = newest.is_some_and(|newest| newest.version > command.version);
            if !self.stored.insert(version) || newer {
                self.overlaps.insert(place);
            }
            let desired = &mut self.remotes[place].desired;
            desired.stored += 1;
            desired.command = Some(command);
        }
    }

    pub fn place_of(&self, record: &RecordRef) -> usize {
        self.remotes.iter().position(|remote| remote.record == *record).expect("known")
    }
}

fn describe(world: &World, message: &Message, outcome: &super::store::Outcome) -> String {
    let group = outcome.item.and_then(|id| world.store.groups.get(&id));
    let record = &world.remotes[message.remote].record;
    let now = group.map(|group| {
        let link = group.link(record);
        let link = link.map(|link| {
            format!(
                "shadow {} agreed {} sent {:?}",
                link.native,
                link.agreed,
                link.sent.iter().map(|s| (s.version.0, s.native.as_str())).collect::<Vec<_>>()
            )
        });
        format!(
            "{} v{}{} {}",
            group.item.status,
            group.item.version,
            if group.item.held.is_some() { " held" } else { "" },
            link.unwrap_or_default()
        )
    });
    let what = match &message.body {
        Body::Seen(seen) => {
            format!("{} {} at {:?} {:?}", seen.id, seen.native, seen.position.map(|p| p.0 % 1_000_000), seen.origin)
        }
        Body::Told(told) => {
            format!("{} {:?} {:?} at {:?}", told.id, told.outcome, told.native, told.position.map(|p| p.0 % 1_000_000))
        }
    };
    format!(
        "resolve #{} {record} {what} -> {:?}: {}",
        message.receipt.sequence,
        outcome.verdict,
        now.unwrap_or_default()
    )
}

/// An observation that says nothing yet.
pub fn blank(id: String, record: RecordRef, native: Native, at: Timestamp) -> Observation {
    Observation {
        id,
        record,
        native,
        position: None,
        occurred_at: at,
        actor: None,
        origin: Origin::Unknown,
        source: Source::Api,
        intent: Intent::Status,
        lifecycle: None,
        title: None,
        url: None,
        keys: vec![],
        mentions: vec![],
        vocabulary: None,
        metadata: BTreeMap::new(),
    }
}
