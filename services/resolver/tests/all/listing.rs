//! What is listed page by page, and what is not kept for ever.

use serde_json::Value;

use super::*;

impl World {
    async fn asked(&self, path: &str) -> Value {
        let [gateway] = self.process.addresses().into_values().collect::<Vec<_>>()[..] else { panic!("one address") };
        let answer = reqwest::get(format!("http://{gateway}/v1/{path}")).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    /// Asks for pages of one until there are no more. What is under `name` in them, and how many there were.
    async fn pages(&self, path: &str, name: &str, field: &str) -> (Vec<String>, usize) {
        let (mut all, mut pages, mut after) = (vec![], 0, String::new());
        loop {
            let page = self.asked(&format!("{path}&limit=1{after}")).await;
            all.extend(page[name].as_array().unwrap().iter().map(|one| one[field].as_str().unwrap().to_owned()));
            pages += 1;
            let Some(next) = page["next"].as_str() else { return (all, pages) };
            after = format!("&after={next}");
        }
    }

    async fn database(&self) -> sqlx::PgPool {
        sqlx::PgPool::connect(&self.database).await.unwrap()
    }
}

/// Ends a conflict of nobody's at this time, or not.
async fn conflict(pool: &sqlx::PgPool, resolved_at: Option<&str>) -> uuid::Uuid {
    sqlx::query_scalar(
        "insert into lockstep.conflicts
         values (gen_random_uuid(), gen_random_uuid(), 1, 'x', '[]', 'manual', false, null, '2020-01-01', $1::text::timestamptz)
         returning id",
    )
    .bind(resolved_at)
    .fetch_one(pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_step_is_listed_however_much_is() {
    let world = World::new().await;
    for number in 1..=3 {
        let (tracker, key) = (format!("tracker/issue/{number}"), format!("T-{number}"));
        world.see(&owning(seen(&tracker, "todo", 1), &key)).await;
        world.see(&mentioning(seen(&format!("forge/issue/a/b#{number}"), "open", 1), &key)).await;
        world.eventually(&key, |group| group.links.len() == 2).await;
        // Nobody tells the forge of it.
        if number != 2 {
            world.see(&seen(&tracker, "done", 2)).await;
            world.eventually(&key, |group| group.item.version.0 == 2).await;
        }
    }
    let (mut out, pages) = world.pages("items?in_step=false", "items", "key").await;
    out.sort();
    assert_eq!((out, pages), (vec!["T-1".to_owned(), "T-3".to_owned()], 3));
    assert_eq!(world.pages("items?in_step=true", "items", "key").await.0, ["T-2"]);
    // More that are in step, in front of them, than one answer looks through.
    sqlx::query(
        "insert into lockstep.items select (jsonb_populate_record(one, jsonb_build_object(
             'id', lpad(to_hex(number), 32, '0'), 'key', 'M-' || number))).*
         from lockstep.items as one, generate_series(1, 5001) as number where key = 'T-2'",
    )
    .execute(&world.database().await)
    .await
    .unwrap();
    let first = world.asked("items?in_step=false&limit=9").await;
    assert_eq!(first["items"].as_array().unwrap().len(), 0);
    let rest = world.asked(&format!("items?in_step=false&limit=9&after={}", first["next"].as_str().unwrap())).await;
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (2, &Value::Null));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_items_with_much_metadata_ends_early_and_the_next_goes_on() {
    let world = World::new().await;
    world.see(&owning(seen("tracker/issue/1", "todo", 1), "T-1")).await;
    world.eventually("T-1", |_| true).await;
    let metadata: serde_json::Map<String, Value> =
        (0..100).map(|name| (format!("name {name}"), "x".repeat(3_000).into())).collect();
    sqlx::query(
        "insert into lockstep.items select (jsonb_populate_record(one, jsonb_build_object(
             'id', lpad(to_hex(number), 32, '0'), 'key', 'M-' || number, 'metadata', $1::jsonb))).*
         from lockstep.items as one, generate_series(1, 40) as number where key = 'T-1'",
    )
    .bind(Value::Object(metadata))
    .execute(&world.database().await)
    .await
    .unwrap();
    let (mut keys, mut sizes, mut after) = (vec![], vec![], String::new());
    loop {
        let page = world.asked(&format!("items?limit=1000{after}")).await;
        sizes.push(page.to_string().len());
        keys.extend(page["items"].as_array().unwrap().iter().map(|item| item["key"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(keys, (1..=40).map(|number| format!("M-{number}")).chain(["T-1".into()]).collect::<Vec<_>>());
    assert!(sizes.len() == 3 && sizes.iter().all(|size| *size < 4_600_000), "{sizes:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_lists_than_are_made_at_once_wait_for_their_turn() {
    let world = World::new().await;
    let pool = world.database().await;
    // While this goes on no list ends.
    let mut held = pool.begin().await.unwrap();
    sqlx::query("lock table lockstep.items in access exclusive mode").execute(&mut *held).await.unwrap();
    let [gateway] = world.process.addresses().into_values().collect::<Vec<_>>()[..] else { panic!("one address") };
    let lists: Vec<_> =
        (0..5).map(|_| tokio::spawn(reqwest::get(format!("http://{gateway}/v1/items?limit=1")))).collect();
    let (refused, _, lists) = futures_util::future::select_all(lists).await;
    let refused = refused.unwrap().unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "too_many_lists");
    held.rollback().await.unwrap();
    for list in lists {
        assert_eq!(list.await.unwrap().unwrap().status(), 200);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_mapping_knows_is_counted_by_what_is_shown_until_it_shows_something_else() {
    let world = World::new().await;
    let unmapped = async || -> Vec<(String, String, i64)> {
        let rows = world.store.unmapped(10).await.unwrap();
        rows.into_iter().map(|row| (format!("{}/{}", row.system, row.kind), row.native, row.records)).collect()
    };
    for number in 1..=3 {
        let key = format!("T-{number}");
        world.see(&owning(seen(&format!("tracker/issue/{number}"), "todo", 1), &key)).await;
        let native = if number == 3 { "parked" } else { "mislaid" };
        world.see(&seen(&format!("tracker/issue/{number}"), native, 2)).await;
        world.eventually(&key, |group| group.links.iter().all(|link| link.unmapped)).await;
    }
    let shown = |native: &str, records| ("tracker/issue".to_owned(), native.to_owned(), records);
    assert_eq!(unmapped().await, [shown("mislaid", 2), shown("parked", 1)]);
    world.see(&seen("tracker/issue/3", "done", 3)).await;
    world.eventually("T-3", |group| group.links.iter().all(|link| !link.unmapped)).await;
    assert_eq!(unmapped().await, [shown("mislaid", 2)]);
    world.see(&seen("tracker/issue/1", Native::deleted().as_str(), 3)).await;
    world.eventually("T-1", |group| group.links.iter().all(|link| link.native.is_deleted())).await;
    assert_eq!(unmapped().await, [shown("mislaid", 1)], "no mapping could know what is deleted");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_are_listed_page_by_page() {
    let world = World::new().await;
    let pool = world.database().await;
    let mut all = vec![];
    for resolved_at in [None, None, None, Some("2021-01-01")] {
        all.push(conflict(&pool, resolved_at).await.to_string());
    }
    all.sort();
    let (mut listed, _) = world.pages("conflicts?all=true", "conflicts", "id").await;
    listed.sort();
    assert_eq!(listed, all, "those of one moment, too");
    assert_eq!(world.pages("conflicts?all=false", "conflicts", "id").await.0.len(), 3);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_told_with_the_names_of_its_records_and_the_word_that_ended_it() {
    let world = World::new().await;
    let pool = world.database().await;
    world.see(&owning(seen("tracker/issue/1", "todo", 1), "T-1")).await;
    let item = world.eventually("T-1", |group| group.links.len() == 1).await.item.id;
    let [ended, open] = [conflict(&pool, Some("2021-01-01")).await, conflict(&pool, None).await];
    sqlx::query("update lockstep.conflicts set item = $1").bind(item.0).execute(&pool).await.unwrap();
    sqlx::query(
        r#"insert into lockstep.history (item, cause_sequence, ordinal, recorded_at, version, kind, to_status, record, native, actor,
             reason, at, cause_id)
           select $1, number, 0, '2021-01-01', 2, 'changed', status, record, 'x', '{"name": "ada", "automation": false}', 'forced',
             '2021-01-01', 'c'
           from (values (7, 'todo', 'tracker/issue/1'), (6, 'done', 'lockstep/operator/tracker/issue/1')) as said (number, status, record)"#,
    )
    .bind(item.0)
    .execute(&pool)
    .await
    .unwrap();
    let all = world.asked("conflicts?all=true").await;
    let of =
        |id: uuid::Uuid| all["conflicts"].as_array().unwrap().iter().find(|one| one["id"] == id.to_string()).unwrap();
    let (ended, open) = (of(ended), of(open));
    assert_eq!((&ended["names"], &open["key"]), (&serde_json::json!({"tracker/issue/1": "T-1"}), &"T-1".into()));
    let ended_by = &ended["ended_by"];
    assert_eq!(
        (&ended_by["status"], &ended_by["actor"]["name"], &open["ended_by"]),
        (&"done".into(), &"ada".into(), &Value::Null)
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_is_kept_goes_and_what_waits_for_a_person_stays() {
    let world = World::new().await;
    world.see(&owning(seen("tracker/issue/1", "todo", 1), "T-1")).await;
    world.see(&owning(seen("tracker/issue/2", "todo", 1), "T-2")).await;
    let item = world.eventually("T-1", |_| true).await.item.id;
    world.eventually("T-2", |_| true).await;
    world.stop().await;
    let pool = world.database().await;
    // As it came before there was a partition for its month.
    sqlx::query("update lockstep.history set recorded_at = recorded_at - interval '100 days' where item = $1")
        .bind(item.0)
        .execute(&pool)
        .await
        .unwrap();
    let yesterday = "yesterday";
    let (_old, open, recent) = (
        conflict(&pool, Some("2021-01-01")).await,
        conflict(&pool, None).await,
        conflict(&pool, Some(yesterday)).await,
    );
    let kept = store::Config { history_months: 2, ..World::store(&world.database) };
    let store = Store::connect(&kept, &Process::new("resolver", None)).await.unwrap();
    store.maintain_partitions().await.unwrap();
    let conflicts: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from lockstep.conflicts order by id").fetch_all(&pool).await.unwrap();
    let mut wanted = [open, recent];
    wanted.sort();
    assert_eq!(conflicts, wanted);
    let lines: Vec<bool> =
        sqlx::query_scalar("select item = $1 from lockstep.history").bind(item.0).fetch_all(&pool).await.unwrap();
    assert_eq!(lines, [false], "the other's line is young");
}

#[test]
fn history_is_kept_for_a_hundred_years_at_most() {
    let config = |history_months| store::Config { history_months, ..World::store("postgres://localhost/x") };
    assert_eq!(config(1_200).check(), Ok(()));
    assert_eq!(config(1_201).check().unwrap_err().0, "database.history_months");
}
