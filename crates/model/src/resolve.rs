//! Decides what one observation means for an item: its next version, and the commands other records owe.
//!
//! Pure. The caller brings the item and its links, and carries the outcome out; see `resolver::worker`.

use crate::{
    Command, Conflict, Group, HistoryRow, Intent, Item, ItemId, Lifecycle, Link, Observation, Policy, Reason, Receipt,
    RowKind, Status, Verdict, Version,
};

mod clash;
mod kin;
mod mend;
mod operator;
mod report;
mod rules;
mod turn;

pub use operator::roll_back;
pub use report::{OLDER_COMMAND, Report, report};
pub(crate) use turn::Turn;

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
        turn.overrule_kin();
    }
    if turn.counts(verdict) {
        turn.link_mut().hear(receipt);
    }
    if turn.link().position != position {
        turn.link_mut().position_at = Some(receipt.received_at);
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
    let mut turn = Turn::new(group, observation, receipt, policy).map_err(|_| Reason::NoSuchThing)?;
    let is_known = turn.lens.knows(&observation.native);
    turn.link_mut().unmapped = !is_known;
    let to = turn.group.item.status.clone();
    turn.row(RowKind::Changed, None, &to, Reason::FirstSeen);
    turn.note();
    let verdict = if is_known { Verdict::Created } else { Verdict::Unmapped };
    if turn.counts(verdict) {
        turn.link_mut().hear(receipt);
    }
    Ok(turn.done(verdict))
}

pub(crate) fn new_item(observation: &Observation, lifecycle: &Lifecycle, status: Status, id: ItemId) -> Item {
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
        said: 0,
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
