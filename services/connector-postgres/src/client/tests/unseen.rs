//! Rows that are edited past their triggers.

use super::*;

/// Somebody's hand, which no trigger sees.
async fn past_the_triggers(database: &Database, sql: &str) {
    database.run(&format!("SET session_replication_role = replica; {sql}; RESET session_replication_role")).await;
}

/// The versions of all captured rows.
async fn versions(database: &Database) -> Vec<i64> {
    let versions = sqlx::query_scalar("SELECT version FROM lockstep_outbox.versions ORDER BY key");
    versions.fetch_all(database.pool()).await.unwrap()
}

/// One row that shows what we wrote into it, as the outbox told.
async fn written(database: &Database, client: &Client) -> Observation {
    database.run("INSERT INTO tasks (id) VALUES (1)").await;
    let reading = client.read(&record("1")).await.unwrap();
    client.write(&command("1", "done", 7), &reading).await.unwrap();
    drain(client).await.remove(0)
}

#[tokio::test]
async fn an_edit_back_to_what_we_wrote_is_an_edit() {
    let database = Database::new().await;
    let client = database.client();
    let ours = written(&database, &client).await;
    past_the_triggers(&database, "UPDATE tasks SET status = 'blocked'").await;
    let away = sweep(&client, None).await.0.remove(0);
    assert_eq!((away.native.as_str(), away.origin, &away.actor), ("blocked", Origin::Other, &None));
    assert!(away.position > ours.position);
    past_the_triggers(&database, "UPDATE tasks SET status = 'done'").await;
    let (back, cursor) = sweep(&client, None).await;
    assert_eq!((back[0].native.as_str(), back[0].origin), ("done", Origin::Other));
    assert!(back[0].position > away.position);
    let again = sweep(&client, Some(cursor)).await.0;
    assert_eq!(again, back, "it is captured once");
    let read = client.read(&record("1")).await.unwrap().observation;
    assert_eq!(read.id, back[0].id, "the same thing, seen another way");
    assert_eq!(drain(&client).await, [], "the sweep tells of it");
    database.drop().await;
}

#[tokio::test]
async fn a_connector_that_installs_nothing_captures_too_and_a_dry_run_does_not() {
    let database = Database::new().await;
    let mut client = database.client();
    let ours = written(&database, &client).await;
    let (_, cursor) = sweep(&client, None).await;
    past_the_triggers(&database, "UPDATE tasks SET status = 'blocked'").await;
    let before = versions(&database).await;
    client.config.install = false;
    for from in [None, client.cursor_since(Timestamp(0))] {
        let seen = sweep(&client, from).await.0.remove(0);
        assert_eq!((seen.native.as_str(), seen.origin, seen.position), ("blocked", Origin::Unknown, ours.position));
        assert_eq!(versions(&database).await, before, "a dry run has no cursor of the connector's");
    }
    let seen = sweep(&client, Some(cursor)).await.0.remove(0);
    assert!(seen.position > ours.position && seen.origin == Origin::Other, "{seen:?}");
    database.drop().await;
}

#[tokio::test]
async fn a_row_whose_capture_is_under_way_is_left_to_it() {
    let database = Database::new().await;
    let mut client = database.client();
    client.config.lock_timeout_ms = 100;
    let ours = written(&database, &client).await;
    database.run("INSERT INTO tasks (id) VALUES (2)").await;
    drain(&client).await;
    past_the_triggers(&database, "UPDATE tasks SET status = 'blocked'").await;
    let before = versions(&database).await;
    let mut open = database.pool().begin().await.unwrap();
    sqlx::query("UPDATE tasks SET status = 'in_review' WHERE id = 1").execute(&mut *open).await.unwrap();
    let seen = sweep(&client, None).await.0.remove(0);
    assert_eq!((seen.native.as_str(), seen.position), ("blocked", ours.position), "its version is locked");
    let after = versions(&database).await;
    assert!(after[0] == before[0] && after[1] > before[1], "nobody waits for it: {before:?}, {after:?}");
    open.commit().await.unwrap();
    past_the_triggers(&database, "UPDATE tasks SET status = 'failed' WHERE id = 1").await;
    let before = versions(&database).await;
    let seen = sweep(&client, None).await.0.remove(0);
    assert_eq!((seen.native.as_str(), seen.origin), ("failed", Origin::Unknown), "its entry is not told yet");
    assert_eq!(versions(&database).await, before);
    let entry = drain(&client).await.remove(0);
    assert_eq!((entry.native.as_str(), entry.position), ("in_review", seen.position));
    let seen = sweep(&client, None).await.0.remove(0);
    assert!(seen.position > entry.position && seen.origin == Origin::Other, "{seen:?}");
    database.drop().await;
}

#[tokio::test]
async fn a_row_that_is_captured_after_it_was_read_stays_as_it_is() {
    let database = Database::new().await;
    let client = database.client();
    written(&database, &client).await;
    let table = &client.config.tables[0];
    let statements = client.statements(table).await.unwrap();
    let version = versions(&database).await[0];
    let capture = decode::Capture { version, ..decode::Capture::default() };
    let read = Row { key: "1".into(), capture, ..Row::default() };
    database.run("UPDATE tasks SET status = 'in_review'").await;
    drain(&client).await;
    let captured = client.capture(table, &statements, std::iter::once(&read), None).await.unwrap();
    assert_eq!(captured, 0);
    database.drop().await;
}

#[tokio::test]
async fn without_the_right_to_capture_a_sweep_goes_on() {
    let database = Database::new().await;
    let owner = database.client();
    let ours = written(&database, &owner).await;
    past_the_triggers(&database, "UPDATE tasks SET status = 'blocked'").await;
    let role = format!("reader_{}", database.name());
    database
        .run(&format!(
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA lockstep_outbox TO {role}; \
             GRANT SELECT ON tasks, lockstep_outbox.versions, lockstep_outbox.entries, lockstep_outbox.captures TO {role}"
        ))
        .await;
    let mut reader = database.client();
    reader.options = reader.options.clone().options([("role", &role)]);
    let seen = sweep(&reader, None).await.0.remove(0);
    assert_eq!((seen.native.as_str(), seen.position), ("blocked", ours.position));
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    database.drop().await;
}
