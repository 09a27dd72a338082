//! One batch in memory: the items it touches, and what came of its messages so far.
//!
//! Pure, but for what it was given: [`Ledger::take`] decides with `model`, [`Ledger::close`] says what to write and what to
//! publish.

mod identifiers;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{
    Command, ConflictId, Group, HistoryRow, Intent, Item, ItemId, Key, Kind, Observation, Policy, Reason, Receipt,
    RecordRef, Resolved, Source, Status, System, Verdict, Version,
};

pub use crate::input::{Input, Poison};
use store::Save;

/// A batch being resolved.
#[derive(Debug)]
pub struct Ledger<'a> {
    policy: &'a Policy,
    groups: HashMap<ItemId, Group>,
    item_of: HashMap<RecordRef, ItemId>,
    /// Which record owns which identifier.
    owners: HashMap<Key, RecordRef>,
    /// Records that mention identifiers which nobody owned before this batch.
    waiting: Vec<RecordRef>,
    /// What the history says of the versions that rollbacks name.
    past: HashMap<(ItemId, Version), Status>,
    touched: BTreeSet<ItemId>,
    new_items: BTreeSet<ItemId>,
    new_records: BTreeSet<RecordRef>,
    /// Records that were seen to mention identifiers in this batch.
    mentioning: BTreeSet<RecordRef>,
    ended: BTreeMap<ItemId, Ended>,
    parted: BTreeMap<ItemId, ItemId>,
    /// Which items those that were there parted from.
    parted_before: BTreeMap<ItemId, ItemId>,
    rows: Vec<HistoryRow>,
    commands: BTreeMap<RecordRef, Command>,
    conflicts: BTreeMap<ConflictId, model::Conflict>,
    keys: BTreeMap<Key, RecordRef>,
    /// Inputs that were taken before: their rows are read again and published again.
    redelivered: Vec<(ItemId, u64)>,
    drift: BTreeMap<System, u64>,
    /// The systems and kinds whose records a connector sees.
    watched: BTreeSet<(System, Kind)>,
}

/// An item that ended in the batch.
#[derive(Debug)]
struct Ended {
    /// Which one took its records over.
    into: ItemId,
    /// What it was then.
    was: Group,
    /// It began in the batch, too: it still needs a row, for its history.
    is_new: bool,
}

/// What a batch came to.
#[derive(Debug)]
pub struct Closed {
    /// What to write.
    pub save: Save,
    /// The newest command of each record that is owed one.
    pub commands: Vec<Command>,
    /// Every item of the batch as it is now.
    pub groups: HashMap<ItemId, Group>,
    /// Items that ended in the batch, as they were then.
    pub ended: HashMap<ItemId, Group>,
    /// Inputs that were taken before, by item and sequence.
    pub redelivered: Vec<(ItemId, u64)>,
    /// How many records of each system had drifted, as only a sweep found.
    pub drift: BTreeMap<System, u64>,
}

impl<'a> Ledger<'a> {
    /// A batch over these items.
    pub fn new(policy: &'a Policy, groups: Vec<Group>, owners: Vec<(Key, RecordRef)>, waiting: Vec<RecordRef>) -> Self {
        let mut item_of = HashMap::new();
        for group in &groups {
            item_of.extend(group.links.iter().map(|link| (link.record.clone(), group.item.id)));
        }
        Self {
            policy,
            groups: groups.into_iter().map(|group| (group.item.id, group)).collect(),
            item_of,
            owners: owners.into_iter().collect(),
            waiting,
            past: HashMap::new(),
            touched: BTreeSet::new(),
            new_items: BTreeSet::new(),
            new_records: BTreeSet::new(),
            mentioning: BTreeSet::new(),
            ended: BTreeMap::new(),
            parted: BTreeMap::new(),
            parted_before: BTreeMap::new(),
            rows: vec![],
            commands: BTreeMap::new(),
            conflicts: BTreeMap::new(),
            keys: BTreeMap::new(),
            redelivered: vec![],
            drift: BTreeMap::new(),
            watched: BTreeSet::new(),
        }
    }

