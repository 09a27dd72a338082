//! Batches that go by what their process committed before, beside others that write the same.

use std::collections::BTreeSet;

use model::{Receipt, Verdict};
use store::fault::is_overtaken;
use store::{Batch, Known, Maker, Save};

use super::*;

const TASK: &str = "tracker/issue/1";
/// Of kinds of their own, so that none of them speaks with another.
const KIN: [&str; 2] = ["desk/ticket/1", "table/row/1"];

/// One resolver process: what it knows, and its way to the store.
struct Resolver {
    store: Store,
    known: Known,
    made_by: Maker,
    policy: Arc<Policy>,
}

/// Two processes and what is beneath them.
async fn two() -> (Resolver, Resolver, sqlx::PgPool) {
    let database = database().await;
    let process = Process::new("resolver", None);
    let store = Store::connect(&World::store(&database), &process).await.unwrap();
    store.migrate().await.unwrap();
    let one = |life: &str| Resolver {
        store: store.clone(),
        known: Known::default(),
        made_by: Maker { life: life.into(), batch: 1 },
        policy: policy_of(&[MAPPINGS, &like_tracker("desk", "ticket"), &like_tracker("table", "row")].concat(), "")
            .into(),
    };
    (one("one"), one("other"), sqlx::PgPool::connect(&database).await.unwrap())
}

/// The tracker's mapping, for another kind.
fn like_tracker(system: &str, kind: &str) -> String {
    let one = MAPPINGS.split("[[mapping]]").nth(1).unwrap();
    format!("[[mapping]]{}", one.replace("tracker", system).replace("issue", kind))
}

impl Resolver {
    async fn load(&self) -> (Batch<'_>, Option<Group>) {
        let mut batch = self.store.batch(&self.known).await.unwrap();
        let wanted = BTreeSet::from([record(TASK)]);
        let loading = batch.load(&wanted);
        let groups = tokio::time::timeout(DEADLINE, loading).await.expect("it is locked").unwrap();
        (batch, groups.into_iter().next())
    }

    /// Takes an edit. The status before it.
    async fn edit(&self, position: u64, status: &str) -> sqlx::Result<Option<String>> {
        let (batch, group) = self.load().await;
        let (observation, receipt) =
            (seen(TASK, status, position), Receipt::new(Lane::High, position, Timestamp(position.cast_signed())));
        let before = group.as_ref().map(|group| group.item.status.to_string());
        let save = if let Some(group) = group {
            let resolved = model::resolve(group, &observation, receipt, &self.policy);
            assert_eq!(resolved.verdict, Verdict::FastForward);
            Save { items: vec![resolved.group], rows: resolved.rows, ..Save::default() }
        } else {
            let resolved = model::begin(&observation, receipt, &self.policy).unwrap();
            let new_records = BTreeSet::from([record(TASK)]);
            Save { new_items: vec![resolved.group], new_records, rows: resolved.rows, ..Save::default() }
        };
        batch.commit(save, &self.made_by).await.map(|_| before)
    }

    /// Gives a record an item of its own.
    async fn part(&self, name: &str, sequence: u64) {
        let mut batch = self.store.batch(&self.known).await.unwrap();
        let group = batch.load(&BTreeSet::from([record(name)])).await.unwrap().remove(0);
        let unlink = Observation { intent: model::Intent::Unlink, ..seen(name, "-", sequence) };
        let receipt = Receipt::new(Lane::Critical, sequence, Timestamp(sequence.cast_signed()));
        let (left, own) = model::part(group, &unlink, receipt, &self.policy).unwrap();
        let parted = vec![(own.item.id, left.group.item.id)];
        let save = Save { new_items: vec![own], items: vec![left.group], parted, rows: left.rows, ..Save::default() };
        batch.commit(save, &self.made_by).await.unwrap();
    }

