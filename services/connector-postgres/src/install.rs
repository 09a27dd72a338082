//! The SQL that makes PostgreSQL write changes of the tracked tables into the outbox, in the transaction that makes them.
//!
//! Pure and idempotent. What is installed must never stand in the way of a user's own statement: a column that is renamed or dropped
//! later makes captures fall silent, not writes fail. So no trigger names a column, neither in WHEN nor in UPDATE OF: PostgreSQL would
//! refuse to change its type.

use std::fmt::Write;

use crate::config::{Config, Table};
use crate::encode::{NOW_MS, SETTING, TITLE_READ};
use crate::name::{Name, QUOTES, literal};

/// Raised when what is installed changes its shape.
const GENERATION: u32 = 2;
/// The longest key that is captured, in bytes: longer than any name of a record.
const KEY_MAX: u32 = 1_000;

/// Waits for every other installation.
pub(crate) const ALONE: &str = "SELECT pg_advisory_xact_lock(hashtext('lockstep install'));\n";

/// The whole script, for a person to read and run. With a role, it may work with what is installed and needs to own nothing.
pub fn install_sql(config: &Config, role: Option<&Name>) -> String {
    let grants = role.map(|role| grants(config, role)).unwrap_or_default();
    format!("BEGIN;\n\n{}{grants}\nCOMMIT;\n", body(config))
}

/// What the connector may do when it signs in as a role that owns nothing.
pub(crate) fn grants(config: &Config, role: &Name) -> String {
    let (schema, role_name) = (config.schema.quoted(), role.quoted());
    let mut sql = format!(
        "
-- What {role_name} needs to work as the connector.
GRANT USAGE ON SCHEMA {schema} TO {role_name};
GRANT SELECT, UPDATE, DELETE ON {schema}.entries, {schema}.versions TO {role_name};
GRANT SELECT, UPDATE ON {schema}.captures TO {role_name};
GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role_name};
"
    );
    for table in &config.tables {
        let columns = table.columns().map(Name::quoted).collect::<Vec<_>>().join(", ");
        let (name, of) = (table.table.quoted(), table.table.schema.quoted());
        // Writing to a string cannot fail.
        let _ = write!(
            sql,
            "GRANT USAGE ON SCHEMA {of} TO {role_name};
GRANT SELECT ({columns}), UPDATE ({status}) ON {name} TO {role_name};
",
            status = table.status.quoted()
        );
    }
    sql
}

/// The script without its transaction.
pub(crate) fn body(config: &Config) -> String {
    let mut sql = outbox(&config.schema);
    for table in &config.tables {
        sql.push_str(&capture(&config.schema, table));
    }
    sql
}

/// Names what is installed for a table: it changes when the script for it does. Its last part changes only with what is watched.
pub(crate) fn fingerprint(schema: &Name, table: &Table) -> String {
    let columns = [Some(&table.key), Some(&table.status), table.title.as_ref()]
        .into_iter()
        .chain(table.mentions.iter().map(Some));
    let columns: Vec<_> = columns.map(|column| column.map(Name::quoted).unwrap_or_default()).collect();
    let watched = format!("{} {}", table.table.quoted(), columns.join(" "));
    format!("{GENERATION}-{:016x}-{:016x}", hash(&triggers(schema, table)), hash(&watched))
}

/// Whether what is installed under one fingerprint watches the same as what would be under another.
pub(crate) fn watches_the_same(installed: &str, current: &str) -> bool {
    let watched = |fingerprint: &str| fingerprint.splitn(3, '-').nth(2).map(str::to_owned);
    // A fingerprint of an older release has no such part: what it watches is all that there is until the new one can be installed.
    !installed.is_empty() && watched(installed).is_none_or(|watches| watched(current) == Some(watches))
}

