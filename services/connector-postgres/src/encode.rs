//! What PostgreSQL is told: the statements for one tracked table, and the tag that our own writes carry.
//!
//! Pure. Values are always parameters; names are always quoted.

use model::{Command, Native, RecordRef, Version};
use serde::{Deserialize, Serialize};

use crate::config::Table;
use crate::decode::TITLE_MAX;
use crate::name::{Name, literal};

/// The setting by which a transaction says that it is ours; the trigger writes it down.
pub const SETTING: &str = "lockstep.origin";

/// The time in milliseconds since 1970, as PostgreSQL tells it.
pub const NOW_MS: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// How many characters of a title are read: more than are told, because spaces in front do not count.
pub const TITLE_READ: usize = 2 * TITLE_MAX;

/// How long the version of a row that is gone is kept.
const GONE_KEPT: &str = "30 days";

/// What stands in the place of a tag at a row that an old copy of the database brought back: it is nobody's edit.
pub const BROUGHT_BACK: &str = "brought back";

#[derive(Serialize, Deserialize)]
struct Tag {
    version: u64,
    record: String,
    native: String,
}

/// The tag of the transaction that carries a command out.
pub fn tag(command: &Command) -> String {
    let (record, native) = (command.record.to_string(), command.native.to_string());
    // Whatever else the transaction changes (a user's own trigger may move the parent task along) is not ours: so the
    // tag names what is.
    serde_json::json!(Tag { version: command.version.0, record, native }).to_string()
}

/// The version whose command a tagged change carries out; `None` when the change is not what the tag names.
pub fn tagged(tag: &str, record: &RecordRef, native: &Native) -> Option<Version> {
    let tag: Tag = serde_json::from_str(tag).ok()?;
    (tag.record == record.to_string() && tag.native == native.as_str()).then_some(Version(tag.version))
}

/// The types of a table's key and status, as PostgreSQL writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Types {
    /// The key's.
    pub key: String,
    /// The status's.
    pub status: String,
}

/// The statements for one table. All rows come in the same columns; see `client::rows`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statements {
    /// One row: `$1` kind, `$2` key.
    pub row: String,
    /// What was captured of one row that may be gone: `$1` kind, `$2` key. A row that is there has its key in the place of the status.
    pub last: String,
    /// Sets the status: `$1` the new one, `$2` key, `$3` the one it must have.
    pub write: String,
    /// The first rows in key order: `$1` kind, `$2` how many.
    pub first: String,
    /// The rows after a key: `$1` kind, `$2` how many, `$3` the key.
    pub after: String,
    /// The rows whose captured change is not older than a time: `$1` kind, `$2` how many, `$3` the key after which,
    /// `$4` milliseconds since 1970.
    pub since: String,
    /// The rows that were captured, in key order, with their key in place of a status where they are still there: `$1` kind, `$2` how
    /// many, `$3` the key after which.
    pub gone: String,
    /// Captures rows as they stand, above all that was known of them: `$1` kind, `$2` keys, `$3` the versions at which they were read,
    /// `$4` what stands in the place of a tag.
    pub raise: String,
    /// Forgets those of the captured rows that are gone for long, in key order, and says how many it looked at and up to which: `$1` kind,
    /// `$2` how many, `$3` the key after which.
    pub forget: String,
    /// How many rows there are.
    pub count: String,
    /// How many rows' captured change is not older than a time: `$1` kind, `$2` milliseconds since 1970.
    pub count_since: String,
}

/// The columns of an entry of the outbox beside its title.
pub const ENTRY: &str = "id, kind, key, operation, version, previous, status, mentions, origin, actor, application, \
                         (extract(epoch FROM at) * 1000)::bigint AS at_ms";

/// Takes the oldest entries that nobody else holds: `$1` how many. They are gone when the transaction commits.
pub fn claim(schema: &Name) -> String {
    let (entries, versions) = (format!("{}.entries", schema.quoted()), format!("{}.versions", schema.quoted()));
    format!(
        "DELETE FROM {entries} WHERE id = ANY (ARRAY(SELECT id FROM {entries} ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)) \
         RETURNING {ENTRY}, left(title, {TITLE_READ}) AS title, \
             operation = 'delete' AND EXISTS (SELECT FROM {versions} v WHERE v.kind = {entries}.kind \
             AND v.key = {entries}.key AND v.version > {entries}.version AND v.status IS NOT NULL) AS is_back"
    )
}

