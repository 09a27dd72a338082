//! A record says nothing any more, and those of its kind that it held back do.

use super::Turn;
use crate::{Irregular, Link, Reason};

impl Turn<'_> {
    /// Whether the record, as it is known, says together with its kin what the item is.
    pub(crate) fn speaks_with_kin(&self) -> bool {
        let native = &self.group.links[self.index].native;
        let together = || self.group.folded(self.index, native, &self.lens, self.scope());
        self.has_kin() && together().is_some_and(|folded| self.lens.shows_status(folded, &self.group.item.status))
    }

    /// Whether what the record shows now says nothing, and is not meant to: it was deleted, or no mapping knows it.
    pub(crate) fn says_nothing(&self) -> bool {
        let native = &self.group.links[self.index].native;
        self.lens.normal(native).is_none() && !self.lens.is_silent(native)
    }

    /// The item follows those that remain of the record's kind, if they have seen all that it was: what they show is an edit that waited for
    /// this one. Else, and where the lifecycle does not take it, it is they who are told. Whether it did.
    pub(crate) fn let_the_rest_speak(&mut self) -> bool {
        let (record, item, links) = (&self.observation.record, &self.group.item, &self.group.links);
        let is_rest = |link: &Link| link.record.is_kin_of(record) && link.record != *record;
        let waits = |link: &Link| is_rest(link) && link.agreed != item.version;
        let Some(place) = links.iter().position(is_rest) else { return false };
        let Some(lens) = self.policy.lens_of(&links[place], self.lifecycle) else { return false };
        // Who can be told nothing reports what it does, and edits nothing.
        if item.held.is_some() || lens.is_read_only() || links.iter().any(waits) {
            return false;
        }
        let folded = self.group.folded(place, &links[place].native, &lens, self.scope());
        let meant = folded.and_then(|folded| lens.put(self.lifecycle, &item.status, folded, item.last_open.as_ref()));
        let Some(meant) = meant.filter(|meant| *meant != item.status) else { return false };
        let accepts = self.lifecycle.irregular(&record.system) == Irregular::Accept;
        if !accepts && !self.lifecycle.allows(&item.status, &meant) {
            return false;
        }
        self.change(&meant, Reason::RestSpeaks);
        true
    }
}
