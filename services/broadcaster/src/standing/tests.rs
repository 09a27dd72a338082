//! Against a real database.

use runtime::{Process, Secret};
use uuid::Uuid;

use super::*;
use crate::message::project_of;

/// An empty database, and what reads snapshots from it.
async fn database() -> (sqlx::PgPool, FromStore) {
    let admin =
        std::env::var("LOCKSTEP_TEST_DATABASE_URL").expect("LOCKSTEP_TEST_DATABASE_URL: cargo xtask test sets it");
    let name = format!("broadcaster_{}", Uuid::new_v4().simple());
    let pool = sqlx::PgPool::connect(&admin).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("create database {name}"))).execute(&pool).await.unwrap();
    let (base, _) = admin.rsplit_once('/').unwrap();
    let url = format!("{base}/{name}");
    let config = store::Config { url: Secret::from(url.as_str()), ..store::Config::default() };
    let store = Store::connect(&config, &Process::new("broadcaster", None)).await.unwrap();
    store.migrate().await.unwrap();
    let lifecycles = model::Lifecycles::built_in().unwrap();
    let policy = Policy::new(lifecycles, model::Mappings::default(), LifecycleName::new("work").unwrap());
    (sqlx::PgPool::connect(&url).await.unwrap(), FromStore::new(store, Arc::new(policy)))
}

/// An item with this key and one record, later in the order of ids than those before it.
async fn add(pool: &sqlx::PgPool, number: u128, key: Option<&str>, title: &str, record: &str) {
    let insert = "insert into lockstep.items (id, lifecycle, key, title, status, status_since, version, changed_by)
         values ($1, 'work', $2, $3, 'todo', now(), 1, $4)";
    let (id, mut parts) = (Uuid::from_u128(number), record.splitn(3, '/'));
    sqlx::query(insert).bind(id).bind(key).bind(title).bind(record).execute(pool).await.unwrap();
    let insert =
        "insert into lockstep.records (system, kind, id, item, native, agreed) values ($1, $2, $3, $4, 'open', 1)";
    let query = (0..3).fold(sqlx::query(insert), |query, _| query.bind(parts.next().unwrap()));
    query.bind(id).execute(pool).await.unwrap();
}

/// The keys, or else the titles, that a room's snapshot of at most `max` items shows.
async fn shows(source: &FromStore, room: &str, max: usize) -> (Vec<String>, bool) {
    let items = source.read(&Room::named(room).unwrap(), max).await.unwrap();
    let name = |item: &Value| item["key"].as_str().or(item["title"].as_str()).unwrap().to_owned();
    (items.shown.iter().map(name).collect(), items.truncated)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_has_all_its_items_and_says_when_there_are_more() {
    let (pool, source) = database().await;
    // Many that come first and only look like it.
    let others = ["AENG-1", "ENG-x", "ENG", "ENG-", "XA-ENG-2", "eng-3", "a%b-1", "acme/web-ENG#1", "acme/web#x1"];
    for number in 0..60 {
        let key = others.get(number).copied();
        add(&pool, number as u128, key, "about ENG-1, A, a_b and acme/web", &format!("x/y/{number}")).await;
    }
    let own = ["ENG-1", "ENG-22", "ENG#3", "A-1", "a_b-1", "acme/web#7", "a-b-12", "-1"];
    for (number, key) in own.iter().enumerate() {
        add(&pool, 1_000 + number as u128, Some(key), "t", &format!("x/z/{number}")).await;
    }
    assert_eq!(shows(&source, "project:ENG", 3).await, (vec!["ENG-1".into(), "ENG-22".into(), "ENG#3".into()], false));
    assert_eq!(shows(&source, "project:ENG", 2).await, (vec!["ENG-1".into(), "ENG-22".into()], true));
    // The database reads a key as `project_of` does.
    for key in others.iter().chain(&own) {
        if let Some(project) = project_of(key) {
            assert!(shows(&source, &format!("project:{project}"), 5).await.0.contains(&(*key).to_owned()), "{key}");
        }
    }
    for name in ["A", "a_b", "acme/web", "a-b"] {
        assert_eq!(shows(&source, &format!("project:{name}"), 5).await.0.len(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_shown_by_either_of_its_records() {
    let (pool, source) = database().await;
    add(&pool, 1, None, "behind an AgentAPI", "agentapi/agent/a").await;
    add(&pool, 2, None, "told of by its events", "agent/session/b").await;
    add(&pool, 3, None, "both", "agentapi/agent/c").await;
    let both = "insert into lockstep.records (system, kind, id, item, native, agreed) values ('agent', 'session', 'c', $1, 'open', 1)";
    sqlx::query(both).bind(Uuid::from_u128(3)).execute(&pool).await.unwrap();
    for (agent, title) in [("a", "behind an AgentAPI"), ("b", "told of by its events"), ("c", "both")] {
        assert_eq!(shows(&source, &format!("agent:{agent}"), 5).await.0, [title]);
    }
}
