//! `lockstep claim`: notes on NATS and in PostgreSQL of which systems their data is, before anything else is stored there.
//!
//! `cargo xtask up` asks for it where a server is a person's own: a demo must not take over the database of another project, nor
//! acknowledge the commands of real systems.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bus::{Bus, Stream};
use clap::{Args, ValueEnum};
use runtime::Process;
use runtime::config::ConfigError;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::time::timeout;

use crate::output;
use crate::settings::Settings;

const PATIENCE: Duration = Duration::from_secs(30);
/// The note on the bus: a cursor of this name.
const CURSOR: &str = "systems";
/// What the note in PostgreSQL, a comment on the schema, begins with.
const COMMENT: &str = "Lockstep: ";

/// Of which systems the data is, and where that is noted.
#[derive(Debug, Args)]
pub struct Claim {
    /// The systems
    pub systems: Systems,
    /// On NATS
    #[arg(long)]
    pub nats: bool,
    /// In the database
    #[arg(long)]
    pub database: bool,
    /// Also where it is not noted yet of which systems a Lockstep's data is, as by an older release
    #[arg(long)]
    pub adopt: bool,
}

/// The kinds of systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Systems {
    /// Stand-ins
    Sandboxes,
    /// Real ones
    Real,
}

impl Systems {
    fn word(self) -> &'static str {
        match self {
            Self::Sandboxes => "sandboxes",
            Self::Real => "real",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        [Self::Sandboxes, Self::Real].into_iter().find(|systems| systems.word() == word)
    }
}

impl fmt::Display for Systems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sandboxes => "the sandboxes",
            Self::Real => "real systems",
        })
    }
}

/// What a server holds.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// Something of Lockstep's, and of which systems, where that is noted.
    Lockstep(Option<Systems>),
    /// Somebody else's: this, for one.
    Foreign(String),
}

/// Why it must not be used for these systems.
fn refusal(wanted: Systems, found: &Found, adopt: bool) -> Option<String> {
    match found {
        Found::Lockstep(Some(noted)) if *noted != wanted => Some(format!("has the data of {noted}")),
        Found::Lockstep(None) if wanted == Systems::Sandboxes && !adopt => {
            Some("has the data of a Lockstep that no demo has started".to_owned())
        }
        Found::Foreign(what) if wanted == Systems::Sandboxes => {
            Some(format!("belongs to something else: it has {what}"))
        }
        _ => None,
    }
}

/// Looks first, at all that is named, and notes then.
pub async fn run(file: Option<&Path>, claim: Claim) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(file)?;
    let process = Process::new("lockstep-claim", None);
    let mut database = None;
    if claim.database {
        settings.need_database()?;
        let url = settings.database.url.expose();
        let connecting = timeout(PATIENCE, PgConnection::connect(url)).await;
        let mut connection =
            connecting.context("the database does not answer")?.context("the database cannot be reached")?;
        let found = timeout(PATIENCE, in_database(&mut connection)).await.context("the database does not answer")??;
        refuse(&claim, &found, &DATABASE)?;
        database = Some((connection, found));
    }
    if claim.nats {
        let bus = Bus::connect(&settings.nats, &process).await?;
        let found = on_bus(&bus).await?;
        refuse(&claim, &found, &NATS)?;
        if found != Found::Lockstep(Some(claim.systems)) {
            bus.ensure_topology().await?;
            bus.store_cursor(CURSOR, claim.systems.word().into()).await?;
        }
    }
    if let Some((mut connection, found)) = database
        && found != Found::Lockstep(Some(claim.systems))
    {
        let noting =
            timeout(PATIENCE, note(&mut connection, claim.systems)).await.context("the database does not answer")?;
        match noting {
            // Somebody else owns the schema, and lets us use it.
            Err(error) if found != Found::Nothing => {
                output::complain(&format!("of which systems the database's data is cannot be noted there: {error}"));
            }
            noted => noted.context("the schema `lockstep` cannot be made")?,
        }
    }
    process.shutdown().cancel();
    Ok(ExitCode::SUCCESS)
}

/// A server, in the sentence that refuses it.
struct Server {
    variable: &'static str,
    option: &'static str,
    name: &'static str,
    instead: &'static str,
}

const DATABASE: Server = Server {
    variable: "DATABASE_URL",
    option: "--database",
    name: "the database",
    instead: "a database of its own; or name an empty one",
};
const NATS: Server = Server {
    variable: "NATS_URL",
    option: "--nats",
    name: "the NATS server",
    instead: "one of its own; or name another",
};

