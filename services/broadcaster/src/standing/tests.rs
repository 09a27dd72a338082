//! Against a real database.

use runtime::{Process, Secret};
use uuid::Uuid;

use super::*;
use crate::message::project_of;

/// Tickets of a desk call the statuses by names of their own.
const DESK: &str = r#"
[[mapping]]
system = "desk"
kind = "ticket"
lifecycle = "work"
get = { backlog = "New", todo = "New", in_progress = "Open", blocked = "Open", in_review = "Open", done = "Solved", canceled = "Closed", failed = "Closed" }
put = { "New" = "todo", "Open" = "in_progress", "Solved" = "done", "Closed" = "canceled" }
"#;

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
    let mut mappings = model::Mappings::default();
    mappings.add_toml(DESK, &lifecycles).unwrap();
    let policy = Policy::new(lifecycles, mappings, LifecycleName::new("work").unwrap());
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

/// The item is of this lifecycle.
async fn is_of(pool: &sqlx::PgPool, number: u128, lifecycle: &str, status: &str) {
    let update = "update lockstep.items set lifecycle = $2, status = $3 where id = $1";
    let query = sqlx::query(update).bind(Uuid::from_u128(number)).bind(lifecycle).bind(status);
    query.execute(pool).await.unwrap();
}

/// The item is held by a conflict, whose id this is.
async fn hold(pool: &sqlx::PgPool, number: u128) -> Uuid {
    let (item, conflict) = (Uuid::from_u128(number), Uuid::from_u128(number << 64));
    let insert = "insert into lockstep.conflicts (id, item, version, base, candidates, strategy, escalated, opened_at)
         values ($1, $2, 1, 'New', '[]', 'manual', true, now())";
    sqlx::query(insert).bind(conflict).bind(item).execute(pool).await.unwrap();
    let update = "update lockstep.items set held = $2 where id = $1";
    sqlx::query(update).bind(item).bind(conflict).execute(pool).await.unwrap();
    conflict
}

#[tokio::test(flavor = "multi_thread")]
async fn each_room_shows_its_own_items_and_no_others() {
    let (pool, source) = database().await;
    let lifecycles = [("work", "todo"), ("agent", "idle"), ("workflow", "running"), ("operation", "pending")];
    for (number, (lifecycle, status)) in (1..).zip(lifecycles) {
        add(&pool, number, None, lifecycle, &format!("x/y/{number}")).await;
        is_of(&pool, number, lifecycle, status).await;
    }
    add(&pool, 10, Some("ENG-1"), "held", "desk/ticket/10").await;
    add(&pool, 11, Some("ENG-2"), "held, too", "desk/ticket/11").await;
    hold(&pool, 10).await;
    hold(&pool, 11).await;
    let expected: [(&str, &[&str]); 10] = [
        ("all", &["work", "agent", "workflow", "operation", "ENG-1", "ENG-2"]),
        ("lifecycle:work", &["work", "ENG-1", "ENG-2"]),
        ("lifecycle:operation", &["operation"]),
        ("lifecycle:server", &[]),
        ("agent_states", &["agent"]),
        ("workflow_executions", &["workflow"]),
        ("conflicts", &["ENG-1", "ENG-2"]),
        ("record:x/y/3", &["workflow"]),
        ("record:desk/ticket/11", &["ENG-2"]),
        ("health", &[]),
    ];
    for (room, items) in expected {
        let (mut shown, truncated) = shows(&source, room, 6).await;
        shown.sort_by_key(|name| items.iter().position(|item| item == name));
        assert_eq!((shown, truncated), (items.iter().map(|item| (*item).to_owned()).collect(), false), "{room}");
    }
    let (shown, truncated) = shows(&source, "conflicts", 1).await;
    assert_eq!((shown.len(), truncated), (1, true), "there are more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_is_shown_with_what_each_record_shows_and_should() {
    let (pool, source) = database().await;
    add(&pool, 1, Some("ENG-1"), "the one", "desk/ticket/1").await;
    let more = "insert into lockstep.records (system, kind, id, item, native, agreed, place)
         values ('x', 'y', '1', $1, 'todo', 3, 1)";
    sqlx::query(more).bind(Uuid::from_u128(1)).execute(&pool).await.unwrap();
    let key = "insert into lockstep.keys (key, system, kind, id) values ('ENG-1', 'desk', 'ticket', '1')";
    sqlx::query(key).execute(&pool).await.unwrap();
    let changed = "update lockstep.items set version = 3, status = 'todo', status_since = '2026-01-02T03:04:05Z'";
    sqlx::query(changed).execute(&pool).await.unwrap();
    let failed = "update lockstep.records set native = 'Open', url = 'https://desk.example/1', last_error = 'no such field' where id = '1' and system = 'desk'";
    sqlx::query(failed).execute(&pool).await.unwrap();
    let shown = async || source.read(&Room::named("item:ENG-1").unwrap(), 5).await.unwrap();
    let records = |step: &str| {
        json!([
            {"record": "desk/ticket/1", "native": "Open", "want": "New", "step": step, "url": "https://desk.example/1", "agreed": 1, "last_error": "no such field"},
            {"record": "x/y/1", "native": "todo", "want": "todo", "step": "in_step", "url": null, "agreed": 3, "last_error": null},
        ])
    };
    let item = |held: Value, records: Value| {
        json!([{
            "id": Uuid::from_u128(1), "key": "ENG-1", "title": "the one", "lifecycle": "work", "status": "todo",
            "status_since": 1_767_323_045_000_i64, "version": 3, "held": held, "in_step": false, "records": records,
        }])
    };
    let one = shown().await;
    assert_eq!(Value::from(one.shown), item(Value::Null, records("failed")));
    assert_eq!(one.versions, [(Uuid::from_u128(1), 3)]);
    let conflict = hold(&pool, 1).await;
    assert_eq!(Value::from(shown().await.shown), item(json!(conflict), records("held")));
    let mended = "update lockstep.records set native = 'New', last_error = null where native = 'Open'";
    sqlx::query(mended).execute(&pool).await.unwrap();
    sqlx::query("update lockstep.items set held = null").execute(&pool).await.unwrap();
    assert_eq!(shown().await.shown[0]["in_step"], true, "every record shows what it should");
}
