//! The systems: what each record shows, on its own clock, all that ever happened to it, and what its system tells of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use connector::observation_id;
use model::{Actor, Key, Native, Observation, Origin, Position, RecordRef, Source, Timestamp, Version};
use runtime::Counter;
use runtime::simulation::{note, now_ms};
use tokio::sync::mpsc;

use crate::people::Posted;
use crate::settings::{Broken, Settings};
use crate::table::{Clock, Table};

/// Who made a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    Start,
    Person,
    /// Somebody edited something else on it.
    Touch,
    /// We did, for an item's version.
    Us {
        version: Version,
        item: model::ItemId,
    },
    /// An old copy of its system was brought back, of when it stood at this revision.
    OldCopy(usize),
}

/// Under whose name we write, and so what a webhook tells of who it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    App,
    Tagged,
    Personal,
}

#[derive(Debug, Clone)]
pub struct Revision {
    pub native: Native,
    pub position: Option<Position>,
    pub at: Timestamp,
    /// When it was, by the world's clock.
    pub true_ms: i64,
    pub by: Author,
    /// What the system says of its origin.
    pub origin: Origin,
}

/// A record in its system.
#[derive(Debug)]
pub struct Remote {
    pub record: RecordRef,
    pub table: &'static Table,
    pub credential: Credential,
    pub skew_ms: i64,
    pub keys: Vec<Key>,
    pub mentions: Vec<Key>,
    pub revisions: Vec<Revision>,
    /// The item's status, shown beside what it cannot be told.
    pub shown: Option<String>,
    /// Writes of ours that are under way.
    pub writing: usize,
    /// Two of our writes were under way at once, or one landed after its answer had been given up.
    pub overlapped: bool,
    /// The system refused a write for good.
    pub refused: bool,
    /// How many of its revisions its outbox has passed on.
    pub passed_on: usize,
}

/// All systems.
pub struct Land {
    pub settings: Settings,
    inside: Mutex<Inside>,
    /// Counts what happens.
    pub moved: Counter,
    /// Webhooks on their way to ingest.
    post: mpsc::UnboundedSender<Posted>,
}

#[derive(Default)]
pub struct Inside {
    pub remotes: Vec<Remote>,
    places: BTreeMap<RecordRef, usize>,
    /// Systems that are down.
    pub down: BTreeMap<&'static str, bool>,
    /// How many sweeps of each system were begun.
    pub sweeps: BTreeMap<&'static str, u64>,
    /// Webhooks and late writes that are on their way.
    pub under_way: usize,
    /// Another process passes the outbox on.
    pub relaying: bool,
    /// No more faults.
    pub calm: bool,
    /// What is done wrongly on purpose.
    pub broken: Option<Broken>,
    /// The ids under which a revision was observed.
    pub seen_as: BTreeMap<String, (usize, usize)>,
}

impl Land {
    /// All systems, empty, and the webhooks that they will send.
    pub fn new(settings: Settings) -> (Arc<Self>, mpsc::UnboundedReceiver<Posted>) {
        let inside = Inside { calm: true, ..Inside::default() };
        let (post, posted) = mpsc::unbounded_channel();
        (Arc::new(Self { settings, inside: Mutex::new(inside), moved: Counter::default(), post }), posted)
    }

    pub fn post(&self, webhook: Posted) {
        self.look().under_way += 1;
        let _ = self.post.send(webhook);
    }

    pub fn look(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    /// A chance of faults, which there are none of in a calm world.
    pub fn fails(&self, per_thousand: u64) -> bool {
        !self.look().calm && runtime::simulation::chance(per_thousand)
    }

    /// Somebody changes a record. Its new revision.
    pub fn change(&self, place: usize, native: &Native, by: Author, origin: Origin) -> usize {
        let revision = {
            let mut inside = self.look();
            let remote = &mut inside.remotes[place];
            remote.change(native, by, origin);
            remote.newest()
        };
        self.moved.add();
        revision
    }
}

impl Inside {
    pub fn add(&mut self, remote: Remote) -> usize {
        self.places.insert(remote.record.clone(), self.remotes.len());
        self.remotes.push(remote);
        self.remotes.len() - 1
    }

