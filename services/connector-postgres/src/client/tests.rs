//! Against a real PostgreSQL: `LOCKSTEP_TEST_DATABASE_URL` names a server on which databases may be made.

mod altered;
mod capture;
mod copy;
mod database;
mod deleted;
mod relay;
mod rights;
mod unseen;

use std::sync::Mutex;

use connector::{Failure, Reading};
use model::{CommandMode, ItemId, Key, Native, Observation, Origin, Position, Status, Version};

use self::database::Database;
use super::relay::Publish;
use super::*;

/// A bus that remembers, and fails as often as it is told to, after it has stored.
#[derive(Default)]
struct Stored {
    seen: Mutex<Vec<Observation>>,
    unanswered: Mutex<u32>,
}

impl Publish for Stored {
    async fn publish(&self, observations: Vec<Observation>) -> Result<(), Failure> {
        self.seen.lock().unwrap().extend(observations);
        let mut unanswered = self.unanswered.lock().unwrap();
        if *unanswered > 0 {
            *unanswered -= 1;
            return Err(Failure::unavailable("the acknowledgement was lost"));
        }
        Ok(())
    }
}

impl Stored {
    fn take(&self) -> Vec<Observation> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn record(id: &str) -> RecordRef {
    format!("postgres/task/{id}").parse().unwrap()
}

fn command(id: &str, native: &str, version: u64) -> Command {
    Command {
        record: record(id),
        item: ItemId(uuid::Uuid::nil()),
        version: Version(version),
        status: Status::new(native).unwrap(),
        previous: None,
        native: Native::new(native).unwrap(),
        mode: CommandMode::Tell,
        expects: Vec::new(),
        earlier: vec![],
        position: None,
        key: None,
        cause: version,
    }
}

/// Everything that waits in the outbox, passed on.
async fn drain(client: &Client) -> Vec<Observation> {
    let stored = Stored::default();
    while client.pass_on(&stored).await.unwrap() > 0 {}
    stored.take()
}

fn natives(observations: &[Observation]) -> Vec<&str> {
    observations.iter().map(|seen| seen.native.as_str()).collect()
}

#[tokio::test]
async fn an_update_makes_one_entry_and_other_columns_make_none() {
    let database = Database::new().await;
    let client = database.client();
    database.run("INSERT INTO tasks (id, title, linear_issue) VALUES (1, 'Mend the roof', 'ENG-1')").await;
    assert!(client.statements(&client.config.tables[0]).await.is_ok());
    assert_eq!(drain(&client).await, [], "a row from before the trigger");
    database.run("UPDATE tasks SET status = 'in_progress' WHERE id = 1").await;
    database.run("UPDATE tasks SET title = 'Mend the wall', status = status WHERE id = 1").await;
    database.run("UPDATE tasks SET linear_issue = 'ENG-2' WHERE id = 1").await;
    let seen = drain(&client).await;
    assert_eq!(natives(&seen), ["in_progress", "in_progress"]);
    assert_eq!(seen[0].mentions, [Key::new("ENG-1").unwrap()]);
    assert_eq!(seen[1].mentions, [Key::new("ENG-2").unwrap()]);
    assert_eq!(seen[1].title.as_deref(), Some("Mend the wall"));
    assert!(seen[0].position < seen[1].position);
    assert_eq!(seen[0].origin, Origin::Other);
    database.drop().await;
}

#[tokio::test]
async fn our_own_write_carries_its_tag_and_says_its_position() {
    let database = Database::new().await;
    let client = database.client();
    database.run("INSERT INTO tasks (id) VALUES (1)").await;
    let reading = client.read(&record("1")).await.unwrap();
    let unseen = reading.observation.position;
    let written = client.write(&command("1", "done", 7), &reading).await.unwrap();
    let seen = drain(&client).await;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].origin, Origin::Own(Some(Version(7))));
    assert!(unseen <= seen[0].position && unseen > Some(Position(1_790_000_000_000)), "never captured: {unseen:?}");
    assert_eq!((written.native.as_str(), written.position), ("done", seen[0].position));
    let again = client.read(&record("1")).await.unwrap().observation;
    assert_eq!((&again.id, again.origin), (&seen[0].id, seen[0].origin), "the same thing, seen another way");
    database.run("UPDATE tasks SET status = 'todo' WHERE id = 1").await;
    assert_eq!(drain(&client).await[0].origin, Origin::Other, "the tag ends with its transaction");
    database.drop().await;
}

