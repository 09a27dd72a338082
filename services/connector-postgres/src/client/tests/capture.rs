//! Triggers that are lost while the connector runs.

use super::*;

/// Two rows that a sweep has seen, and where the next one goes on.
async fn swept(database: &Database, client: &Client) -> serde_json::Value {
    client.statements(&client.config.tables[0]).await.unwrap();
    database.run("INSERT INTO tasks (id) VALUES (1), (2); UPDATE tasks SET status = 'in_progress' WHERE id = 1").await;
    drain(client).await;
    // What was captured lately is seen by every sweep.
    database.run("UPDATE lockstep_outbox.versions SET at = at - interval '1 hour'").await;
    let (_, cursor) = sweep(client, None).await;
    let (seen, cursor) = sweep(client, Some(cursor)).await;
    assert_eq!(seen, [], "none of the rows changed");
    cursor
}

#[tokio::test]
async fn triggers_that_are_lost_are_put_back_and_all_rows_are_compared() {
    let database = Database::new().await;
    let client = database.client();
    let mut cursor = swept(&database, &client).await;
    let losses = [
        "ALTER TABLE tasks DISABLE TRIGGER ALL",
        "DROP TRIGGER lockstep_task_update ON tasks",
        "ALTER TABLE tasks ENABLE REPLICA TRIGGER lockstep_task_update",
        "DROP FUNCTION lockstep_outbox.capture_task CASCADE",
    ];
    for (turn, loss) in losses.into_iter().enumerate() {
        database.run(&format!("{loss}; UPDATE tasks SET status = 'blocked {turn}' WHERE id = 1")).await;
        assert_eq!(drain(&client).await, [], "{loss}");
        let (seen, next) = sweep(&client, Some(cursor)).await;
        assert_eq!(natives(&seen), [&format!("blocked {turn}"), "todo"], "{loss}");
        database.run("UPDATE tasks SET status = 'done' WHERE id = 1").await;
        assert_eq!(natives(&drain(&client).await), ["done"], "{loss}");
        cursor = next;
    }
    let (seen, _) = sweep(&client, Some(cursor)).await;
    assert_eq!(natives(&seen), ["done"], "once is enough");
    database.drop().await;
}

#[tokio::test]
async fn a_lost_trigger_of_all_rows_at_once_is_put_back_too() {
    let database = Database::new().await;
    let client = database.client();
    let mut cursor = swept(&database, &client).await;
    for loss in ["DISABLE TRIGGER lockstep_task_truncate", "ENABLE REPLICA TRIGGER lockstep_task_truncate"] {
        database.run(&format!("ALTER TABLE tasks {loss}")).await;
        (_, cursor) = sweep(&client, Some(cursor)).await;
        database.run("TRUNCATE tasks").await;
        assert_eq!(natives(&drain(&client).await), ["(deleted)", "(deleted)"], "{loss}");
        database.run("INSERT INTO tasks (id) VALUES (1), (2)").await;
        drain(&client).await;
    }
    database.run("DROP TRIGGER lockstep_task_truncate ON tasks").await;
    let mut finder = database.client();
    finder.config.install = false;
    assert!(finder.statements(&finder.config.tables[0]).await.is_err(), "it is not captured");
    database.run("UPDATE lockstep_outbox.captures SET fingerprint = '1-0123456789abcdef'").await;
    finder.statements(&finder.config.tables[0]).await.unwrap();
    database.drop().await;
}

#[tokio::test]
async fn an_installation_waits_for_no_reader() {
    let database = Database::new().await;
    let client = database.client();
    client.statements(&client.config.tables[0]).await.unwrap();
    database.run("UPDATE lockstep_outbox.captures SET fingerprint = '1-0123456789abcdef'").await;
    // As a dump does.
    let mut dump = database.pool().begin().await.unwrap();
    sqlx::query("SELECT FROM tasks, lockstep_outbox.captures").fetch_all(&mut *dump).await.unwrap();
    let upgraded = database.client();
    upgraded.statements(&upgraded.config.tables[0]).await.unwrap();
    assert_eq!(upgraded.examine().await[0].code, "captured");
    dump.commit().await.unwrap();
    database.drop().await;
}

