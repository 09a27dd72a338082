//! What PostgreSQL must do for an edit.

use std::collections::BTreeSet;

use super::*;

/// The columns that the indexes of a table name, in their conditions and expressions as well.
const INDEXED: &str = "
select distinct attname::text from pg_index join pg_attribute on attrelid = indrelid
where indrelid = $1::text::regclass and attnum > 0
  and (attnum = any (indkey)
       or exists (select from pg_depend where classid = 'pg_class'::regclass and objid = indexrelid
                  and refobjid = indrelid and refobjsubid = attnum))";

/// The rows of a table by what does not change in them, as JSON.
const ROWS: [(&str, &str); 2] = [
    ("lockstep.items", "select jsonb_object_agg(id, to_jsonb(items)) from lockstep.items"),
    ("lockstep.records", "select jsonb_object_agg(system || kind || id, to_jsonb(records)) from lockstep.records"),
];

/// The columns in which rows that are in both differ.
fn changed(before: &serde_json::Value, after: &serde_json::Value) -> BTreeSet<String> {
    let mut columns = BTreeSet::new();
    for (row, before) in before.as_object().unwrap() {
        let differs =
            |(column, value): (&String, &serde_json::Value)| (after[row][column] != *value).then(|| column.clone());
        columns.extend(before.as_object().unwrap().iter().filter_map(differs));
    }
    columns
}

/// A row whose indexed columns stay as they are is written anew without touching an index: at a million items that is most of the work.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_changes_nothing_that_an_index_names() {
    let world = World::new().await;
    world.see(&owning(seen("tracker/issue/1", "todo", 1), "T-1")).await;
    world.see(&mentioning(seen("forge/issue/a/b#1", "open", 1), "T-1")).await;
    world.eventually("T-1", |group| group.links.len() == 2).await;
    let pool = sqlx::PgPool::connect(&world.database).await.unwrap();
    let rows = async || {
        let mut all = vec![];
        for (table, rows) in ROWS {
            all.push((table, sqlx::query_scalar::<_, serde_json::Value>(rows).fetch_one(&pool).await.unwrap()));
        }
        all
    };
    let before = rows().await;
    // One that the other record is told of as well.
    world.see(&seen("tracker/issue/1", "done", 2)).await;
    world.eventually("T-1", |group| group.item.version.0 == 2).await;
    let after = rows().await;

    let (mut all_changed, mut all_indexed) = (BTreeSet::new(), BTreeSet::new());
    for ((table, before), (_, after)) in before.iter().zip(&after) {
        let indexed: Vec<String> = sqlx::query_scalar(INDEXED).bind(table).fetch_all(&pool).await.unwrap();
        let indexed = BTreeSet::from_iter(indexed);
        let changed = changed(before, after);
        let both: Vec<_> = changed.intersection(&indexed).collect();
        assert!(both.is_empty(), "an edit of {table} changes {both:?}, which an index names");
        all_changed.extend(changed);
        all_indexed.extend(indexed);
    }
    // It sees what there is to see.
    for column in ["status", "version", "native", "sent", "position"] {
        assert!(all_changed.contains(column), "{column} is not among {all_changed:?}");
    }
    for column in ["id", "key", "held", "item", "mentions", "unmapped"] {
        assert!(all_indexed.contains(column), "{column} is not among {all_indexed:?}");
    }
    world.stop().await;
}
