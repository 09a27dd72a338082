//! Tying records to items and untying them: who wins, what each link keeps, and which records move by themselves.

use model::{
    Adoption, DeliveryOutcome, Group, Intent, Key, LifecycleName, Observation, OnLink, Origin, Policy, Reason,
    Resolved, RowKind, Step, Verdict, Version, adopt, begin, may_adopt, part, resolve,
};
use proptest::prelude::*;

use crate::scene::{Scene, policy, receipt, reported, seen, status};

const ISSUE: &str = "linear/issue/a";
const OTHER_ISSUE: &str = "linear/issue/b";
const BUG: &str = "github/issue/acme/web#1";
const AGENT: &str = "agentapi/agent/x";
const PULL: &str = "github/pull_request/acme/web#2";
const TASK: &str = "postgres/task/1";

/// Items side by side, and one order of all that happens to them.
struct Ties {
    policy: Policy,
    sequence: u64,
}

impl Ties {
    fn by(on_link: OnLink) -> Self {
        let mut policy = policy();
        policy.on_link = on_link;
        Self { policy, sequence: 0 }
    }

    fn next(&mut self) -> model::Receipt {
        self.sequence += 1;
        receipt(self.sequence, 0)
    }

    /// A record's own item.
    fn own(&mut self, record: &str, native: &str) -> Group {
        begin(&seen(record, native, 1, Origin::Other, 0), self.next(), &self.policy).unwrap().group
    }

    fn see(&mut self, group: &Group, seen: &Observation) -> Resolved {
        resolve(group.clone(), seen, self.next(), &self.policy)
    }

    /// A person sets a record.
    fn edit(&mut self, group: &Group, record: &str, native: &str, at: u64) -> Resolved {
        self.see(group, &seen(record, native, at, Origin::Other, 0))
    }

    /// A person ties the records of one item to another.
    fn tie(&mut self, target: &Group, incoming: &Group) -> Adoption {
        let record = incoming.links[0].record.clone();
        let mut word = seen(&target.links[0].record.to_string(), "-", 1, Origin::Other, 0);
        word.intent = Intent::Link(record.clone());
        adopt(target.clone(), incoming.clone(), &record, &word, self.next(), &self.policy).unwrap()
    }

    fn tied(&mut self, target: &Group, incoming: &Group) -> Group {
        self.tie(target, incoming).resolved.group
    }

    /// A person unties a record.
    fn untie(&mut self, group: &Group, record: &str) -> Result<(Resolved, Group), Reason> {
        let mut word = seen(record, "-", 1, Origin::Other, 0);
        word.intent = Intent::Unlink;
        part(group.clone(), &word, self.next(), &self.policy)
    }
}

#[test]
fn on_link_says_who_wins() {
    for (on_link, target, incoming, status, version) in [
        (OnLink::Item, (ISSUE, "Todo"), (TASK, "done"), "todo", 1),
        (OnLink::Record, (ISSUE, "Todo"), (BUG, "closed/completed"), "done", 2),
        (OnLink::Record, (ISSUE, "Done"), (BUG, "closed/completed"), "done", 1),
        (OnLink::Priority, (ISSUE, "Todo"), (TASK, "done"), "done", 2),
        (OnLink::Priority, (TASK, "todo"), (ISSUE, "Done"), "todo", 1),
        // Neither system comes before the other: what is there stays.
        (OnLink::Priority, (ISSUE, "Todo"), (OTHER_ISSUE, "Done"), "todo", 1),
    ] {
        let mut ties = Ties::by(on_link);
        let (one, other) = (ties.own(target.0, target.1), ties.own(incoming.0, incoming.1));
        let item = ties.tied(&one, &other).item;
        assert_eq!(
            (item.status.as_str(), item.version.0),
            (status, version),
            "{on_link:?}: {incoming:?} to {target:?}"
        );
    }
}