#[tokio::test]
async fn what_captures_the_same_goes_on_while_a_writer_keeps_the_new_one_out() {
    let database = Database::new().await;
    let client = database.client();
    client.statements(&client.config.tables[0]).await.unwrap();
    let older_release = "UPDATE lockstep_outbox.captures SET fingerprint = '2-0123456789abcdef'";
    database.run(older_release).await;
    let mut writer = database.pool().begin().await.unwrap();
    sqlx::query("INSERT INTO tasks (id) VALUES (1)").execute(&mut *writer).await.unwrap();
    let older = database.client();
    older.statements(&older.config.tables[0]).await.expect("what an older release installed");
    writer.commit().await.unwrap();
    let age =
        "UPDATE lockstep_outbox.captures SET fingerprint = regexp_replace(fingerprint, '-.*-', '-0123456789abcdef-')";
    install(&client.config, None).await.unwrap();
    database.run(age).await;
    let mut writer = database.pool().begin().await.unwrap();
    sqlx::query("INSERT INTO tasks (id) VALUES (2)").execute(&mut *writer).await.unwrap();
    let upgraded = database.client();
    upgraded.statements(&upgraded.config.tables[0]).await.unwrap();
    assert_eq!(upgraded.examine().await[0].code, "captured_otherwise");
    let mut otherwise = database.client();
    otherwise.config.tables[0].mentions.clear();
    let refused = otherwise.read(&record("1")).await.unwrap_err().to_string();
    assert!(refused.contains("lock timeout"), "it would watch other columns: {refused}");
    writer.commit().await.unwrap();
    let refused = otherwise.read(&record("1")).await.unwrap_err().to_string();
    assert!(refused.contains("lock timeout"), "writers are left alone for a while: {refused}");
    otherwise.held().clear();
    otherwise.read(&record("1")).await.unwrap();
    database.run(older_release).await;
    assert_eq!(natives(&drain(&upgraded).await), ["todo", "todo"]);
    sweep(&upgraded, None).await;
    assert_eq!(upgraded.examine().await[0].code, "captured", "the next sweep sees to it");
    database.drop().await;
}

#[tokio::test]
async fn without_triggers_that_it_may_not_put_back_a_table_is_not_ready() {
    let database = Database::new().await;
    let mut client = database.client();
    client.config.install = false;
    install(&client.config, None).await.unwrap();
    let cursor = swept(&database, &client).await;
    let part = |client: &Client| client.process.readiness().remove("postgres:public.tasks").unwrap();
    assert_eq!(part(&client), Ok(()));
    database.run("ALTER TABLE tasks DISABLE TRIGGER ALL; UPDATE tasks SET status = 'done' WHERE id = 1").await;
    let (seen, cursor) = sweep(&client, Some(cursor)).await;
    assert_eq!(seen, []);
    let said = part(&client).unwrap_err();
    assert!(said.contains("lockstep postgres install --apply"), "{said}");
    assert_eq!(client.read(&record("1")).await.unwrap_err().code(), "unavailable");
    database.run("ALTER TABLE tasks ENABLE TRIGGER ALL").await;
    let (seen, _) = sweep(&client, Some(cursor)).await;
    assert_eq!(natives(&seen), ["done", "todo"], "all rows");
    assert_eq!(part(&client), Ok(()));
    database.drop().await;
}

#[tokio::test]
async fn triggers_that_were_off_between_two_sweeps_are_noticed() {
    let database = Database::new().await;
    let client = database.client();
    let cursor = swept(&database, &client).await;
    database
        .run(
            "ALTER TABLE tasks DISABLE TRIGGER ALL; UPDATE tasks SET status = 'done' WHERE id = 1; \
             ALTER TABLE tasks ENABLE TRIGGER ALL",
        )
        .await;
    let (seen, cursor) = sweep(&client, Some(cursor)).await;
    assert_eq!(natives(&seen), ["done", "todo"]);
    // A start that puts them back is noticed by the sweep after it, too.
    database.run("DROP TRIGGER lockstep_task_update ON tasks; UPDATE tasks SET status = 'todo' WHERE id = 1").await;
    let started = database.client();
    started.statements(&started.config.tables[0]).await.unwrap();
    let (seen, _) = sweep(&started, Some(cursor)).await;
    assert_eq!(natives(&seen), ["todo", "todo"]);
    database.drop().await;
}

#[tokio::test]
async fn a_doctor_warns_of_triggers_that_are_missing() {
    let database = Database::new().await;
    let mut client = database.client();
    client.statements(&client.config.tables[0]).await.unwrap();
    database.run("ALTER TABLE tasks DISABLE TRIGGER ALL").await;
    let of = async |client: &Client| client.examine().await.remove(0).severity;
    assert_eq!(of(&client).await, connector::Severity::Warning);
    client.config.install = false;
    assert_eq!(of(&client).await, connector::Severity::Error);
    database.drop().await;
}