fn hash(text: &str) -> u64 {
    // FNV-1a: the same in every build, which the standard hasher does not promise.
    text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// The names of a table's triggers.
pub(crate) fn trigger_names(table: &Table) -> [String; 4] {
    ["insert", "update", "delete", "truncate"].map(|event| format!("lockstep_{}_{event}", table.kind))
}

fn outbox(schema: &Name) -> String {
    format!("{}\n{}", tables(schema), note(schema))
}

fn tables(schema: &Name) -> String {
    let captures = literal(&format!("{}.captures", schema.quoted()));
    let (schema, comment) =
        (schema.quoted(), literal("Where Lockstep hears of changes. Filled by triggers, emptied by the relay."));
    format!(
        "-- One installation at a time.
{ALONE}
CREATE SCHEMA IF NOT EXISTS {schema};
COMMENT ON SCHEMA {schema} IS {comment};

-- The version of each row rises with each captured change, under the row's own lock, and outlives the row by a month. It is the time in
-- milliseconds, or one more than it was: so it is above all that came before, even where this table was lost or is an old copy.
CREATE TABLE IF NOT EXISTS {schema}.versions (
    kind text NOT NULL,
    key text NOT NULL,
    version bigint NOT NULL,
    status text,
    origin text,
    actor text,
    application text,
    at timestamptz NOT NULL,
    PRIMARY KEY (kind, key)
) WITH (fillfactor = 80);

-- What has not been passed on yet.
CREATE TABLE IF NOT EXISTS {schema}.entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    key text NOT NULL,
    operation text NOT NULL,
    version bigint NOT NULL,
    previous text,
    status text,
    title text,
    mentions text,
    origin text,
    actor text,
    application text,
    at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- What is installed at which table.
CREATE TABLE IF NOT EXISTS {schema}.captures (
    kind text PRIMARY KEY,
    tracked text NOT NULL,
    fingerprint text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
-- Where rows stand that no trigger has seen, and whose doing it is that they do; and the time that the last sweep left here: an old
-- copy has an older one.
DO {QUOTES}
BEGIN
    -- Where they are there, nobody who reads this is waited for.
    IF (SELECT count(*) < 3 FROM pg_attribute WHERE attrelid = {captures}::regclass AND attname IN ('began', 'origin', 'sweep')) THEN
        ALTER TABLE {schema}.captures ADD COLUMN IF NOT EXISTS began bigint, ADD COLUMN IF NOT EXISTS origin text,
            ADD COLUMN IF NOT EXISTS sweep bigint;
    END IF;
END
{QUOTES};
"
    )
}

/// The function by which a trigger writes a change down.
fn note(schema: &Name) -> String {
    let schema = schema.quoted();
    format!(
        "CREATE OR REPLACE FUNCTION {schema}.note(the_kind text, the_key text, what text, before text, after text, title text, mentions text)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS {QUOTES}
    WITH counted AS (
        INSERT INTO {schema}.versions AS v (kind, key, version, status, origin, actor, application, at)
        VALUES (the_kind, the_key, {NOW_MS}, after, nullif(current_setting('{SETTING}', true), ''), session_user,
                nullif(current_setting('application_name', true), ''), clock_timestamp())
        ON CONFLICT (kind, key) DO UPDATE SET version = greatest(v.version + 1, EXCLUDED.version), status = EXCLUDED.status, origin = EXCLUDED.origin,
            actor = EXCLUDED.actor, application = EXCLUDED.application, at = EXCLUDED.at
        RETURNING v.*
    )
    INSERT INTO {schema}.entries
        (kind, key, operation, version, previous, status, title, mentions, origin, actor, application, at)
    SELECT c.kind, c.key, what, c.version, before, after, title, mentions, c.origin, c.actor, c.application, c.at
    FROM counted c
{QUOTES};
"
    )
}

fn capture(schema: &Name, table: &Table) -> String {
    let (schema_name, name, kind) = (schema.quoted(), table.table.quoted(), literal(table.kind.as_str()));
    let (function, tracked) = (function(table), literal(&name));
    let names: Vec<_> = trigger_names(table).iter().map(|name| literal(name)).collect();
    let names = names.join(", ");
    format!(
        "
-- {name} as {kind}.
{}
-- The kind may have belonged to another table before.
DO {QUOTES}
DECLARE old record;
BEGIN
    FOR old IN
        SELECT g.tgname, g.tgrelid::regclass AS tracked FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
        JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE g.tgname IN ({names}) AND n.nspname = {} AND p.proname = {} AND g.tgrelid <> {tracked}::regclass
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', old.tgname, old.tracked);
    END LOOP;
END
{QUOTES};
INSERT INTO {schema_name}.captures (kind, tracked, fingerprint, began) VALUES ({kind}, {tracked}, {}, {NOW_MS})
ON CONFLICT (kind) DO UPDATE SET tracked = EXCLUDED.tracked, fingerprint = EXCLUDED.fingerprint, began = EXCLUDED.began, origin = NULL,
    at = now();
",
        triggers(schema, table),
        schema.literal(),
        literal(&function),
        literal(&fingerprint(schema, table)),
    )
}

fn function(table: &Table) -> String {
    format!("capture_{}", table.kind)
}

fn triggers(schema: &Name, table: &Table) -> String {
    let function = format!("{}.\"{}\"", schema.quoted(), function(table));
    let mut sql = captured(schema, table, &function);
    let name = table.table.quoted();
    // Replaced, not dropped: that waits for no reader, such as a dump that takes hours.
    for (trigger, event) in trigger_names(table).iter().zip(["INSERT", "UPDATE", "DELETE"]) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            sql,
            "CREATE OR REPLACE TRIGGER \"{trigger}\" AFTER {event} ON {name} FOR EACH ROW EXECUTE FUNCTION {function}();"
        );
    }
    let _ = writeln!(
        sql,
        "CREATE OR REPLACE TRIGGER \"{trigger}\" BEFORE TRUNCATE ON {name} FOR EACH STATEMENT EXECUTE FUNCTION {function}();",
        trigger = trigger_names(table)[3]
    );
    sql
}

