//! Ties records to items and unties them. An adoption is not a conflict: `on_link` says who wins.

use uuid::Uuid;

use crate::resolve::{Resolved, Turn, new_item};
use crate::{
    Group, Intent, Item, ItemId, Key, Link, Observation, OnLink, Policy, Reason, Receipt, RecordRef, RowKind, Source,
    Verdict, Version,
};

/// What came of tying one item's records to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Adoption {
    /// The item that goes on, with all the links.
    pub resolved: Resolved,
    /// The item that ended.
    pub ended: ItemId,
}

/// Brings all records of `incoming` to the item of `target`; the item they had ends.
///
/// `observation` is what caused it: it belongs to a record of either group. `record` is the record of `incoming` whose
/// status is compared with the item's. Fails when either lifecycle is unknown, or no mapping says what one of the records means in that of
/// `target`.
pub fn adopt(
    target: Group,
    incoming: Group,
    record: &RecordRef,
    observation: &Observation,
    receipt: Receipt,
    policy: &Policy,
) -> Result<Adoption, Reason> {
    let ended = incoming.item.id;
    if policy.stranger(&incoming, &target.item.lifecycle).is_some() {
        return Err(Reason::OtherLifecycle);
    }
    let mut group = target;
    if let Some(place) = group.index_of(&observation.record) {
        group.links[place].take(receipt);
    }
    let first = group.links.len();
    // Untying leaves gaps: after the last, not as many as there are, or two would share a place.
    let next = group.links.last().map_or(0, |link| link.order + 1);
    for (order, mut link) in (next..).zip(incoming.links) {
        link.void();
        link.agreed = Version(0);
        link.shown = None;
        link.order = order;
        group.links.push(link);
    }
    let known = std::mem::replace(&mut group.item.metadata, incoming.item.metadata);
    group.item.note(&known);
    group.name_after_its_records(policy);
    // It is called what the record is called that its key is of.
    let of_key = |link: &Link| group.item.key.is_some() && link.keys.first() == group.item.key.as_ref();
    let (ours, theirs) = (group.item.title.clone(), incoming.item.title);
    group.item.title = if group.links[first..].iter().any(of_key) { theirs.or(ours) } else { ours.or(theirs) };
    let about = Observation { record: record.clone(), ..observation.clone() };
    let mut turn = Turn::new(group, &about, receipt, policy).map_err(|_| Reason::NoSuchThing)?;
    let native = turn.group.links[turn.index].native.clone();
    for index in first..turn.group.links.len() {
        let lens = policy.lens_of(&turn.group.links[index], turn.lifecycle);
        let link = &mut turn.group.links[index];
        // Another lifecycle's mapping may know other words.
        link.unmapped = lens.is_some_and(|lens| !lens.knows(&link.native));
        turn.row_of_item(RowKind::Linked, Reason::Adopted);
        turn.about_link(index);
    }
    let theirs = match policy.on_link {
        OnLink::Item => false,
        OnLink::Record => true,
        OnLink::Priority => policy.priority(&record.system) < policy.priority(&turn.group.item.changed_by.system),
    };
    let item = &turn.group.item;
    let meant = if theirs {
        turn.lens.put(turn.lifecycle, &item.status, &native, item.last_open.as_ref())
    } else {
        turn.is_news_of_itself(observation).then(|| turn.meant())
    };
    if let Some(meant) = meant.filter(|meant| *meant != item.status && item.held.is_none()) {
        turn.change(&meant, Reason::Adopted);
    } else {
        // Those that came first: what is shown by others of their kind may wait for what they are told.
        turn.overrule_all((first..turn.group.links.len()).chain(0..first));
    }
    if let Some(mut conflict) = incoming.conflict {
        // Nobody can pick for an item that has ended; what its records show is known.
        conflict.resolved_at = Some(receipt.received_at);
        // By its row it is told again where the message comes again.
        if let Some(row) = turn.rows.first_mut() {
            row.conflict = Some(conflict.id);
        }
        turn.conflicts.push(conflict);
    }
    Ok(Adoption { resolved: turn.done(Verdict::Linked), ended })
}

