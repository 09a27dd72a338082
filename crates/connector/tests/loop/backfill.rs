//! Backfills: read to the end in spite of interruptions and of what cannot be read.

use std::collections::BTreeSet;

use connector::{Backfill, Failure, Order, Step, Swept};
use model::{Backoff, System, Timestamp};

use super::fake::{Fake, Part};
use super::{DEADLINE, World, settings, world_with};

/// A world whose own sweeps have nothing to do with the system that is read.
async fn world() -> World {
    world_with(Fake::default(), settings(3)).await
}

async fn begin(world: &World, system: &Fake, order: Order) -> Backfill {
    let backoff = Backoff { first_ms: 5, max_ms: 20, attempts: 3 };
    let sweeper = Box::new(Swept { connector: system.successor(), backoff });
    let (process, bus) = (world.process.clone(), world.bus.clone());
    let begun = Backfill::begin(sweeper, System::new("fake").unwrap(), order, process, bus);
    tokio::time::timeout(DEADLINE, begun).await.unwrap().unwrap()
}

fn three_pages() -> Fake {
    let fake = Fake::default();
    fake.page(&[("one", "open"), ("two", "open")], Some("b"), None);
    fake.page(&[("three", "open")], Some("c"), None);
    fake.page(&[("four", "open")], None, Some("noon"));
    fake
}

async fn records(world: &mut World, count: usize) -> BTreeSet<String> {
    let mut records = BTreeSet::new();
    while records.len() < count {
        records.insert(world.observation().await.1.record);
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_backfill_goes_on_where_it_stopped() {
    let mut world = world().await;
    let system = three_pages();
    let mut first = begin(&world, &system, Order::default()).await;
    assert_eq!((first.is_resumed(), first.progress().total), (false, Some(4)));
    assert_eq!(first.step().await.unwrap(), Step::Read);
    // The second page is lost on its way: what is stored is that it was not read.
    for _ in 0..3 {
        system.fail(Part::Sweep, Failure::unavailable("503"));
    }
    first.step().await.unwrap_err();
    drop(first);
    let mut second = begin(&world, &system, Order::default()).await;
    assert_eq!((second.is_resumed(), second.progress().seen, second.progress().total), (true, 2, Some(4)));
    assert_eq!(second.step().await.unwrap(), Step::Read);
    assert_eq!(second.step().await.unwrap(), Step::Ended);
    assert_eq!(second.progress().seen, 4);
    let asked: Vec<_> = system.sweeps().into_iter().map(|(_, next)| next).collect();
    let b = Some("b".to_owned());
    assert_eq!(asked, [None, b.clone(), b.clone(), b.clone(), b, Some("c".to_owned())]);
    assert_eq!(records(&mut world, 4).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_that_ended_is_begun_anew_and_so_is_one_of_other_words() {
    let world = world().await;
    let system = three_pages();
    let mut first = begin(&world, &system, Order::default()).await;
    while first.step().await.unwrap() != Step::Ended {}
    drop(first);
    assert!(!begin(&world, &system, Order::default()).await.is_resumed());

    let system = three_pages();
    let since = |words: &str| Order { since: Some(Timestamp(7)), words: words.to_owned(), fresh: false };
    begin(&world, &system, since("1d")).await.step().await.unwrap();
    assert_eq!(system.sweeps()[0].0.as_deref(), Some("since 7"));
    assert!(!begin(&world, &system, since("2d")).await.is_resumed());
    assert!(begin(&world, &system, since("1d")).await.is_resumed());
    assert!(!begin(&world, &system, Order { fresh: true, ..since("1d") }).await.is_resumed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_a_dead_letter_and_holds_up_nothing() {
    let mut world = world().await;
    let system = Fake::default();
    system.page(&[("one", "open")], Some("b"), None);
    system.unreadable("broken");
    system.page(&[("two", "open")], None, None);
    let mut backfill = begin(&world, &system, Order::default()).await;
    while backfill.step().await.unwrap() != Step::Ended {}
    assert_eq!((backfill.progress().seen, backfill.progress().unreadable), (2, 1));
    assert_eq!(records(&mut world, 2).await.len(), 2);
    let letter = world.dead("malformed").await;
    assert_eq!(letter.header("Lockstep-Subject"), Some("lockstep.sweep.fake.broken"));
    assert!(letter.header("Lockstep-Detail").unwrap().contains("lockstep sync fake"));
    assert_eq!(&letter.payload[..], b"{");
}