#[test]
fn what_an_agent_says_of_itself_when_it_names_its_issue_moves_that_and_what_is_old_news_does_not() {
    let agent = "agent/session/coder-1";
    let said = |native: &str, at: i64| Observation {
        position: None,
        source: model::Source::Api,
        ..seen(agent, native, 1, Origin::Other, at)
    };
    let tie = |ties: &mut Ties, issue: &Group, word: &Observation| {
        let at = ties.next();
        let own = begin(word, at, &ties.policy).unwrap().group;
        adopt(issue.clone(), own, &word.record, word, at, &ties.policy).unwrap().resolved
    };
    for (issue, word, at, status) in [
        ("Todo", "working", 5, "in_progress"),
        ("Todo", "tool_calling", 5, "in_progress"),
        ("In Progress", "completed", 5, "done"),
        ("Todo", "error", 5, "todo"),
        // It was said before the issue became what it is: an agent that comes back tells what it did meanwhile.
        ("In Review", "working", -1, "in_review"),
        // An agent that starts typing does not reopen what is done.
        ("Done", "working", 5, "done"),
    ] {
        let mut ties = Ties::by(OnLink::Item);
        let own = ties.own(ISSUE, issue);
        let after = tie(&mut ties, &own, &said(word, at));
        assert_eq!(after.group.item.status.as_str(), status, "{word} at {at} beside {issue}");
        assert_eq!(after.group.item.version.0, 1 + u64::from(own.item.status.as_str() != status));
    }

    let mut ties = Ties::by(OnLink::Item);
    let issue = ties.own(ISSUE, "Todo");
    let after = tie(&mut ties, &issue, &said("working", 5));
    let told: Vec<String> = after.commands.iter().map(|one| format!("{} {}", one.record, one.native)).collect();
    assert_eq!(told, [format!("{ISSUE} In Progress")]);
    assert_eq!(after.group.item.changed_by.to_string(), agent);
    // Another agent still works on it: together they are not done.
    let other = Observation { record: "agent/session/coder-2".parse().unwrap(), ..said("completed", 6) };
    let both = tie(&mut ties, &after.group, &other);
    assert_eq!(both.group.item.status.as_str(), "in_progress");
    // What a sweep found, what was overtaken, and what can be told is no such word; nor is any where another may win.
    let swept = Observation { source: model::Source::Sweep, ..said("working", 5) };
    assert_eq!(tie(&mut ties, &issue, &swept).group.item, issue.item);
    let row = Observation { source: model::Source::Api, ..seen(TASK, "done", 1, Origin::Other, 5) };
    assert_eq!(tie(&mut ties, &issue, &row).group.item, issue.item);
    let first = ties.next();
    let later = begin(&said("idle", 6), ties.next(), &ties.policy).unwrap().group;
    let late = adopt(issue.clone(), later, &other.record.clone(), &said("working", 5), first, &ties.policy);
    assert!(late.is_err(), "it is not one of the two");
    let later = begin(&said("idle", 6), ties.next(), &ties.policy).unwrap().group;
    let late = adopt(issue.clone(), later, &said("idle", 6).record, &said("working", 5), first, &ties.policy).unwrap();
    assert_eq!(late.resolved.group.item.status.as_str(), "todo");
    ties.policy.on_link = OnLink::Priority;
    assert_eq!(tie(&mut ties, &issue, &said("working", 5)).group.item.status.as_str(), "todo");
}

#[test]
fn a_held_item_does_not_follow_a_record_that_is_tied_to_it() {
    let mut ties = Ties::by(OnLink::Record);
    ties.policy.strategy = model::Strategy::Manual;
    let (issue, task, bug) = (ties.own(ISSUE, "Todo"), ties.own(TASK, "todo"), ties.own(BUG, "closed/completed"));
    let both = ties.tied(&issue, &task);
    let both = ties.edit(&both, ISSUE, "In Progress", 10).group;
    let held = ties.edit(&both, TASK, "done", 10).group;
    let adoption = ties.tie(&held, &bug);
    assert_eq!(adoption.resolved.group.item, held.item);
    assert!(adoption.resolved.commands.is_empty(), "nothing moves until a person decides");
}

#[test]
fn every_record_that_comes_along_is_in_the_history_with_what_it_shows() {
    let mut ties = Ties::by(OnLink::Item);
    let (issue, task, bug) = (ties.own(ISSUE, "Todo"), ties.own(TASK, "done"), ties.own(BUG, "open"));
    let incoming = ties.tied(&task, &bug);
    let adoption = ties.tie(&issue, &incoming);
    let group = &adoption.resolved.group;
    assert_eq!((adoption.ended, group.item.id), (incoming.item.id, issue.item.id));
    let linked: Vec<_> = adoption.resolved.rows.iter().filter(|row| row.kind == RowKind::Linked).collect();
    assert_eq!(linked.len(), 2);
    for (row, link) in linked.iter().zip(&incoming.links) {
        assert_eq!((&row.record, &row.native, row.position), (&link.record, &link.native, link.position));
        assert_eq!((row.item, row.reason), (issue.item.id, Reason::Adopted));
    }
}