    /// Makes an item, and knows it.
    async fn make(&self) {
        for (position, status) in [(1, "todo"), (2, "in_progress")] {
            self.edit(position, status).await.unwrap();
        }
    }
}

fn overtaken(result: sqlx::Result<Option<String>>) {
    let error = result.unwrap_err();
    assert!(is_overtaken(&error), "{error}");
}

#[tokio::test]
async fn what_a_process_wrote_it_does_not_read_again() {
    let (one, _, pool) = two().await;
    one.make().await;
    let mut holding = pool.begin().await.unwrap();
    sqlx::query("select from lockstep.items for update").execute(&mut *holding).await.unwrap();
    let (batch, group) = one.load().await;
    assert_eq!(group.unwrap().item.status.as_str(), "in_progress");
    drop(batch);
    holding.rollback().await.unwrap();
    // Nobody knows what became of a batch that was not committed: now it is read.
    assert_eq!(one.edit(3, "in_review").await.unwrap().as_deref(), Some("in_progress"));
    assert_eq!(one.edit(4, "done").await.unwrap().as_deref(), Some("in_review"));
}

#[tokio::test]
async fn what_another_process_wrote_is_not_written_over() {
    let (one, other, _) = two().await;
    one.make().await;
    assert_eq!(other.edit(3, "in_review").await.unwrap().as_deref(), Some("in_progress"));
    overtaken(one.edit(4, "done").await);
    assert_eq!(one.edit(4, "done").await.unwrap().as_deref(), Some("in_review"));
}

#[tokio::test]
async fn whoever_waits_for_another_sees_what_that_one_wrote() {
    let (one, other, _) = two().await;
    one.make().await;
    let (batch, group) = other.load().await;
    let first = async {
        let receipt = Receipt::new(Lane::High, 3, Timestamp(3));
        let resolved = model::resolve(group.unwrap(), &seen(TASK, "in_review", 3), receipt, &other.policy);
        let save = Save { items: vec![resolved.group], rows: resolved.rows, ..Save::default() };
        batch.commit(save, &other.made_by).await.unwrap();
    };
    let (waited, ()) = tokio::join!(one.edit(4, "done"), first);
    overtaken(waited);
}

#[tokio::test]
async fn a_record_that_was_written_alone_is_noticed() {
    let (one, _, pool) = two().await;
    one.make().await;
    sqlx::query("update lockstep.records set position = 100").execute(&pool).await.unwrap();
    overtaken(one.edit(3, "in_review").await);
}

#[tokio::test]
async fn what_is_only_looked_at_is_compared_as_well() {
    for written in ["update lockstep.items set title = 'other'", "update lockstep.records set position = 100"] {
        let (one, _, pool) = two().await;
        one.make().await;
        let (batch, _) = one.load().await;
        batch.commit(Save::default(), &one.made_by).await.unwrap();
        one.edit(3, "in_review").await.unwrap();
        sqlx::query(written).execute(&pool).await.unwrap();
        let (batch, _) = one.load().await;
        let error = batch.commit(Save::default(), &one.made_by).await.unwrap_err();
        assert!(is_overtaken(&error), "{written}: {error}");
    }
}

/// One record is not known, and brings the item that it parted from: what was known of that is past, but where its other records are
/// has to be found out.
#[tokio::test]
async fn a_record_that_went_to_another_item_is_looked_for_there() {
    let (one, other, _) = two().await;
    one.make().await;
    let (batch, group) = one.load().await;
    let mut group = group.unwrap();
    for (order, name) in (1..).zip(KIN) {
        let link = &group.links[0];
        let link = model::Link { record: record(name), order, ..link.clone() };
        group.links.push(link);
    }
    let new_records = group.links[1..].iter().map(|link| link.record.clone()).collect();
    batch.commit(Save { items: vec![group], new_records, ..Save::default() }, &one.made_by).await.unwrap();
    one.edit(3, "in_review").await.unwrap();
    one.part(KIN[0], 4).await;
    // What a batch that made an item left of the other is known from its next one on.
    one.edit(5, "done").await.unwrap();
    other.part(KIN[1], 6).await;
    let wanted = BTreeSet::from(KIN.map(record));
    let groups = one.store.batch(&one.known).await.unwrap().load(&wanted).await.unwrap();
    for name in &wanted {
        assert!(groups.iter().any(|group| group.link(name).is_some()), "{name} was never seen: {groups:#?}");
    }
}

