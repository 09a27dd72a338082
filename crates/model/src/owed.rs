//! What each record is owed: the command that would bring it in step, if there is one.

use std::cell::OnceCell;

use crate::{
    Command, CommandMode, Earlier, Group, Item, Kind, Lens, Lifecycle, Link, Native, Policy, Receipt, RecordRef, Sent,
    Status, Step, System, Version, Vocabulary,
};

/// By what statuses are understood: what configuration says, and of it the item's lifecycle.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) lifecycle: &'a Lifecycle,
}

/// What the records of each kind say together, asked once for all of a pass over an item's links instead of once for each: an item may have
/// a thousand.
#[derive(Debug, Default)]
pub(crate) struct Folds(Vec<Together>);

/// What those say together that are read by one lens, where that was asked; `None` where they say nothing.
#[derive(Debug)]
struct Together {
    system: System,
    kind: Kind,
    vocabulary: Option<Vocabulary>,
    /// As they are.
    shown: OnceCell<Option<Native>>,
    /// Once those that are behind show what they are being told.
    told: OnceCell<Option<Native>>,
}

impl Folds {
    fn of(&mut self, link: &Link) -> &Together {
        let is_it = |one: &Together| {
            one.system == link.record.system && one.kind == link.record.kind && one.vocabulary == link.vocabulary
        };
        let place = self.0.iter().position(is_it).unwrap_or_else(|| {
            let (RecordRef { system, kind, .. }, vocabulary) = (link.record.clone(), link.vocabulary.clone());
            self.0.push(Together { system, kind, vocabulary, shown: OnceCell::new(), told: OnceCell::new() });
            self.0.len() - 1
        });
        &self.0[place]
    }

    fn forget_told(&mut self) {
        self.0.iter_mut().for_each(|one| one.told = OnceCell::new());
    }
}

impl Group {
    /// Whether a link shows what it should: by itself, or folded with the others of its system and kind.
    pub(crate) fn shows(&self, index: usize, native: &Native, lens: &Lens, scope: Scope) -> bool {
        let status = &self.item.status;
        lens.shows_status(native, status)
            || self.folded(index, native, lens, scope).is_some_and(|folded| lens.shows_status(folded, status))
    }

    /// The same of what it shows now.
    fn shows_now(&self, index: usize, lens: &Lens, scope: Scope, folds: &mut Folds) -> bool {
        let (status, link) = (&self.item.status, &self.links[index]);
        if lens.shows_status(&link.native, status) {
            return true;
        }
        let together = || self.folded(index, &link.native, lens, scope);
        let shown = folds.of(link).shown.get_or_init(|| together().cloned());
        debug_assert_eq!(shown.as_ref(), together(), "nobody shows anything else since it was asked");
        shown.as_ref().is_some_and(|folded| lens.shows_status(folded, status))
    }

