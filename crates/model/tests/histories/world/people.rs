//! Who lives in a world, and what people and operators do there.

use model::{Actor, Intent, Lane, Native, Origin, Source, Status, Timestamp, Version};

use super::super::bus::Body;
use super::super::remote::{Author, Credential, Desired, Hold, Remote};
use super::super::table::{self, Table};
use super::{Webhook, World, blank};

impl World {
    pub(super) fn populate(&mut self) {
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

    pub(super) fn add_remote(&mut self, table: &'static Table, id: &str) -> usize {
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
            holds: vec![Hold::default()],
        };
        let natives = table.natives();
        let native = Native::new(*self.rng.pick(&natives[..natives.len().min(4)])).unwrap();
        remote.change(&native, Author::Start, Origin::Unknown, self.now_ms);
        self.remotes.push(remote);
        self.bus.queues.push(Default::default());
        self.remotes.len() - 1
    }

    /// A person does something.
    pub(super) fn edit(&mut self) {
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
        if let Some(between) = self.remotes[place].passes(native) {
            self.shown(place, &between, version);
        }
        self.remotes[place].writes += 1;
        self.shown(place, native, version)
    }

    fn shown(&mut self, place: usize, native: &Native, version: Version) -> usize {
        let origin = self.remotes[place].own_origin(version);
        let now_ms = self.now_ms;
        let revision = self.remotes[place].change(native, Author::Us(version), origin, now_ms);
        let lost = self.faults.lose_echoes && self.rng.chance(50);
        // A board tells nothing of what we write: without a time line an echo could not be told from an edit.
        self.send_webhook(place, revision, lost || self.remotes[place].table.system == "board");
        revision
    }

    pub(super) fn send_webhook(&mut self, remote: usize, revision: usize, lost: bool) {
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

    pub(super) fn deliver_webhook(&mut self, place: usize) {
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
        let at = &self.remotes[remote].revisions[revision];
        let origin = if source == Source::Webhook { at.origin } else { Origin::Unknown };
        self.observe_of(remote, revision, source, lane, origin);
    }

    /// The same, by somebody who knows whose doing it is.
    pub fn observe_of(&mut self, remote: usize, revision: usize, source: Source, lane: Lane, origin: Origin) {
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
        observation.origin = origin;
        observation.actor =
            (source == Source::Webhook).then(|| Actor { name: format!("{:?}", at.by), id: None, automation: false });
        observation.source = source;
        observation.vocabulary = known.table.vocabulary();
        self.say(|w| format!("{source:?} of {} revision {revision}: {}", w.remotes[remote].record, observation.native));
        let now_ms = self.now_ms;
        self.bus.publish(Body::Seen(observation), remote, Some(revision), lane, now_ms);
    }

    /// An operator speaks about the item of a record.
    pub(super) fn say_word(&mut self, remote: usize, intent: Intent) {
        let number = self.fresh();
        let mut observation =
            blank(format!("o:{number}"), self.remotes[remote].record.clone(), Native::none(), Timestamp(self.now_ms));
        observation.intent = intent;
        self.say(|w| format!("operator on {}: {:?}", w.remotes[remote].record, observation.intent));
        let now_ms = self.now_ms;
        self.bus.publish(Body::Seen(observation), remote, None, Lane::Critical, now_ms);
    }

    pub(super) fn operate(&mut self) {
        let remote = self.rng.below(self.remotes.len());
        let Some(id) = self.store.item_of(&self.remotes[remote].record) else { return };
        let group = &self.store.groups[&id];
        let version = usize::try_from(group.item.version.0).expect("small");
        let watched = group.link(&self.remotes[remote].record).is_some_and(|link| link.watched);
        let intent = match (&group.conflict, self.rng.below(4)) {
            (_, 3) if watched && !self.remotes[remote].table.is_read_only() => return self.ask(remote),
            (Some(conflict), 0 | 1) => Intent::Pick(conflict.id, self.rng.below(conflict.candidates.len() + 1)),
            (_, 2) => Intent::Rollback(Version(1 + self.rng.below(version + 1) as u64)),
            _ => Intent::Force(Status::new(*self.rng.pick(&table::STATUSES)).unwrap()),
        };
        self.say_word(remote, intent);
    }

    /// Somebody asks through the API for a status of a record.
    fn ask(&mut self, remote: usize) {
        let native = Native::new(*self.rng.pick(&self.remotes[remote].table.natives())).unwrap();
        let number = self.fresh();
        let record = self.remotes[remote].record.clone();
        self.say(|_| format!("somebody asks that {record} shows {native}"));
        let observation = blank(format!("a:{number}"), record.clone(), native.clone(), Timestamp(self.now_ms));
        let now_ms = self.now_ms;
        self.bus.publish(Body::Seen(observation), remote, None, Lane::High, now_ms);
    }

    pub(super) fn tie_or_untie(&mut self) {
        let one = self.rng.below(self.remotes.len());
        let other = self.rng.below(self.remotes.len());
        let intent = if self.rng.chance(50) && one != other {
            Intent::Link(self.remotes[other].record.clone())
        } else {
            Intent::Unlink
        };
        self.say_word(one, intent);
    }
}
