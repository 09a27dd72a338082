//! How conflicts are counted.

use model::{Intent, Status, Strategy};

use super::ties::word;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_counted_once_however_long_it_is_held_and_whatever_joins_it() {
    let mut policy = policy_of(MAPPINGS, "");
    policy.strategy = Strategy::Manual;
    let world = World::with(Arc::new(policy)).await;
    let counted = || world.process.metrics().conflicts_total.with_label_values(&["manual"]).get();
    world.see(&seen("tracker/issue/1", "todo", 1)).await;
    let item = world.eventually("tracker/issue/1", |_| true).await.item.id;
    // Two that have not seen each other.
    let force = |status: &str| word("tracker/issue/1", item, Intent::Force(Status::new(status).unwrap()));
    world.see(&force("in_progress")).await;
    world.see(&seen("tracker/issue/1", "in_review", 2)).await;
    let candidates = |group: &Group| group.conflict.as_ref().map_or(0, |conflict| conflict.candidates.len());
    let held = world.eventually("tracker/issue/1", |group| group.item.held.is_some()).await;
    assert_eq!(candidates(&held), 2);
    world.see(&seen("tracker/issue/1", "blocked", 3)).await;
    let joined =
        |group: &Group| group.conflict.as_ref().is_some_and(|conflict| conflict != held.conflict.as_ref().unwrap());
    world.eventually("tracker/issue/1", joined).await;
    world.see(&force("done")).await;
    world.eventually("tracker/issue/1", |group| group.item.held.is_none()).await;
    world.stop().await;
    assert_eq!(counted(), 1);
}
