//! What records are sent. To *settle* one is to bring it in step with a new version: it agrees, or is owed a command. To *resend* is to
//! send what did not take, to publish *again* is to send the same where it may have been lost, and to *mend* is whichever is needed.

use super::Turn;
use crate::owed::Folds;
use crate::{CommandMode, Link, Origin, Reason, RowKind, Source, Status, Step, Timestamp, Verdict, Version};

impl Turn<'_> {
    /// Brings every link in step, or says what it is owed.
    pub(crate) fn settle_all(&mut self, previous: Option<&Status>) {
        let mut folds = Folds::default();
        for index in 0..self.group.links.len() {
            self.group.links[index].resent = 0;
            let command = self.group.settle(index, self.policy, self.receipt, previous, &mut folds);
            self.commands.extend(command);
        }
    }

    /// Sends this record what it owes.
    pub(crate) fn settle_own(&mut self) {
        let command = self.group.settle(self.index, self.policy, self.receipt, None, &mut Folds::default());
        self.commands.extend(command);
    }

    /// The record shows what it should: what is shown beside it may have been overtaken. A command on its way needs no other.
    pub(crate) fn settle_shown(&mut self) {
        if !self.link().is_told() {
            self.overrule([self.index]);
        }
    }

    /// The record is out of step, and no command is on its way that would mend it, or it was lost: sends one.
    pub(crate) fn mend(&mut self) {
        let lost = self.has_lost_its_command();
        if lost {
            // Where it was given up, it may take now.
            self.link_mut().last_error = None;
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
        let unmapped = !self.lens.knows(native);
        let link = &mut self.group.links[self.index];
        let version = version.or_else(|| link.late_echo(native, Origin::Unknown, &self.lens));
        // A version that the item has not reached is another item's, to which the record was tied before. What a report says of commands
        // was noted with it.
        let told = self.observation.source != Source::Delivery;
        if let Some(version) = version.filter(|version| told && *version <= current) {
            link.land(version, CommandMode::Tell, None);
        }
        // Nor is one of the current version that shows anything else: nobody who sees it has seen what the item is.
        let version = version.filter(|version| !told || shows || *version < current);
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

    /// The record was deleted and is back. What it shows is no news, nor would it be later, together with others of its kind: it is told
    /// what the item has become.
    pub(crate) fn bring_back(&mut self) -> Verdict {
        self.show();
        self.row_of_item(RowKind::Ignored, Reason::Restored);
        let command = self.group.settle_alone(self.index, self.policy, self.receipt);
        self.commands.extend(command);
        Verdict::Ignored
    }
}
