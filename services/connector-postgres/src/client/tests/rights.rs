//! A connector that signs in as a role that owns nothing.

use super::*;
use crate::name::Name;

/// A client whose role may do what the script grants it, and nothing else.
async fn granted(database: &Database, role: &str) -> Client {
    let mut client = database.client();
    database.run(&format!("CREATE ROLE {role}; CREATE SCHEMA work; ALTER TABLE tasks SET SCHEMA work")).await;
    client.config.tables[0].table = "work.tasks".to_owned().try_into().unwrap();
    client.config.install = false;
    install(&client.config, Some(&Name::new(role).unwrap())).await.unwrap();
    client.options = client.options.clone().options([("role", role)]);
    client
}

#[tokio::test]
async fn a_role_that_owns_nothing_can_do_all_that_the_connector_does() {
    let database = Database::new().await;
    let role = format!("app_{}", database.name());
    let client = granted(&database, &role).await;
    assert_eq!(client.examine().await[0].code, "captured");
    database.run("INSERT INTO work.tasks (id) VALUES (1), (2), (3)").await;
    assert_eq!(natives(&drain(&client).await), ["todo", "todo", "todo"]);
    let reading = client.read(&record("1")).await.unwrap();
    client.write(&command("1", "done", 7), &reading).await.unwrap();
    let ours = drain(&client).await.remove(0);
    assert_eq!((ours.native.as_str(), ours.origin), ("done", Origin::Own(Some(Version(7)))));
    assert_eq!(client.count(None).await.unwrap(), Some(3));

    let (seen, cursor) = sweep(&client, None).await;
    assert_eq!(natives(&seen), ["done", "todo", "todo"]);
    let (_, cursor) = sweep(&client, Some(cursor)).await;
    let left = |cursor: &serde_json::Value| cursor["task"]["outbox"]["sweep"].as_i64();
    assert!(left(&cursor).is_some_and(|at| at > 0), "a sweep leaves its time: {cursor}");
    database
        .run(
            "SET session_replication_role = replica; UPDATE work.tasks SET status = 'blocked' WHERE id = 1; \
             RESET session_replication_role",
        )
        .await;
    let (seen, cursor) = sweep(&client, Some(cursor)).await;
    assert!(seen[0].position > ours.position && seen[0].origin == Origin::Other, "it is captured: {:?}", seen[0]);
    // As an old copy does.
    database.run("UPDATE lockstep_outbox.captures SET sweep = 1").await;
    let (again, cursor) = sweep(&client, Some(cursor)).await;
    assert_eq!(natives(&again), ["blocked", "todo", "todo"], "all rows are compared");
    assert!(left(&cursor).is_some_and(|at| at > 1), "{cursor}");
    let began = sqlx::query_scalar::<_, Option<String>>("SELECT origin FROM lockstep_outbox.captures");
    assert_eq!(began.fetch_one(database.pool()).await.unwrap(), None, "and that is over");
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    database.drop().await;
}

#[tokio::test]
async fn the_versions_of_rows_that_are_gone_for_long_are_forgotten() {
    let database = Database::new().await;
    let role = format!("app_{}", database.name());
    let mut client = granted(&database, &role).await;
    client.config.batch = 2;
    database
        .run(
            "ALTER TABLE work.tasks ALTER status DROP NOT NULL; INSERT INTO work.tasks (id) SELECT generate_series(1, 9); \
             UPDATE work.tasks SET status = NULL WHERE id = 9; DELETE FROM work.tasks WHERE id < 8; \
             UPDATE lockstep_outbox.versions SET at = at - interval '31 days'; \
             INSERT INTO work.tasks (id) VALUES (3); DELETE FROM work.tasks WHERE id = 3",
        )
        .await;
    let before = drain(&client).await;
    let statements = client.statements(&client.config.tables[0]).await.unwrap();
    let step = sqlx::query_as::<_, (i64, Option<String>)>(sqlx::AssertSqlSafe(statements.forget.clone()));
    let looked_at = step.bind("task").bind(2_i64).bind("7").fetch_one(database.pool()).await.unwrap();
    assert_eq!(looked_at, (2, Some("9".to_owned())), "one statement looks at a page of keys, gone or not");
    let left = async || {
        let keys = "SELECT string_agg(key, ' ' ORDER BY key) FROM lockstep_outbox.versions";
        sqlx::query_scalar::<_, String>(keys).fetch_one(database.pool()).await.unwrap()
    };
    let (_, cursor) = sweep(&client, None).await;
    assert_eq!(left().await, "1 2 3 4 5 6 7 8 9", "whoever reads all of it once leaves all there");
    let (_, mut cursor) = sweep(&client, Some(cursor)).await;
    assert_eq!(left().await, "1 2 3 4 5 6 7 8 9", "only when all rows are compared");
    cursor["task"]["full"] = 0.into();
    sweep(&client, Some(cursor)).await;
    assert_eq!(left().await, "3 8 9", "one is gone not for long, one is there, and one is there without a status");
    database.run("INSERT INTO work.tasks (id) VALUES (1)").await;
    let again = drain(&client).await;
    let first = before.iter().rfind(|seen| seen.record.id() == "1").unwrap();
    assert!(again[0].position > first.position, "a key that is used again");
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    database.drop().await;
}