    /// What the link's system and kind say together, if this link shows `native`; in this link's words.
    pub(crate) fn folded<'a>(
        &'a self,
        index: usize,
        native: &'a Native,
        lens: &'a Lens,
        scope: Scope,
    ) -> Option<&'a Native> {
        self.folded_by(index, native, lens, scope, |link| &link.native)
    }

    /// Whether a link that is as close to its item as it was says with the others what the item is, once those that are behind show what
    /// they are being told. What it shows waits for them, and is not written over because of them.
    fn will_show(&self, index: usize, lens: &Lens, scope: Scope, folds: &mut Folds) -> bool {
        let (item, link) = (&self.item, &self.links[index]);
        if link.agreed != item.version {
            return false;
        }
        // It agrees, so that it is being told nothing itself.
        let theirs = |other| Link::told(other, item.version).unwrap_or(&other.native);
        let together = || self.folded_by(index, &link.native, lens, scope, theirs);
        let told = folds.of(link).told.get_or_init(|| together().cloned());
        debug_assert_eq!(told.as_ref(), together(), "nobody is told anything else since it was asked");
        told.as_ref().is_some_and(|folded| lens.shows_status(folded, &item.status))
    }

    fn folded_by<'a>(
        &'a self,
        index: usize,
        native: &'a Native,
        lens: &'a Lens,
        scope: Scope,
        theirs: impl Fn(&'a Link) -> &'a Native,
    ) -> Option<&'a Native> {
        let own = &self.links[index];
        let speaks = |native: &&Native| lens.normal(native).is_some() && !lens.is_silent(native);
        let shown = |(place, link): (usize, &'a Link)| {
            if place == index {
                Some(native)
            } else if link.vocabulary == own.vocabulary {
                Some(theirs(link))
            } else {
                translated(link, theirs(link), lens, scope)
            }
        };
        let links = self.links.iter().enumerate().filter(|(_, link)| link.record.is_kin_of(&own.record));
        let natives: Vec<&Native> = links.filter_map(shown).filter(speaks).collect();
        lens.fold().of(lens, scope.lifecycle, &natives)
    }

    /// Whether every record shows what it should, or as near to it as it can be told. While the item is held, records that happen to
    /// agree with it wait for a person like the others.
    pub fn in_step(&self, policy: &Policy) -> bool {
        let settled = |step| matches!(step, Step::InStep | Step::AsClose | Step::ReadOnly | Step::Deleted);
        let folds = &mut Folds::default();
        self.item.held.is_none() && (0..self.links.len()).all(|index| settled(self.step_of(index, policy, folds)))
    }

    /// Whether a link is in step with its item, and if not, why.
    pub fn step(&self, index: usize, policy: &Policy) -> Step {
        self.step_of(index, policy, &mut Folds::default())
    }

    fn step_of(&self, index: usize, policy: &Policy, folds: &mut Folds) -> Step {
        let link = &self.links[index];
        let Some(lifecycle) = policy.lifecycle_of_item(&self.item) else { return Step::Unmapped };
        let Some(lens) = policy.lens_of(link, lifecycle) else { return Step::Unmapped };
        if link.native.is_deleted() {
            Step::Deleted
        } else if link.unmapped || !lens.knows(&link.native) {
            Step::Unmapped
        } else if self.shows_now(index, &lens, Scope { policy, lifecycle }, folds) {
            Step::InStep
        } else if lens.is_silent(&link.native) && link.agreed == self.item.version {
            // It shows what changes nothing, since the item's last change: nothing is owed until the next.
            Step::AsClose
        } else if self.item.held.is_some() {
            Step::Held
        } else if lens.is_read_only() {
            Step::ReadOnly
        } else if !lens.can_tell(&link.native, lens.get(&self.item.status)) {
            Step::AsClose
        } else if link.last_error.is_some() {
            Step::Failed
        } else {
            Step::Pending
        }
    }

    /// What a link should show.
    pub fn wanted(&self, index: usize, policy: &Policy) -> Option<Native> {
        let lifecycle = policy.lifecycle_of_item(&self.item)?;
        let lens = policy.lens_of(&self.links[index], lifecycle)?;
        Some(lens.get(&self.item.status).clone())
    }

    /// Notes that a link agrees, or makes the command that it is owed.
    pub(crate) fn settle(
        &mut self,
        index: usize,
        policy: &Policy,
        receipt: Receipt,
        previous: Option<&Status>,
        folds: &mut Folds,
    ) -> Option<Command> {
        let lifecycle = policy.lifecycle_of_item(&self.item)?;
        let lens = policy.lens_of(&self.links[index], lifecycle)?;
        let scope = Scope { policy, lifecycle };
        let shows = self.shows_now(index, &lens, scope, folds) || self.will_show(index, &lens, scope, folds);
        self.settle_one_that(shows, index, &lens, receipt, previous, folds)
    }

    /// The same of a record whose word counts for nothing: what others of its kind say with it does not make it right.
    pub(crate) fn settle_alone(&mut self, index: usize, policy: &Policy, receipt: Receipt) -> Option<Command> {
        let link = &self.links[index];
        let lens = policy.lens_of(link, policy.lifecycle_of_item(&self.item)?)?;
        let shows = lens.shows_status(&link.native, &self.item.status);
        self.settle_one_that(shows, index, &lens, receipt, None, &mut Folds::default())
    }

    fn settle_one_that(
        &mut self,
        shows: bool,
        index: usize,
        lens: &Lens,
        receipt: Receipt,
        previous: Option<&Status>,
        folds: &mut Folds,
    ) -> Option<Command> {
        let (cause, at) = (receipt.sequence, receipt.received_at);
        if self.item.held.is_some() {
            return None;
        }
        if self.links[index].native.is_deleted() {
            // When it is brought back it is told what the item has become.
            return None;
        }
        let target = lens.get(&self.item.status).clone();
        let version = self.item.version;
        if self.links[index].told(version).is_some() {
            folds.forget_told();
        }
        let link = &mut self.links[index];
        if shows {
            link.last_error = None;
        }
        // While a command may still be on its way, what the record shows now is not what it will show.
        let mode = if lens.is_read_only() || (shows && !link.is_told()) {
            link.agree(version);
            stale_shown(link, &self.item, lens).then_some(CommandMode::Show)?
        } else if lens.can_tell(&link.native, &target) {
            CommandMode::Tell
        } else {
            link.agree(version);
            // A command to tell it something took the place of one to show, which may not have been carried out.
            let overtaken = link.is_told() || link.shown.as_ref() != Some(&self.item.status);
            (lens.shows() && overtaken).then_some(CommandMode::Show)?
        };
        if mode == CommandMode::Show {
            link.shown = Some(self.item.status.clone());
        }
        let sent = Sent { version, native: target, mode, cause, since: cause, at };
        let command = command(&self.item, link, &sent, lens, previous);
        // What is said there is of an older one.
        link.last_error = None;
        link.send(sent);
        if link.told(version).is_some() {
            folds.forget_told();
        }
        Some(command)
    }

    /// Sends a link's current command once more, because a write of ours did not take or took late. While it is on its
    /// way it is not sent twice: its report will tell.
    pub(crate) fn resend(&mut self, index: usize, policy: &Policy, receipt: Receipt) -> Option<Command> {
        let version = self.item.version;
        let link = &mut self.links[index];
        if link.sent.iter().any(|sent| sent.version == version && sent.mode == CommandMode::Tell) {
            return None;
        }
        if link.resent >= Link::RESENT_MAX {
            link.last_error = Some(format!("the record did not keep what was written, {} times", link.resent));
            return None;
        }
        let resent = link.resent + 1;
        let command = self.settle(index, policy, receipt, None, &mut Folds::default());
        self.links[index].resent = resent;
        command
    }
}

