//! Decides what one observation means for an item: its next version, and the commands other records owe.
//!
//! Pure. The caller brings the item and its links, and carries the outcome out; see `resolver::batch`.

use crate::owed::Scope;
use crate::{
    Cause, Command, CommandMode, Conflict, Group, HistoryRow, Intent, Item, Lens, Lifecycle, Link, Observation, Origin,
    Policy, Reason, Receipt, RowKind, Source, Status, Step, Timestamp, Verdict, Version,
};

mod clash;
mod operator;
mod report;
mod rest;
mod rules;

pub use operator::roll_back;
pub use report::{OLDER_COMMAND, Report, report};

/// What came of resolving one observation.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The item and its links afterwards.
    pub group: Group,
    /// Which rule decided.
    pub verdict: Verdict,
    /// What the history tells of it.
    pub rows: Vec<HistoryRow>,
    /// What other records owe now.
    pub commands: Vec<Command>,
    /// Conflicts that were opened, joined or resolved.
    pub conflicts: Vec<Conflict>,
}

impl Resolved {
    /// Nothing comes of a message that is about no record of the group, or about a lifecycle that is gone.
    fn invalid(group: Group) -> Self {
        Self { group, verdict: Verdict::Invalid, rows: vec![], commands: vec![], conflicts: vec![] }
    }
}

/// Resolves one observation of a record that belongs to `group`.
///
/// In strict mode the caller dead-letters what comes back [`Verdict::Unmapped`] or [`Verdict::Invalid`].
pub fn resolve(group: Group, observation: &Observation, receipt: Receipt, policy: &Policy) -> Resolved {
    let mut turn = match Turn::new(group, observation, receipt, policy) {
        Ok(turn) => turn,
        Err(group) => return Resolved::invalid(group),
    };
    let shadow = turn.link().native.clone();
    let position = turn.link().position;
    let rules = rules::RULES.iter().filter(|(name, _)| !policy.leaves_out(name));
    let verdict = rules.into_iter().find_map(|(_, rule)| rule(&mut turn)).unwrap_or(Verdict::NoNews);
    if turn.link().native != shadow {
        turn.settle_kin();
    }
    if turn.link().position != position {
        turn.link().position_at = Some(receipt.received_at);
    }
    turn.done(verdict)
}

/// The names of the rules, in the order in which they are asked.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub fn rule_names() -> impl Iterator<Item = &'static str> {
    rules::RULES.iter().map(|(name, _)| *name)
}

/// Gives a record that nobody linked an item of its own.
///
/// Fails when the observation is not a status: an operator's word needs an item to be about.
pub fn begin(observation: &Observation, receipt: Receipt, policy: &Policy) -> Result<Resolved, Reason> {
    if observation.intent != Intent::Status {
        return Err(Reason::NoSuchThing);
    }
    let record = &observation.record;
    let name = observation.lifecycle.as_ref().unwrap_or_else(|| policy.lifecycle_for(record));
    let lifecycle = policy.lifecycles.get(name).ok_or(Reason::NoSuchThing)?;
    let lens = policy.lens(record, observation.vocabulary.as_ref(), lifecycle).ok_or(Reason::UnmappedStatus)?;
    let known = lens.put(lifecycle, lifecycle.initial(), &observation.native, None);
    let status = known.unwrap_or_else(|| lifecycle.initial().clone());
    let item = new_item(observation, lifecycle, status, record.own_item());
    let link = new_link(observation, receipt);
    let group = Group { item, links: vec![link], conflict: None };
    let mut turn = Turn {
        group,
        index: 0,
        observation,
        receipt,
        policy,
        lifecycle,
        lens,
        late: false,
        rows: vec![],
        commands: vec![],
        conflicts: vec![],
    };
    let is_known = turn.lens.knows(&observation.native);
    turn.group.links[0].unmapped = !is_known;
    let to = turn.group.item.status.clone();
    turn.row(RowKind::Changed, None, &to, Reason::FirstSeen);
    turn.note();
    Ok(turn.done(if is_known { Verdict::Created } else { Verdict::Unmapped }))
}

pub(crate) fn new_item(observation: &Observation, lifecycle: &Lifecycle, status: Status, id: crate::ItemId) -> Item {
    Item {
        id,
        lifecycle: lifecycle.name().clone(),
        key: None,
        title: None,
        last_open: (!lifecycle.is_terminal(&status)).then(|| status.clone()),
        status,
        status_since: observation.occurred_at,
        version: Version(1),
        changed_by: observation.record.clone(),
        changed_by_actor: observation.actor.clone(),
        changed_from: None,
        held: None,
        recent_conflicts: vec![],
        metadata: observation.metadata.clone(),
    }
}