fn refuse(claim: &Claim, found: &Found, server: &Server) -> Result<(), ConfigError> {
    let Some(why) = refusal(claim.systems, found, claim.adopt) else { return Ok(()) };
    let Server { variable, option, name, instead } = server;
    let adopt = match found {
        Found::Lockstep(None) => format!(
            ". If it was a demo's of an older release, say so: `cargo lockstep claim {} {option} --adopt`",
            claim.systems.word()
        ),
        _ => String::new(),
    };
    let why = format!("{name} {why}; unset {variable}, and `cargo xtask up` starts {instead}{adopt}");
    Err(ConfigError { origin: (*variable).to_owned(), key: String::new(), why })
}

async fn in_database(connection: &mut PgConnection) -> sqlx::Result<Found> {
    let (schema, comment, foreign): (bool, Option<String>, Option<String>) = sqlx::query_as(
        "select to_regnamespace('lockstep') is not null,
                obj_description(to_regnamespace('lockstep'), 'pg_namespace'),
                (select format('the table %I.%I', space.nspname, class.relname)
                   from pg_class class join pg_namespace space on space.oid = class.relnamespace
                  where class.relkind in ('r', 'p')
                    and space.nspname not in ('information_schema', 'lockstep_outbox') and space.nspname not like 'pg\\_%'
                    and not exists (select from pg_depend
                                     where classid = 'pg_class'::regclass and objid = class.oid and deptype = 'e')
                  limit 1)",
    )
    .fetch_one(connection)
    .await?;
    let noted = comment.and_then(|comment| Systems::of_word(comment.strip_prefix(COMMENT)?));
    Ok(match foreign {
        _ if schema => Found::Lockstep(noted),
        Some(table) => Found::Foreign(table),
        None => Found::Nothing,
    })
}

async fn note(connection: &mut PgConnection, systems: Systems) -> sqlx::Result<()> {
    let comment = format!("comment on schema lockstep is '{COMMENT}{}'", systems.word());
    sqlx::raw_sql("create schema if not exists lockstep").execute(&mut *connection).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(comment)).execute(&mut *connection).await?;
    Ok(())
}

async fn on_bus(bus: &Bus) -> anyhow::Result<Found> {
    const STREAMS: [Stream; 7] = [
        Stream::Webhooks,
        Stream::Observations,
        Stream::Commands,
        Stream::Changes,
        Stream::Live,
        Stream::Alerts,
        Stream::DeadLetters,
    ];
    let missing = bus.standing().await?.missing;
    let Some(there) = STREAMS.map(Stream::name).into_iter().find(|name| !missing.contains(name)) else {
        return Ok(Found::Nothing);
    };
    // Whoever has a stream of that name and no cursors is not Lockstep.
    let Ok(noted) = bus.cursor(CURSOR).await else { return Ok(Found::Foreign(format!("a stream {there}"))) };
    Ok(Found::Lockstep(noted.and_then(|noted| Systems::of_word(std::str::from_utf8(&noted).ok()?))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stand_ins_and_real_systems_do_not_meet_and_a_demo_takes_over_nothing() {
        let foreign = || Found::Foreign("the table public.users".to_owned());
        let cases = [
            (Found::Nothing, None, None),
            (Found::Lockstep(Some(Systems::Sandboxes)), None, Some("has the data of the sandboxes")),
            (Found::Lockstep(Some(Systems::Real)), Some("has the data of real systems"), None),
            (Found::Lockstep(None), Some("no demo has started"), None),
            (foreign(), Some("the table public.users"), None),
        ];
        for (found, demo, real) in cases {
            for (wanted, part) in [(Systems::Sandboxes, demo), (Systems::Real, real)] {
                let refused = refusal(wanted, &found, false);
                assert_eq!(refused.is_some(), part.is_some(), "{wanted:?} {found:?}");
                assert!(refused.unwrap_or_default().contains(part.unwrap_or_default()), "{wanted:?} {found:?}");
            }
        }
    }

    #[test]
    fn what_a_demo_of_before_used_is_adopted_once_a_person_says_so_and_nothing_else_is() {
        let claim = |adopt| Claim { systems: Systems::Sandboxes, nats: true, database: true, adopt };
        let refused = refuse(&claim(false), &Found::Lockstep(None), &NATS).unwrap_err().why;
        assert!(refused.ends_with("`cargo lockstep claim sandboxes --nats --adopt`"), "{refused}");
        assert!(refuse(&claim(true), &Found::Lockstep(None), &DATABASE).is_ok());
        for other in [Found::Lockstep(Some(Systems::Real)), Found::Foreign("the table public.users".to_owned())] {
            let refused = refuse(&claim(true), &other, &DATABASE).unwrap_err().why;
            assert!(!refused.contains("--adopt"), "{refused}");
        }
    }
}