#[tokio::test]
async fn a_row_that_changed_since_it_was_read_is_not_overwritten() {
    let database = Database::new().await;
    let client = database.client();
    database.run("INSERT INTO tasks (id) VALUES (1)").await;
    let reading = client.read(&record("1")).await.unwrap();
    database.run("UPDATE tasks SET status = 'blocked' WHERE id = 1").await;
    let refused = client.write(&command("1", "done", 7), &reading).await.unwrap_err();
    assert_eq!(refused.code(), "unavailable", "{refused}");
    assert_eq!(natives(&[client.read(&record("1")).await.unwrap().observation]), ["blocked"]);
    assert_eq!(natives(&drain(&client).await), ["blocked"]);
    database.drop().await;
}

#[tokio::test]
async fn a_row_that_a_trigger_keeps_is_refused_and_not_tried_again() {
    let database = Database::new().await;
    let client = database.client();
    database
        .run(
            "INSERT INTO tasks (id) VALUES (1); \
             CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
             CREATE TRIGGER keep BEFORE UPDATE ON tasks FOR EACH ROW WHEN (NEW.status = 'done') EXECUTE FUNCTION keep()",
        )
        .await;
    let reading = client.read(&record("1")).await.unwrap();
    let kept = client.write(&command("1", "done", 7), &reading).await.unwrap_err();
    assert!(kept.code() == "not_allowed" && kept.to_string().contains("a trigger of the table"), "{kept}");
    // There and back: what is read next may be written.
    database.run("UPDATE tasks SET status = 'blocked'; UPDATE tasks SET status = 'todo'").await;
    assert_eq!(client.write(&command("1", "done", 7), &reading).await.unwrap_err().code(), "unavailable");
    database.run("DELETE FROM tasks").await;
    assert_eq!(client.write(&command("1", "done", 7), &reading).await.unwrap_err().code(), "unavailable");
    database.drop().await;
}

#[tokio::test]
async fn a_sweep_shows_every_row_and_the_next_one_only_what_changed() {
    let database = Database::new().await;
    let mut client = database.client();
    client.config.batch = 10;
    database.run("INSERT INTO tasks (id, status) SELECT n, 'todo' FROM generate_series(1, 25) n").await;
    client.statements(&client.config.tables[0]).await.unwrap();
    assert_eq!(client.count(None).await.unwrap(), Some(25));
    let (seen, cursor) = sweep(&client, None).await;
    assert_eq!(seen.len(), 25);
    let began = seen[0].position;
    assert!(seen.iter().all(|seen| seen.position == began && seen.origin == Origin::Unknown));
    database.run("UPDATE tasks SET status = 'done' WHERE id IN (3, 4)").await;
    database.run("DELETE FROM tasks WHERE id = 4").await;
    let (seen, _) = sweep(&client, Some(cursor)).await;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].record.id(), "3");
    assert!(seen[0].position >= began);
    assert_eq!(seen[0].id, drain(&client).await[0].id);
    let since = client.cursor_since(Timestamp(0));
    assert_eq!(client.count(since.clone()).await.unwrap(), Some(2), "the deleted one too");
    assert_eq!(sweep(&client, since).await.0.len(), 1);
    assert_eq!(sweep(&client, client.cursor_since(Timestamp(4_000_000_000_000))).await.0, []);
    database.drop().await;
}

async fn sweep(client: &Client, cursor: Option<serde_json::Value>) -> (Vec<Observation>, serde_json::Value) {
    let (mut seen, mut next) = (Vec::new(), None);
    loop {
        let page = client.sweep(cursor.clone(), next).await.unwrap();
        seen.extend(page.observations);
        next = page.next;
        if next.is_none() {
            return (seen, page.cursor.unwrap());
        }
    }
}

#[tokio::test]
async fn what_a_users_own_trigger_moves_along_is_not_our_write() {
    let database = Database::new().await;
    let client = database.client();
    database.run("INSERT INTO tasks (id) VALUES (1), (2)").await;
    client.statements(&client.config.tables[0]).await.unwrap();
    database
        .run(
            "CREATE FUNCTION along() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN UPDATE tasks SET status = 'in_review' WHERE id = 2; RETURN NULL; END $$; \
             CREATE TRIGGER along AFTER UPDATE ON tasks FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION along()",
        )
        .await;
    let reading = client.read(&record("1")).await.unwrap();
    client.write(&command("1", "done", 3), &reading).await.unwrap();
    let seen = drain(&client).await;
    let origins: Vec<_> = seen.iter().map(|seen| (seen.record.id(), seen.origin)).collect();
    assert_eq!(origins.len(), 2);
    assert!(
        origins.contains(&("1", Origin::Own(Some(Version(3))))) && origins.contains(&("2", Origin::Other)),
        "{origins:?}"
    );
    database.drop().await;
}