#[test]
fn a_record_that_was_tied_is_told_what_the_item_is() {
    let mut ties = Ties::by(OnLink::Item);
    let (issue, task) = (ties.own(ISSUE, "In Review"), ties.own(TASK, "todo"));
    let adoption = ties.tie(&issue, &task);
    let told: Vec<String> =
        adoption.resolved.commands.iter().map(|one| format!("{} {}", one.record, one.native)).collect();
    assert_eq!(told, [format!("{TASK} in_review")]);
    assert_eq!(adoption.resolved.group.step(1, &ties.policy), Step::Pending);
    // Only what changed in between: their edit of then is none of the new item's, so both count as changed now.
    assert_eq!(ties.edit(&adoption.resolved.group, TASK, "done", 10).verdict, Verdict::Conflict);
}

#[test]
fn what_was_sent_for_the_former_item_is_void_and_still_known_as_ours() {
    let mut ties = Ties::by(OnLink::Item);
    let (issue, task) = (ties.own(ISSUE, "Todo"), ties.own(TASK, "todo"));
    let former = ties.tied(&issue, &task);
    let former = ties.edit(&former, ISSUE, "In Progress", 10).group;
    assert_eq!(model::commands_due(&former, &ties.policy).len(), 1, "the table's command is on its way");
    let (left, alone) = ties.untie(&former, TASK).unwrap();
    assert!(model::commands_due(&left.group, &ties.policy).is_empty());
    assert!(model::commands_due(&alone, &ties.policy).is_empty());

    // The new item is at the version at which the old command was sent.
    let bug = ties.own(BUG, "open");
    let bug = ties.edit(&bug, BUG, "closed/completed", 10).group;
    let group = ties.tied(&bug, &alone);
    assert_eq!(group.item.version, Version(2));
    let due = model::commands_due(&group, &ties.policy);
    assert_eq!(due.iter().map(|one| one.native.as_str()).collect::<Vec<_>>(), ["done"], "never what the old item was");
    assert!(due[0].expects.iter().any(|native| native.as_str() == "in_progress"), "the old write may land yet");

    // It lands. That is no edit, and no agreement with the new item either.
    let landed = ties.see(&group, &seen(TASK, "in_progress", 20, Origin::Unknown, 0));
    assert_eq!(landed.verdict, Verdict::LateEcho);
    assert_eq!(landed.group.link(&TASK.parse().unwrap()).unwrap().agreed, Version(0));
}

#[test]
fn a_late_report_of_the_former_item_brings_out_again_what_the_new_one_asks() {
    let mut ties = Ties::by(OnLink::Item);
    let (issue, task, bug) = (ties.own(ISSUE, "Todo"), ties.own(TASK, "todo"), ties.own(BUG, "closed/completed"));
    let former = ties.tied(&issue, &task);
    let former = ties.edit(&former, ISSUE, "In Progress", 10);
    let (_, alone) = ties.untie(&former.group, TASK).unwrap();
    let adoption = ties.tie(&bug, &alone);
    let (old, new) = (&former.commands[0], &adoption.resolved.commands[0]);
    assert!(new.version < old.version && new.native.as_str() == "done");

    // The newest command of a record takes the place of what the bus had: it may be the one that was reported.
    let told = reported(old, 20, model::DeliveryOutcome::Applied);
    let late = model::report(adoption.resolved.group.clone(), &told, ties.next(), &ties.policy);
    assert_eq!((late.verdict, late.group.item.status.as_str()), (Verdict::OwnWrite, "done"));
    let again = &late.commands[0];
    assert_eq!((&again.record, &again.native, again.version), (&new.record, &new.native, new.version));
    assert_ne!(again.cause, new.cause, "a message of its own, or the bus would drop it as a copy");
}

