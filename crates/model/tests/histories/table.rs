//! What the simulated systems' statuses mean, as plain tables: the mappings that the model loads are written from them,
//! and the oracle reads them by code of its own.

use std::fmt::Write;

use model::{Native, Vocabulary, Word};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    Milliseconds,
    Seconds,
    Rows,
    None,
}

#[derive(Debug)]
pub struct Table {
    pub system: &'static str,
    pub kind: &'static str,
    pub clock: Clock,
    pub get: [&'static str; 8],
    /// The preferred status of each native that stands for itself.
    pub put: &'static [(&'static str, &'static str)],
    pub alias: &'static [(&'static str, &'static str)],
    pub silent: &'static [&'static str],
    pub writable: Option<&'static [&'static str]>,
    pub shows: bool,
    /// Name and class of each state, where teams name their own.
    pub words: &'static [(&'static str, &'static str)],
}

pub const STATUSES: [&str; 8] =
    ["backlog", "todo", "in_progress", "blocked", "in_review", "done", "canceled", "failed"];

pub fn terminal(status: &str) -> bool {
    matches!(status, "done" | "canceled" | "failed")
}

impl Table {
    pub fn get(&self, status: &str) -> &'static str {
        let place = STATUSES.iter().position(|known| *known == status).expect("a status");
        self.get[place]
    }

    pub fn normal(&self, native: &str) -> Option<&'static str> {
        let own = self.put.iter().find(|(known, _)| *known == native).map(|(known, _)| *known);
        own.or_else(|| self.alias.iter().find(|(from, _)| *from == native).map(|(_, to)| *to))
    }

    pub fn is_silent(&self, native: &str) -> bool {
        self.silent.contains(&native)
    }

    pub fn preferred(&self, native: &str) -> Option<&'static str> {
        let normal = self.normal(native)?;
        self.put.iter().find(|(known, _)| *known == normal).map(|(_, status)| *status)
    }

    /// What an item of `status` becomes when this record alone shows `native`.
    pub fn put(&self, status: &str, native: &str, last_open: Option<&str>) -> Option<String> {
        let normal = self.normal(native)?;
        if self.get(status) == normal {
            return Some(status.to_owned());
        }
        let preferred = self.preferred(native)?;
        match last_open {
            Some(open) if terminal(status) && !terminal(preferred) && self.get(open) == normal => Some(open.to_owned()),
            _ => Some(preferred.to_owned()),
        }
    }

    pub fn can_tell(&self, native: &str) -> bool {
        self.writable.is_none_or(|writable| writable.contains(&native))
    }

    pub fn is_read_only(&self) -> bool {
        self.writable.is_some_and(<[_]>::is_empty)
    }

    /// What people set.
    pub fn natives(&self) -> Vec<&'static str> {
        self.put.iter().chain(self.alias).map(|(native, _)| *native).collect()
    }

    pub fn vocabulary(&self) -> Option<Vocabulary> {
        let word = |(name, class): &(&str, &str)| Word { native: Native::new(name).unwrap(), class: (*class).into() };
        (!self.words.is_empty()).then(|| Vocabulary(self.words.iter().map(word).collect()))
    }

    /// The mapping as a person would write it.
    pub fn toml(&self) -> String {
        if self.system == "linear" {
            return LINEAR.to_owned();
        }
        let mut text =
            format!("[[mapping]]\nsystem = {:?}\nkind = {:?}\nlifecycle = \"work\"\n", self.system, self.kind);
        writeln!(text, "shows = {}\nsilent = {:?}", self.shows, self.silent).unwrap();
        if let Some(writable) = self.writable {
            writeln!(text, "writable = {writable:?}").unwrap();
        }
        writeln!(text, "[mapping.get]").unwrap();
        for (status, native) in STATUSES.iter().zip(self.get) {
            writeln!(text, "{status:?} = {native:?}").unwrap();
        }
        for (part, pairs) in [("put", self.put), ("alias", self.alias)] {
            writeln!(text, "[mapping.{part}]").unwrap();
            for (from, to) in pairs {
                writeln!(text, "{from:?} = {to:?}").unwrap();
            }
        }
        text
    }
}

