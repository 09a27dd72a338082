//! What the bus is told of a batch.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bus::{Outgoing, Told};
use model::{
    Actor, Candidate, Conflict, Group, HistoryRow, Item, ItemId, LifecycleName, RecordRef, RowKind, Status, Timestamp,
};
use proto::v1;
use store::Maker;

use crate::order;
use crate::trace::Traces;

/// All that the bus is told of a batch.
#[derive(Debug, Default)]
pub(crate) struct Publication {
    /// Its history, and that of inputs that came again.
    pub(crate) rows: Vec<HistoryRow>,
    /// Its items as they are now.
    pub(crate) groups: HashMap<ItemId, Group>,
    pub(crate) traces: Traces,
    /// What is told besides changes: conflicts and commands.
    pub(crate) beside: Vec<Outgoing>,
    /// The items of whose versions something is told, and who made the version that they had before; `None` where they had none.
    pub(crate) made_by: BTreeMap<ItemId, Option<Maker>>,
    /// Those of which an input came again: it may have been told long ago.
    pub(crate) again: BTreeSet<ItemId>,
}

impl Publication {
    /// The lives of which whoever lives this life must know what they published.
    pub(crate) fn others(&self, life: &str) -> BTreeSet<String> {
        let of_others = |made_by: &&Maker| made_by.life != life && !made_by.life.is_empty();
        self.made_by.values().flatten().filter(of_others).map(|made_by| made_by.life.clone()).collect()
    }

    /// The items of which the bus must be asked what it was told, by whoever lives this life and knows what others published. `late`
    /// when so much time has passed that what was told might be told twice.
    pub(crate) fn doubtful(
        &self,
        life: &str,
        late: bool,
        published: &HashMap<String, u64>,
    ) -> Vec<(LifecycleName, ItemId)> {
        let is_untold = |made_by: &Maker| made_by.life != life && !is_published(made_by, published);
        let is_doubtful = |(item, made_by): &(&ItemId, &Option<Maker>)| {
            late || self.again.contains(item) || made_by.as_ref().is_some_and(is_untold)
        };
        // Of an item that is not there nothing is told.
        let about = |item: &ItemId| Some((self.groups.get(item)?.item.lifecycle.clone(), *item));
        self.made_by.iter().filter(is_doubtful).filter_map(|(item, _)| about(item)).collect()
    }

    /// The messages, given what was told of the doubtful items, and what the history has after that.
    pub(crate) fn messages(&self, told: &BTreeMap<ItemId, Told>, missing: &[HistoryRow]) -> Vec<Outgoing> {
        let mut messages = changes(order::due(&self.rows, told, missing), &self.groups, &self.traces);
        messages.extend(self.beside.iter().cloned());
        messages
    }
}

fn is_published(made_by: &Maker, published: &HashMap<String, u64>) -> bool {
    published.get(&made_by.life).is_some_and(|batch| made_by.batch <= *batch)
}

/// The changes that history rows stand for, each the same message whenever it is made.
fn changes(rows: Vec<&HistoryRow>, groups: &HashMap<ItemId, Group>, traces: &Traces) -> Vec<Outgoing> {
    let change = |row: &HistoryRow| {
        let kind = match row.kind {
            RowKind::Changed => "status_changed",
            RowKind::Linked => "linked",
            RowKind::Unlinked => "unlinked",
            _ => return None,
        };
        let group = groups.get(&row.item)?;
        let id = match row.kind {
            RowKind::Changed => format!("{}:{}", row.item, row.version),
            _ => format!("{}:{}:{kind}:{}", row.item, row.cause.sequence, row.record),
        };
        Some(v1::Change {
            id,
            kind: kind.into(),
            version: row.version.0,
            from: row.from.as_ref().map(ToString::to_string).unwrap_or_default(),
            to: row.to.to_string(),
            record: row.record.to_string(),
            native: row.native.to_string(),
            actor: row.actor.as_ref().map(proto::actor_to),
            reason: row.reason.code().into(),
            irregular: row.irregular,
            conflict: row.conflict.map(|id| id.to_string()).unwrap_or_default(),
            at: row.at.0,
            recorded_at: row.recorded_at.0,
            cause: row.cause.sequence,
            ..about(group)
        })
    };
    outgoing(rows.into_iter().filter_map(change), traces)
}