/// Gives a record of `group` an item of its own again. Fails when it is the item's only record.
///
/// Returns what is left, and the new item.
pub fn part(
    group: Group,
    observation: &Observation,
    receipt: Receipt,
    policy: &Policy,
) -> Result<(Resolved, Group), Reason> {
    let record = &observation.record;
    let place = group.index_of(record).filter(|_| group.links.len() > 1).ok_or(Reason::NoSuchThing)?;
    let mut turn = Turn::new(group, observation, receipt, policy).map_err(|_| Reason::NoSuchThing)?;
    turn.row_of_item(RowKind::Unlinked, Reason::Parted);
    turn.about_link(place);
    let mut link = turn.group.links.remove(place);
    let mut title = None;
    // Else the next sight of what is left would tie it to the same record again.
    for left in &mut turn.group.links {
        left.pinned |= left.mentions.iter().any(|key| link.keys.contains(key));
    }
    if turn.group.item.key.as_ref().is_some_and(|key| link.keys.contains(key)) {
        turn.group.item.key = None;
        title = turn.group.item.title.take();
    }
    turn.group.name_after_its_records(policy);
    turn.index = 0;
    // A fold may speak differently without it.
    turn.overrule_all(0..turn.group.links.len());

    let id = ItemId(Uuid::new_v5(&record.own_item().0, &receipt.sequence.to_be_bytes()));
    let name = policy.lifecycle_after(&turn.group.item, record);
    let lifecycle = policy.lifecycles.get(name).ok_or(Reason::NoSuchThing)?;
    let lens = policy.lens(record, link.vocabulary.as_ref(), lifecycle).ok_or(Reason::UnmappedStatus)?;
    let status = lens.put(lifecycle, lifecycle.initial(), &link.native, None);
    link.unmapped = !lens.knows(&link.native);
    let status = status.unwrap_or_else(|| lifecycle.initial().clone());
    link.agreed = Version(1);
    link.void();
    link.order = 0;
    link.pinned = true;
    link.take(receipt);
    let item = Item { title, ..new_item(observation, lifecycle, status, id) };
    let mut own = Group { item, links: vec![link], conflict: None };
    own.name_after_its_records(policy);
    let mut alone = Turn::new(own, observation, receipt, policy).map_err(|_| Reason::NoSuchThing)?;
    let to = alone.group.item.status.clone();
    alone.row(RowKind::Changed, None, &to, Reason::Parted);
    turn.rows.append(&mut alone.rows);
    Ok((turn.done(Verdict::Linked), alone.group))
}

impl Turn<'_> {
    /// Whether a record that can be told nothing said itself what it does now when it named the item, after the item became what it is.
    /// Else nobody would hear of it: it says the same until it does something else.
    fn is_news_of_itself(&self, observation: &Observation) -> bool {
        let (item, link) = (&self.group.item, self.link());
        let is_its_word = observation.record == link.record
            && observation.native == link.native
            && observation.intent == Intent::Status
            && observation.source == Source::Api;
        let is_new = !self.late && observation.occurred_at >= item.status_since;
        // One that nobody mapped speaks the lifecycle's own words, and who tells of it may know no more than that it belongs there.
        let is_mapped = self.policy.mappings.get(&link.record.system, &link.record.kind, &item.lifecycle).is_some();
        let tells = is_mapped && self.lens.is_read_only() && !self.lens.is_silent(&link.native);
        let allowed = || self.lifecycle.allows(&item.status, &self.meant());
        self.policy.on_link == OnLink::Item && is_its_word && is_new && tells && allowed()
    }
}

impl Group {
    /// A record owns an identifier no more: another has a better right to it, and is what it means by it, unless they are of one kind.
    pub fn give_up(&mut self, record: &RecordRef, key: &Key, to: &RecordRef, policy: &Policy) {
        let Some(place) = self.index_of(record) else { return };
        let link = &mut self.links[place];
        link.keys.retain(|own| own != key);
        if !to.is_kin_of(record) && !link.mentions.contains(key) {
            link.mentions.push(key.clone());
        }
        if self.item.key.as_ref() == Some(key) {
            self.item.key = None;
            self.name_after_its_records(policy);
        }
    }
}

/// Whether identifiers may tie `incoming` to `target`: only a lone record moves by itself, and only to an item that has
/// none of its kind that owns an identifier, so that a pull request that names two issues does not make them one.
pub fn may_adopt(target: &Group, incoming: &Group) -> bool {
    let [alone] = incoming.links.as_slice() else { return false };
    let rival = |link: &Link| {
        link.record.is_kin_of(&alone.record)
            && !link.keys.is_empty()
            && !alone.keys.is_empty()
            && alone.mentions.is_empty()
    };
    !alone.pinned && target.item.id != incoming.item.id && !target.links.iter().any(rival)
}