#[test]
fn a_report_of_the_former_item_says_nothing_of_the_new_ones_versions() {
    for versions in [2, 3] {
        let mut ties = Ties::by(OnLink::Item);
        let (issue, task, bug) = (ties.own(ISSUE, "Todo"), ties.own(TASK, "todo"), ties.own(BUG, "open"));
        let former = ties.tied(&issue, &task);
        let former = ties.edit(&former, ISSUE, "In Progress", 10);
        let (_, alone) = ties.untie(&former.group, TASK).unwrap();
        let mut bug = ties.edit(&bug, BUG, "closed/completed", 10).group;
        if versions == 3 {
            bug = ties.edit(&bug, BUG, "closed/not_planned", 11).group;
        }
        let group = ties.tied(&bug, &alone);
        assert_eq!((former.commands[0].version, group.item.version), (Version(2), Version(versions)));

        let group_version = group.item.version;
        let told = reported(&former.commands[0], 20, DeliveryOutcome::Applied);
        let late = model::report(group, &told, ties.next(), &ties.policy);
        let link = late.group.link(&TASK.parse().unwrap()).unwrap();
        assert_eq!(link.agreed, Version(0), "it shows what the former item was");
        assert!(link.sent.iter().any(|sent| sent.version == group_version), "the new item's command is on its way");
        let edited = ties.edit(&late.group, TASK, "in_review", 30);
        assert_eq!(edited.verdict, Verdict::Conflict, "nobody there saw what the new item is");

        let refused = model::Report {
            native: None,
            reason: Some("not_allowed".into()),
            ..reported(&former.commands[0], 20, DeliveryOutcome::Rejected)
        };
        let late = model::report(late.group, &refused, ties.next(), &ties.policy);
        assert_eq!(
            late.group.link(&TASK.parse().unwrap()).unwrap().last_error,
            None,
            "another item's is none of its own"
        );
    }
}

#[test]
fn an_untied_record_has_an_item_of_its_own_and_stays_there() {
    let mut ties = Ties::by(OnLink::Item);
    let (issue, task) = (ties.own(ISSUE, "In Review"), ties.own(TASK, "in_progress"));
    assert_eq!(ties.untie(&task, TASK).unwrap_err(), Reason::NoSuchThing, "it is the only one");
    let both = ties.tied(&issue, &task);
    assert_eq!(ties.untie(&both, BUG).unwrap_err(), Reason::NoSuchThing, "it is no record of the item");

    let (left, own) = ties.untie(&both, TASK).unwrap();
    assert_eq!(left.verdict, Verdict::Linked);
    assert_eq!(left.group.links.iter().map(|link| link.record.to_string()).collect::<Vec<_>>(), [ISSUE]);
    let link = &own.links[0];
    assert_eq!((own.item.status.as_str(), own.item.version), ("in_progress", Version(1)), "what it shows");
    assert_eq!((link.order, link.agreed, link.pinned), (0, Version(1), true));
    assert!(own.item.id != both.item.id && own.item.id != task.item.id, "a new item, not one that has ended");
    let rows: Vec<_> =
        left.rows.iter().map(|row| (row.kind, row.item, row.to.as_str(), row.record.to_string())).collect();
    let wanted = [
        (RowKind::Unlinked, both.item.id, "in_review", TASK.to_owned()),
        (RowKind::Changed, own.item.id, "in_progress", TASK.to_owned()),
    ];
    assert_eq!(rows, wanted);
}

#[test]
fn what_stays_behind_is_not_tied_again_by_what_it_mentions_and_is_not_called_by_what_left() {
    let mut ties = Ties::by(OnLink::Item);
    let issue: Known = (ISSUE, &["ENG-1"], &[]);
    let mut both = known(&mut ties, &[issue, (PULL, &["w#2"], &["ENG-1"])]);
    both.item.title = Some("Login".into());
    assert_eq!(both.item.key.as_ref().map(Key::as_str), Some("ENG-1"));
    let (left, own) = ties.untie(&both, ISSUE).unwrap();
    assert!(left.group.links[0].pinned, "it would be tied again when it is seen next");
    assert!(!may_adopt(&own, &left.group) && !may_adopt(&left.group, &own));
    assert_eq!((left.group.item.key.as_ref().map(Key::as_str), &left.group.item.title), (Some("w#2"), &None));
    assert_eq!((own.item.key.as_ref().map(Key::as_str), own.item.title.as_deref()), (Some("ENG-1"), Some("Login")));
    let (left, own) = ties.untie(&both, PULL).unwrap();
    assert_eq!(
        (left.group.item.title.as_deref(), own.item.title),
        (Some("Login"), None),
        "nobody knows what that is called"
    );

    let both = known(&mut ties, &[issue, (AGENT, &[], &[])]);
    let (left, _) = ties.untie(&both, ISSUE).unwrap();
    assert_eq!((left.group.item.key, left.group.links[0].pinned), (None, false));
}

