//! What the relay does when it is cut short, and when many write at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use connector::Failure;
use model::{Observation, Position};
use sqlx::AssertSqlSafe;

use super::database::Database;
use super::{Client, Publish, Stored, drain, record};

/// A bus that never answers.
struct Silent;

impl Publish for Silent {
    async fn publish(&self, _: Vec<Observation>) -> Result<(), Failure> {
        std::future::pending().await
    }
}

fn waiting(client: &Client) -> i64 {
    client.process.metrics().outbox_waiting.with_label_values(&["postgres"]).get()
}

#[tokio::test]
async fn what_waits_is_counted_to_ten_thousand() {
    let database = Database::new().await;
    let client = database.client();
    client.statements(&client.config.tables[0]).await.unwrap();
    for (rows, counted) in [(0, 0), (3, 3), (10_001, 10_000)] {
        database.run(&format!("INSERT INTO tasks (id) SELECT {rows} + generate_series(1, {rows})")).await;
        client.count_waiting().await.unwrap();
        assert_eq!(waiting(&client), counted);
    }
    drain(&client).await;
    client.count_waiting().await.unwrap();
    assert_eq!(waiting(&client), 0);
    database.drop().await;
}

#[tokio::test]
async fn what_waits_is_counted_while_the_bus_takes_nothing() {
    let database = Database::new().await;
    let client = database.client();
    client.statements(&client.config.tables[0]).await.unwrap();
    database.run("INSERT INTO tasks (id) VALUES (1), (2)").await;
    let counted = async {
        while waiting(&client) != 2 {
            tokio::task::yield_now().await;
        }
    };
    let watched = async {
        tokio::select! { ended = client.watch(&Silent) => ended.unwrap(), () = counted => {} }
    };
    tokio::time::timeout(Duration::from_secs(20), watched).await.expect("what waits is counted");
    database.drop().await;
}

fn is_shown(client: &Client) -> bool {
    client.process.metrics().encode().unwrap().contains("lockstep_outbox_waiting{")
}

async fn until_shown(client: &Client, wanted: bool) {
    while is_shown(client) != wanted {
        tokio::task::yield_now().await;
    }
}

/// The number of before would pass for the one of now.
#[tokio::test]
async fn what_waits_is_not_shown_while_nobody_can_or_does_count_it() {
    let database = Database::new().await;
    let client = database.client();
    client.statements(&client.config.tables[0]).await.unwrap();
    let lasts = Duration::from_secs(20);
    let watched = async {
        tokio::select! { ended = client.watch(&Silent) => ended.unwrap(), () = until_shown(&client, true) => {} }
    };
    tokio::time::timeout(lasts, watched).await.expect("it is shown");
    assert!(!is_shown(&client), "another counts now, if anybody does");
    database.run("INSERT INTO tasks (id) VALUES (1)").await;
    let counted = async {
        tokio::select! { never = client.count_over_and_over() => never, () = until_shown(&client, true) => {} }
        client.count_waiting().await.unwrap();
        database.drop().await;
        tokio::select! { never = client.count_over_and_over() => never, () = until_shown(&client, false) => {} }
    };
    tokio::time::timeout(lasts, counted).await.expect("it is not shown without the database");
}

#[tokio::test]
async fn an_entry_that_was_published_but_not_deleted_comes_again_with_the_same_id() {
    let database = Database::new().await;
    let client = database.client();
    client.statements(&client.config.tables[0]).await.unwrap();
    database.run("INSERT INTO tasks (id, status) VALUES (1, 'todo'), (2, 'done')").await;
    let stored = Stored { unanswered: Mutex::new(1), ..Stored::default() };
    client.pass_on(&stored).await.unwrap_err();
    let first = stored.take();
    // A relay that is killed leaves no more behind than its broken connection.
    client.pool().close().await;
    let successor = database.client();
    successor.pass_on(&stored).await.unwrap();
    let second = stored.take();
    assert_eq!(first.len(), 2);
    assert_eq!(first, second);
    assert_eq!(successor.pass_on(&stored).await.unwrap(), 0);
    database.drop().await;
}

/// Lets others run for a moment of the machine's own clock, and keeps the paused one where it is: that moves by itself where all wait.
async fn busy(stored: &Stored) {
    let until = std::time::Instant::now() + Duration::from_millis(250);
    while std::time::Instant::now() < until && stored.seen.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn by_its_own_clock_an_edit_waits_less_than_a_second_for_the_next_look() {
    let database = Database::new().await;
    let client = database.client();
    client.statements(&client.config.tables[0]).await.unwrap();
    let stored = Stored::default();
    let poll = Duration::from_millis(client.config.poll_ms);
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let edited = async {
        // Whatever it does at first, it finds nothing, and rests.
        busy(&stored).await;
        database.run("INSERT INTO tasks (id) VALUES (1)").await;
        while stored.seen.lock().unwrap().is_empty() && began.elapsed() < Duration::from_secs(1) {
            tokio::time::advance(poll).await;
            busy(&stored).await;
        }
    };
    // The statement waits for PostgreSQL, during which nothing else may seem to wait.
    let spinning = async {
        loop {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        ended = client.watch(&stored) => ended.unwrap(),
        () = spinning => {}
        () = edited => {}
    }
    let took = began.elapsed();
    tokio::time::resume();
    assert!(stored.take().len() == 1 && took < Duration::from_secs(1), "not passed on within {took:?}");
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_updated_by_many_sessions_keep_the_order_of_their_versions() {
    let database = Database::new().await;
    let client = Arc::new(database.client());
    database.run("INSERT INTO tasks (id) VALUES (1), (2)").await;
    client.statements(&client.config.tables[0]).await.unwrap();
    let (sessions, edits) = (8, 25);
    let writers = (0..sessions).map(|session| {
        let pool = database.pool().clone();
        tokio::spawn(async move {
            for edit in 0..edits {
                let row = 1 + (session + edit) % 2;
                let sql = format!("UPDATE tasks SET status = 's{session}_{edit}' WHERE id = {row}");
                sqlx::query(AssertSqlSafe(sql)).execute(&pool).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    // Two relays at once, while the writers write.
    let stored = Arc::new(Stored::default());
    let relays: Vec<_> = [Arc::clone(&client), Arc::new(database.client())]
        .into_iter()
        .map(|relay| {
            let stored = Arc::clone(&stored);
            tokio::spawn(async move {
                loop {
                    relay.pass_on(&*stored).await.unwrap();
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    relays.iter().for_each(tokio::task::JoinHandle::abort);
    for relay in relays {
        let _ = relay.await;
    }
    // The relay that was aborted holds its claim until its connection is cleared.
    let empty = || {
        sqlx::query_scalar::<_, bool>("SELECT NOT EXISTS (SELECT FROM lockstep_outbox.entries)")
            .fetch_one(database.pool())
    };
    while !empty().await.unwrap() {
        client.pass_on(&*stored).await.unwrap();
    }
    let seen = stored.take();
    for row in ["1", "2"] {
        let mut positions: Vec<_> =
            seen.iter().filter(|seen| seen.record == record(row)).filter_map(|seen| seen.position).collect();
        // An aborted relay published without deleting: what it published comes again, whole.
        let mut newest = Position(0);
        positions.retain(|position| {
            let rises = *position > newest;
            newest = newest.max(*position);
            rises
        });
        assert_eq!(positions.len(), sessions * edits / 2, "row {row}: {positions:?}");
    }
    database.drop().await;
}