/// By name first, then by type: the team below has no state called `In Progress` or `Blocked`.
const LINEAR: &str = r#"
[[mapping]]
system = "linear"
kind = "issue"
lifecycle = "work"
[mapping.get]
backlog = ["Backlog", "type:backlog"]
todo = ["Todo", "type:unstarted"]
in_progress = ["In Progress", "type:started"]
blocked = ["Blocked", "In Progress", "type:started"]
in_review = ["In Review", "type:started"]
done = ["Done", "type:completed"]
canceled = ["Canceled", "type:canceled"]
failed = ["Canceled", "type:canceled"]
[mapping.put]
"In Review" = "in_review"
"Blocked" = "blocked"
"type:backlog" = "backlog"
"type:unstarted" = "todo"
"type:started" = "in_progress"
"type:completed" = "done"
"type:canceled" = "canceled"
"#;

pub const LINEAR_ISSUE: Table = Table {
    system: "linear",
    kind: "issue",
    clock: Clock::Milliseconds,
    get: ["Someday", "Todo", "Doing", "Doing", "In Review", "Shipped", "Canceled", "Canceled"],
    put: &[
        ("Todo", "todo"),
        ("Doing", "in_progress"),
        ("In Review", "in_review"),
        ("Shipped", "done"),
        ("Canceled", "canceled"),
        ("Someday", "backlog"),
    ],
    alias: &[("Released", "Shipped")],
    silent: &[],
    writable: None,
    shows: false,
    words: &[
        ("Someday", "backlog"),
        ("Todo", "unstarted"),
        ("Doing", "started"),
        ("In Review", "started"),
        ("Shipped", "completed"),
        ("Released", "completed"),
        ("Canceled", "canceled"),
    ],
};

pub const GITHUB_ISSUE: Table = Table {
    system: "github",
    kind: "issue",
    clock: Clock::Seconds,
    get: ["open", "open", "open", "open", "open", "closed/completed", "closed/not_planned", "closed/not_planned"],
    put: &[("open", "todo"), ("closed/completed", "done"), ("closed/not_planned", "canceled")],
    alias: &[("closed/duplicate", "closed/not_planned")],
    silent: &[],
    writable: None,
    shows: false,
    words: &[],
};

pub const PULL: Table = Table {
    system: "github",
    kind: "pull_request",
    clock: Clock::Seconds,
    get: ["draft", "draft", "draft", "draft", "open", "merged", "closed", "closed"],
    put: &[("draft", "in_progress"), ("open", "in_review"), ("merged", "done"), ("closed", "canceled")],
    alias: &[("approved", "open")],
    silent: &["queued"],
    writable: Some(&["draft", "open"]),
    shows: true,
    words: &[],
};

const OWN_WORDS: &[(&str, &str)] = &[
    ("todo", "todo"),
    ("in_progress", "in_progress"),
    ("in_review", "in_review"),
    ("done", "done"),
    ("backlog", "backlog"),
    ("blocked", "blocked"),
    ("canceled", "canceled"),
    ("failed", "failed"),
];

pub const TASK: Table = Table {
    system: "postgres",
    kind: "task",
    clock: Clock::Rows,
    get: STATUSES,
    put: OWN_WORDS,
    alias: &[("completed", "done")],
    silent: &[],
    writable: None,
    shows: false,
    words: &[],
};

/// An agent says what it does, and can be told nothing.
pub const AGENT: Table = Table {
    system: "agentapi",
    kind: "agent",
    clock: Clock::None,
    get: ["stable", "stable", "running", "stable", "stable", "stable", "stable", "stable"],
    put: &[("running", "in_progress"), ("stable", "in_review")],
    alias: &[],
    silent: &[],
    writable: Some(&[]),
    shows: false,
    words: &[],
};

/// A system without a time line of its own.
pub const BOARD: Table = Table {
    system: "board",
    kind: "card",
    clock: Clock::None,
    get: STATUSES,
    put: OWN_WORDS,
    alias: &[],
    silent: &[],
    writable: None,
    shows: false,
    words: &[],
};

pub const ALL: [&Table; 6] = [&LINEAR_ISSUE, &GITHUB_ISSUE, &PULL, &TASK, &AGENT, &BOARD];