#[tokio::test]
async fn a_missing_table_is_said_and_found_once_it_is_there() {
    let database = Database::new().await;
    let client = database.client();
    database.run("ALTER TABLE tasks RENAME TO jobs").await;
    let missing = client.read(&record("1")).await.unwrap_err();
    assert!(missing.to_string().contains("public.tasks does not exist"), "{missing}");
    let said = client.process.readiness();
    assert!(said.get("postgres:public.tasks").is_some_and(Result::is_err), "{said:?}");
    database.run("ALTER TABLE jobs RENAME TO tasks").await;
    database.run("INSERT INTO tasks (id) VALUES (1)").await;
    client.read(&record("1")).await.unwrap();
    assert!(client.process.readiness().get("postgres:public.tasks").is_some_and(Result::is_ok));
    database.drop().await;
}

#[tokio::test]
async fn a_column_that_is_not_there_is_named_with_those_that_are() {
    let database = Database::new().await;
    let mut client = database.client();
    client.config.tables[0].status = crate::name::Name::new("state").unwrap();
    let refused = client.read(&record("1")).await.unwrap_err().to_string();
    assert!(refused.contains("no column \"state\"") && refused.contains("linear_issue"), "{refused}");
    database.drop().await;
}

#[tokio::test]
async fn without_the_capture_an_operator_is_told_what_to_run() {
    let database = Database::new().await;
    let mut client = database.client();
    client.config.install = false;
    let refused = client.read(&record("1")).await.unwrap_err().to_string();
    assert!(refused.contains("lockstep postgres install"), "{refused}");
    install(&client.config, None).await.unwrap();
    install(&client.config, None).await.unwrap();
    assert_eq!(client.read(&record("1")).await.unwrap_err().code(), "gone");
    database.drop().await;
}

#[tokio::test]
async fn an_impossible_key_names_no_row_and_an_impossible_status_is_refused() {
    let database = Database::new().await;
    let client = database.client();
    database.run("ALTER TABLE tasks ADD CHECK (status <> 'failed')").await;
    database.run("INSERT INTO tasks (id) VALUES (1)").await;
    assert_eq!(client.read(&record("one")).await.unwrap_err().code(), "gone");
    assert_eq!(client.read(&record("99999999999999999999")).await.unwrap_err().code(), "gone");
    let reading: Reading = client.read(&record("1")).await.unwrap();
    assert_eq!(client.write(&command("1", "failed", 2), &reading).await.unwrap_err().code(), "not_allowed");
    database.drop().await;
}

#[tokio::test]
async fn awkward_names_types_and_users_without_rights_are_served() {
    let database = Database::new().await;
    database
        .run(
            "CREATE TYPE \"Zustand\" AS ENUM ('todo', 'done'); CREATE SCHEMA \"My \"\"Work\"; \
             CREATE TABLE \"My \"\"Work\".\"A.b\" (\"The Key\" uuid PRIMARY KEY, \"select\" \"Zustand\" NOT NULL, refs text[])",
        )
        .await;
    let mut client = database.client();
    let table = "table = '\"My \"\"Work\".\"A.b\"'\nkind = \"job\"\nkey = \"The Key\"\nstatus = \"select\"\nmentions = [\"refs\"]";
    client.config.tables = vec![toml::from_str(table).unwrap()];
    client.statements(&client.config.tables[0]).await.unwrap();
    let id = "0192f0c1-2d3e-7000-8000-0123456789ab";
    // Somebody who may write the table and knows nothing of us.
    let role = format!("writer_{}", database.name());
    let name = "\"My \"\"Work\".\"A.b\"";
    database
        .run(&format!(
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA \"My \"\"Work\" TO {role}; GRANT ALL ON {name} TO {role}; \
             SET ROLE {role}; INSERT INTO {name} VALUES ('{id}', 'todo', ARRAY['ENG-1', 'ENG-2']); RESET ROLE; \
             DROP OWNED BY {role}; DROP ROLE {role}"
        ))
        .await;
    let record: RecordRef = format!("postgres/job/{id}").parse().unwrap();
    let seen = drain(&client).await;
    assert_eq!((&seen[0].record, seen[0].mentions.len()), (&record, 2));
    let reading = client.read(&record).await.unwrap();
    let command = Command { record: record.clone(), ..command("1", "done", 2) };
    assert_eq!(client.write(&command, &reading).await.unwrap().native.as_str(), "done");
    let (swept, cursor) = sweep(&client, None).await;
    assert_eq!(natives(&swept), ["done"]);
    assert_eq!(natives(&sweep(&client, Some(cursor)).await.0), ["done"]);
    let unknown = Command { native: Native::new("nonsense").unwrap(), ..command };
    assert_eq!(client.write(&unknown, &client.read(&record).await.unwrap()).await.unwrap_err().code(), "not_allowed");
    database.drop().await;
}