    /// The item that a record belongs to.
    pub fn item_of(&self, record: &RecordRef) -> Option<ItemId> {
        self.item_of.get(record).copied()
    }

    /// The systems and kinds of records that somebody speaks of through our API and nobody has seen.
    pub(crate) fn unseen<'i>(&self, inputs: impl Iterator<Item = &'i Input>) -> BTreeSet<(System, Kind)> {
        let named = inputs.filter(|input| self.item_of(input.record()).is_none());
        let named = named.filter(|input| matches!(input, Input::Observation(observation, _) if is_said(observation)));
        named.map(|input| (input.record().system.clone(), input.record().kind.clone())).collect()
    }

    /// Says of which systems and kinds a connector sees the records: one that it has not seen is not there.
    pub(crate) fn watch(&mut self, kinds: BTreeSet<(System, Kind)>) {
        self.watched = kinds;
    }

    /// Says from which items those of this batch parted.
    pub fn have_parted(&mut self, from: impl IntoIterator<Item = (ItemId, ItemId)>) {
        self.parted_before.extend(from);
    }

    /// The item that an observation is about.
    pub(crate) fn item_meant(&self, observation: &Observation) -> Option<ItemId> {
        let named = observation.item.filter(|item| self.groups.contains_key(item));
        named.or_else(|| self.item_of(&observation.record))
    }

    /// Says what an item's status was at a version, for the rollbacks of this batch.
    pub fn remember(&mut self, item: ItemId, version: Version, status: Status) {
        self.past.insert((item, version), status);
    }

    /// Resolves one message. An error leaves everything as it was.
    pub fn take(&mut self, input: &Input) -> Result<Verdict, Poison> {
        match input {
            Input::Report(report, receipt) => {
                let Some(group) = self.take_group(&report.record) else {
                    return Err(no_such(&report.record));
                };
                let resolved = model::report(group, report, *receipt, self.policy);
                self.unless_lost(resolved, &report.record, *receipt)
            }
            Input::Observation(observation, receipt) => {
                let observation = &*self.addressed(observation, *receipt);
                match &observation.intent {
                    Intent::Status | Intent::Force(_) | Intent::Pick(..) => self.observe(observation, *receipt),
                    Intent::Rollback(version) => self.roll_back(observation, *receipt, *version),
                    Intent::Link(other) => self.link(observation, *receipt, other),
                    Intent::Unlink => self.unlink(observation, *receipt),
                }
            }
        }
    }

    /// An operator's word about an item comes by way of one of its records. If that has left the item since, it is taken as said by way of
    /// one that is there. An item that ended is not among those that were loaded: the record's own is the one that took it over.
    fn addressed<'o>(&self, observation: &'o Observation, receipt: Receipt) -> Cow<'o, Observation> {
        let own = self.item_of(&observation.record);
        let named = observation.item.filter(|item| own != Some(*item));
        // What was taken when the record was still there is not taken once more.
        let link = own.and_then(|own| self.groups.get(&own)?.link(&observation.record));
        let named = named.filter(|_| link.is_none_or(|link| !link.has_taken(receipt)));
        let group = named.and_then(|item| self.groups.get(&item));
        match group.and_then(|group| group.links.first()) {
            Some(link) if observation.intent != Intent::Unlink => {
                Cow::Owned(Observation { record: link.record.clone(), ..observation.clone() })
            }
            _ => Cow::Borrowed(observation),
        }
    }

    fn group_of(&self, record: &RecordRef) -> Option<Group> {
        self.item_of(record).and_then(|item| self.groups.get(&item)).cloned()
    }

    /// The same, taken out: [`Ledger::settle`] puts it back.
    fn take_group(&mut self, record: &RecordRef) -> Option<Group> {
        self.item_of(record).and_then(|item| self.groups.remove(&item))
    }

    fn observe(&mut self, observation: &Observation, receipt: Receipt) -> Result<Verdict, Poison> {
        let observation = &*self.with_its_own_keys(observation);
        // In strict mode an observation may yet be refused, and must then have changed nothing.
        let before = if self.policy.strict { self.group_of(&observation.record) } else { None };
        let known = self.take_group(&observation.record);
        let is_new = known.is_none();
        let swept = known.as_ref().filter(|_| observation.source == Source::Sweep);
        let shadow = swept.and_then(|group| group.link(&observation.record)).map(|link| link.native.clone());
        let resolved = match known {
            Some(group) => model::resolve(group, observation, receipt, self.policy),
            None if observation.native.is_deleted() => return Ok(Verdict::Ignored),
            None if is_said(observation) && self.is_watched(&observation.record) => {
                return Err(not_there(&observation.record));
            }
            None => model::begin(observation, receipt, self.policy).map_err(|reason| refused(observation, reason))?,
        };
        if resolved.verdict == Verdict::Unmapped && self.policy.strict && !observation.native.is_deleted() {
            self.groups.extend(before.map(|group| (group.item.id, group)));
            let detail = format!("no mapping knows {:?} of {}", observation.native, observation.record);
            return Err(Poison { reason: "unmapped_status", detail });
        }
        if is_lost(&resolved) {
            return self.unless_lost(resolved, &observation.record, receipt);
        }
        if shadow.is_some_and(|shadow| model::is_drift(&shadow, observation, &resolved)) {
            *self.drift.entry(observation.record.system.clone()).or_default() += 1;
        }
        if is_new {
            self.new_items.insert(resolved.group.item.id);
            self.new_records.insert(observation.record.clone());
        }
        let verdict = self.settle(resolved, receipt);
        // A status that a more urgent lane overtook may be the only one that names others.
        let is_overtaken =
            verdict == Verdict::Stale && observation.position.is_none() && receipt.first_sequence.is_none();
        if is_overtaken || !matches!(verdict, Verdict::Redelivered | Verdict::Stale) {
            self.tie(observation, receipt);
        }
        Ok(verdict)
    }

    /// Whether a connector sees the records of this one's kind, and can tell them.
    fn is_watched(&self, record: &RecordRef) -> bool {
        let lifecycle = || self.policy.lifecycles.get(self.policy.lifecycle_for(record));
        let lens = || lifecycle().and_then(|lifecycle| self.policy.lens(record, None, lifecycle));
        self.watched.contains(&(record.system.clone(), record.kind.clone()))
            && lens().is_some_and(|lens| !lens.is_read_only())
    }

    fn roll_back(&mut self, observation: &Observation, receipt: Receipt, version: Version) -> Result<Verdict, Poison> {
        let group = self.group_of(&observation.record).ok_or_else(|| no_such(&observation.record))?;
        let status = self.past.get(&(group.item.id, version)).cloned();
        let resolved = model::roll_back(group, status.as_ref(), observation, receipt, self.policy);
        self.unless_lost(resolved, &observation.record, receipt)
    }

    fn link(&mut self, observation: &Observation, receipt: Receipt, other: &RecordRef) -> Result<Verdict, Poison> {
        let mut target = self.group_of(&observation.record).ok_or_else(|| no_such(&observation.record))?;
        let incoming = self.group_of(other).ok_or_else(|| no_such(other))?;
        if !target.take(&observation.record, receipt) {
            return Ok(self.again(target, receipt));
        }
        if target.item.id == incoming.item.id {
            self.groups.insert(target.item.id, target);
        } else {
            self.adopt(target, incoming, other, observation, receipt)?;
        }
        self.pin(other);
        Ok(Verdict::Linked)
    }

    fn unlink(&mut self, observation: &Observation, receipt: Receipt) -> Result<Verdict, Poison> {
        let mut group = self.group_of(&observation.record).ok_or_else(|| no_such(&observation.record))?;
        if !group.take(&observation.record, receipt) {
            return Ok(self.again(group, receipt));
        }
        if observation.item.is_some_and(|named| named != group.item.id && self.groups.contains_key(&named)) {
            let detail = format!("{} is not tied to that item any more", observation.record);
            return Err(Poison { reason: "no_such_thing", detail });
        }
        let (left, own) =
            model::part(group, observation, receipt, self.policy).map_err(|reason| refused(observation, reason))?;
        self.new_items.insert(own.item.id);
        self.parted.insert(own.item.id, left.group.item.id);
        self.touched.insert(own.item.id);
        self.item_of.insert(observation.record.clone(), own.item.id);
        self.groups.insert(own.item.id, own);
        Ok(self.settle(left, receipt))
    }

    /// A message that was taken before: what it led to is published again.
    fn again(&mut self, group: Group, receipt: Receipt) -> Verdict {
        let commands = model::commands_due(&group, self.policy);
        let verdict = Verdict::Redelivered;
        self.settle(Resolved { group, verdict, rows: vec![], commands, conflicts: vec![] }, receipt)
    }

    fn pin(&mut self, record: &RecordRef) {
        let group = self.item_of(record).and_then(|item| self.groups.get_mut(&item));
        if let Some(group) = group
            && let Some(place) = group.index_of(record)
        {
            group.links[place].pinned = true;
            self.touched.insert(group.item.id);
        }
    }

    /// Takes over what came of a message, unless nothing could: then the item stays as it was.
    fn unless_lost(&mut self, resolved: Resolved, record: &RecordRef, receipt: Receipt) -> Result<Verdict, Poison> {
        if !is_lost(&resolved) {
            return Ok(self.settle(resolved, receipt));
        }
        let detail = why_lost(&resolved.group.item, record, self.policy);
        self.groups.insert(resolved.group.item.id, resolved.group);
        Err(Poison { reason: "no_such_thing", detail })
    }

    /// Takes over what came of a message.
    fn settle(&mut self, resolved: Resolved, receipt: Receipt) -> Verdict {
        let item = resolved.group.item.id;
        if resolved.verdict == Verdict::Redelivered {
            self.redelivered.push((item, receipt.sequence));
        } else {
            self.touched.insert(item);
        }
        self.item_of.extend(resolved.group.links.iter().map(|link| (link.record.clone(), item)));
        self.groups.insert(item, resolved.group);
        self.rows.extend(resolved.rows);
        // Commands say what should be: an older one of the same batch is overtaken before it is sent.
        self.commands.extend(resolved.commands.into_iter().map(|command| (command.record.clone(), command)));
        self.conflicts.extend(resolved.conflicts.into_iter().map(|conflict| (conflict.id, conflict)));
        resolved.verdict
    }

    fn adopt(
        &mut self,
        target: Group,
        incoming: Group,
        record: &RecordRef,
        observation: &Observation,
        receipt: Receipt,
    ) -> Result<(), Poison> {
        let was = Group { conflict: None, ..incoming.clone() };
        let into = target.item.id;
        if let Some(stranger) = self.policy.stranger(&incoming, &target.item.lifecycle) {
            let detail = format!(
                "{stranger}: no mapping says what its statuses mean in the lifecycle of that item; add one, or tie it to none"
            );
            return Err(Poison { reason: Reason::OtherLifecycle.code(), detail });
        }
        let adoption = model::adopt(target, incoming, record, observation, receipt, self.policy)
            .map_err(|reason| refused(observation, reason))?;
        self.groups.remove(&adoption.ended);
        self.touched.remove(&adoption.ended);
        let is_new = self.new_items.remove(&adoption.ended);
        self.ended.insert(adoption.ended, Ended { into, was, is_new });
        self.settle(adoption.resolved, receipt);
        Ok(())
    }

    /// A message that comes again may be of a record that has left its item since: what the message led to was told of that item, which owes
    /// its commands still.
    fn look_where_they_parted(&mut self) {
        let from = |item| self.parted.get(item).or_else(|| self.parted_before.get(item)).copied();
        let left: Vec<_> = self.redelivered.iter().filter_map(|(item, cause)| Some((from(item)?, *cause))).collect();
        let items: BTreeSet<ItemId> = left.iter().map(|(item, _)| *item).collect();
        for group in items.iter().filter_map(|item| self.groups.get(item)) {
            for command in model::commands_due(group, self.policy) {
                self.commands.entry(command.record.clone()).or_insert(command);
            }
        }
        self.redelivered.extend(left);
    }

    /// What to write, and what to publish.
    pub fn close(mut self) -> Closed {
        self.look_where_they_parted();
        let groups = self.groups;
        let of =
            |items: Vec<&ItemId>| items.into_iter().filter_map(|item| groups.get(item).cloned()).collect::<Vec<_>>();
        let (new, old): (Vec<_>, Vec<_>) = self.touched.iter().partition(|item| self.new_items.contains(item));
        let mut new_items = of(new);
        // Its records are another's by now.
        let alone = |ended: &Ended| Group { links: vec![], ..ended.was.clone() };
        new_items.extend(self.ended.values().filter(|ended| ended.is_new).map(alone));
        let save = Save {
            new_items,
            new_records: self.new_records,
            items: of(old),
            ended: self.ended.iter().map(|(item, ended)| (*item, ended.into)).collect(),
            parted: self.parted.into_iter().collect(),
            rows: self.rows,
            conflicts: self.conflicts.into_values().collect(),
            keys: self.keys.into_iter().collect(),
        };
        let (commands, redelivered) = (self.commands.into_values().collect(), self.redelivered);
        let ended = self.ended.into_iter().map(|(item, ended)| (item, ended.was)).collect();
        Closed { save, commands, groups, ended, redelivered, drift: self.drift }
    }
}

