//! What the resolver gives up, and that a replay after the cause is mended does what the first time would have done.

use bus::{Filter, Letter, Outgoing, Replayed};
use model::{Group, Lane, LifecycleName, Observation, Policy, Position, RowKind, Source, Timestamp};

use super::{DEADLINE, MAPPINGS, World, mentioning, owning, policy, policy_of, record, seen};

impl World {
    /// The letters, once there are so many.
    async fn letters(&self, count: usize) -> Vec<Letter> {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let letters = self.bus.letters(&Filter::default(), 1, 100).await.unwrap();
            if letters.len() == count {
                return letters;
            }
            assert!(tokio::time::Instant::now() < deadline, "{letters:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    async fn replay(&self, letter: &Letter) {
        assert_eq!(self.bus.replay(letter.sequence).await.unwrap(), Replayed::Published);
    }
}

/// In strict mode, with a tracker whose `In QA` nobody has mapped yet, or with one where it stands for `in_review`.
fn strict(knows_qa: bool) -> Policy {
    let word = if knows_qa { "In QA" } else { "in_review" };
    let mapped = MAPPINGS.replacen("in_review = \"in_review\"", &format!("in_review = \"{word}\""), 1);
    strictly(policy_of(&mapped, ""))
}

fn strictly(mut policy: Policy) -> Policy {
    policy.strict = true;
    policy
}

/// An issue of the tracker with one of the forge beside it, both at their beginning.
async fn pair(world: &World) {
    world.see(&owning(seen("tracker/issue/1", "todo", 1), "T-1")).await;
    world.see(&mentioning(seen("forge/issue/a/b#1", "open", 1), "T-1")).await;
    world.eventually("T-1", |group| group.links.len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moments_and_positions_that_are_none_are_given_up_by_name() {
    let world = World::new().await;
    let said = |number: u64| Observation { source: Source::Api, ..seen(&format!("tracker/issue/{number}"), "todo", 1) };
    let far = Timestamp(world.process.now_ms() + 3 * 24 * 3_600_000);
    world.see(&Observation { occurred_at: Timestamp(-1), ..said(1) }).await;
    world.see(&Observation { occurred_at: far, ..said(2) }).await;
    world.see(&Observation { position: Some(Position(u64::MAX)), ..said(3) }).await;
    world.see(&Observation { url: Some("javascript:alert(1)".into()), ..said(4) }).await;
    let letters = world.letters(4).await;
    let mut fields: Vec<&str> = letters.iter().filter_map(|letter| letter.detail.split(':').next()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["occurred_at", "occurred_at", "position", "url"]);
    assert!(letters.iter().all(|letter| letter.reason == "malformed"), "{letters:#?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_no_connector_has_seen_is_not_there_where_one_sees_its_kind() {
    let world = World::new().await;
    let said =
        |name: &str, position| Observation { source: Source::Api, position: None, ..seen(name, "todo", position) };
    // Nobody sees issues of the tracker yet: what is said of one is all there is.
    world.see(&owning(said("tracker/issue/1", 1), "T-1")).await;
    world.eventually("T-1", |_| true).await;
    world.see(&owning(seen("tracker/issue/2", "todo", 1), "T-2")).await;
    world.eventually("T-2", |_| true).await;
    world.see(&owning(said("tracker/issue/T-2", 1), "T-3")).await;
    world.see(&owning(said("forge/issue/a/b#1", 1), "T-4")).await;
    world.eventually("T-4", |_| true).await;
    let letters = world.letters(1).await;
    assert_eq!(
        (letters[0].reason.as_str(), letters[0].record().unwrap()),
        ("unknown_record", record("tracker/issue/T-2"))
    );
    // Once it is seen, what is said of it is a wish.
    world.see(&owning(seen("tracker/issue/T-2", "in_progress", 2), "T-3")).await;
    world.eventually("T-3", |_| true).await;
    world.see(&said("tracker/issue/T-2", 3)).await;
    world.eventually("T-3", |group| group.item.status.as_str() == "todo").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_takes_too_long_at_once_is_taken_in_parts() {
    const SLOW: &str = "
        create function lockstep.dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.1); return new; end $$;
        create trigger dawdle before update on lockstep.items for each row execute function lockstep.dawdle()";
    let mut world = World::new().await;
    let issues: Vec<_> = (0..8).map(|number| (format!("tracker/issue/{number}"), format!("T-{number}"))).collect();
    for (issue, key) in &issues {
        world.see(&owning(seen(issue, "todo", 1), key)).await;
        world.eventually(key, |_| true).await;
    }
    world.stop().await;
    // Read at once by whoever comes next.
    for (issue, _) in &issues {
        world.see(&seen(issue, "in_progress", 2)).await;
    }
    let pool = sqlx::PgPool::connect(&world.database).await.unwrap();
    sqlx::raw_sql(SLOW).execute(&pool).await.unwrap();
    let hasty = store::Config { statement_timeout_ms: 250, ..World::store(&world.database) };
    (world.process, world.bus, world.store) = World::start(&world.server, hasty, policy()).await;
    for (_, key) in &issues {
        world.eventually(key, |group| group.item.status.as_str() == "in_progress").await;
    }
    assert!(world.bus.letters(&Filter::default(), 1, 9).await.unwrap().is_empty(), "slow is no fault of a message");
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_between_two_good_ones_holds_up_nothing_and_keeps_its_bytes() {
    let world = World::new().await;
    let subject = bus::topology::observe(Lane::High, &record("tracker/issue/1"));
    let poison = |id: &str, bytes: &[u8]| Outgoing::new(subject.clone(), id.into(), bytes.to_vec());
    let of = |observation: &Observation| Outgoing::observation(Lane::High, observation);
    let no_native = proto::v1::Observation { record: "tracker/issue/1".into(), ..Default::default() };
    let of_another = proto::encode(&proto::observation_to(&seen("forge/issue/a/b#1", "open", 1)));
    let messages = vec![
        of(&owning(seen("tracker/issue/1", "todo", 1), "T-1")),
        poison("p1", &[0xff, 0xff, 0xff]),
        of(&seen("tracker/issue/1", "in_progress", 2)),
        poison("p2", &proto::encode(&no_native)),
        poison("p3", &of_another),
        of(&seen("tracker/issue/1", "done", 3)),
    ];
    world.bus.publish_all(messages).await.unwrap();
    let item = world.eventually("T-1", |group| group.item.status.as_str() == "done").await;
    assert_eq!(item.item.version.0, 3, "each of the good ones took effect");
    let letters = world.letters(3).await;
    let told: Vec<_> = letters.iter().map(|letter| (letter.reason.as_str(), letter.original_id.as_str())).collect();
    assert_eq!(told, [("undecodable", "p1"), ("malformed", "p2"), ("malformed", "p3")]);
    let whole = world.bus.letter(letters[0].sequence).await.unwrap().unwrap();
    assert_eq!(&whole.payload[..], [0xff, 0xff, 0xff]);
    assert!(letters[1].detail.contains("native"), "{}", letters[1].detail);
    let subject = bus::topology::observe(Lane::High, &record("forge/issue/a/b#1"));
    assert!(letters[2].detail.contains(&subject), "{}", letters[2].detail);
    world.stop().await;
}

/// What an edit came to, without what differs from run to run.
async fn effect(world: &World) -> (Vec<String>, u64, String) {
    let Group { item, links, .. } = world.item("T-1").await;
    let mut history = world.store.history(item.id, None, None, 100).await.unwrap().0;
    history.reverse();
    let line = |row: &model::HistoryRow| {
        format!("{:?} {} {:?} {} {} {:?}", row.kind, row.version.0, row.from, row.to, row.native, row.at)
    };
    let shown: Vec<&str> = links.iter().map(|link| link.native.as_str()).collect();
    (history.iter().map(line).collect(), item.version.0, format!("{} {shown:?}", item.status))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_after_the_mapping_is_completed_does_what_the_first_time_would_have_done() {
    let edit = seen("tracker/issue/1", "In QA", 5);
    let first_time = World::with(strict(true).into()).await;
    pair(&first_time).await;
    first_time.see(&edit).await;
    first_time.eventually("T-1", |group| group.item.status.as_str() == "in_review").await;
    let wanted = effect(&first_time).await;
    first_time.stop().await;

    let mut world = World::with(strict(false).into()).await;
    pair(&world).await;
    world.see(&edit).await;
    let letter = world.letters(1).await.remove(0);
    assert_eq!((letter.reason.as_str(), world.item("T-1").await.item.status.as_str()), ("unmapped_status", "todo"));
    // Before it is mended, a replay comes back as a letter that knows of both attempts.
    world.replay(&letter).await;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let again = loop {
        match world.bus.letters(&Filter::default(), letter.sequence + 1, 10).await.unwrap().pop() {
            Some(again) => break again,
            None => assert!(tokio::time::Instant::now() < deadline, "no second letter"),
        }
    };
    assert_eq!((again.attempts, again.first_at_ms), (2, letter.first_at_ms));
    world.restart(strict(true)).await;
    world.replay(&again).await;
    world.eventually("T-1", |group| group.item.status.as_str() == "in_review").await;
    assert_eq!(effect(&world).await, wanted);
    world.letters(0).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_its_record_has_overtaken_is_recorded_and_changes_nothing() {
    let mut world = World::with(strict(false).into()).await;
    pair(&world).await;
    // The tracker has positions; the forge's statuses here come without, so that only the bus's order tells.
    let placeless = |native: &str, id: &str| Observation {
        id: id.into(),
        position: None,
        ..mentioning(seen("forge/issue/a/b#1", native, 1), "T-1")
    };
    world.see(&seen("tracker/issue/1", "In QA", 5)).await;
    world.see(&placeless("weird", "w")).await;
    let letters = world.letters(2).await;
    world.see(&seen("tracker/issue/1", "in_progress", 6)).await;
    world.see(&placeless("closed", "c")).await;
    let before = world.eventually("T-1", |group| group.item.status.as_str() == "done").await;
    let mapped = MAPPINGS
        .replacen("in_review = \"in_review\"", "in_review = \"In QA\"", 1)
        .replacen("blocked = \"open\"", "blocked = \"weird\"", 1)
        .replacen("put = { open", "put = { weird = \"blocked\", open", 1);
    world.restart(strictly(policy_of(&mapped, ""))).await;
    for letter in &letters {
        world.replay(letter).await;
    }
    let stale = async |group: &Group| {
        let history = world.store.history(group.item.id, None, None, 100).await.unwrap().0;
        history.iter().filter(|row| row.kind == RowKind::Stale).count()
    };
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while stale(&before).await < 2 {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", world.letters(0).await);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let after = world.item("T-1").await;
    assert_eq!((after.item.version, after.item.status), (before.item.version, before.item.status));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_lifecycle_that_is_gone_is_given_up_and_waits_for_it() {
    const DOOR: &str = "[lifecycle.door]\nstatuses = [\"open\", \"shut\"]\n";
    const DOORS: &str = "[[mapping]]\nsystem = \"house\"\nkind = \"door\"\nlifecycle = \"door\"\n\
                         get = { open = \"open\", shut = \"shut\" }\n";
    let with_doors = || policy_of(&format!("{MAPPINGS}{DOORS}"), DOOR);
    let door = |native: &str, position: u64| Observation {
        lifecycle: Some(LifecycleName::new("door").unwrap()),
        ..seen("house/door/front", native, position)
    };
    let mut world = World::with(policy_of(MAPPINGS, "").into()).await;
    world.see(&door("open", 1)).await;
    let unborn = world.letters(1).await.remove(0);
    assert_eq!(unborn.reason, "no_such_thing");
    world.restart(with_doors()).await;
    world.replay(&unborn).await;
    world.eventually("house/door/front", |group| group.item.status.as_str() == "open").await;
    // The item is there now; without its lifecycle nothing could be said of it, not even that it was told something.
    world.restart(policy_of(MAPPINGS, "")).await;
    world.see(&door("shut", 2)).await;
    let orphan = world.letters(1).await.remove(0);
    assert_eq!(orphan.reason, "no_such_thing");
    assert_eq!(orphan.detail, "the item's lifecycle door is not in the configuration any more: put it back");
    world.restart(with_doors()).await;
    world.replay(&orphan).await;
    world.eventually("house/door/front", |group| group.item.status.as_str() == "shut").await;
    world.letters(0).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_whose_status_its_lifecycle_lost_is_named_and_holds_up_nobody() {
    const ALL: &str = "[lifecycle.door]\nstatuses = [\"open\", \"ajar\", \"shut\"]\n";
    const LESS: &str = "[lifecycle.door]\nstatuses = [\"open\", \"shut\"]\n";
    let door = |native: &str, position: u64| Observation {
        lifecycle: Some(LifecycleName::new("door").unwrap()),
        ..seen("house/door/front", native, position)
    };
    let mut world = World::with(policy_of(MAPPINGS, ALL).into()).await;
    world.see(&door("ajar", 1)).await;
    world.eventually("house/door/front", |group| group.item.status.as_str() == "ajar").await;
    world.restart(policy_of(MAPPINGS, LESS)).await;
    world.see(&door("shut", 2)).await;
    world.see(&owning(seen("tracker/issue/1", "todo", 1), "T-1")).await;
    world.eventually("T-1", |group| group.links.len() == 1).await;
    let stuck = world.letters(1).await.remove(0);
    assert_eq!(stuck.reason, "no_such_thing");
    assert!(stuck.detail.starts_with("lifecycle door has no status ajar any more"), "{}", stuck.detail);
    world.restart(policy_of(MAPPINGS, ALL)).await;
    world.replay(&stuck).await;
    world.eventually("house/door/front", |group| group.item.status.as_str() == "shut").await;
    world.stop().await;
}
