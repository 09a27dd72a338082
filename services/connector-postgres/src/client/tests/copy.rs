//! A database, an outbox or a table that is not the one that was known.

use super::*;

#[tokio::test]
async fn versions_rise_above_those_of_an_outbox_that_was_dropped() {
    let database = Database::new().await;
    let client = database.client();
    database.run("INSERT INTO tasks (id) VALUES (1), (2)").await;
    client.statements(&client.config.tables[0]).await.unwrap();
    database.run("UPDATE tasks SET status = 'in_progress' WHERE id = 1").await;
    let before = drain(&client).await.remove(0).position;
    let (_, cursor) = sweep(&client, None).await;
    database.run("DROP SCHEMA lockstep_outbox CASCADE; UPDATE tasks SET status = 'blocked' WHERE id = 1").await;
    client.usable().clear();
    client.statements(&client.config.tables[0]).await.unwrap();
    let (seen, _) = sweep(&client, Some(cursor)).await;
    assert_eq!(natives(&seen), ["blocked", "todo"], "all rows, though the last full sweep is not a day ago");
    assert!(seen[0].position > before && seen[0].origin == Origin::Unknown, "somebody's edit: {:?}", seen[0]);
    database.run("UPDATE tasks SET status = 'done' WHERE id = 1").await;
    assert!(drain(&client).await[0].position >= seen[0].position);
    database.drop().await;
}

#[tokio::test]
async fn rows_of_an_old_copy_stand_above_what_was_known_and_are_nobodys_edit() {
    let database = Database::new().await;
    let client = database.client();
    database.run("INSERT INTO tasks (id) VALUES (1), (2), (3), (4)").await;
    client.statements(&client.config.tables[0]).await.unwrap();
    database.run("UPDATE tasks SET status = 'in_progress' WHERE id IN (1, 4)").await;
    drain(&client).await;
    let (_, cursor) = sweep(&client, None).await;
    let (_, mut cursor) = sweep(&client, Some(cursor)).await;
    database
        .run(
            "CREATE TABLE copy AS TABLE tasks; CREATE TABLE versions AS TABLE lockstep_outbox.versions; \
             CREATE TABLE captures AS TABLE lockstep_outbox.captures",
        )
        .await;
    database.run("UPDATE tasks SET status = 'done' WHERE id IN (1, 2)").await;
    let known: Vec<_> = drain(&client).await.iter().map(|seen| seen.position).collect();
    for _ in 0..2 {
        cursor = sweep(&client, Some(cursor)).await.1;
    }
    // What a restore leaves: the rows and the outbox as they were, an hour old. As many entries as were lost follow before anybody looks.
    database
        .run(
            "SET session_replication_role = replica; UPDATE tasks t SET status = c.status FROM copy c WHERE c.id = t.id; \
             TRUNCATE lockstep_outbox.versions, lockstep_outbox.captures; INSERT INTO lockstep_outbox.versions TABLE versions; \
             INSERT INTO lockstep_outbox.captures TABLE captures; \
             UPDATE lockstep_outbox.versions SET at = at - interval '1 hour'; RESET session_replication_role",
        )
        .await;
    database.run("UPDATE tasks SET status = 'blocked' WHERE id = 4").await;
    let edit = drain(&client).await.remove(0);
    let (seen, cursor) = sweep(&client, Some(cursor)).await;
    assert_eq!(natives(&seen), ["in_progress", "todo", "todo", "blocked"]);
    assert!(seen[..3].iter().all(|seen| seen.origin == Origin::Own(None)), "{seen:?}");
    assert!(seen[0].position > known[0] && seen[1].position > known[1], "{seen:?}");
    assert_eq!(seen[3], Observation { source: Source::Sweep, ..edit }, "an edit that was made since is one");
    let again = sweep(&client, Some(cursor)).await.0;
    assert!(again.iter().all(|again| seen.contains(again)), "once is enough: {again:?}");
    database.drop().await;
}

#[tokio::test]
async fn a_table_that_alone_is_brought_back_is_nobodys_edit() {
    let database = Database::new().await;
    let client = database.client();
    database.run("INSERT INTO tasks (id) VALUES (1), (2), (3)").await;
    client.statements(&client.config.tables[0]).await.unwrap();
    database.run("CREATE TABLE copy (LIKE tasks INCLUDING ALL); INSERT INTO copy TABLE tasks").await;
    database.run("UPDATE tasks SET status = 'done' WHERE id IN (1, 2)").await;
    let known = drain(&client).await;
    let (_, cursor) = sweep(&client, None).await;
    // One row was captured long ago, and the other just now.
    database
        .run(
            "UPDATE lockstep_outbox.versions SET at = at - interval '1 hour' WHERE key = '1'; \
             DROP TABLE tasks; ALTER TABLE copy RENAME TO tasks",
        )
        .await;
    install(&client.config, None).await.unwrap();
    let (seen, cursor) = sweep(&client, Some(cursor)).await;
    assert_eq!(natives(&seen), ["todo", "todo", "todo"], "all rows");
    assert!(seen.iter().all(|seen| seen.origin == Origin::Own(None)), "{seen:?}");
    assert!(known.iter().all(|known| seen[..2].iter().all(|seen| seen.position > known.position)), "{seen:?}");
    database.run("UPDATE tasks SET status = 'blocked' WHERE id = 3").await;
    assert_eq!(drain(&client).await[0].origin, Origin::Other);
    let again = sweep(&client, Some(cursor)).await.0;
    assert_eq!(natives(&again), ["todo", "todo", "blocked"]);
    assert!(seen[..2] == again[..2], "once is enough: {again:?}");
    database.drop().await;
}

#[tokio::test]
async fn a_row_of_an_old_copy_whose_last_entry_waits_is_told_by_the_next_sweep() {
    let database = Database::new().await;
    let client = database.client();
    client.statements(&client.config.tables[0]).await.unwrap();
    database.run("INSERT INTO tasks (id) VALUES (1)").await;
    drain(&client).await;
    let (_, cursor) = sweep(&client, None).await;
    database
        .run(
            "CREATE TABLE copy (LIKE tasks INCLUDING ALL); INSERT INTO copy TABLE tasks; UPDATE tasks SET status = 'done'; \
             DROP TABLE tasks; ALTER TABLE copy RENAME TO tasks",
        )
        .await;
    install(&client.config, None).await.unwrap();
    let (seen, cursor) = sweep(&client, Some(cursor)).await;
    assert_eq!(seen, [], "its entry would come after it");
    let entry = drain(&client).await.remove(0);
    let (seen, _) = sweep(&client, Some(cursor)).await;
    assert_eq!((natives(&seen), seen[0].origin), (vec!["todo"], Origin::Own(None)));
    assert!(seen[0].position > entry.position);
    database.drop().await;
}