fn new_link(observation: &Observation, receipt: Receipt) -> Link {
    let mut sequences = [0; 4];
    sequences[receipt.lane as usize] = receipt.sequence;
    Link {
        record: observation.record.clone(),
        native: observation.native.clone(),
        position: observation.position,
        position_at: observation.position.map(|_| receipt.received_at),
        sequences,
        taken_at: Some(receipt.received_at),
        agreed: Version(1),
        sent: vec![],
        shown: None,
        said: if observation.position.is_none() { receipt.first() } else { 0 },
        resent: 0,
        vocabulary: observation.vocabulary.clone(),
        unmapped: false,
        last_error: None,
        keys: vec![],
        mentions: vec![],
        order: 0,
        pinned: false,
        url: None,
        watched: false,
    }
}

/// One observation being resolved.
pub(crate) struct Turn<'a> {
    pub(crate) group: Group,
    /// The place of the record's link.
    pub(crate) index: usize,
    pub(crate) observation: &'a Observation,
    pub(crate) receipt: Receipt,
    pub(crate) policy: &'a Policy,
    pub(crate) lifecycle: &'a Lifecycle,
    pub(crate) lens: std::sync::Arc<Lens>,
    /// The record has been heard of since this came for the first time, or somebody said later what overtook this in a more urgent lane;
    /// and no position says which is newer.
    pub(crate) late: bool,
    pub(crate) rows: Vec<HistoryRow>,
    pub(crate) commands: Vec<Command>,
    pub(crate) conflicts: Vec<Conflict>,
}

impl<'a> Turn<'a> {
    /// Gives the group back where the record is not one of its own, or its lifecycle or mapping is gone.
    #[expect(clippy::result_large_err, reason = "the group is the caller's, and moves on either way")]
    pub(crate) fn new(
        group: Group,
        observation: &'a Observation,
        receipt: Receipt,
        policy: &'a Policy,
    ) -> Result<Self, Group> {
        let found = || {
            let index = group.index_of(&observation.record)?;
            // By an operator's word an item leaves a status that its lifecycle does not know any more.
            let forced = matches!(observation.intent, Intent::Force(_));
            let lifecycle = if forced {
                policy.lifecycles.get(&group.item.lifecycle)
            } else {
                policy.lifecycle_of_item(&group.item)
            };
            let lifecycle = lifecycle?;
            let link = &group.links[index];
            let vocabulary = observation.vocabulary.as_ref().or(link.vocabulary.as_ref());
            Some((index, lifecycle, policy.lens(&link.record, vocabulary, lifecycle)?))
        };
        let Some((index, lifecycle, lens)) = found() else { return Err(group) };
        let link = &group.links[index];
        let heard = link.sequences.into_iter().max();
        let is_replayed_late = receipt.first_sequence.is_some_and(|first| heard > Some(first));
        let late = observation.position.is_none() && (is_replayed_late || link.has_heard_later(receipt));
        Ok(Self {
            group,
            index,
            observation,
            receipt,
            policy,
            lifecycle,
            lens,
            late,
            rows: vec![],
            commands: vec![],
            conflicts: vec![],
        })
    }

    pub(crate) fn done(self, verdict: Verdict) -> Resolved {
        Resolved { group: self.group, verdict, rows: self.rows, commands: self.commands, conflicts: self.conflicts }
    }