#[test]
fn an_item_is_called_what_the_record_is_called_whose_key_it_has() {
    let mut ties = Ties::by(OnLink::Item);
    let titled = |mut group: Group, title: &str| {
        group.item.title = Some(title.into());
        group
    };
    let issue = titled(known(&mut ties, &[(ISSUE, &["ENG-1"], &[])]), "Search is slow");
    let pull = titled(known(&mut ties, &[(PULL, &["w#2"], &["ENG-1"])]), "ENG-1: Search is slow");
    for (target, incoming) in [(&issue, &pull), (&pull, &issue)] {
        let item = ties.tied(target, incoming).item;
        assert_eq!(
            (item.key.as_ref().map(Key::as_str), item.title.as_deref()),
            (Some("ENG-1"), Some("Search is slow"))
        );
    }
    let row = known(&mut ties, &[(TASK, &[], &["ENG-1"])]);
    assert_eq!(ties.tied(&row, &pull).item.title.as_deref(), Some("ENG-1: Search is slow"));
}

#[test]
fn a_mention_that_was_taken_out_is_forgotten_where_the_record_itself_was_seen() {
    let mut ties = Ties::by(OnLink::Item);
    let row = known(&mut ties, &[(TASK, &[], &["ENG-99"])]);
    let mentions = |resolved: Resolved| resolved.group.links[0].mentions.len();
    let without = seen(TASK, "x", 2, Origin::Other, 0);
    assert_eq!(mentions(ties.see(&row, &Observation { source: model::Source::Api, ..without.clone() })), 1);
    assert_eq!(mentions(ties.see(&row, &Observation { native: model::Native::deleted(), ..without.clone() })), 1);
    assert_eq!(mentions(ties.see(&row, &without)), 0);
}

#[test]
fn without_a_record_those_that_spoke_with_it_speak_for_themselves() {
    let mut ties = Ties::by(OnLink::Item);
    let pulls = ["github/pull_request/w#1", "github/pull_request/w#2"];
    let task = ties.own(TASK, "in_progress");
    let (one, other) = (ties.own(pulls[0], "draft"), ties.own(pulls[1], "open"));
    let group = ties.tied(&task, &one);
    let group = ties.tied(&group, &other);
    assert_eq!(group.step(2, &ties.policy), Step::InStep, "the draft still speaks for both");
    let (left, _) = ties.untie(&group, pulls[0]).unwrap();
    let told: Vec<String> = left.commands.iter().map(|one| format!("{} {}", one.record, one.native)).collect();
    assert_eq!(told, [format!("{} draft", pulls[1])]);
    let overruled = left.rows.iter().find(|row| row.reason == Reason::Overruled).unwrap();
    assert_eq!((overruled.record.to_string(), overruled.to.as_str()), (pulls[1].to_owned(), "in_review"));
}

/// The records of a group as `may_adopt` looks at them: record, identifiers it owns, identifiers it mentions.
type Known<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

fn known(ties: &mut Ties, records: &[Known]) -> Group {
    let keys = |names: &[&str]| names.iter().map(|name| Key::new(name).unwrap()).collect::<Vec<_>>();
    let mut groups = records.iter().map(|(record, own, mentions)| {
        let mut first = seen(record, "x", 1, Origin::Other, 0);
        (first.keys, first.mentions) = (keys(own), keys(mentions));
        begin(&first, ties.next(), &ties.policy).unwrap().group
    });
    let first = groups.next().unwrap();
    let rest: Vec<Group> = groups.collect();
    rest.iter().fold(first, |group, one| ties.tied(&group, one))
}