#[tokio::test]
async fn what_is_no_status_is_shown_and_written_over() {
    let database = Database::new().await;
    let client = database.client();
    client.statements(&client.config.tables[0]).await.unwrap();
    database.run("INSERT INTO tasks (id, status) VALUES (1, 'todo')").await;
    database.run("UPDATE tasks SET status = '' WHERE id = 1").await;
    assert_eq!(natives(&drain(&client).await), ["todo", "\"\""]);
    let reading = client.read(&record("1")).await.unwrap();
    assert_eq!(reading.observation.native.as_str(), "\"\"");
    assert_eq!(client.write(&command("1", "done", 2), &reading).await.unwrap().native.as_str(), "done");
    database.drop().await;
}

#[tokio::test]
async fn a_status_that_becomes_null_is_shown_and_written_over_and_one_that_never_was_is_none() {
    let database = Database::new().await;
    let client = database.client();
    database.run("ALTER TABLE tasks ALTER status DROP NOT NULL").await;
    client.statements(&client.config.tables[0]).await.unwrap();
    database.run("INSERT INTO tasks (id, status) VALUES (1, 'todo'), (2, NULL)").await;
    database.run("UPDATE tasks SET status = NULL").await;
    assert_eq!(natives(&drain(&client).await), ["todo", "(null)"]);
    assert_eq!(natives(&sweep(&client, None).await.0), [""; 0]);
    let reading = client.read(&record("1")).await.unwrap();
    assert_eq!(reading.observation.native.as_str(), "(null)");
    assert_eq!(client.write(&command("1", "done", 2), &reading).await.unwrap().native.as_str(), "done");
    let refused = client.write(&command("1", "todo", 3), &reading).await.unwrap_err();
    assert_eq!(refused.code(), "unavailable", "it is not NULL any more");
    database.drop().await;
}

#[tokio::test]
async fn a_row_that_is_deleted_and_inserted_at_once_was_edited() {
    let database = Database::new().await;
    let client = database.client();
    client.statements(&client.config.tables[0]).await.unwrap();
    database.run("INSERT INTO tasks (id) VALUES (1), (2)").await;
    drain(&client).await;
    database.run("BEGIN; TRUNCATE tasks; INSERT INTO tasks (id, status) VALUES (1, 'done'); COMMIT").await;
    let seen = drain(&client).await;
    let mut seen: Vec<_> = seen.iter().map(|seen| (seen.record.id(), seen.native.as_str())).collect();
    seen.sort_unstable();
    assert_eq!(seen, [("1", "done"), ("2", "(deleted)")]);
    database.drop().await;
}

#[tokio::test]
async fn rows_that_go_all_at_once_or_past_the_triggers_are_told_to_be_gone() {
    let database = Database::new().await;
    let client = database.client();
    database.run("INSERT INTO tasks (id) VALUES (1)").await;
    client.statements(&client.config.tables[0]).await.unwrap();
    database.run("INSERT INTO tasks (id) VALUES (2), (3)").await;
    let first = drain(&client).await;
    database
        .run("SET session_replication_role = replica; DELETE FROM tasks WHERE id = 2; RESET session_replication_role")
        .await;
    let (seen, cursor) = sweep(&client, None).await;
    assert_eq!(natives(&seen), ["todo", "todo", "(deleted)"]);
    assert_eq!((seen[2].record.id(), seen[2].position), ("2", first[0].position));
    assert_eq!(sweep(&client, Some(cursor)).await.0.len(), 1, "it is looked for when all rows are compared");
    database.run("TRUNCATE tasks").await;
    let gone = drain(&client).await;
    let mut ids: Vec<_> = gone.iter().map(|seen| (seen.record.id(), seen.native.as_str())).collect();
    ids.sort_unstable();
    assert_eq!(ids, [("1", "(deleted)"), ("3", "(deleted)")]);
    database.drop().await;
}

#[tokio::test]
async fn renaming_a_column_silences_captures_and_breaks_no_write() {
    let database = Database::new().await;
    let client = database.client();
    client.statements(&client.config.tables[0]).await.unwrap();
    database.run("ALTER TABLE tasks RENAME COLUMN status TO state").await;
    database.run("INSERT INTO tasks (id, state) VALUES (1, 'todo')").await;
    database.run("UPDATE tasks SET state = 'done' WHERE id = 1").await;
    assert_eq!(drain(&client).await, []);
    database.run("ALTER TABLE tasks RENAME COLUMN id TO number; TRUNCATE tasks").await;
    assert_eq!(drain(&client).await, []);
    database.drop().await;
}
