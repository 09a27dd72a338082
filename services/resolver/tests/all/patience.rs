//! What PostgreSQL has no room or no time for, and who holds it up.

use bus::Filter;
use store::{Known, Maker};

use super::*;

async fn store(more: &store::Config) -> (Store, sqlx::PgPool) {
    let database = database().await;
    let config = store::Config { url: Secret::from(database.as_str()), ..more.clone() };
    let store = Store::connect(&config, &Process::new("resolver", None)).await.unwrap();
    store.migrate().await.unwrap();
    (store, sqlx::PgPool::connect(&database).await.unwrap())
}

/// Begins some items, through a resolver that ends again.
async fn begun(count: usize) -> (World, sqlx::PgPool) {
    let world = World::new().await;
    for number in 0..count {
        world.see(&owning(seen(&format!("tracker/issue/{number}"), "todo", 1), &format!("T-{number}"))).await;
    }
    for number in 0..count {
        world.eventually(&format!("T-{number}"), |_| true).await;
    }
    world.stop().await;
    let pool = sqlx::PgPool::connect(&world.database).await.unwrap();
    (world, pool)
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_identifiers_a_batch_brings_its_locks_are_few() {
    let (store, pool) = store(&store::Config::default()).await;
    let known = Known::default();
    let mut batch = store.batch(&known).await.unwrap();
    let keys: Vec<Key> = (0..50_000).map(|number| Key::new(format!("K-{number}")).unwrap()).collect();
    batch.lock_keys(&keys).await.unwrap();
    let counted = "select count(*) from pg_locks where locktype = 'advisory'
                   and database = (select oid from pg_database where datname = current_database())";
    let locks: i64 = sqlx::query_scalar(counted).fetch_one(&pool).await.unwrap();
    assert!((1..=1_024).contains(&locks), "{locks} locks");
    // Who brings one of them waits.
    let mut other = store.batch(&known).await.unwrap();
    let waits = other.lock_keys(&keys[7..8]);
    tokio::pin!(waits);
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let waiting: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("{counted} and not granted")))
            .fetch_one(&pool)
            .await
            .unwrap();
        if waiting == 1 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "it does not wait");
        let a_moment = tokio::time::timeout(Duration::from_millis(10), &mut waits).await;
        assert!(a_moment.is_err(), "it has the lock as well");
    }
    drop(batch);
    tokio::time::timeout(DEADLINE, waits).await.expect("in time").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_wants_too_much_memory_at_once_is_taken_in_parts_and_what_fits_nowhere_is_given_up() {
    const SCANT: &str = "
        create function lockstep.scant() returns trigger language plpgsql as $$ begin
            if (select count(*) from rows) > 3 then raise exception 'out of shared memory' using errcode = '53200'; end if;
            if exists (select from rows where key = 'T-5') then raise exception 'too wide' using errcode = '54000'; end if;
            return null; end $$;
        create trigger scant after update on lockstep.items referencing new table as rows
            for each statement execute function lockstep.scant()";
    let (mut world, pool) = begun(8).await;
    for number in 0..8 {
        world.see(&seen(&format!("tracker/issue/{number}"), "in_progress", 2)).await;
    }
    sqlx::raw_sql(SCANT).execute(&pool).await.unwrap();
    (world.process, world.bus, world.store) =
        World::start(&world.server, World::store(&world.database), policy()).await;
    for number in (0..8).filter(|number| *number != 5) {
        world.eventually(&format!("T-{number}"), |group| group.item.status.as_str() == "in_progress").await;
    }
    let dead = world.bus.tail(Stream::DeadLetters, &[], Tail::Sequence(1)).await;
    let letter = tokio::time::timeout(DEADLINE, dead.unwrap().next()).await.expect("a dead letter in time").unwrap();
    assert_eq!(letter.subject, "lockstep.dead.resolver.unstorable");
    assert_eq!(world.bus.letters(&Filter::default(), 1, 9).await.unwrap().len(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_freezes_within_a_transaction_holds_nobody_up_for_long() {
    let (store, pool) = store(&store::Config::default()).await;
    let known = Known::default();
    let keys = key("T-1");
    let mut frozen = store.batch(&known).await.unwrap();
    frozen.lock_keys(&keys).await.unwrap();
    let mut successor = store.batch(&known).await.unwrap();
    tokio::time::timeout(DEADLINE, successor.lock_keys(&keys)).await.expect("it is let go").unwrap();
    let made_by = Maker { life: "frozen".into(), batch: 1 };
    assert!(frozen.commit(store::Save::default(), &made_by).await.is_err(), "its transaction is over");
    drop(pool);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_to_all_records_takes_as_long_as_it_takes() {
    const SLOW: &str = "
        create function lockstep.dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.4); return new; end $$;
        create trigger dawdle before update on lockstep.records for each row execute function lockstep.dawdle()";
    let (world, pool) = begun(2).await;
    sqlx::raw_sql(SLOW).execute(&pool).await.unwrap();
    sqlx::query("update lockstep.records set sent = '[{\"version\": 1}]'").execute(&pool).await.unwrap();
    let hasty = store::Config { statement_timeout_ms: 300, ..World::store(&world.database) };
    let store = Store::connect(&hasty, &Process::new("resolver", None)).await.unwrap();
    store.enter_epoch("OBSERVATIONS", "another").await.unwrap();
    assert_eq!(store.void_commands().await.unwrap(), 2);
    // Another process is at a migration.
    let mut migrating = pool.begin().await.unwrap();
    sqlx::query("lock table lockstep._sqlx_migrations").execute(&mut *migrating).await.unwrap();
    let waits = store.migrate();
    tokio::pin!(waits);
    assert!(tokio::time::timeout(Duration::from_millis(900), &mut waits).await.is_err(), "it goes on");
    migrating.rollback().await.unwrap();
    tokio::time::timeout(DEADLINE, waits).await.expect("in time").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_that_start_at_once_bring_the_schema_up_to_date_together() {
    let config = store::Config { url: Secret::from(database().await.as_str()), ..store::Config::default() };
    let start = || async {
        Store::connect(&config, &Process::new("resolver", None))
            .await
            .unwrap()
            .migrate()
            .await
            .map_err(|error| format!("{error:#}"))
    };
    let started = futures_util::future::join_all((0..8).map(|_| start())).await;
    assert!(started.iter().all(Result::is_ok), "{started:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_the_history_for_long_keeps_nobody_from_starting_nor_from_writing_it() {
    const PARTITIONS: &str = "select count(*) from pg_inherits where inhparent = 'lockstep.history'::regclass";
    let (store, pool) = store(&store::Config::default()).await;
    let partitions = async || sqlx::query_scalar::<_, i64>(PARTITIONS).fetch_one(&pool).await.unwrap();
    let all = partitions().await;
    let next = "select relname::text from pg_inherits join pg_class on oid = inhrelid
                where inhparent = 'lockstep.history'::regclass and relname like 'history\\_2%' order by relname desc limit 1";
    let next: String = sqlx::query_scalar(next).fetch_one(&pool).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("drop table lockstep.{next}"))).execute(&pool).await.unwrap();
    let mut reading = pool.begin().await.unwrap();
    sqlx::query("lock table lockstep.history in access share mode").execute(&mut *reading).await.unwrap();
    let starts = tokio::time::timeout(Duration::from_secs(20), store.migrate());
    starts.await.expect("it does not wait until the reader ends").unwrap();
    assert_eq!(partitions().await, all - 1);
    reading.rollback().await.unwrap();
    store.maintain_partitions().await.unwrap();
    assert_eq!(partitions().await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_waits_for_a_table_does_not_hold_up_who_comes_after_it_for_long() {
    let (store, pool) = store(&store::Config::default()).await;
    let mut reading = pool.begin().await.unwrap();
    sqlx::query("lock table lockstep._sqlx_migrations").execute(&mut *reading).await.unwrap();
    let waits = store.migrate();
    tokio::pin!(waits);
    let deadline = tokio::time::Instant::now() + DEADLINE;
    // It waits, and then it does not, though the table is still held.
    for expected in [true, false] {
        loop {
            let waiting: bool = sqlx::query_scalar(
                "select exists (select from pg_locks where relation = 'lockstep._sqlx_migrations'::regclass and not granted)",
            )
            .fetch_one(&pool)
            .await
            .unwrap();
            if waiting == expected {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "it should wait now: {expected}");
            let a_moment = tokio::time::timeout(Duration::from_millis(10), &mut waits).await;
            assert!(a_moment.is_err(), "it goes on");
        }
    }
    reading.rollback().await.unwrap();
    tokio::time::timeout(DEADLINE, waits).await.expect("in time").unwrap();
}