#[test]
fn identifiers_move_a_lone_record_and_never_make_two_issues_one() {
    let issue: Known = (ISSUE, &["ENG-1"], &[]);
    let cases: [(&str, bool, &[Known], &[Known]); 10] = [
        ("a pull request that names the issue", true, &[issue], &[(PULL, &["w#2"], &["ENG-1"])]),
        (
            "one that names it, beside others",
            true,
            &[issue, (PULL, &["w#2"], &[])],
            &[("github/pull_request/w#3", &["w#3"], &["ENG-1"])],
        ),
        ("a record that is tied already", false, &[issue], &[(PULL, &["w#2"], &["ENG-1"]), (TASK, &[], &[])]),
        ("a second issue", false, &[issue], &[(OTHER_ISSUE, &["ENG-2"], &[])]),
        (
            "a second issue, where the first is not the first record",
            false,
            &[(TASK, &[], &[]), issue],
            &[(OTHER_ISSUE, &["ENG-2"], &[])],
        ),
        ("a second issue that names the first itself", true, &[issue], &[(OTHER_ISSUE, &["ENG-2"], &["ENG-1"])]),
        ("a second issue without an identifier", true, &[issue], &[(OTHER_ISSUE, &[], &[])]),
        (
            "an issue, where the one that is there has no identifier",
            true,
            &[(ISSUE, &[], &[])],
            &[(OTHER_ISSUE, &["ENG-2"], &[])],
        ),
        ("an issue of another system", true, &[(BUG, &["w#1"], &[])], &[(OTHER_ISSUE, &["ENG-2"], &[])]),
        ("another kind of the same system", true, &[(BUG, &["w#1"], &[])], &[(PULL, &["w#2"], &[])]),
    ];
    for (what, may, target, incoming) in cases {
        let mut ties = Ties::by(OnLink::Item);
        let (target, incoming) = (known(&mut ties, target), known(&mut ties, incoming));
        assert_eq!(may_adopt(&target, &incoming), may, "{what}");
        assert!(!may_adopt(&incoming, &incoming), "{what}: it is there already");
        let mut pinned = incoming.clone();
        pinned.links.iter_mut().for_each(|link| link.pinned = true);
        assert!(!may_adopt(&target, &pinned), "{what}: a person tied or untied it");
    }
}

#[test]
fn what_ends_with_its_item_is_closed_and_what_it_knew_comes_along() {
    let mut ties = Ties::by(OnLink::Item);
    ties.policy.strategy = model::Strategy::Manual;
    let mut named = seen(BUG, "open", 1, Origin::Other, 0);
    named.title = Some("Fix the build".to_owned());
    named.metadata = [("priority", "high"), ("area", "build")].map(|(key, value)| (key.into(), value.into())).into();
    let bug = begin(&named, ties.next(), &ties.policy).unwrap().group;
    let task = ties.own(TASK, "todo");
    let both = ties.tied(&bug, &task);
    let both = ties.edit(&both, TASK, "done", 10).group;
    let held = ties.edit(&both, BUG, "closed/not_planned", 10).group;
    assert!(held.item.held.is_some());

    let mut issue = ties.own(ISSUE, "Todo");
    issue.item.metadata.insert("priority".into(), "low".into());
    let resolved = ties.tie(&issue, &held).resolved;
    assert_eq!(resolved.group.item.title.as_deref(), Some("Fix the build"));
    assert_eq!(resolved.group.item.metadata["priority"], "low", "the item's own word stays");
    assert_eq!(resolved.group.item.metadata["area"], "build");
    assert!(resolved.group.item.held.is_none() && resolved.group.conflict.is_none());
    let closed: Vec<_> = resolved.conflicts.iter().map(|one| (one.id, one.winner, one.resolved_at.is_some())).collect();
    assert_eq!(closed, [(held.item.held.unwrap(), None, true)], "nobody can pick for an item that has ended");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// The order is what `fold = "primary"` and the item's name go by: no two records share a place.
    #[test]
    fn records_stand_in_the_order_in_which_they_were_tied(steps in prop::collection::vec(any::<prop::sample::Index>(), 1..24)) {
        let mut ties = Ties::by(OnLink::Item);
        let mut groups: Vec<Group> = (0..6).map(|number| ties.own(&format!("postgres/task/{number}"), "todo")).collect();
        for pair in steps.chunks_exact(2) {
            let (one, other) = (pair[0].index(groups.len()), pair[1].index(groups.len()));
            if one == other {
                let first = groups[one].links[0].record.to_string();
                if let Ok((left, own)) = ties.untie(&groups[one].clone(), &first) {
                    groups[one] = left.group;
                    groups.push(own);
                }
            } else {
                let before: Vec<_> = [one, other].iter().flat_map(|at| &groups[*at].links).map(|link| link.record.clone()).collect();
                groups[one] = ties.tied(&groups[one].clone(), &groups[other].clone());
                prop_assert_eq!(groups[one].links.iter().map(|link| link.record.clone()).collect::<Vec<_>>(), before);
                groups.remove(other);
            }
            for group in &groups {
                let places: Vec<u32> = group.links.iter().map(|link| link.order).collect();
                prop_assert!(places.is_sorted_by(|one, next| one < next), "{:?}", places);
            }
        }
        prop_assert_eq!(groups.iter().map(|group| group.links.len()).sum::<usize>(), 6);
    }
}

