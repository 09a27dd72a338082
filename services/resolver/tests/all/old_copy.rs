//! PostgreSQL or the bus comes back from an old copy.

use bytes::Bytes;

use super::*;

const CURSOR: &str = "sweep/forge";

/// Two records of an item, one of which is told something that it never gets.
async fn stopped_with_a_command_on_its_way() -> World {
    let mut world = World::new().await;
    world.see(&owning(seen("tracker/issue/1", "todo", 1), "T-1")).await;
    world.see(&mentioning(seen("forge/issue/a/b#1", "open", 1), "T-1")).await;
    world.eventually("T-1", |group| group.links.len() == 2).await;
    world.see(&seen("tracker/issue/1", "done", 2)).await;
    assert_eq!(world.command().await.native, "closed");
    marked(&world).await;
    world.stop().await;
    world.bus.store_cursor(CURSOR, Bytes::from_static(b"7")).await.unwrap();
    world
}

/// Waits until both have the same mark, and know it.
async fn marked(world: &World) -> i64 {
    until(world, async |world| {
        let (here, there) = (world.store.mark().await.unwrap()?, world.bus.mark().await.unwrap()?.0);
        (here.at == there && here.before == Some(there)).then_some(there)
    })
    .await
}

async fn until<T>(world: &World, look: impl AsyncFn(&World) -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look(world).await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "not in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn sweeps_begin_anew(world: &World) {
    until(world, async |world| (world.bus.cursor(CURSOR).await.unwrap()? == b"null"[..]).then_some(())).await;
}

/// A sweep finds what nobody told of: nothing.
async fn swept(world: &World) {
    let seen = seen("forge/issue/a/b#1", "open", 1);
    world.see(&Observation { source: Source::Sweep, id: "swept".into(), ..seen }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_were_lost_with_the_bus_are_sent_again() {
    let mut world = stopped_with_a_command_on_its_way().await;
    let (at, revision) = world.bus.mark().await.unwrap().unwrap();
    world.bus.set_mark(at - 1, Some(revision)).await.unwrap();
    let began_ms = world.process.now_ms();
    world.restart(policy_of(MAPPINGS, "")).await;
    sweeps_begin_anew(&world).await;
    swept(&world).await;
    assert_eq!(world.command().await.native, "closed");
    marked(&world).await;
    let again_at = world.store.sweep_again_at().await.unwrap();
    assert!(again_at > Some(began_ms + model::Link::OLD_COPY_MS), "an old copy may have been noticed before");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_database_does_not_know_any_more_is_swept_for() {
    let mut world = stopped_with_a_command_on_its_way().await;
    let (at, revision) = world.bus.mark().await.unwrap().unwrap();
    world.bus.set_mark(at + 60_000, Some(revision)).await.unwrap();
    world.restart(policy_of(MAPPINGS, "")).await;
    sweeps_begin_anew(&world).await;
    assert!(marked(&world).await > at + 60_000, "a clock that is behind sets no older mark");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_change_of_a_mapping_records_are_told_what_they_owe_now() {
    let mut world = stopped_with_a_command_on_its_way().await;
    let mappings = MAPPINGS.replace(r#"put = { open = "todo""#, r#"put = { open = "backlog""#);
    assert_ne!(mappings, MAPPINGS);
    world.restart(policy_of(&mappings, "")).await;
    sweeps_begin_anew(&world).await;
    swept(&world).await;
    assert_eq!(world.command().await.native, "closed");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_swept_once_more_though_the_resolver_restarts_meanwhile() {
    let mut world = stopped_with_a_command_on_its_way().await;
    let known = world.store.meaning().await.unwrap();
    let mappings = MAPPINGS.replace(r#"put = { open = "todo""#, r#"put = { open = "backlog""#);
    let began_ms = world.process.now_ms();
    world.restart(policy_of(&mappings, "")).await;
    sweeps_begin_anew(&world).await;
    until(&world, async |world| (world.store.meaning().await.unwrap() != known).then_some(())).await;
    world.stop().await;
    world.bus.store_cursor(CURSOR, Bytes::from_static(b"8")).await.unwrap();
    let due = world.store.sweep_again_at().await.unwrap().unwrap();
    assert!(due > began_ms + 120_000, "others may have gone by the old mapping");

    world.restart(policy_of(&mappings, "")).await;
    let put_off = async |world: &World| world.store.sweep_again_at().await.unwrap().filter(|at| *at > due);
    let noted = until(&world, put_off).await;
    // The time has come.
    world.store.swept_again(noted).await.unwrap();
    world.store.sweep_again_from(began_ms).await.unwrap();
    sweeps_begin_anew(&world).await;
    until(&world, async |world| world.store.sweep_again_at().await.unwrap().is_none().then_some(())).await;
    world.stop().await;

    world.store.sweep_again_from(due + 1).await.unwrap();
    world.store.sweep_again_from(due).await.unwrap();
    world.store.swept_again(due).await.unwrap();
    let noted = world.store.sweep_again_at().await.unwrap();
    assert_eq!(noted, Some(due + 1), "a later time, or what another process noted meanwhile, stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_begins_no_sweep_anew() {
    let mut world = stopped_with_a_command_on_its_way().await;
    let before = world.bus.mark().await.unwrap().unwrap().0;
    world.restart(policy_of(MAPPINGS, "")).await;
    until(&world, async |world| (world.bus.mark().await.unwrap()?.0 > before).then_some(())).await;
    assert_eq!(world.bus.cursor(CURSOR).await.unwrap().unwrap(), b"7"[..]);
    world.stop().await;
}
