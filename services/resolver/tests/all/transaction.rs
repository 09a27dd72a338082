//! What a batch leaves behind is there all at once, or not at all.

use super::*;

/// How many records of each sort, known and new, the batch is about.
const COUNT: usize = 100;

/// Asks until the answer is yes.
async fn until(pool: &sqlx::PgPool, what: &str, question: &str) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !sqlx::query_scalar::<_, bool>(sqlx::AssertSqlSafe(question)).fetch_one(pool).await.unwrap() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
    }
}

/// Waits until the observations have all been given to their readers. They come through the connection that answers, and before the answer.
async fn all_are_read(world: &World) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let waits = |lag: &bus::Lag| lag.stream == "OBSERVATIONS" && lag.pending > 0;
    while world.bus.consumer_lag().await.unwrap().iter().any(waits) {
        assert!(tokio::time::Instant::now() < deadline, "they are not read");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_one_transaction() {
    // One reader takes all that is there at once.
    let world = World::divided(policy(), 1).await;
    let mut names = (0..).map(|number| format!("tracker/issue/{number}"));
    let first = names.next().unwrap();
    let (known, new): (Vec<_>, Vec<_>) = (names.by_ref().take(COUNT).collect(), names.take(COUNT).collect());
    for name in known.iter().chain([&first]) {
        world.see(&owning(seen(name, "todo", 1), name)).await;
    }
    for name in known.iter().chain([&first]) {
        world.eventually(name, |_| true).await;
    }
    let pool = sqlx::PgPool::connect(&world.database).await.unwrap();

    // The batch before it waits for an item, so that it grows; and it will wait itself, for the last table that it writes.
    let mut item = pool.begin().await.unwrap();
    sqlx::query("select from lockstep.items where key = $1 for update").bind(&first).execute(&mut *item).await.unwrap();
    let sequence = world.see(&seen(&first, "in_progress", 2)).await;
    let waits =
        "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')";
    until(&pool, "the first batch waits", waits).await;
    let mut keys = pool.begin().await.unwrap();
    sqlx::query("lock table lockstep.keys in share mode").execute(&mut *keys).await.unwrap();
    let old = known.iter().map(|name| seen(name, "in_progress", 2));
    let new = new.iter().map(|name| owning(seen(name, "in_progress", 1), name));
    world.bus.publish_all(old.chain(new).map(|one| Outgoing::observation(Lane::High, &one)).collect()).await.unwrap();
    all_are_read(&world).await;
    item.rollback().await.unwrap();
    let waits = "select exists (select from pg_locks where relation = 'lockstep.keys'::regclass and not granted)";
    until(&pool, "the batch waits for its last table", waits).await;

    let written = async || -> (i64, i64, i64, i64) {
        sqlx::query_as(
            "select count(*), count(distinct history.xmin::text),
                    (select count(*) from lockstep.items where status = 'in_progress' and key <> $2),
                    (select count(distinct items.xmin::text) from lockstep.items where status = 'in_progress' and key <> $2)
             from lockstep.history where cause_sequence > $1",
        )
        .bind(i64::try_from(sequence).unwrap())
        .bind(&first)
        .fetch_one(&pool)
        .await
        .unwrap()
    };
    assert_eq!(written().await, (0, 0, 0, 0), "nothing of it is there before all is");
    assert_eq!(world.item(&first).await.item.version.0, 2, "the one before it is");
    keys.rollback().await.unwrap();
    let all = i64::try_from(2 * COUNT).unwrap();
    let is_all = format!("select count(*) = {all} + 1 from lockstep.items where status = 'in_progress'");
    until(&pool, "all is written", &is_all).await;
    assert_eq!(written().await, (all, 1, all, 1));
    world.stop().await;
}