#[test]
fn an_operator_can_set_the_item_of_a_record_that_was_tied() {
    let mut ties = Ties::by(OnLink::Item);
    let (issue, task) = (ties.own(ISSUE, "Todo"), ties.own(TASK, "todo"));
    let both = ties.tied(&issue, &task);
    let mut word = seen(TASK, "-", 1, Origin::Other, 0);
    (word.position, word.intent) = (None, Intent::Force(status("done")));
    let forced = ties.see(&both, &word);
    assert_eq!((forced.verdict, forced.group.item.status.as_str()), (Verdict::Forced, "done"));
    assert_eq!(forced.commands.len(), 2, "the table as well: an operator's word is nobody's edit");
}

#[test]
fn a_record_whose_words_mean_something_else_there_is_not_tied() {
    let mut ties = Ties::by(OnLink::Item);
    let issue = ties.own(ISSUE, "Todo");
    let mut running = seen("ci/build/1", "running", 1, Origin::Other, 0);
    running.lifecycle = Some("workflow".parse().unwrap());
    let build = begin(&running, ties.next(), &ties.policy).unwrap().group;
    assert_eq!(build.item.lifecycle.as_str(), "workflow");
    for (target, incoming) in [(&issue, &build), (&build, &issue)] {
        let record = incoming.links[0].record.clone();
        let word = Observation { intent: Intent::Link(record.clone()), ..running.clone() };
        let outcome = adopt(target.clone(), incoming.clone(), &record, &word, ties.next(), &ties.policy);
        assert_eq!(outcome.err(), Some(Reason::OtherLifecycle));
    }
    let plain = ties.own("ci/build/2", "todo");
    assert_eq!(ties.tied(&issue, &plain).links.len(), 2, "it was made for the same lifecycle");
}

#[test]
fn what_a_record_shows_is_read_by_the_mapping_for_its_new_item() {
    let mut ties = Ties::by(OnLink::Item);
    let agent =
        |native| Observation { lifecycle: Some("agent".parse().unwrap()), ..seen(AGENT, native, 1, Origin::Other, 0) };
    let issue = ties.own(ISSUE, "Todo");
    for (native, unmapped) in [("frobnicating", true), ("running", false)] {
        let own = begin(&agent(native), ties.next(), &ties.policy).unwrap().group;
        let group = ties.tied(&issue, &own);
        assert_eq!(group.links[1].unmapped, unmapped, "{native}");
    }
}

#[test]
fn an_edit_that_waits_goes_on_waiting_when_another_of_its_kind_is_tied() {
    let tasks = ["postgres/task/1", "postgres/task/2", "postgres/task/3"];
    let mut scene = Scene::new(policy(), &[(ISSUE, "In Progress"), (tasks[0], "in_progress")]);
    scene.tie(tasks[1], "in_progress");
    scene.tie(tasks[2], "in_progress");
    for task in &tasks[1..] {
        scene.edit(task, "done", 10);
        assert_eq!((scene.status(), scene.commands().len()), ("in_progress", 0), "it waits for the first");
    }
    let overruled = |scene: &Scene| {
        let rows = &scene.last.as_ref().unwrap().rows;
        rows.iter().filter(|row| row.reason == Reason::Overruled).map(|row| row.record.to_string()).collect::<Vec<_>>()
    };
    scene.tie("postgres/task/4", "todo");
    assert_eq!(scene.commands(), ["postgres/task/4 in_progress"]);
    assert!(overruled(&scene).is_empty(), "the new one is being told");
    let told = scene.last.clone().unwrap();
    scene.fail(&told.commands[0], DeliveryOutcome::Rejected, "read only");
    assert_eq!(scene.commands(), ["postgres/task/2 in_progress", "postgres/task/3 in_progress"], "they waited in vain");
    assert_eq!(overruled(&scene), tasks[1..]);
    for command in scene.last.clone().unwrap().commands {
        scene.fail(&command, DeliveryOutcome::Rejected, "read only");
        assert!(scene.commands().is_empty(), "nobody is told twice: {:?}", scene.commands());
    }
}

