//! Records that are read together with others of their kind: what one of them shows may be an edit that waits for the others, and the
//! history says so where it is written over and the item has not changed.

use super::Turn;
use crate::{Command, CommandMode, Reason, RowKind, Status};

impl Turn<'_> {
    /// Brings a record in step that said nothing new. The item does not follow what it shows: whoever deletes or renames another of its
    /// kind, or changes a mapping, does not say that the work is done.
    pub(crate) fn settle_over(&mut self, index: usize) {
        let waited = self.waits(index);
        let command = self.group.settle(index, self.policy, self.receipt, None);
        self.tell(index, command, waited);
    }

    /// The same with all of them, in an order.
    pub(crate) fn settle_all_over(&mut self, order: impl Iterator<Item = usize>) {
        for index in order {
            self.group.links[index].resent = 0;
            self.settle_over(index);
        }
    }

    /// The record cannot be told what it should show: those of its kind that waited for that wait in vain.
    pub(crate) fn settle_those_that_waited(&mut self) {
        let record = self.observation.record.clone();
        for index in 0..self.group.links.len() {
            let (link, version) = (&self.group.links[index], self.group.item.version);
            let waits = link.agreed == version && link.sent.is_empty() && link.last_error.is_none();
            if index != self.index && waits && link.record.is_kin_of(&record) {
                self.settle_over(index);
            }
        }
    }

    /// Sends what a record is owed once more, because it did not take or was never sent.
    pub(crate) fn resend(&mut self) {
        let waited = self.waits(self.index).filter(|_| self.has_kin());
        let command = self.group.resend(self.index, self.policy, self.receipt);
        self.tell(self.index, command, waited);
    }

    /// What a record says the item should be, where nothing but the others of its kind keeps the item from following it.
    fn waits(&self, index: usize) -> Option<Status> {
        let (item, link) = (&self.group.item, &self.group.links[index]);
        let lens = self.policy.lens_of(link, self.lifecycle).filter(|lens| !lens.is_read_only())?;
        let meant = lens.put(self.lifecycle, &item.status, &link.native, item.last_open.as_ref())?;
        // What is told once more was written over before.
        (link.agreed == item.version && link.resent == 0 && meant != item.status).then_some(meant)
    }

    fn tell(&mut self, index: usize, command: Option<Command>, waited: Option<Status>) {
        let told = command.as_ref().is_some_and(|command| command.mode == CommandMode::Tell);
        if let Some(waited) = waited.filter(|_| told) {
            let link = &mut self.group.links[index];
            link.resent = link.resent.max(1);
            let (status, link) = (self.group.item.status.clone(), link.clone());
            self.row(RowKind::Ignored, Some(status), &waited, Reason::Overruled);
            if let Some(row) = self.rows.last_mut() {
                (row.record, row.native, row.position) = (link.record, link.native, link.position);
            }
        }
        self.commands.extend(command);
    }
}
