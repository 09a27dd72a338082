//! A record says nothing any more, and what those of its kind showed beside it is written over.

use super::Turn;
use crate::{Link, Reason, RowKind};

impl Turn<'_> {
    /// Whether the record, as it is known, says together with its kin what the item is.
    pub(crate) fn speaks_with_kin(&self) -> bool {
        let native = &self.group.links[self.index].native;
        let together = || self.group.folded(self.index, native, &self.lens, self.scope());
        self.has_kin() && together().is_some_and(|folded| self.lens.shows_status(folded, &self.group.item.status))
    }

    /// Those that remain of the record's kind are told what the item is. What one of them shows instead may be an edit that waited for this
    /// one: the history says that it was overruled. The item does not follow it, for whoever deletes or renames a row does not say that
    /// the work is done.
    pub(crate) fn overrule_the_rest(&mut self) {
        for place in 0..self.group.links.len() {
            if let Some(row) = self.overruled(&self.group.links[place]) {
                let (status, link) = (self.group.item.status.clone(), self.group.links[place].clone());
                self.row(RowKind::Ignored, Some(status), &row, Reason::Overruled);
                if let Some(row) = self.rows.last_mut() {
                    (row.record, row.native, row.position) = (link.record, link.native, link.position);
                }
            }
        }
    }

    /// What a record of the rest says the item should be.
    fn overruled(&self, link: &Link) -> Option<crate::Status> {
        let (record, item) = (&self.observation.record, &self.group.item);
        let is_rest = link.record.is_kin_of(record) && link.record != *record;
        let lens = self.policy.lens_of(link, self.lifecycle).filter(|lens| is_rest && !lens.is_read_only())?;
        let meant = lens.put(self.lifecycle, &item.status, &link.native, item.last_open.as_ref())?;
        (link.agreed == item.version && meant != item.status).then_some(meant)
    }
}