/// Which outbox it is of which database, how far it has come, and what the last sweep left there; see `client::copy`: `$1` the
/// tracked table, `$2` its kind, `$3` the names of its triggers.
pub fn outbox(schema: &Name) -> String {
    format!(
        "SELECT (SELECT system_identifier FROM pg_control_system())::text || '/' || \
             (SELECT oid FROM pg_database WHERE datname = current_database())::text || '/' || \
             CASE WHEN pg_is_in_recovery() THEN '' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END AS line, \
             to_regclass({1})::oid::bigint AS entries, to_regclass($1)::oid::bigint AS tracked, \
             coalesce((SELECT string_agg(format('%s/%s', g.oid, g.xmin), ' ' ORDER BY g.oid) FROM pg_trigger g \
                 WHERE g.tgrelid = to_regclass($1) AND g.tgname = ANY ($3)), '') AS triggers, \
             coalesce(pg_sequence_last_value(pg_get_serial_sequence({1}, 'id')), 0) AS last, {NOW_MS} AS now_ms, \
             coalesce((SELECT (to_jsonb(c) ->> 'sweep')::bigint FROM {0}.captures c WHERE c.kind = $2), 0) AS sweep",
        schema.quoted(),
        literal(&format!("{}.entries", schema.quoted()))
    )
}

/// Leaves the time of a sweep at a kind, all of whose rows are known: `$1` kind, `$2` milliseconds since 1970.
pub fn leave(schema: &Name) -> String {
    format!("UPDATE {}.captures SET sweep = $2, origin = NULL WHERE kind = $1", schema.quoted())
}

/// Says of the rows of a kind that no trigger has seen that an old copy of the database brought them back: `$1` kind.
pub fn bring_back(schema: &Name) -> String {
    format!("UPDATE {}.captures SET began = {NOW_MS}, origin = '{BROUGHT_BACK}' WHERE kind = $1", schema.quoted())
}

/// Whether the outbox holds anything.
pub fn waiting(schema: &Name) -> String {
    format!("SELECT EXISTS (SELECT FROM {}.entries)", schema.quoted())
}

/// How many entries the outbox holds: `$1` how many are counted at most.
pub fn count_waiting(schema: &Name) -> String {
    format!("SELECT count(*) FROM (SELECT FROM {}.entries LIMIT $1) AS waiting", schema.quoted())
}

impl Statements {
    /// The statements for a table with columns of these types.
    pub fn new(schema: &Name, table: &Table, types: &Types) -> Self {
        let (key, status) = (table.key.quoted(), table.status.quoted());
        let (name, versions) = (table.table.quoted(), format!("{}.versions", schema.quoted()));
        let columns = columns(schema, table);
        let rows = format!("{columns} FROM {name} t LEFT JOIN {versions} v ON v.kind = $1 AND v.key = t.{key}::text");
        let (key_type, status_type) = (&types.key, &types.status);
        let captured = format!(
            "SELECT v.key, t.{key}::text AS status, NULL::text AS title, NULL::text AS mentions, v.version, v.status AS captured, \
             v.origin, v.actor, v.application, (extract(epoch FROM v.at) * 1000)::bigint AS at_ms"
        );
        Self {
            row: format!("{rows} WHERE t.{key} = CAST($2::text AS {key_type})"),
            // Of the row and its version as they are at one moment: a row that was inserted anew since has a version of its own.
            last: format!(
                "{captured} FROM {versions} v LEFT JOIN {name} t ON t.{key} = CAST($2::text AS {key_type}) \
                 WHERE v.kind = $1 AND v.key = CAST($2::text AS {key_type})::text"
            ),
            write: format!(
                "UPDATE {name} SET {status} = CAST($1::text AS {status_type}) \
                 WHERE {key} = CAST($2::text AS {key_type}) AND {status}::text IS NOT DISTINCT FROM $3"
            ),
            first: format!("{rows} WHERE t.{key} IS NOT NULL ORDER BY t.{key} LIMIT $2"),
            after: format!("{rows} WHERE t.{key} > CAST($3::text AS {key_type}) ORDER BY t.{key} LIMIT $2"),
            since: format!(
                "WITH v AS MATERIALIZED (SELECT * FROM {versions} WHERE kind = $1 AND key > $3 \
                 AND at >= to_timestamp($4::bigint / 1000.0) ORDER BY key LIMIT $2) {} \
                 FROM v LEFT JOIN {name} t ON t.{key} = CAST(v.key AS {key_type}) ORDER BY v.key",
                // A row that was deleted keeps its place in the page, and is known by its missing status.
                columns.replacen(&format!("t.{key}::text AS key"), "v.key", 1)
            ),
            gone: format!(
                "WITH v AS MATERIALIZED (SELECT * FROM {versions} WHERE kind = $1 AND key > $3 AND status IS NOT NULL \
                     ORDER BY key LIMIT $2) \
                 {captured} FROM v LEFT JOIN {name} t ON t.{key} = CAST(v.key AS {key_type}) ORDER BY v.key"
            ),
            // It waits for nobody's lock, so that nobody's statement can be the victim of a deadlock. A row that was captured since it was
            // read has another version.
            raise: format!(
                "UPDATE {versions} v SET version = greatest(v.version + 1, {NOW_MS}), status = held.status, origin = $4, \
                     actor = NULL, application = NULL, at = clock_timestamp() \
                 FROM (SELECT h.key, t.{status}::text AS status FROM unnest($2::text[], $3::bigint[]) AS seen (key, version) \
                     JOIN {versions} h ON h.kind = $1 AND h.key = seen.key AND h.version = seen.version \
                     JOIN {name} t ON t.{key} = CAST(seen.key AS {key_type}) \
                     WHERE NOT EXISTS (SELECT FROM {entries} e WHERE e.kind = h.kind AND e.key = h.key) \
                     FOR UPDATE OF h SKIP LOCKED) held \
                 WHERE v.kind = $1 AND v.key = held.key",
                entries = format_args!("{}.entries", schema.quoted()),
            ),
            // A key that is used again begins with the time, above all that was known of it. A row that is there and has no status is not
            // gone; one that comes meanwhile holds its version, or waits until it is made anew.
            forget: format!(
                "WITH page AS MATERIALIZED (SELECT key FROM {versions} WHERE kind = $1 AND key > $3 ORDER BY key LIMIT $2), \
                 gone AS MATERIALIZED (SELECT v.key FROM page JOIN {versions} v ON v.kind = $1 AND v.key = page.key \
                     WHERE v.status IS NULL AND v.at < now() - interval '{GONE_KEPT}' \
                     AND NOT EXISTS (SELECT FROM {name} t WHERE t.{key} = CAST(v.key AS {key_type})) \
                     FOR UPDATE OF v SKIP LOCKED), \
                 forgotten AS (DELETE FROM {versions} v USING gone WHERE v.kind = $1 AND v.key = gone.key) \
                 SELECT count(*), max(key) FROM page"
            ),
            count: format!("SELECT count(*) FROM {name} WHERE {key} IS NOT NULL"),
            count_since: format!(
                "SELECT count(*) FROM {versions} WHERE kind = $1 AND at >= to_timestamp($2::bigint / 1000.0)"
            ),
        }
    }
}

