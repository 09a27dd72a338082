//! Looks whether the tracked tables can be used, says so in the readiness, and installs what captures their changes.

use std::sync::Arc;
use std::time::Duration;

use connector::{Failure, Finding, Severity};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::Instant;

use super::catalog::{self, Capture};
use super::failure::is_about_lock;
use super::{Client, options, pool};
use crate::config::{Config, Table};
use crate::encode::Statements;
use crate::install::{ALONE, body, fingerprint, grants};
use crate::name::Name;

/// How long an installation of ours waits for the lock of a table.
const INSTALL_LOCK_MS: u32 = 200;
/// How long it then leaves the table to those who write it.
const INSTALL_AGAIN: Duration = Duration::from_secs(30);

/// Installs the outbox and the triggers for all tables, for a role where one is named, or nothing.
pub(crate) async fn install(config: &Config, role: Option<&Name>) -> anyhow::Result<()> {
    config.check().map_err(anyhow::Error::msg)?;
    let pool = pool(config, options(config).map_err(anyhow::Error::msg)?);
    for table in &config.tables {
        // Whoever installs is seldom the role that reads: which rows this one may see is nothing to the other.
        catalog::of_columns(&pool, config, table).await?.map_err(anyhow::Error::msg)?;
    }
    let grants = role.map(|role| grants(config, role)).unwrap_or_default();
    run(&pool, body(config) + &grants).await?;
    pool.close().await;
    Ok(())
}

/// Runs a script in one transaction.
async fn run(pool: &PgPool, script: String) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *transaction).await?;
    transaction.commit().await
}

impl Client {
    /// The statements for a table, which is looked at when that was not done yet.
    pub(super) async fn statements(&self, table: &Table) -> Result<Arc<Statements>, Failure> {
        if let Some(known) = self.usable().get(table.kind.as_str()) {
            return Ok(Arc::clone(known));
        }
        let _one = self.looking.lock().await;
        if let Some(known) = self.usable().get(table.kind.as_str()) {
            return Ok(Arc::clone(known));
        }
        let looked = self.look(table).await;
        let part = format!("postgres:{}", table.table);
        self.process.ready(&part, looked.as_ref().map(drop).map_err(ToString::to_string));
        let statements = Arc::new(looked?);
        self.usable().insert(table.kind.to_string(), Arc::clone(&statements));
        Ok(statements)
    }

    /// Whether triggers of a table that was usable are gone or do not fire any more. Then it is looked at anew before it is used, as at
    /// the start; and so it is where they could not be installed.
    pub(super) async fn lost_capture(&self, table: &Table) -> Result<bool, Failure> {
        if !self.usable().contains_key(table.kind.as_str()) {
            return Ok(false);
        }
        let capture = self.settle("look", catalog::capture(self.pool(), &self.config, table).await)?;
        if capture == Capture::Missing || (capture != Capture::Current && self.config.install) {
            self.usable().remove(table.kind.as_str());
        }
        Ok(capture == Capture::Missing)
    }

    /// Fails where row-level security has come to hide rows of a table. Then it is looked at anew before it is used, as at the start.
    pub(super) async fn sees_all_rows(&self, table: &Table) -> Result<(), Failure> {
        let Some(obstacle) = self.settle("look", catalog::hidden(self.pool(), table).await)? else { return Ok(()) };
        self.usable().remove(table.kind.as_str());
        Err(Failure::unavailable(obstacle))
    }

    /// What stands in the way of each table.
    pub(crate) async fn examine(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for table in &self.config.tables {
            let about = format!("postgres, {}", table.table);
            let looked = catalog::statements(self.pool(), &self.config, table).await;
            match self.settle("examine", looked) {
                Err(failure) => {
                    findings.push(Finding::failed("postgres", &failure));
                    return findings;
                }
                Ok(Err(obstacle)) => {
                    let action = "mend the table, or connector.postgres.tables";
                    findings.push(Finding::new(Severity::Error, "table_unusable", about, obstacle, action));
                    continue;
                }
                Ok(Ok(_)) => {}
            }
            let captured = catalog::capture(self.pool(), &self.config, table).await;
            let (severity, code, message) = match self.settle("examine", captured) {
                Err(failure) => {
                    findings.push(Finding::failed(about, &failure));
                    continue;
                }
                Ok(Capture::Current) => (Severity::Info, "captured", "its changes are captured"),
                Ok(Capture::Missing) if self.config.install => (
                    Severity::Warning,
                    "not_captured",
                    "its changes are not captured; the connector sees to it at its start, and at its next sweep",
                ),
                Ok(Capture::Missing) => {
                    (Severity::Error, "not_captured", "its changes are not captured: Lockstep does not see them")
                }
                Ok(Capture::Other { .. }) => {
                    (Severity::Warning, "captured_otherwise", "its capture is of another version or configuration")
                }
            };
            let action = if severity == Severity::Info { "" } else { "run `lockstep postgres install --apply`" };
            findings.push(Finding::new(severity, code, about, message, action));
        }
        findings
    }

    async fn look(&self, table: &Table) -> Result<Statements, Failure> {
        let statements = self.settle("look", catalog::statements(self.pool(), &self.config, table).await)?;
        let statements = statements.map_err(Failure::unavailable)?;
        let mut capture = self.settle("look", catalog::capture(self.pool(), &self.config, table).await)?;
        if capture != Capture::Current && self.config.install {
            capture = self.installed(table, capture).await?;
        }
        match capture {
            Capture::Missing => Err(Failure::unavailable(format!(
                "changes of {} are not captured; run `lockstep postgres install --apply`, or set install = true",
                table.table
            ))),
            Capture::Other { .. } => {
                tracing::warn!(table = %table.table, "the capture is of another version; run `lockstep postgres install --apply`");
                Ok(statements)
            }
            Capture::Current => Ok(statements),
        }
    }

    /// What is installed once it was tried. Where somebody's transaction holds the table, what captures the same goes on; the next sweep
    /// tries again.
    async fn installed(&self, table: &Table, before: Capture) -> Result<Capture, Failure> {
        let goes_on = before == (Capture::Other { watches_the_same: true });
        if !goes_on && self.held().get(table.kind.as_str()).is_some_and(|again| Instant::now() < *again) {
            let why =
                format!("its capture is not installed: somebody writes {} all the time (lock timeout)", table.table);
            return Err(Failure::unavailable(why));
        }
        let alone = Config { tables: vec![table.clone()], ..self.config.clone() };
        // Whoever writes the table queues behind us while we wait for it.
        let script = format!("{ALONE}SET LOCAL lock_timeout = '{INSTALL_LOCK_MS}ms';\n{}", body(&alone));
        let ran = run(self.pool(), script).await;
        if ran.as_ref().is_err_and(is_about_lock) {
            self.held().insert(table.kind.to_string(), Instant::now() + INSTALL_AGAIN);
        }
        match self.settle("install", ran) {
            Ok(()) => {
                tracing::info!(table = %table.table, fingerprint = fingerprint(&self.config.schema, table), "installed the capture of changes");
                Ok(Capture::Current)
            }
            Err(failure) if goes_on => {
                tracing::warn!(table = %table.table, error = %failure, "the capture of this version cannot be installed yet");
                Ok(before)
            }
            Err(failure) => Err(failure),
        }
    }
}
