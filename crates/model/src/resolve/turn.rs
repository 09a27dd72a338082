//! One observation being resolved: what it is about, and what came of it so far.

use std::sync::Arc;

use super::Resolved;
use crate::owed::Scope;
use crate::{
    Cause, Command, Conflict, Group, HistoryRow, Intent, Lens, Lifecycle, Link, Observation, Origin, Policy, Reason,
    Receipt, RecordRef, RowKind, Source, Status, Verdict,
};

/// One observation being resolved.
pub(crate) struct Turn<'a> {
    pub(crate) group: Group,
    /// The place of the record's link.
    pub(crate) index: usize,
    pub(crate) observation: &'a Observation,
    pub(crate) receipt: Receipt,
    pub(crate) policy: &'a Policy,
    pub(crate) lifecycle: &'a Lifecycle,
    pub(crate) lens: Arc<Lens>,
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
        let is_overtaken = observation.source != Source::Delivery && link.has_heard_later(receipt);
        let late = observation.position.is_none() && (is_replayed_late || is_overtaken);
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

    pub(crate) fn link(&self) -> &Link {
        &self.group.links[self.index]
    }

    pub(crate) fn link_mut(&mut self) -> &mut Link {
        &mut self.group.links[self.index]
    }

    /// The link takes what the observation shows.
    pub(crate) fn show(&mut self) {
        let observation = self.observation;
        self.link_mut().show(&observation.native, observation.position);
    }

    /// Whether a more urgent lane brought first what was said later, and nothing else makes this late.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.late && self.receipt.first_sequence.is_none()
    }

    /// Whether what was said before this, and comes after it, is void: not by a report, nor by what nothing comes of.
    pub(super) fn counts(&self, verdict: Verdict) -> bool {
        let Observation { position, source, native, .. } = self.observation;
        let is_void = matches!(
            verdict,
            Verdict::Redelivered | Verdict::Stale | Verdict::Unmapped | Verdict::Refused | Verdict::Invalid
        );
        position.is_none() && *source != Source::Delivery && !is_void && !self.lens.is_silent(native)
    }

    /// Takes over what is said beside the status, as far as nothing is known: the status itself was overtaken.
    pub(crate) fn note_what_is_missing(&mut self) {
        let observation = self.observation;
        let link = self.link_mut();
        link.vocabulary = link.vocabulary.take().or_else(|| observation.vocabulary.clone());
        link.url = link.url.take().or_else(|| observation.url.clone());
        if link.keys.is_empty() {
            link.keys.clone_from(&observation.keys);
        }
        if link.mentions.is_empty() {
            link.mentions.clone_from(&observation.mentions);
        }
        let known = std::mem::take(&mut self.group.item.metadata);
        self.group.item.note(&observation.metadata);
        self.group.item.note(&known);
        self.group.name_after_its_records(self.policy);
        let item = &mut self.group.item;
        item.title = item.title.take().or_else(|| observation.title.clone());
    }

    /// Takes over what the observation says beside the status.
    pub(crate) fn note(&mut self) {
        let observation = self.observation;
        let link = self.link_mut();
        if observation.vocabulary.is_some() {
            link.vocabulary.clone_from(&observation.vocabulary);
        }
        if !observation.keys.is_empty() {
            link.keys.clone_from(&observation.keys);
        }
        // Who sees the record itself sees as well that it mentions nothing any more. A mention that stayed would tie whatever is given
        // that identifier later.
        let is_whole = observation.source.is_sight() && !observation.native.is_deleted();
        if is_whole || !observation.mentions.is_empty() {
            link.mentions.clone_from(&observation.mentions);
        }
        if observation.url.is_some() {
            link.url.clone_from(&observation.url);
        }
        // Whoever reports on commands need not be one who sees the record.
        link.watched |= observation.source.is_sight();
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
            record: self.author(),
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

    /// A line that leaves the item as it is.
    pub(crate) fn row_of_item(&mut self, kind: RowKind, reason: Reason) {
        let status = self.group.item.status.clone();
        self.row(kind, None, &status, reason);
    }

    /// A line about an edit that the item does not follow, with what it would have become.
    pub(crate) fn row_of_edit(&mut self, kind: RowKind, meant: &Status, reason: Reason) {
        let status = self.group.item.status.clone();
        self.row(kind, Some(status), meant, reason);
    }

    /// Makes the last line one about another link, with what that shows.
    pub(crate) fn about_link(&mut self, index: usize) {
        let link = &self.group.links[index];
        if let Some(row) = self.rows.last_mut() {
            row.record = link.record.clone();
            row.native = link.native.clone();
            row.position = link.position;
        }
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
        asks && self.link().watched && !self.lens.is_read_only()
    }

    /// Why the record cannot be told by itself what was asked of it: it is read together with others, or nobody can tell it that.
    pub(crate) fn keeps_from_telling(&self, meant: &Status) -> Option<Reason> {
        let link = self.link();
        if self.has_kin_that_speak() {
            return Some(Reason::Folded);
        }
        let can = self.lens.shows_status(&link.native, meant) || self.lens.can_tell(&link.native, self.lens.get(meant));
        (!can || link.native.is_deleted()).then_some(Reason::CannotBeTold)
    }

    /// Notes what the record showed, and where on its time line. What is asked for was not seen.
    pub(crate) fn see(&mut self) {
        if !self.is_asked() {
            self.show();
        }
    }

    /// Whose word it is: the record's, or the operator's who spoke by way of it. Nobody touched that record.
    fn author(&self) -> RecordRef {
        let record = &self.observation.record;
        match self.observation.intent {
            Intent::Force(_) | Intent::Rollback(_) | Intent::Pick(..) => record.as_operator(),
            Intent::Status | Intent::Link(_) | Intent::Unlink => record.clone(),
        }
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
