//! A release beside a newer one, whose migrations have been run.

use super::*;

/// PostgreSQL refuses a statement that was prepared once, if it would answer with other columns now.
#[tokio::test(flavor = "multi_thread")]
async fn columns_that_a_newer_release_adds_stop_nobody() {
    let world = World::new().await;
    let pool = sqlx::PgPool::connect(&world.database).await.unwrap();
    for (round, name) in ["T-1", "T-2"].into_iter().enumerate() {
        let (tracker, forge) = (format!("tracker/issue/{round}"), format!("forge/issue/a/b#{round}"));
        world.see(&owning(seen(&tracker, "todo", 1), name)).await;
        world.see(&mentioning(seen(&forge, "open", 1), name)).await;
        world.eventually(name, |group| group.links.len() == 2).await;
        world.see(&seen(&tracker, "done", 2)).await;
        let item = world.eventually(name, |group| group.item.version.0 == 2).await.item.id;
        // Everything that is asked for over and over.
        assert_eq!(world.store.items(&ItemFilter::default(), 10).await.unwrap().len(), round + 1);
        assert_eq!(world.store.history(item, None, None, 10).await.unwrap().0.len(), 3);
        assert_eq!(world.store.conflicts(false, None, 10).await.unwrap(), []);
        assert_eq!(world.store.held(10).await.unwrap(), []);
        assert_eq!(world.store.conflict(model::ConflictId(item.0)).await.unwrap(), None);
        for table in ["items", "records", "history", "conflicts", "keys"] {
            let add = format!("alter table lockstep.{table} add column added_{round} text");
            sqlx::query(sqlx::AssertSqlSafe(add)).execute(&pool).await.unwrap();
        }
    }
    world.stop().await;
}
