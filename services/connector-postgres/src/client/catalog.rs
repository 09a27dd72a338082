//! Whether a tracked table is there and captured, and of what types its columns are.

use sqlx::{AssertSqlSafe, PgPool, Row as _};

use crate::config::{Config, Table};
use crate::encode::{Statements, Types};
use crate::install;

/// What stands in a table's way, as a sentence for an operator.
pub(super) type Obstacle = String;

struct Column {
    name: String,
    type_name: String,
    /// The type without its alias: `int8`, `bpchar`.
    base: String,
    /// PostgreSQL's own sorting of types: S strings, E enums, N numbers.
    category: String,
    unique: bool,
}

/// What is installed for a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Capture {
    Missing,
    /// By another version, or for another configuration. Whether it watches the same is taken for granted of those that do not say so.
    Other {
        watches_the_same: bool,
    },
    Current,
}

/// The statements for a table, if we can read and write all of it.
pub(super) async fn statements(
    pool: &PgPool,
    config: &Config,
    table: &Table,
) -> Result<Result<Statements, Obstacle>, sqlx::Error> {
    Ok(match (of_columns(pool, config, table).await?, hidden(pool, table).await?) {
        (Ok(_), Some(obstacle)) => Err(obstacle),
        (statements, _) => statements,
    })
}

/// The statements for a table, if its columns are fit for them, whoever may see its rows.
pub(super) async fn of_columns(
    pool: &PgPool,
    config: &Config,
    table: &Table,
) -> Result<Result<Statements, Obstacle>, sqlx::Error> {
    let columns = columns(pool, table).await?;
    Ok(types(table, &columns).map(|types| Statements::new(&config.schema, table, &types)))
}

/// Whether row-level security hides rows of a table from us: they would pass for deleted.
pub(super) async fn hidden(pool: &PgPool, table: &Table) -> Result<Option<Obstacle>, sqlx::Error> {
    // What a policy lets one see is not known without every row; only `true` is all of them. A row that may be seen and not written is
    // taken for none that is gone.
    let role = sqlx::query_scalar::<_, String>(
        "WITH policy AS (SELECT polcmd, polpermissive, pg_get_expr(polqual, polrelid) IS NOT DISTINCT FROM 'true' AS shows_all \
             FROM pg_policy WHERE polrelid = to_regclass($1) \
             AND EXISTS (SELECT FROM unnest(polroles) AS role WHERE role = 0 OR pg_has_role(role, 'USAGE'))) \
         SELECT quote_ident(current_user) WHERE row_security_active(to_regclass($1)::oid) AND NOT coalesce( \
             (SELECT bool_or(shows_all) FILTER (WHERE polpermissive) AND bool_and(shows_all OR polpermissive) \
              FROM policy WHERE polcmd IN ('r', '*')), false)",
    );
    let role = role.bind(table.table.quoted()).fetch_optional(pool).await?;
    Ok(role.map(|role| {
        format!(
            "row-level security hides rows of {0} from the role {role}, and hidden rows would pass for deleted; run \
             ALTER ROLE {role} BYPASSRLS, or CREATE POLICY lockstep ON {1} TO {role} USING (true)",
            table.table,
            table.table.quoted()
        )
    }))
}

async fn columns(pool: &PgPool, table: &Table) -> Result<Vec<Column>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT a.attname::text AS name, format_type(a.atttypid, NULL) AS type_name, t.typname::text AS base, \
             t.typcategory::text AS category, \
             EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indnkeyatts = 1 \
                 AND i.indkey[0] = a.attnum AND i.indpred IS NULL) AS is_unique \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         JOIN pg_type t ON t.oid = a.atttypid \
         WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p') ORDER BY a.attnum",
    );
    let rows = rows.bind(table.table.schema.as_str()).bind(table.table.table.as_str()).fetch_all(pool).await?;
    let column = |row: &sqlx::postgres::PgRow| {
        Ok(Column {
            name: row.try_get("name")?,
            type_name: row.try_get("type_name")?,
            base: row.try_get("base")?,
            category: row.try_get("category")?,
            unique: row.try_get("is_unique")?,
        })
    };
    rows.iter().map(column).collect()
}

fn types(table: &Table, columns: &[Column]) -> Result<Types, Obstacle> {
    let name = &table.table;
    if columns.is_empty() {
        return Err(format!("the table {name} does not exist in this database; create it, or mend `tables`"));
    }
    let there = || columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
    for wanted in table.columns() {
        if !columns.iter().any(|column| column.name == wanted.as_str()) {
            return Err(format!("the table {name} has no column {:?}; it has {}", wanted.as_str(), there()));
        }
    }
    let column = |wanted: &str| columns.iter().find(|column| column.name == wanted).ok_or_else(there);
    let (key, status) = (column(table.key.as_str())?, column(table.status.as_str())?);
    if !key.unique {
        return Err(format!("the column {:?} of {name} is no key: it has no unique index of its own", key.name));
    }
    let words = |column: &Column| matches!(column.category.as_str(), "S" | "E") && column.base != "bpchar";
    if !words(status) {
        let is = &status.type_name;
        return Err(format!(
            "the status column {:?} of {name} is {is}; it must be text, varchar or an enum",
            status.name
        ));
    }
    if !words(key) && !["int2", "int4", "int8", "uuid"].contains(&key.base.as_str()) {
        let is = &key.type_name;
        return Err(format!("the key column {:?} of {name} is {is}; it must be an integer, a uuid or text", key.name));
    }
    Ok(Types { key: key.type_name.clone(), status: status.type_name.clone() })
}

/// What is installed for a table, and fires. Where there is no table there is nothing.
pub(super) async fn capture(pool: &PgPool, config: &Config, table: &Table) -> Result<Capture, sqlx::Error> {
    let firing = sqlx::query(
        "SELECT count(*) FILTER (WHERE tgname <> $3) = 3 AS of_rows, count(*) FILTER (WHERE tgname = $3) = 1 AS of_truncate \
         FROM pg_trigger WHERE to_regclass($1) IS NOT NULL AND tgrelid = to_regclass($2) AND tgname = ANY ($4) \
             AND tgenabled IN ('O', 'A')",
    );
    let names = install::trigger_names(table);
    let firing = firing.bind(captures(config)).bind(table.table.quoted()).bind(&names[3]).bind(&names[..]);
    let firing = firing.fetch_one(pool).await?;
    if !firing.try_get::<bool, _>("of_rows")? {
        return Ok(Capture::Missing);
    }
    let installed = format!("SELECT fingerprint FROM {} WHERE kind = $1", captures(config));
    let installed = sqlx::query_scalar::<_, String>(AssertSqlSafe(installed)).bind(table.kind.as_str());
    let installed = installed.fetch_optional(pool).await?.unwrap_or_default();
    let current = install::fingerprint(&config.schema, table);
    Ok(match (installed == current, firing.try_get("of_truncate")?) {
        (true, true) => Capture::Current,
        (true, false) => Capture::Missing,
        // An older release has no trigger for TRUNCATE.
        (false, _) => Capture::Other { watches_the_same: install::watches_the_same(&installed, &current) },
    })
}

fn captures(config: &Config) -> String {
    format!("{}.captures", config.schema.quoted())
}