/// Whether nothing came of a message, not even a line of the history: its lifecycle or mapping is gone.
fn is_lost(resolved: &Resolved) -> bool {
    resolved.verdict == Verdict::Invalid && resolved.rows.is_empty()
}

/// What the configuration lacks, so that nothing can be said of an item that is there.
fn why_lost(item: &Item, record: &RecordRef, policy: &Policy) -> String {
    let Item { lifecycle: name, status, .. } = item;
    match policy.lifecycles.get(name) {
        None => format!("the item's lifecycle {name} is not in the configuration any more: put it back"),
        Some(lifecycle) if !lifecycle.statuses().contains(status) => {
            format!(
                "lifecycle {name} has no status {status} any more, which the item has: put it back, or force the item to another"
            )
        }
        Some(_) => format!("no mapping says what {record} means in lifecycle {name}, which its item has: add one"),
    }
}

/// Whether it is what somebody says through our API that a record shows.
fn is_said(observation: &Observation) -> bool {
    observation.source == Source::Api && observation.intent == Intent::Status
}

fn not_there(record: &RecordRef) -> Poison {
    let detail = format!(
        "a connector sees the records {}/{}, and {record} is none of them: name one as `lockstep status --json` shows it",
        record.system, record.kind
    );
    Poison { reason: "unknown_record", detail }
}

fn no_such(record: &RecordRef) -> Poison {
    Poison { reason: "unknown_record", detail: format!("{record} was never seen") }
}

fn refused(observation: &Observation, reason: Reason) -> Poison {
    let detail = match reason {
        Reason::UnmappedStatus => format!("no mapping knows {:?} of {}", observation.native, observation.record),
        _ => match (&observation.intent, &observation.lifecycle) {
            (Intent::Status, Some(named)) => format!("{}: there is no lifecycle {named}", observation.record),
            _ => format!("{} cannot be carried out: no such record, lifecycle or version", observation.record),
        },
    };
    Poison { reason: reason.code(), detail }
}
