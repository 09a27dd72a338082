//! `lockstep postgres`: what the tracked tables need.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use runtime::config::{ConfigError, section};

use crate::cli::Postgres;
use crate::connectors;
use crate::output;
use crate::settings::Settings;

/// Prints the SQL, or runs it.
pub async fn run(file: Option<&Path>, task: Postgres) -> anyhow::Result<ExitCode> {
    let Postgres::Install { apply, role } = task;
    let settings = Settings::load(file)?;
    let listed = connectors::ALL.iter().find(|listed| listed.registration.name == "postgres");
    let listed = listed.context("there is no connector for PostgreSQL in this build")?;
    let given = settings.connector(listed);
    if let Some(missing) = listed.missing(&given) {
        return Err(ConfigError::new("connector.postgres", missing).into());
    }
    let config: connector_postgres::Config = section("connector.postgres", &given)?;
    config.check().map_err(|why| ConfigError::new("connector.postgres", why))?;
    if !apply {
        output::line(&connector_postgres::install_sql(&config, role.as_ref()));
        return Ok(ExitCode::SUCCESS);
    }
    connector_postgres::install(&config, role.as_ref()).await?;
    let tables: Vec<String> = config.tables.iter().map(|table| table.table.to_string()).collect();
    output::line(&format!("installed for {}", tables.join(", ")));
    Ok(ExitCode::SUCCESS)
}
