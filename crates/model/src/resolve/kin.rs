//! Records that are read together with others of their kind: what one of them shows may be an edit that waits for the others, and the
//! history says so where it is written over and the item has not changed.

use super::Turn;
use crate::owed::Folds;
use crate::{Command, CommandMode, Link, Reason, RowKind, Status};

impl Turn<'_> {
    /// Whether the item has other records that are read together with this one.
    pub(crate) fn has_kin(&self) -> bool {
        self.kin().next().is_some()
    }

    /// Whether one of them is still there.
    pub(crate) fn has_kin_that_speak(&self) -> bool {
        self.kin().any(|(_, link)| !link.native.is_deleted())
    }

    /// They, with their places.
    fn kin(&self) -> impl Iterator<Item = (usize, &Link)> {
        let record = &self.observation.record;
        let links = self.group.links.iter().enumerate();
        links.filter(move |(_, link)| link.record != *record && link.record.is_kin_of(record))
    }

    /// Whether the record, which is as close to its item as it can be, says the same as before together with others of its kind.
    pub(crate) fn keeps_the_fold(&self) -> bool {
        let link = self.link();
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

    /// What the others of its kind owe may have changed with this record, because they are read together.
    pub(super) fn overrule_kin(&mut self) {
        self.overrule_kin_that(|link| link.sent.is_empty());
    }

    /// The record cannot be told what it should show: those of its kind that waited for that wait in vain.
    pub(crate) fn overrule_those_that_waited(&mut self) {
        let version = self.group.item.version;
        self.overrule_kin_that(|link| link.agreed == version && link.sent.is_empty() && link.last_error.is_none());
    }

    fn overrule_kin_that(&mut self, fits: impl Fn(&Link) -> bool) {
        let kin: Vec<usize> = self.kin().filter(|(_, link)| fits(link)).map(|(index, _)| index).collect();
        self.overrule(kin);
    }

    /// Brings all records in step, in an order, as if none had been told anything before.
    pub(crate) fn overrule_all(&mut self, order: impl IntoIterator<Item = usize>) {
        self.group.links.iter_mut().for_each(|link| link.resent = 0);
        self.overrule(order);
    }

    /// Brings records in step that said nothing new. The item does not follow what they show: whoever deletes or renames another of their
    /// kind, or changes a mapping, does not say that the work is done.
    pub(crate) fn overrule(&mut self, indices: impl IntoIterator<Item = usize>) {
        let mut folds = Folds::default();
        for index in indices {
            let waited = self.waits(index);
            let command = self.group.settle(index, self.policy, self.receipt, None, &mut folds);
            self.tell(index, command, waited);
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
            self.row_of_edit(RowKind::Ignored, &waited, Reason::Overruled);
            self.about_link(index);
        }
        self.commands.extend(command);
    }
}