/// Conflicts that opened or were resolved: also those of items that ended, which nobody would take for resolved else.
pub(crate) fn conflicts<'g>(
    conflicts: &[Conflict],
    group_of: impl Fn(&Conflict) -> Option<&'g Group>,
) -> Vec<Outgoing> {
    let change = |conflict: &Conflict| {
        let group = group_of(conflict)?;
        let news = news(conflict, &group.item)?;
        Some(v1::Change {
            id: format!("{}:{}", conflict.id, news.kind),
            kind: news.kind.into(),
            version: conflict.version.0,
            from: news.from.to_string(),
            to: news.to.to_string(),
            record: news.record.to_string(),
            native: news.native,
            actor: news.actor.map(proto::actor_to),
            reason: conflict.strategy.code().into(),
            conflict: conflict.id.to_string(),
            at: news.at.0,
            recorded_at: conflict.resolved_at.unwrap_or(conflict.opened_at).0,
            item: conflict.item.to_string(),
            ..about(group)
        })
    };
    outgoing(conflicts.iter().filter_map(change), &Traces::default())
}

/// What there is to tell of a conflict.
struct News<'c> {
    kind: &'static str,
    from: &'c Status,
    to: &'c Status,
    record: &'c RecordRef,
    native: String,
    actor: Option<&'c Actor>,
    at: Timestamp,
}

/// While it is open: what somebody wants the item to be. Once it is resolved: what it came to be, by whom.
fn news<'c>(conflict: &'c Conflict, item: &'c Item) -> Option<News<'c>> {
    let (ours, theirs) = (conflict.candidates.first()?, conflict.candidates.last()?);
    let Some(at) = conflict.resolved_at else {
        let Candidate { record, native, status: to, actor, at, .. } = theirs;
        let (from, native) = (&item.status, native.to_string());
        return Some(News { kind: "conflict_opened", from, to, record, native, actor: actor.as_ref(), at: *at });
    };
    let winner = conflict.winner.and_then(|winner| conflict.candidates.get(winner));
    let (kind, from) = ("conflict_resolved", &ours.status);
    let to = winner.map_or(&item.status, |winner| &winner.status);
    let native = winner.map_or_else(String::new, |winner| winner.native.to_string());
    // What was held was decided by whoever moved the item on; all else by the strategy, in favour of one of them.
    let was_held = conflict.opened_at != at;
    Some(match winner {
        Some(Candidate { record, actor, .. }) if !was_held || item.version == conflict.version => {
            News { kind, from, to, record, native, actor: actor.as_ref(), at }
        }
        _ => News { kind, from, to, record: &item.changed_by, native, actor: item.changed_by_actor.as_ref(), at },
    })
}

fn about(group: &Group) -> v1::Change {
    v1::Change {
        item: group.item.id.to_string(),
        lifecycle: group.item.lifecycle.to_string(),
        key: group.item.key.as_ref().map(ToString::to_string).unwrap_or_default(),
        title: group.item.title.clone().unwrap_or_default(),
        records: group.links.iter().map(|link| link.record.to_string()).collect(),
        ..v1::Change::default()
    }
}

fn outgoing(changes: impl Iterator<Item = v1::Change>, traces: &Traces) -> Vec<Outgoing> {
    // The lifecycle comes out of the model, where it is a name: the conversion does not fail.
    let message = |change: v1::Change| Some(traces.continued(Outgoing::change(&change).ok()?, change.cause));
    changes.filter_map(message).collect()
}

#[cfg(test)]
mod tests {
    use model::{ConflictId, Group, Lifecycles, Mappings, Native, Observation, Policy, Receipt, Source};

    use super::*;

    const MAPPING: &str = r#"
        [[mapping]]
        system = "github"
        kind = "issue"
        lifecycle = "server"
        get = { unknown = "open", starting = "open", running = "open", stopping = "open", stopped = "open", error = "open" }
        put = { open = "running" }
    "#;