/// The columns in which all rows come: those of the table `t`, and of what was captured of the row, `v`.
fn columns(schema: &Name, table: &Table) -> String {
    let (key, status) = (table.key.quoted(), table.status.quoted());
    let title = |title: &Name| format!("left(t.{}::text, {TITLE_READ})", title.quoted());
    let title = table.title.as_ref().map_or("NULL::text".into(), title);
    // An installation of an older release says neither.
    let unseen = |what: &str| format!("(SELECT {what} FROM {}.captures c WHERE c.kind = $1)", schema.quoted());
    let mentions: Vec<_> = table.mentions.iter().map(|column| format!("to_jsonb(t.{})", column.quoted())).collect();
    format!(
        "SELECT t.{key}::text AS key, t.{status}::text AS status, {title} AS title, \
         jsonb_build_array({})::text AS mentions, coalesce(v.version, {}, 0) AS version, v.status AS captured, \
         CASE WHEN v.key IS NULL THEN {} ELSE v.origin END AS origin, v.actor, v.application, coalesce((extract(epoch FROM v.at) * 1000)::bigint, 0) AS at_ms",
        mentions.join(", "),
        unseen("(to_jsonb(c) ->> 'began')::bigint"),
        unseen("to_jsonb(c) ->> 'origin'"),
    )
}

#[cfg(test)]
mod tests {
    use model::{CommandMode, ItemId, Status};

    use super::*;

    fn record(text: &str) -> RecordRef {
        text.parse().unwrap()
    }

    #[test]
    fn a_tag_is_ours_only_for_the_record_and_the_status_it_names() {
        let done = Native::new("done").unwrap();
        let command = Command {
            record: record("postgres/task/7"),
            item: ItemId(uuid::Uuid::nil()),
            version: Version(12),
            status: Status::new("done").unwrap(),
            previous: None,
            native: done.clone(),
            mode: CommandMode::Tell,
            expects: Vec::new(),
            earlier: vec![],
            position: None,
            key: None,
            cause: 1,
        };
        let tag = tag(&command);
        assert_eq!(tagged(&tag, &record("postgres/task/7"), &done), Some(Version(12)));
        assert_eq!(tagged(&tag, &record("postgres/task/8"), &done), None, "a row that a user's trigger moved along");
        assert_eq!(
            tagged(&tag, &record("postgres/task/7"), &Native::new("todo").unwrap()),
            None,
            "set further by a trigger"
        );
        assert_eq!(tagged("12", &record("postgres/task/7"), &done), None, "somebody else's use of the setting");
    }
}