/// The function that a table's triggers execute: it sees what changed, and has it noted.
fn captured(schema: &Name, table: &Table, function: &str) -> String {
    let mentions: Vec<_> = table.mentions.iter().map(|column| format!("seen -> {}", column.literal())).collect();
    let (key, status) = (table.key.literal(), table.status.literal());
    let watched = [&table.key, &table.status].into_iter().chain(&table.mentions);
    let same = |column: &Name| format!("OLD.{0}::text IS NOT DISTINCT FROM NEW.{0}::text", column.quoted());
    let still = |column: &Name| format!("past ->> {0} IS NOT DISTINCT FROM seen ->> {0}", column.literal());
    let all = |one: &dyn Fn(&Name) -> String| watched.clone().map(one).collect::<Vec<_>>().join(" AND ");
    let of = |row: &str| {
        let pair = |column: &Name| format!("{}, {row}.{}", column.literal(), column.quoted());
        watched.clone().map(pair).collect::<Vec<_>>().join(", ")
    };
    let title = |whole: &dyn Fn(&Name) -> String| {
        table.title.as_ref().map_or("NULL".into(), |title| format!("left({}, {TITLE_READ})", whole(title)))
    };
    format!(
        "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {QUOTES}
DECLARE
    past jsonb;
    seen jsonb;
    title text;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        IF NOT has_table_privilege(TG_RELID, 'SELECT') THEN RETURN NULL; END IF;
        BEGIN
            EXECUTE format('SELECT {note}(%L, t.%I::text, ''delete'', t.%I::text, NULL, NULL, NULL) FROM %s t '
                'WHERE octet_length(t.%2$I::text) <= {KEY_MAX}', {kind}, {key}, {status}, TG_RELID::regclass);
        EXCEPTION WHEN OTHERS THEN
            -- A column is gone. Rows that are gone are found when all rows are compared.
            NULL;
        END;
        RETURN NULL;
    END IF;
    -- Only what is watched is looked at: the rest of the row may be large, or of a type that is no JSON.
    BEGIN
        IF TG_OP = 'UPDATE' THEN
            -- Most updates end here.
            IF {same} THEN RETURN NULL; END IF;
        END IF;
        IF TG_OP <> 'INSERT' THEN past := jsonb_build_object({old}); END IF;
        IF TG_OP <> 'DELETE' THEN
            seen := jsonb_build_object({new});
            title := {new_title};
        END IF;
    EXCEPTION WHEN OTHERS THEN
        -- A column is gone, or has another type than when this session first came here.
        BEGIN
            past := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
            seen := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
            title := {any_title};
        EXCEPTION WHEN OTHERS THEN
            -- Nobody's statement fails because of us: what cannot be told is found when all rows are compared.
            RETURN NULL;
        END;
    END;
    IF TG_OP = 'UPDATE' AND {still} THEN RETURN NULL; END IF;
    -- No record has so long a name, and no index takes it.
    IF octet_length(past ->> {key}) > {KEY_MAX} THEN past := NULL; END IF;
    IF octet_length(seen ->> {key}) > {KEY_MAX} THEN seen := NULL; END IF;
    IF past ->> {key} IS NOT NULL AND seen ->> {key} IS DISTINCT FROM past ->> {key} THEN
        PERFORM {note}({kind}, past ->> {key}, 'delete', past ->> {status}, NULL, NULL, NULL);
        past := NULL;
    END IF;
    IF seen ->> {key} IS NOT NULL THEN
        PERFORM {note}({kind}, seen ->> {key}, CASE WHEN past IS NULL THEN 'insert' ELSE 'update' END,
            past ->> {status}, seen ->> {status}, title, jsonb_build_array({mentions})::text);
    END IF;
    RETURN NULL;
END
{QUOTES};
",
        note = format_args!("{}.note", schema.quoted()),
        kind = literal(table.kind.as_str()),
        mentions = mentions.join(", "),
        same = all(&same),
        still = all(&still),
        old = of("OLD"),
        new = of("NEW"),
        new_title = title(&|title| format!("NEW.{}::text", title.quoted())),
        any_title = title(&|title| format!("seen ->> {}", title.literal())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(table: &str) -> Config {
        toml::from_str(&format!("[[tables]]\ntable = '{table}'\nkind = \"task\"\nmentions = [\"linear_issue\"]"))
            .unwrap()
    }

    #[test]
    fn a_name_from_configuration_never_leaves_its_quotes() {
        let sql = install_sql(&config(r#"public."x"" ON y; DROP TABLE z; --""#), None);
        assert!(sql.contains(r#"ON "public"."x"" ON y; DROP TABLE z; --" FOR"#), "{sql}");
    }

    #[test]
    fn a_fingerprint_follows_what_is_installed() {
        let of = |config: &Config| fingerprint(&config.schema, &config.tables[0]);
        let mut changed = config("public.tasks");
        changed.tables[0].mentions.clear();
        assert_eq!(of(&config("public.tasks")), of(&config("public.tasks")));
        assert_ne!(of(&config("public.tasks")), of(&changed));
        assert!(!watches_the_same(&of(&config("public.tasks")), &of(&changed)));
        let other_script = of(&changed).replacen("2-", "1-", 1);
        assert!(watches_the_same(&other_script, &of(&changed)));
        assert!(watches_the_same("2-0123456789abcdef", &of(&changed)), "an older release does not say");
        assert!(!watches_the_same("", &of(&changed)), "nobody says");
    }
}