/// The rows of an item that another takes over are of another transaction than those that they come to.
#[tokio::test]
async fn what_is_known_may_take_over_another_item() {
    for is_known_too in [false, true] {
        let (one, _, _) = two().await;
        one.make().await;
        let take =
            |position, status| (seen(KIN[0], status, position), Receipt::new(Lane::High, 2 + position, Timestamp(9)));
        let (seen_first, receipt) = take(1, "todo");
        let begun = model::begin(&seen_first, receipt, &one.policy).unwrap();
        let (new_items, new_records) = (vec![begun.group], BTreeSet::from([record(KIN[0])]));
        let save = Save { new_items, new_records, rows: begun.rows, ..Save::default() };
        one.store.batch(&one.known).await.unwrap().commit(save, &one.made_by).await.unwrap();
        if is_known_too {
            let mut batch = one.store.batch(&one.known).await.unwrap();
            let group = batch.load(&BTreeSet::from([record(KIN[0])])).await.unwrap().remove(0);
            let edit = take(2, "in_progress");
            let edited = model::resolve(group, &edit.0, edit.1, &one.policy);
            let save = Save { items: vec![edited.group], rows: edited.rows, ..Save::default() };
            batch.commit(save, &one.made_by).await.unwrap();
        }

        let mut batch = one.store.batch(&one.known).await.unwrap();
        let groups = batch.load(&BTreeSet::from([TASK, KIN[0]].map(record))).await.unwrap();
        let group = |name: &str| groups.iter().find(|group| group.link(&record(name)).is_some()).unwrap().clone();
        let (into, ended) = (group(TASK), group(KIN[0]));
        let edit = (seen(TASK, "in_review", 3), Receipt::new(Lane::High, 9, Timestamp(9)));
        let mut edited = model::resolve(into, &edit.0, edit.1, &one.policy);
        let item = edited.group.item.id;
        edited.group.links.extend(ended.links.into_iter().map(|link| model::Link { order: 1, ..link }));
        let ended = vec![(ended.item.id, item)];
        let save = Save { items: vec![edited.group], ended, rows: edited.rows, ..Save::default() };
        batch.commit(save, &one.made_by).await.unwrap();
        assert_eq!(one.store.item(KIN[0]).await.unwrap().unwrap().item.id, item);
    }
}

/// A server that was brought back from an old copy gives numbers of transactions once more.
#[tokio::test]
async fn nothing_is_known_of_what_another_server_holds() {
    let (one, _, pool) = two().await;
    one.make().await;
    let another = "create or replace function lockstep.server() returns bigint language sql stable return 7";
    sqlx::query(another).execute(&pool).await.unwrap();
    overtaken(one.edit(3, "in_review").await);
    let (batch, _) = one.load().await;
    batch.commit(Save::default(), &one.made_by).await.unwrap();
    assert_eq!(one.edit(3, "in_review").await.unwrap().as_deref(), Some("in_progress"));
}

#[tokio::test]
async fn where_two_take_turns_both_read() {
    let (one, other, _) = two().await;
    one.make().await;
    other.edit(3, "in_review").await.unwrap();
    overtaken(one.edit(4, "done").await);
    // Were it known again, each turn would be refused once.
    for (position, status) in [(4, "blocked"), (6, "in_progress"), (8, "blocked")] {
        one.edit(position, status).await.unwrap();
        other.edit(position + 1, "in_review").await.unwrap();
    }
}
