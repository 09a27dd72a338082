//! What a command finds whose row is there no more.

use connector::{Failure, Reading};
use model::{Observation, Origin, RecordRef, Source};

use super::super::Client;
use super::database::Database;
use super::{drain, natives, record, sweep};

async fn read(client: &Client, id: &str) -> Observation {
    client.read(&record(id)).await.unwrap().observation
}

#[tokio::test]
async fn a_row_that_was_deleted_is_read_as_the_outbox_tells_it() {
    let database = Database::new().await;
    let client = database.client();
    client.statements(&client.config.tables[0]).await.unwrap();
    database.run("INSERT INTO tasks (id) VALUES (1), (2)").await;
    drain(&client).await;
    database.run("DELETE FROM tasks WHERE id = 1; TRUNCATE tasks").await;
    // The command may come before the outbox is read, and after.
    let before = [read(&client, "1").await, read(&client, "2").await];
    let told = drain(&client).await;
    let after = [read(&client, "1").await, read(&client, "2").await];
    assert_eq!(natives(&told), ["(deleted)", "(deleted)"]);
    assert_eq!(before, after);
    let read_so = |told: Observation| Observation { source: Source::Poll, ..told };
    assert_eq!(before.to_vec(), told.into_iter().map(read_so).collect::<Vec<_>>(), "the same thing, seen another way");
    database.drop().await;
}

#[tokio::test]
async fn a_row_that_no_trigger_saw_go_stands_where_it_was_last_seen() {
    let database = Database::new().await;
    let client = database.client();
    client.statements(&client.config.tables[0]).await.unwrap();
    database.run("INSERT INTO tasks (id) VALUES (1)").await;
    let seen = drain(&client).await;
    database.run("SET session_replication_role = replica; DELETE FROM tasks; RESET session_replication_role").await;
    let gone = read(&client, "1").await;
    assert!(gone.native.is_deleted());
    assert_eq!((gone.position, gone.origin), (seen[0].position, Origin::Unknown));
    let (swept, _) = sweep(&client, None).await;
    assert_eq!((&swept[0].id, swept[0].position), (&gone.id, gone.position));
    database.drop().await;
}

#[tokio::test]
async fn a_row_that_is_inserted_anew_is_above_its_deletion() {
    let database = Database::new().await;
    let client = database.client();
    client.statements(&client.config.tables[0]).await.unwrap();
    database.run("INSERT INTO tasks (id) VALUES (1)").await;
    drain(&client).await;
    database.run("DELETE FROM tasks").await;
    let gone = read(&client, "1").await;
    database.run("INSERT INTO tasks (id) VALUES (1)").await;
    let back = read(&client, "1").await;
    let told = drain(&client).await;
    assert_eq!(natives(&told), ["todo"]);
    assert!(gone.position < back.position && back.position == told[0].position, "{gone:?} {back:?}");
    // Found missing a moment ago, and there when it is looked up what became of it.
    let (table, statements) = (&client.config.tables[0], client.statements(&client.config.tables[0]).await.unwrap());
    let again = client.last(table, &statements, &record("1")).await.unwrap_err();
    assert_eq!(again.code(), "unavailable", "{again}");
    database.drop().await;
}

#[tokio::test]
async fn a_row_that_was_never_captured_is_gone_and_not_deleted() {
    let database = Database::new().await;
    let client = database.client();
    client.statements(&client.config.tables[0]).await.unwrap();
    let code = |answer: Result<Reading, Failure>| answer.unwrap_err().code();
    for never in ["2", "one", "99999999999999999999"] {
        let record: RecordRef = format!("postgres/task/{never}").parse().unwrap();
        assert_eq!(code(client.read(&record).await), "gone");
    }
    database.run("INSERT INTO tasks (id) VALUES (1)").await;
    database.run("DELETE FROM tasks").await;
    assert!(read(&client, "1").await.native.is_deleted());
    assert!(read(&client, "01").await.native.is_deleted(), "the same key, written otherwise");
    database.drop().await;
}
