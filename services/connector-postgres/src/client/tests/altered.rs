//! Tracked tables whose columns are altered.

use super::*;

/// Runs statements in one session, as an application that keeps its connection does.
async fn in_session(session: &mut PgConnection, sql: &str) {
    let ran = sqlx::Executor::execute(session, sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await;
    assert!(ran.is_ok(), "{sql}: {ran:?}");
}

#[tokio::test]
async fn every_tracked_column_may_get_another_type_and_edits_are_seen_afterwards() {
    let database = Database::new().await;
    let client = database.client();
    client.statements(&client.config.tables[0]).await.unwrap();
    let mut session = database.pool().acquire().await.unwrap();
    in_session(&mut session, "CREATE TYPE step AS ENUM ('todo', 'done'); CREATE DOMAIN word AS text").await;
    in_session(&mut session, "INSERT INTO tasks (id, title, linear_issue) VALUES (1, 'A roof', 'ENG-1')").await;
    assert_eq!(natives(&drain(&client).await), ["todo"]);
    let alterations = [
        "ALTER title TYPE varchar(100)",
        "ALTER title TYPE text",
        "ALTER linear_issue TYPE varchar(20)",
        "ALTER linear_issue TYPE word",
        "ALTER linear_issue TYPE text[] USING ARRAY[linear_issue]",
        "ALTER status TYPE varchar(20)",
        "ALTER status DROP DEFAULT, ALTER status TYPE step USING status::step",
        "ALTER status TYPE text",
        "ALTER id TYPE int",
        "ALTER id TYPE text",
    ];
    for alteration in alterations {
        in_session(&mut session, &format!("ALTER TABLE tasks {alteration}")).await;
        assert_eq!(drain(&client).await, [], "{alteration}: nobody edited anything");
        // In a session that knew the column as it was, and in others.
        for session in [&mut *session, &mut *database.pool().acquire().await.unwrap()] {
            in_session(session, "UPDATE tasks SET title = 'A wall' WHERE id::text = '1'").await;
            assert_eq!(drain(&client).await, [], "{alteration}: no edit of what is watched");
            in_session(session, "UPDATE tasks SET status = 'done' WHERE id::text = '1'").await;
            in_session(session, "UPDATE tasks SET status = 'todo' WHERE id::text = '1'").await;
            let seen = drain(&client).await;
            assert_eq!(natives(&seen), ["done", "todo"], "{alteration}");
            assert_eq!((seen[0].record.id(), &seen[0].mentions[..]), ("1", &[Key::new("ENG-1").unwrap()][..]));
        }
    }
    drop(session);
    database.drop().await;
}

#[tokio::test]
async fn what_reads_and_writes_a_table_goes_on_when_its_columns_get_other_types() {
    let database = Database::new().await;
    let client = database.client();
    database.run("CREATE TYPE step AS ENUM ('todo', 'done'); INSERT INTO tasks (id) VALUES (1)").await;
    let alterations = [
        "ALTER title TYPE varchar(100)",
        "ALTER status TYPE varchar(20)",
        "ALTER status DROP DEFAULT, ALTER status TYPE step USING status::step",
        "ALTER status TYPE text",
        "ALTER id TYPE text",
    ];
    for (turn, alteration) in ["ALTER title TYPE text"].into_iter().chain(alterations).enumerate() {
        database.run(&format!("ALTER TABLE tasks {alteration}")).await;
        let native = ["done", "todo"][turn % 2];
        let mut left = 3;
        let written = loop {
            let attempt = async {
                let reading = client.read(&record("1")).await?;
                client.write(&command("1", native, turn as u64), &reading).await
            };
            match attempt.await {
                Ok(written) => break written,
                // The loop tries again what is unavailable, and nothing else.
                Err(failure) => assert!(failure.code() == "unavailable" && left > 0, "{alteration}: {failure}"),
            }
            left -= 1;
        };
        assert_eq!(written.native.as_str(), native, "{alteration}");
    }
    database.drop().await;
}

#[tokio::test]
async fn a_column_that_is_renamed_or_dropped_stands_in_nobodys_way() {
    let database = Database::new().await;
    let client = database.client();
    client.statements(&client.config.tables[0]).await.unwrap();
    let mut session = database.pool().acquire().await.unwrap();
    in_session(&mut session, "INSERT INTO tasks (id) VALUES (1); UPDATE tasks SET status = 'done'").await;
    assert_eq!(natives(&drain(&client).await), ["todo", "done"]);
    in_session(&mut session, "ALTER TABLE tasks RENAME status TO state; UPDATE tasks SET state = 'todo'").await;
    in_session(&mut session, "ALTER TABLE tasks DROP linear_issue; UPDATE tasks SET state = 'done'").await;
    assert_eq!(drain(&client).await, [], "the captures fall silent");
    in_session(&mut session, "ALTER TABLE tasks RENAME state TO status; UPDATE tasks SET status = 'todo'").await;
    assert_eq!(natives(&drain(&client).await), ["todo"]);
    drop(session);
    database.drop().await;
}

#[tokio::test]
async fn a_column_that_is_no_json_stands_in_nobodys_way() {
    let database = Database::new().await;
    let mut client = database.client();
    database
        .run(
            "CREATE TYPE shape AS ENUM ('round'); \
             CREATE FUNCTION no_json(shape) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RAISE 'no JSON'; END $$; \
             CREATE CAST (shape AS json) WITH FUNCTION no_json(shape); ALTER TABLE tasks ADD COLUMN shape shape DEFAULT 'round'",
        )
        .await;
    client.statements(&client.config.tables[0]).await.unwrap();
    let all = "INSERT INTO tasks (id) VALUES (1), (2); UPDATE tasks SET status = 'done' WHERE id = 1; \
               DELETE FROM tasks WHERE id = 1; TRUNCATE tasks";
    database.run(all).await;
    assert_eq!(natives(&drain(&client).await), ["todo", "todo", "done", "(deleted)", "(deleted)"]);
    // Where it is watched, captures fall silent.
    client.config.tables[0].mentions = vec![crate::name::Name::new("shape").unwrap()];
    install(&client.config, None).await.unwrap();
    database.run(all).await;
    assert_eq!(natives(&drain(&client).await), ["(deleted)"]);
    database.drop().await;
}

#[tokio::test]
async fn a_key_that_is_no_name_stands_in_nobodys_way() {
    let database = Database::new().await;
    let client = database.client();
    database.run("ALTER TABLE tasks ALTER id TYPE text").await;
    client.statements(&client.config.tables[0]).await.unwrap();
    // Hardly compressed, it fits the table's index and not the one beside a kind.
    database
        .run(
            "INSERT INTO tasks (id) SELECT string_agg(md5(n::text), '') FROM generate_series(1, 84) n; \
             UPDATE tasks SET status = 'done'; INSERT INTO tasks (id) VALUES ('one')",
        )
        .await;
    let seen = drain(&client).await;
    assert_eq!(seen.iter().map(|seen| seen.record.id()).collect::<Vec<_>>(), ["one"]);
    database.run("UPDATE tasks SET id = 'two' WHERE id <> 'one'").await;
    let seen = drain(&client).await;
    assert_eq!((seen[0].record.id(), seen.len()), ("two", 1), "it has a name now");
    database
        .run(
            "INSERT INTO tasks (id) SELECT string_agg(md5(n::text), '') FROM generate_series(1, 84) n; \
             TRUNCATE tasks",
        )
        .await;
    assert_eq!(natives(&drain(&client).await), ["(deleted)", "(deleted)"], "those that have a name");
    database.drop().await;
}