impl Group {
    /// Publishes a link's newest command anew, because an older one may have taken its place on the bus, or it was lost.
    pub(crate) fn again(&mut self, index: usize, policy: &Policy, receipt: Receipt) -> Option<Command> {
        let lens = policy.lens_of(&self.links[index], policy.lifecycle_of_item(&self.item)?)?;
        let version = self.item.version;
        let link = &mut self.links[index];
        let newest = link.sent.last_mut().filter(|sent| sent.version == version)?;
        (newest.cause, newest.at) = (receipt.sequence, receipt.received_at);
        let sent = newest.clone();
        Some(command(&self.item, link, &sent, &lens, None))
    }
}

/// What a link shows, in the words of another team: what its status there is called here.
fn translated<'a>(link: &Link, native: &Native, lens: &'a Lens, scope: Scope) -> Option<&'a Native> {
    let theirs = scope.policy.lens_of(link, scope.lifecycle)?;
    let normal = theirs.normal(native).filter(|_| !theirs.is_silent(native))?;
    Some(lens.get(theirs.preferred(normal)?))
}

/// Whether a status shown beside the record has been overtaken.
fn stale_shown(link: &Link, item: &Item, lens: &Lens) -> bool {
    lens.shows() && link.shown.as_ref().is_some_and(|shown| *shown != item.status)
}

/// Everything that the record may show without somebody having edited it: the shadow, what we told it since, and what it may show
/// when it was told that. What means the same as the target is another's word for it, and is not written over.
fn expects(link: &Link, target: &Native, lens: &Lens) -> Expected {
    let mut expected = Expected { expects: vec![link.native.clone()], earlier: vec![] };
    let told = link.sent.iter().filter(|sent| sent.mode == CommandMode::Tell && sent.native != *target);
    for sent in told {
        let alike = lens.natives().map(|(native, _)| native);
        let alike = alike.filter(|native| lens.same(native, &sent.native) && !lens.same(native, target));
        std::iter::once(&sent.native).chain(alike).for_each(|native| expected.add(sent, native));
    }
    expected.expects.retain(|native| native != target);
    expected
}

/// What the record may show: at all, and for a command that may have been carried out.
struct Expected {
    expects: Vec<Native>,
    earlier: Vec<Earlier>,
}

impl Expected {
    fn add(&mut self, sent: &Sent, native: &Native) {
        let is_there = |earlier: &Earlier| earlier.version == sent.version && earlier.native == *native;
        // Sent for another item, or by an older release: nobody could tell whether it was carried out.
        if sent.version == Version(0) || sent.since == 0 {
            if !self.expects.contains(native) {
                self.expects.push(native.clone());
            }
        } else if !self.earlier.iter().any(is_there) {
            self.earlier.push(Earlier { version: sent.version, native: native.clone(), since: sent.since });
        }
    }
}

fn command(item: &Item, link: &Link, sent: &Sent, lens: &Lens, previous: Option<&Status>) -> Command {
    let expected = expects(link, &sent.native, lens);
    Command {
        record: link.record.clone(),
        item: item.id,
        version: item.version,
        status: item.status.clone(),
        previous: previous.cloned(),
        native: sent.native.clone(),
        mode: sent.mode,
        expects: expected.expects,
        earlier: expected.earlier,
        position: link.position,
        key: item.key.as_ref().map(ToString::to_string),
        cause: sent.cause,
    }
}

/// The commands of the item's current version that may not have gone out: what a redelivered input publishes again,
/// each the same message as the first time.
pub fn commands_due(group: &Group, policy: &Policy) -> Vec<Command> {
    let again = |link: &Link| {
        let sent = link.sent.last().filter(|sent| sent.version == group.item.version)?;
        let lens = policy.lens_of(link, policy.lifecycle_of_item(&group.item)?)?;
        Some(command(&group.item, link, sent, &lens, None))
    };
    group.links.iter().filter_map(again).collect()
}
