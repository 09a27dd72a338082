//! A record in a remote system: what it shows, its own clock, and all that ever happened to it.

use std::collections::BTreeSet;

use model::{Command, Native, Origin, Position, RecordRef, Timestamp, Version};

use super::table::{Clock, Table};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    Start,
    Person,
    /// Somebody edited something else on it.
    Touch,
    Us(Version),
    /// An old copy of its system was brought back, of when it stood at this revision.
    OldCopy(usize),
}

/// Under whose name we write, and so what a webhook tells of who it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    App,
    Tagged,
    Personal,
}

#[derive(Debug, Clone)]
pub struct Revision {
    pub native: Native,
    pub position: Option<Position>,
    pub at: Timestamp,
    pub by: Author,
    /// What a webhook says of its origin.
    pub origin: Origin,
}

/// The newest command of a record's subject, and how far the connectors are.
#[derive(Debug, Default)]
pub struct Desired {
    pub command: Option<Command>,
    pub stored: u64,
    pub acknowledged: u64,
}

#[derive(Debug)]
pub struct Remote {
    pub record: RecordRef,
    pub table: &'static Table,
    pub credential: Credential,
    pub skew_ms: i64,
    /// It offers a conditional write.
    pub conditional: bool,
    pub down: bool,
    pub revisions: Vec<Revision>,
    /// The item's status, shown beside what it cannot be told.
    pub shown: Option<String>,
    pub desired: Desired,
    /// Writes of ours that changed it.
    pub writes: usize,
    /// The last command was given up.
    pub failed: bool,
    /// Those who carried out its commands, one after another.
    pub holds: Vec<Hold>,
}

/// What a connector knows of its own writes for as long as it holds a record.
#[derive(Debug, Clone, Default)]
pub struct Hold {
    /// Commands sent because of this message or an earlier one may have been carried out before.
    pub since: u64,
    /// The versions that it began to write.
    pub begun: BTreeSet<Version>,
}

impl Remote {
    pub fn now(&self) -> &Revision {
        self.revisions.last().expect("it starts with one")
    }

    pub fn newest(&self) -> usize {
        self.revisions.len() - 1
    }

    /// Somebody changes it. Returns the revision.
    pub fn change(&mut self, native: &Native, by: Author, origin: Origin, now_ms: i64) -> usize {
        let at = now_ms + self.skew_ms;
        let clock = |milliseconds: i64| u64::try_from(milliseconds).expect("after 1970");
        let position = match self.table.clock {
            Clock::Milliseconds => Some(clock(at)),
            Clock::Seconds => Some(clock(at) / 1_000),
            Clock::Rows => Some(self.revisions.len() as u64 + 1),
            Clock::None => None,
        };
        let position = position.map(Position);
        let before = self.revisions.last().and_then(|last| last.position);
        self.revisions.push(Revision {
            native: native.clone(),
            position: position.max(before),
            at: Timestamp(at),
            by,
            origin,
        });
        self.newest()
    }

    /// Its system is brought back from an old copy, in which its time line had not come so far.
    pub fn go_back(&mut self, of: usize) -> bool {
        let was = self.revisions[of].clone();
        // What shares its moment with another status is as new as that.
        let shares = |one: &Revision| one.position == was.position && one.native != was.native;
        if was.position >= self.now().position || self.revisions.iter().any(shares) {
            return false;
        }
        self.revisions.push(Revision { by: Author::OldCopy(of), origin: Origin::Unknown, ..was });
        true
    }

    /// What it shows on its way to another status: an issue is opened and closed again to have another reason for being closed.
    pub fn passes(&self, to: &Native) -> Option<Native> {
        let both_closed = [&self.now().native, to].iter().all(|native| native.as_str().starts_with("closed/"));
        (both_closed && self.credential == Credential::App).then(|| Native::new("open").expect("a word"))
    }

    /// What a webhook says of who made our own write.
    pub fn own_origin(&self, version: Version) -> Origin {
        match self.credential {
            Credential::App => Origin::Own(None),
            Credential::Tagged => Origin::Own(Some(version)),
            Credential::Personal => Origin::Unknown,
        }
    }
}