#[tokio::test]
async fn rows_that_row_level_security_hides_are_not_gone() {
    let database = Database::new().await;
    let role = format!("app_{}", database.name());
    let client = granted(&database, &role).await;
    database.run("INSERT INTO work.tasks (id) VALUES (1), (2)").await;
    assert_eq!(drain(&client).await.len(), 2);
    let part = || client.process.readiness().remove("postgres:work.tasks").unwrap();
    let hides = [
        "ALTER TABLE work.tasks ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY one ON work.tasks USING (id = 1)",
        "CREATE POLICY writes ON work.tasks FOR UPDATE USING (true)",
    ];
    for hide in hides {
        client.usable().clear();
        client.statements(&client.config.tables[0]).await.ok();
        database.run(hide).await;
        let (seen, _) = sweep(&client, None).await;
        assert_eq!(seen, [], "{hide}");
        let said = part().unwrap_err();
        assert!(said.contains("row-level security") && said.contains(&role), "{hide}: {said}");
        assert_eq!(client.read(&record("2")).await.unwrap_err().code(), "unavailable", "{hide}");
    }
    assert_eq!(client.examine().await[0].code, "table_unusable");
    database.run("DROP POLICY writes ON work.tasks; CREATE POLICY reads ON work.tasks FOR SELECT USING (true)").await;
    assert_eq!(natives(&sweep(&client, None).await.0), ["todo", "todo"], "what may not be written may be read");
    assert_eq!(part(), Ok(()));
    let reading = client.read(&record("2")).await.unwrap();
    let kept = client.write(&command("2", "done", 7), &reading).await.unwrap_err();
    assert!(kept.code() == "not_allowed" && kept.to_string().contains("a policy for UPDATE"), "{kept}");
    database.run(&format!("CREATE POLICY lockstep ON work.tasks TO {role} USING (true)")).await;
    let reading = client.read(&record("2")).await.unwrap();
    client.write(&command("2", "done", 7), &reading).await.unwrap();
    database.run("CREATE POLICY but ON work.tasks AS RESTRICTIVE USING (id = 1)").await;
    assert_eq!(client.read(&record("2")).await.unwrap_err().code(), "unavailable", "it was usable until now");
    database.run(&format!("ALTER ROLE {role} BYPASSRLS")).await;
    assert_eq!(natives(&sweep(&client, None).await.0), ["todo", "done"]);
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    database.drop().await;
}

#[tokio::test]
async fn whoever_installs_need_not_see_the_rows() {
    let database = Database::new().await;
    let (mut config, role) = (database.client().config.clone(), format!("owner_{}", database.name()));
    database
        .run(&format!(
            "CREATE ROLE {role}; GRANT CREATE ON DATABASE {} TO {role}; ALTER TABLE tasks OWNER TO {role}; \
             ALTER TABLE tasks ENABLE ROW LEVEL SECURITY; ALTER TABLE tasks FORCE ROW LEVEL SECURITY",
            database.name()
        ))
        .await;
    let url = config.url.expose();
    let also = if url.contains('?') { '&' } else { '?' };
    config.url = runtime::config::Secret::new(format!("{url}{also}options[role]={role}"));
    install(&config, None).await.unwrap();
    assert_eq!(database.client().examine().await[0].code, "captured");
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    database.drop().await;
}
