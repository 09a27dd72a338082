//! Conflicts: who wins, and what becomes of the other.

use std::cmp::Ordering;

use super::Turn;
use crate::{Candidate, Conflict, ConflictId, Reason, RowKind, Status, Strategy, Verdict};

/// Who wins a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Winner {
    Ours,
    Theirs,
    Nobody,
}

impl Turn<'_> {
    /// What the item would become if it followed the record, read together with the others of its kind.
    pub(crate) fn meant(&self) -> Status {
        let native = &self.observation.native;
        let item = &self.group.item;
        let folded = self.group.folded(self.index, native, &self.lens, self.scope()).unwrap_or(native);
        let meant = self.lens.put(self.lifecycle, &item.status, folded, item.last_open.as_ref());
        meant.unwrap_or_else(|| item.status.clone())
    }

    /// The item follows the record.
    pub(super) fn follow(&mut self, meant: &Status, reason: Reason) {
        let next = self.group.item.version.next();
        self.show();
        let link = self.link_mut();
        link.last_error = None;
        link.agree(next);
        self.change(meant, reason);
    }

    /// Both changed: decides by the strategy, and records the conflict whatever it decides.
    pub(super) fn clash(&mut self) -> Verdict {
        let meant = self.meant();
        if self.escalates() {
            self.hold(&meant, Reason::FlipFlop, true);
            return Verdict::FlipFlop;
        }
        match self.winner(&meant) {
            Winner::Nobody => self.hold(&meant, Reason::ConflictHeld, false),
            Winner::Theirs => {
                self.open(&meant, Some(1), false);
                self.follow(&meant, Reason::WonConflict);
            }
            Winner::Ours => {
                self.open(&meant, Some(0), false);
                self.see();
                self.row_of_edit(RowKind::Lost, &meant, Reason::LostConflict);
                self.settle_own();
            }
        }
        Verdict::Conflict
    }

    /// Counts one more time that the item was fought over, and says whether a person must end it.
    pub(super) fn escalates(&mut self) -> bool {
        let now = self.receipt.received_at;
        let window = self.policy.escalation_window_ms;
        let recent = &mut self.group.item.recent_conflicts;
        recent.retain(|at| now.apart_ms(*at) <= window);
        recent.push(now);
        recent.len() >= self.policy.escalation_threshold
    }

    /// Whether it is known that a person made the edit.
    pub(super) fn is_by_a_person(&self) -> bool {
        self.observation.actor.as_ref().is_some_and(|actor| !actor.automation)
    }

    /// Whether one automation takes back what another program, or nobody knows who, has just made of the item. Two that do
    /// so in turn may each have seen the other's change, so that none of it is a conflict. A person who changes the mind of
    /// an automation, or an agent that reports what it does, is no fight.
    pub(super) fn takes_back(&self, meant: &Status) -> bool {
        let item = &self.group.item;
        let actors = [item.changed_by_actor.as_ref(), self.observation.actor.as_ref()];
        let programs = actors.iter().flatten().filter(|actor| actor.automation).count();
        let no_person = programs == actors.iter().flatten().count();
        let same = item.changed_by == self.observation.record && actors[0] == actors[1];
        let back = item.changed_from.as_ref() == Some(meant);
        back && !same && !self.lens.is_read_only() && programs > 0 && no_person
    }

    fn winner(&self, meant: &Status) -> Winner {
        let item = &self.group.item;
        match self.policy.strategy {
            Strategy::PriorityBased => self.by_priority(),
            Strategy::TimestampBased => self.by_time(),
            Strategy::Manual => Winner::Nobody,
            Strategy::Merge => {
                let both_end = self.lifecycle.is_terminal(meant) && self.lifecycle.is_terminal(&item.status);
                let (behind, ahead, further) = match self.lifecycle.rank(meant).cmp(&self.lifecycle.rank(&item.status))
                {
                    Ordering::Less => (meant, &item.status, Winner::Ours),
                    Ordering::Equal | Ordering::Greater => (&item.status, meant, Winner::Theirs),
                };
                if both_end {
                    Winner::Nobody
                } else if self.lifecycle.reaches(behind, ahead) {
                    further
                } else {
                    self.by_priority()
                }
            }
        }
    }

    fn by_priority(&self) -> Winner {
        let ours = self.policy.priority(&self.group.item.changed_by.system);
        let theirs = self.policy.priority(&self.observation.record.system);
        // Two records of one system: nothing but time tells them apart, and the later arrival is the later news.
        let later = self.observation.occurred_at >= self.group.item.status_since;
        if theirs < ours || (theirs == ours && later) { Winner::Theirs } else { Winner::Ours }
    }

    fn by_time(&self) -> Winner {
        let (ours, theirs) = (self.group.item.status_since, self.observation.occurred_at);
        let apart = ours.apart_ms(theirs) > self.policy.clock_skew_ms;
        match theirs.cmp(&ours) {
            Ordering::Greater if apart => Winner::Theirs,
            Ordering::Less if apart => Winner::Ours,
            _ => self.by_priority(),
        }
    }

    /// Nothing moves until a person decides.
    pub(super) fn hold(&mut self, meant: &Status, reason: Reason, escalated: bool) {
        let id = self.open(meant, None, escalated);
        self.group.item.held = Some(id);
        self.group.conflict = self.conflicts.last().cloned();
        self.see();
        self.row_of_edit(RowKind::Candidate, meant, reason);
    }

    /// Whether the record has its say in the conflict that holds the item.
    pub(super) fn is_candidate(&self) -> bool {
        let record = &self.observation.record;
        self.group.conflict.as_ref().is_some_and(|conflict| conflict.candidates.iter().any(|one| one.record == *record))
    }

    /// Adds what came to the conflict that holds the item.
    pub(super) fn join(&mut self, meant: &Status) {
        let candidate = self.theirs(meant);
        self.see();
        if let Some(conflict) = &mut self.group.conflict {
            conflict.join(candidate);
            self.conflicts.push(conflict.clone());
        }
        self.row_of_edit(RowKind::Candidate, meant, Reason::ConflictHeld);
    }

    fn theirs(&self, meant: &Status) -> Candidate {
        Candidate {
            record: self.observation.record.clone(),
            native: self.observation.native.clone(),
            status: meant.clone(),
            position: self.observation.position,
            actor: self.observation.actor.clone(),
            at: self.observation.occurred_at,
        }
    }

    fn open(&mut self, meant: &Status, winner: Option<usize>, escalated: bool) -> ConflictId {
        let item = &self.group.item;
        let changed_by = self.group.link(&item.changed_by);
        let link = self.link();
        let ours = Candidate {
            record: item.changed_by.clone(),
            native: changed_by.unwrap_or(link).native.clone(),
            status: item.status.clone(),
            position: changed_by.and_then(|link| link.position),
            actor: item.changed_by_actor.clone(),
            at: item.status_since,
        };
        let id = ConflictId::of(item.id, self.receipt.sequence);
        let now = self.receipt.received_at;
        self.conflicts.push(Conflict {
            id,
            item: item.id,
            version: item.version,
            base: link.native.clone(),
            candidates: vec![ours, self.theirs(meant)],
            strategy: self.policy.strategy,
            escalated,
            winner,
            opened_at: now,
            resolved_at: winner.map(|_| now),
        });
        id
    }
}
