//! One simulated world on one seed: people, remote systems, the bus, resolvers and connectors, and everything that can go
//! wrong between them. One thread; each step is drawn.

mod people;
mod resolver;

use std::collections::BTreeSet;
use std::rc::Rc;

use model::{Command, ConflictId, Intent, Lane, Link, Native, Observation, Policy, RecordRef, Source, Timestamp};

use super::bus::{Bus, Message};
use super::connector::Work;
use super::oracle::Oracle;
use super::remote::Remote;
use super::rng::Rng;
use super::settings::{Faults, Wanted, policy};
use super::store::Store;

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
        if self.faults.old_copies {
            self.go_back()?;
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

    /// Systems are brought back from old copies, and are swept only long after; people go on meanwhile.
    fn go_back(&mut self) -> Result<(), Broken> {
        let early = self.rng.chance(50);
        self.pass(if early { 0 } else { Link::OLD_COPY_MS + 1 });
        for place in 0..self.remotes.len() {
            let of = self.rng.below(self.remotes[place].revisions.len());
            if self.rng.chance(60) && self.remotes[place].go_back(of) {
                self.say(|w| format!("{} is as it was at revision {of}", w.remotes[place].record));
            }
        }
        for _ in 0..self.rng.below(3) {
            self.edit();
            self.settle("an edit beside old copies")?;
        }
        self.pass(if early { Link::OLD_COPY_MS + 1 } else { 0 });
        Ok(())
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
}

/// An observation that says nothing yet.
pub fn blank(id: String, record: RecordRef, native: Native, at: Timestamp) -> Observation {
    Observation::new(id, record, native, Source::Api, at)
}