    pub(crate) fn scope(&self) -> Scope<'a> {
        Scope { policy: self.policy, lifecycle: self.lifecycle }
    }

    pub(crate) fn link(&mut self) -> &mut Link {
        &mut self.group.links[self.index]
    }

    /// Takes over what the observation says beside the status.
    pub(crate) fn note(&mut self) {
        let observation = self.observation;
        let link = &mut self.group.links[self.index];
        if observation.vocabulary.is_some() {
            link.vocabulary.clone_from(&observation.vocabulary);
        }
        if !observation.keys.is_empty() {
            link.keys.clone_from(&observation.keys);
        }
        // Who sees the record itself sees as well that it mentions nothing any more. A mention that stayed would tie whatever is given
        // that identifier later.
        let is_whole =
            !matches!(observation.source, Source::Api | Source::Delivery) && !observation.native.is_deleted();
        if is_whole || !observation.mentions.is_empty() {
            link.mentions.clone_from(&observation.mentions);
        }
        if observation.url.is_some() {
            link.url.clone_from(&observation.url);
        }
        // Whoever reports on commands need not be one who sees the record.
        link.watched |= !matches!(observation.source, Source::Api | Source::Delivery);
        self.group.item.note(&observation.metadata);
        self.group.name_after_its_records(self.policy);
        let owner = self.group.links[self.index].keys.first();
        let names_it = self.group.item.title.is_none() || (owner.is_some() && self.group.item.key.as_ref() == owner);
        if names_it && observation.title.is_some() {
            self.group.item.title.clone_from(&observation.title);
        }
    }

    pub(crate) fn row(&mut self, kind: RowKind, from: Option<Status>, to: &Status, reason: Reason) {
        let observation = self.observation;
        self.rows.push(HistoryRow {
            item: self.group.item.id,
            version: self.group.item.version,
            kind,
            irregular: from.as_ref().is_some_and(|from| kind == RowKind::Changed && !self.lifecycle.allows(from, to)),
            from,
            to: to.clone(),
            record: observation.record.clone(),
            native: observation.native.clone(),
            position: observation.position,
            actor: observation.actor.clone(),
            reason,
            conflict: self.conflicts.last().map(|conflict| conflict.id),
            at: observation.occurred_at,
            recorded_at: self.receipt.received_at,
            cause: Cause { sequence: self.receipt.sequence, id: observation.id.clone() },
        });
    }

    /// The item takes a status: one version more, and a command to every other record that does not show it.
    pub(crate) fn change(&mut self, to: &Status, reason: Reason) {
        let from = self.group.item.status.clone();
        let author = self.author();
        let item = &mut self.group.item;
        item.version = item.version.next();
        item.status = to.clone();
        item.status_since = self.observation.occurred_at;
        item.changed_by = author;
        item.changed_by_actor.clone_from(&self.observation.actor);
        item.changed_from = Some(from.clone());
        if !self.lifecycle.is_terminal(to) {
            item.last_open = Some(to.clone());
        }
        self.row(RowKind::Changed, Some(from.clone()), to, reason);
        self.settle_all(Some(&from));
    }

    /// Whether somebody asks for a status through our API, of a record that a connector sees and can tell.
    pub(crate) fn is_asked(&self) -> bool {
        let Observation { source, intent, origin, .. } = self.observation;
        let asks = *source == Source::Api && *intent == Intent::Status && !matches!(origin, Origin::Own(_));
        asks && self.group.links[self.index].watched && !self.lens.is_read_only()
    }

    /// Whether the item has other records that are read together with this one.
    pub(crate) fn has_kin(&self) -> bool {
        let record = &self.observation.record;
        self.group.links.iter().any(|link| link.record != *record && link.record.is_kin_of(record))
    }

    /// Whether the record, which is as close to its item as it can be, says the same as before together with others of its kind.
    pub(crate) fn keeps_the_fold(&self) -> bool {
        let link = &self.group.links[self.index];
        let together = |native| {
            let folded = self.group.folded(self.index, native, &self.lens, self.scope());
            folded.and_then(|folded| self.lens.normal(folded))
        };
        let before = together(&link.native);
        self.has_kin()
            && link.agreed == self.group.item.version
            && before.is_some()
            && before == together(&self.observation.native)
    }

    /// Why the record cannot be told by itself what was asked of it: it is read together with others, or nobody can tell it that.
    pub(crate) fn keeps_from_telling(&self, meant: &Status) -> Option<Reason> {
        let link = &self.group.links[self.index];
        if self.has_kin() {
            return Some(Reason::Folded);
        }
        let can = self.lens.shows_status(&link.native, meant) || self.lens.can_tell(&link.native, self.lens.get(meant));
        (!can || link.native.is_deleted()).then_some(Reason::CannotBeTold)
    }

    /// Notes what the record showed, and where on its time line. What is asked for was not seen.
    pub(crate) fn see(&mut self) {
        if !self.is_asked() {
            let (native, position) = (&self.observation.native, self.observation.position);
            self.group.links[self.index].show(native, position);
        }
    }

    /// Whose change it is: the record's, or the operator's who spoke by way of it.
    fn author(&self) -> crate::RecordRef {
        let record = &self.observation.record;
        match self.observation.intent {
            Intent::Force(_) | Intent::Rollback(_) | Intent::Pick(..) => record.as_operator(),
            Intent::Status | Intent::Link(_) | Intent::Unlink => record.clone(),
        }
    }

    /// Brings every link in step, or says what it is owed.
    pub(crate) fn settle_all(&mut self, previous: Option<&Status>) {
        for index in 0..self.group.links.len() {
            self.group.links[index].resent = 0;
            let command = self.group.settle(index, self.policy, self.receipt, previous);
            self.commands.extend(command);
        }
    }

    /// The record shows what it should: what is shown beside it may have been overtaken. A command on its way needs no other.
    pub(crate) fn settle_shown(&mut self) {
        if !self.link().is_told() {
            self.settle_over(self.index);
        }
    }

    /// What the others of its kind owe may have changed with this record, because they are read together.
    fn settle_kin(&mut self) {
        let record = self.observation.record.clone();
        for index in 0..self.group.links.len() {
            let link = &self.group.links[index];
            if link.record.is_kin_of(&record) && index != self.index && link.sent.is_empty() {
                self.settle_over(index);
            }
        }
    }

    /// The record is out of step, and no command is on its way that would mend it, or it was lost: sends one.
    pub(crate) fn mend(&mut self) {
        let lost = self.has_lost_its_command();
        if lost {
            // Where it was given up, it may take now.
            self.link().last_error = None;
        }
        if self.group.step(self.index, self.policy) != Step::Pending {
            return;
        }
        if lost {
            let command = self.group.again(self.index, self.policy, self.receipt);
            self.commands.extend(command);
        } else {
            self.resend();
        }
    }

    /// Whether a sweep sees the record so long after its command was sent that this must be gone.
    fn has_lost_its_command(&self) -> bool {
        let (link, version) = (&self.group.links[self.index], self.group.item.version);
        let newest = link.sent.last().filter(|sent| sent.version == version && sent.mode == CommandMode::Tell);
        self.observation.source == Source::Sweep && newest.is_some_and(|sent| self.ms_since(sent.at) > Link::LOST_MS)
    }

    /// The record shows what nobody but us made of it, as of a version if that is known. That never changes the item; what it should not
    /// show landed late, and it is told once more.
    pub(crate) fn see_nobodys(&mut self, version: Option<Version>) {
        let (native, position) = (&self.observation.native, self.observation.position);
        let current = self.group.item.version;
        let shows = self.group.shows(self.index, native, &self.lens, self.scope());
        let unmapped = self.lens.normal(native).is_none();
        let link = &mut self.group.links[self.index];
        let version = version.or_else(|| link.late_echo(native, Origin::Unknown, &self.lens));
        // A version that the item has not reached is another item's, to which the record was tied before. What a report says of commands
        // was noted with it.
        let told = self.observation.source != Source::Delivery;
        if let Some(version) = version.filter(|version| told && *version <= current) {
            link.land(version, CommandMode::Tell, None);
        }
        let version = version.unwrap_or(link.agreed).min(current);
        link.show(native, position);
        link.unmapped = unmapped;
        link.last_error = None;
        if shows {
            link.agree(current);
            self.settle_shown();
        } else {
            // `resent` must survive: it is what ends a record that never keeps what is written to it.
            let resent = link.resent;
            link.agree(version);
            link.resent = resent;
            let command = self.group.resend(self.index, self.policy, self.receipt);
            self.commands.extend(command);
        }
    }

    /// Whether somebody looked at the record and saw it below where it was known to be long before.
    pub(crate) fn has_gone_back(&self) -> bool {
        let (observation, link) = (self.observation, &self.group.links[self.index]);
        let looked =
            matches!(observation.source, Source::Sweep | Source::Poll) && self.receipt.first_sequence.is_none();
        looked && self.is_older() && link.position_at.is_some_and(|since| self.ms_since(since) > Link::OLD_COPY_MS)
    }

    /// How long after a moment the bus stored this.
    fn ms_since(&self, at: Timestamp) -> i64 {
        self.receipt.received_at.0.saturating_sub(at.0)
    }

    /// Whether it is below the position that is known.
    pub(crate) fn is_older(&self) -> bool {
        let known = self.group.links[self.index].position;
        matches!((self.observation.position, known), (Some(seen), Some(known)) if seen < known)
    }

    /// The record was deleted and is back. What it shows is no news, and it is told what the item has become.
    pub(crate) fn bring_back(&mut self) -> Verdict {
        let (native, position) = (&self.observation.native, self.observation.position);
        let status = self.group.item.status.clone();
        self.group.links[self.index].show(native, position);
        self.row(RowKind::Ignored, None, &status, Reason::Restored);
        self.settle_own();
        Verdict::Ignored
    }

    /// Sends this record what it owes.
    pub(crate) fn settle_own(&mut self) {
        let command = self.group.settle(self.index, self.policy, self.receipt, None);
        self.commands.extend(command);
    }
}

impl Group {
    /// The item is called what the most important record that has an identifier is called.
    pub(crate) fn name_after_its_records(&mut self, policy: &Policy) {
        let named = self.links.iter().filter(|link| !link.keys.is_empty());
        let first = named.min_by_key(|link| (policy.priority(&link.record.system), link.order));
        if let Some(key) = first.and_then(|link| link.keys.first()) {
            self.item.key = Some(key.clone());
        }
    }
}