    pub fn place_of(&self, record: &RecordRef) -> usize {
        self.places[record]
    }

    /// What is to be seen of a record at a revision.
    pub fn observation(&mut self, place: usize, revision: usize, source: Source) -> Observation {
        let remote = &self.remotes[place];
        let at = &remote.revisions[revision];
        let told = matches!(source, Source::Webhook | Source::Stream);
        let point = at.position.map_or(u64::try_from(at.at.0).unwrap(), |position| match remote.table.clock {
            Clock::Seconds => position.0 * 1_000,
            _ => position.0,
        });
        Observation {
            position: at.position,
            actor: told.then(|| Actor { name: format!("{:?}", at.by), id: None, automation: false }),
            origin: if told { at.origin } else { Origin::Unknown },
            keys: remote.keys.clone(),
            mentions: remote.mentions.clone(),
            vocabulary: remote.table.vocabulary(),
            ..Observation::new(
                observation_id(&remote.record, &at.native, point),
                remote.record.clone(),
                at.native.clone(),
                source,
                at.at,
            )
        }
    }
}

impl Remote {
    pub fn now(&self) -> &Revision {
        self.revisions.last().unwrap()
    }

    pub fn newest(&self) -> usize {
        self.revisions.len() - 1
    }

    pub fn system(&self) -> &'static str {
        self.table.system
    }

    pub fn change(&mut self, native: &Native, by: Author, origin: Origin) {
        let true_ms = now_ms().unwrap();
        let at = true_ms + self.skew_ms;
        let clock = |milliseconds: i64| u64::try_from(milliseconds).unwrap();
        let position = match self.table.clock {
            Clock::Milliseconds => Some(clock(at)),
            Clock::Seconds => Some(clock(at) / 1_000),
            Clock::Rows => Some(self.revisions.len() as u64 + 1),
            Clock::None => None,
        };
        let before = self.revisions.last().and_then(|last| last.position);
        // Seconds are shared; nobody changes one record twice within a millisecond.
        let least = match self.table.clock {
            Clock::Milliseconds => before.map(|before| Position(before.0 + 1)),
            _ => before,
        };
        let position = position.map(Position).max(least);
        let number = self.revisions.len();
        note(|| format!("{} shows {native} at {position:?} by {by:?} {origin:?} (revision {number})", self.record));
        self.revisions.push(Revision { native: native.clone(), position, at: Timestamp(at), true_ms, by, origin });
    }

    /// Its system is brought back from an old copy, in which its time line had not come so far.
    pub fn go_back(&mut self, of: usize) {
        let was = self.revisions[of].clone();
        // What shares its moment with another status is as new as that.
        let shares = |one: &Revision| one.position == was.position && one.native != was.native;
        if was.position >= self.now().position || self.revisions.iter().any(shares) {
            return;
        }
        note(|| format!("{} is as it was at revision {of}", self.record));
        let true_ms = now_ms().unwrap();
        self.revisions.push(Revision { by: Author::OldCopy(of), origin: Origin::Unknown, true_ms, ..was });
    }

    /// Whether its time line has moments that several of its statuses share.
    pub fn had_turns_within_a_second(&self) -> bool {
        let shared = |pair: &[Revision]| pair[0].native != pair[1].native && pair[0].position == pair[1].position;
        self.table.clock == Clock::Seconds && self.revisions.windows(2).any(shared)
    }

    /// What a webhook says of who made our own write.
    pub fn own_origin(&self, version: Version) -> Origin {
        match self.credential {
            Credential::App => Origin::Own(None),
            Credential::Tagged => Origin::Own(Some(version)),
            Credential::Personal => Origin::Unknown,
        }
    }
}
