//! A record says nothing any more, and those of its kind that it held back do.

use super::Turn;
use crate::{CommandMode, Irregular, Link, Reason};

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

    /// The item follows those that remain of the record's kind, if they show all that they were told: what they say is an edit that waited
    /// for this one. Else, and where the lifecycle does not take it, it is they who are told. Whether it did.
    pub(crate) fn let_the_rest_speak(&mut self) -> bool {
        let (record, version) = (&self.observation.record, self.group.item.version);
        let is_rest = |link: &Link| link.record.is_kin_of(record) && link.record != *record;
        let speaks = |link: &Link| {
            let lens = self.policy.lens_of(link, self.lifecycle);
            is_rest(link)
                && lens.is_some_and(|lens| lens.normal(&link.native).is_some() && !lens.is_silent(&link.native))
        };
        let waits = |link: &Link| link.agreed != version || link.is_told();
        if self.group.item.held.is_some() || self.group.links.iter().any(|link| is_rest(link) && waits(link)) {
            return false;
        }
        let Some(place) = self.group.links.iter().position(speaks) else { return false };
        let Some(lens) = self.policy.lens_of(&self.group.links[place], self.lifecycle) else { return false };
        let item = &self.group.item;
        let folded = self.group.folded(place, &self.group.links[place].native, &lens, self.scope());
        let meant = folded.and_then(|folded| lens.put(self.lifecycle, &item.status, folded, item.last_open.as_ref()));
        let Some(meant) = meant.filter(|meant| *meant != item.status) else { return false };
        let reopens = self.lifecycle.is_terminal(&item.status) && lens.is_read_only();
        let irregular = self.lifecycle.irregular(&self.group.links[place].record.system);
        if !self.lifecycle.allows(&item.status, &meant) && (reopens || irregular != Irregular::Accept) {
            return false;
        }
        self.change(&meant, Reason::RestSpeaks);
        self.leave_alone();
        true
    }

    /// What says nothing was set by somebody just now, and is not written over for that.
    fn leave_alone(&mut self) {
        let record = &self.observation.record;
        self.commands.retain(|command| command.record != *record || command.mode == CommandMode::Show);
        let version = self.group.item.version;
        if let Some(place) = self.group.index_of(record) {
            let link = &mut self.group.links[place];
            link.sent.retain(|sent| sent.version != version || sent.mode == CommandMode::Show);
            link.agree(version);
        }
    }
}