    fn group(name: &str) -> Group {
        let lifecycles = Lifecycles::built_in().unwrap();
        let mut mappings = Mappings::default();
        mappings.add_toml(MAPPING, &lifecycles).unwrap();
        let policy = Policy::new(lifecycles, mappings, LifecycleName::new("server").unwrap());
        let observation = Observation::new(
            String::new(),
            name.parse().unwrap(),
            Native::new("open").unwrap(),
            Source::Webhook,
            Timestamp(0),
        );
        model::begin(&observation, Receipt::new(model::Lane::High, 1, Timestamp(0)), &policy).unwrap().group
    }

    #[test]
    fn the_bus_is_asked_only_of_what_another_life_made_and_did_not_note_as_published() {
        let made = |life: &str, batch| Some(Maker { life: life.into(), batch });
        let makers = [made("own", 9), made("other", 3), made("other", 4), made("third", 1), made("", 0), None];
        let groups: Vec<Group> = (0..makers.len()).map(|number| group(&format!("github/issue/a/b#{number}"))).collect();
        let ids: Vec<ItemId> = groups.iter().map(|group| group.item.id).collect();
        let publication = Publication {
            made_by: ids.iter().copied().zip(makers).collect(),
            groups: groups.into_iter().map(|group| (group.item.id, group)).collect(),
            again: BTreeSet::from([ids[5]]),
            ..Publication::default()
        };
        assert_eq!(publication.others("own"), BTreeSet::from(["other".to_owned(), "third".to_owned()]));
        let published = HashMap::from([("other".to_owned(), 3)]);
        let asked = |late| {
            let doubtful = publication.doubtful("own", late, &published);
            (0..ids.len()).filter(|place| doubtful.iter().any(|(_, item)| *item == ids[*place])).collect::<Vec<_>>()
        };
        assert_eq!(asked(false), [2, 3, 4, 5]);
        assert_eq!(asked(true), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_conflict_that_is_resolved_tells_what_was_chosen_and_by_whom() {
        let mut group = group("github/issue/a/b#1");
        group.item.status = Status::new("running").unwrap();
        let candidate = |record: &str, status: &str, who: &str| Candidate {
            record: record.parse().unwrap(),
            native: Native::new(status).unwrap(),
            status: Status::new(status).unwrap(),
            position: None,
            actor: Some(Actor { name: who.into(), id: None, automation: false }),
            at: Timestamp(5),
        };
        let mut conflict = Conflict {
            id: ConflictId(group.item.id.0),
            item: group.item.id,
            version: group.item.version,
            base: Native::new("open").unwrap(),
            candidates: vec![
                candidate("linear/issue/a", "running", "ada"),
                candidate("postgres/task/1", "stopped", "bob"),
            ],
            strategy: model::Strategy::Manual,
            escalated: false,
            winner: None,
            opened_at: Timestamp(6),
            resolved_at: None,
        };
        let told = |conflict: &Conflict, group: &Group| {
            let news = news(conflict, &group.item).unwrap();
            let actor = news.actor.map(|actor| actor.name.clone()).unwrap_or_default();
            (news.kind, news.from.to_string(), news.to.to_string(), actor, news.at.0)
        };
        let as_told = |kind, from: &str, to: &str, actor: &str, at| (kind, from.into(), to.into(), actor.into(), at);
        assert_eq!(told(&conflict, &group), as_told("conflict_opened", "running", "stopped", "bob", 5));

        // The strategy decides at once.
        (conflict.winner, conflict.resolved_at) = (Some(0), Some(Timestamp(6)));
        assert_eq!(told(&conflict, &group), as_told("conflict_resolved", "running", "running", "ada", 6));
        // A person decides later, for one of them or for neither.
        group.item.version = group.item.version.next();
        group.item.status = Status::new("error").unwrap();
        group.item.changed_by_actor = Some(Actor { name: "carl".into(), id: None, automation: false });
        (conflict.winner, conflict.resolved_at) = (Some(1), Some(Timestamp(9)));
        assert_eq!(told(&conflict, &group), as_told("conflict_resolved", "running", "stopped", "carl", 9));
        conflict.winner = None;
        assert_eq!(told(&conflict, &group), as_told("conflict_resolved", "running", "error", "carl", 9));
    }
}