#[test]
fn what_speaks_a_lifecycles_own_words_keeps_it_when_it_is_untied() {
    let mut ties = Ties::by(OnLink::Item);
    let own = |ties: &mut Ties, record: &str, native: &str, lifecycle: &str| {
        let mut first = seen(record, native, 1, Origin::Other, 0);
        first.lifecycle = Some(LifecycleName::new(lifecycle).unwrap());
        begin(&first, ties.next(), &ties.policy).unwrap().group
    };
    let (one, other) =
        (own(&mut ties, "ci/job/1", "stopped", "server"), own(&mut ties, "ci/job/2", "running", "server"));
    let group = ties.tied(&one, &other);
    let (_, alone) = ties.untie(&group, "ci/job/2").unwrap();
    assert_eq!((alone.item.lifecycle.as_str(), alone.item.status.as_str()), ("server", "running"));
    // Where a mapping says what it means there, it has one of its own kind.
    let (task, session) = (ties.own(TASK, "todo"), own(&mut ties, "agent/session/s", "working", "agent"));
    let group = ties.tied(&task, &session);
    let (_, alone) = ties.untie(&group, "agent/session/s").unwrap();
    assert_eq!((alone.item.lifecycle.as_str(), alone.item.status.as_str()), ("work", "in_progress"));
    let lifecycle_of = ("agent/session/s".parse::<model::RecordRef>().unwrap(), LifecycleName::new("agent").unwrap());
    ties.policy.lifecycle_of.insert((lifecycle_of.0.system, lifecycle_of.0.kind), lifecycle_of.1);
    let (_, alone) = ties.untie(&group, "agent/session/s").unwrap();
    assert_eq!((alone.item.lifecycle.as_str(), alone.item.status.as_str()), ("agent", "working"));
}

#[test]
fn what_an_untied_record_says_may_mean_nothing_in_its_own_item() {
    let mut ties = Ties::by(OnLink::Item);
    let (task, session) = (ties.own(TASK, "todo"), ties.own("agent/session/s", "working"));
    let group = ties.tied(&task, &session);
    let cooking = "[lifecycle.cooking]\nstatuses = [\"raw\", \"done\"]\ninitial = \"raw\"";
    ties.policy.lifecycles.add_toml(cooking).unwrap();
    let session: model::RecordRef = "agent/session/s".parse().unwrap();
    ties.policy.lifecycle_of.insert((session.system, session.kind), LifecycleName::new("cooking").unwrap());
    let (_, alone) = ties.untie(&group, "agent/session/s").unwrap();
    assert_eq!((alone.item.status.as_str(), alone.links[0].unmapped), ("raw", true));
    assert_eq!(alone.step(0, &ties.policy), Step::Unmapped);
}

#[test]
fn what_no_mapping_knows_any_more_is_not_in_step() {
    let mut scene = Scene::new(policy(), &[(ISSUE, "Todo"), ("postgres/task/1", "todo"), ("postgres/task/2", "todo")]);
    assert_eq!(scene.group.step(2, &scene.policy), Step::InStep);
    scene.policy = policy();
    let text = include_str!("../../../services/connector-postgres/mapping.toml").replacen(
        "todo = \"todo\"",
        "todo = \"open\"",
        1,
    );
    let text = text.replacen("todo = \"todo\"", "open = \"todo\"", 1);
    scene.policy.mappings.add_toml(&text, &scene.policy.lifecycles).unwrap();
    assert_eq!(scene.group.step(2, &scene.policy), Step::Unmapped, "though nothing was heard of it since");
}
