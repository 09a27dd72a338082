//! `lockstep doctor`: looks at everything that Lockstep works with, changes nothing, and says what is or will be wrong.

pub mod cli;
mod judge;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use bus::Bus;
use connector::{Examined, Finding, Severity};
use model::Policy;
use runtime::Process;
use serde_json::json;
use store::Store;
use tokio::time::timeout;

use crate::connectors::{self, Listed};
use crate::output;
use crate::places;
use crate::settings::Settings;
use cli::Doctor;

/// How long one system may take to be looked at.
const PATIENCE: Duration = Duration::from_secs(45);
/// How long a server may take to answer.
const SERVER: Duration = Duration::from_secs(10);
const NATS_MS: u64 = 5_000;

/// Looks, and prints what was found: failure when something keeps Lockstep from its work.
pub async fn run(file: Option<&Path>, doctor: Doctor) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(file)?;
    let policy = settings.policy()?;
    places::tell_environment();
    let process = Process::new("lockstep-doctor", None);
    let (nats, postgres) = tokio::join!(nats(&settings, &process), postgres(&settings, &process));
    let mut findings = configuration(&settings);
    findings.extend(nats);
    findings.extend(postgres);
    for listed in &connectors::ALL {
        findings.extend(system(listed, &settings, &policy, &process).await);
    }
    // Stable: those that are equally bad stay in the order in which they were looked for.
    findings.sort_by_key(|finding| finding.severity);
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if doctor.json {
        output::line(&format!("{:#}", json!({"findings": findings, "errors": errors, "warnings": warnings})));
    } else {
        for finding in &findings {
            for line in judge::lines(finding) {
                output::line(&line);
            }
        }
        output::line(&format!("{errors} errors, {warnings} warnings"));
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn configuration(settings: &Settings) -> Vec<Finding> {
    // What is said of the database and of the systems below, is said there.
    let is_elsewhere = |key: &str| key.starts_with("database.") || key.starts_with("connector.");
    let wrong = settings.wrong().into_iter().filter(|error| !is_elsewhere(&error.key));
    let finding = |error: runtime::config::ConfigError| {
        Finding::new(
            Severity::Error,
            "configuration",
            "configuration",
            error.to_string(),
            "mend it; `lockstep check` reads it again",
        )
    };
    wrong.map(finding).collect()
}

async fn nats(settings: &Settings, process: &Process) -> Vec<Finding> {
    let mut config = bus::Config { connect_timeout_ms: NATS_MS, ..settings.nats.clone() };
    let unsaid = config.url == bus::Config::default().url;
    if let Some(url) = places::nats().filter(|_| unsaid) {
        config.url = url;
    }
    let looked = async { Bus::connect(&config, process).await?.standing().await };
    match timeout(SERVER, looked).await {
        Ok(Ok(standing)) => judge::nats(&standing, &config, &settings.ingest),
        Ok(Err(error)) => {
            vec![judge::away("nats", format!("{error:#}"), "start it with -js, or mend nats.url (NATS_URL)")]
        }
        Err(_) => vec![judge::away("nats", "it does not answer", "see whether nats.url (NATS_URL) is right")],
    }
}

async fn postgres(settings: &Settings, process: &Process) -> Vec<Finding> {
    let action = "start it, or mend database.url (DATABASE_URL)";
    if let Err(error) = settings.need_database() {
        return vec![judge::away("postgresql", error.to_string(), action)];
    }
    let looked = async {
        let store = Store::connect(&settings.database, process).await?;
        anyhow::Ok((store.standing().await?, process.now_ms()))
    };
    match timeout(SERVER, looked).await {
        Ok(Ok((standing, now))) => judge::postgres(&standing, now),
        Ok(Err(error)) => vec![judge::away("postgresql", format!("{error:#}"), action)],
        Err(_) => vec![judge::away("postgresql", format!("it does not answer within {} s", SERVER.as_secs()), action)],
    }
}

async fn system(listed: &Listed, settings: &Settings, policy: &Policy, process: &Process) -> Vec<Finding> {
    let name = listed.registration.name;
    let section = settings.connector(listed);
    if let Some(missing) = listed.missing(&section) {
        return vec![Finding::new(Severity::Info, "left_out", name, format!("it is left out: {missing}"), "")];
    }
    let process = process.of(&listed.service());
    let Examined { mut findings, words } =
        match timeout(PATIENCE, (listed.registration.examine)(section, process)).await {
            Ok(Ok(examined)) => examined,
            Ok(Err(error)) => {
                let message = settings.named(error).to_string();
                return vec![Finding::new(Severity::Error, "configuration", name, message, "mend the section")];
            }
            Err(_) => {
                let message = format!("it could not be looked at within {} s", PATIENCE.as_secs());
                return vec![judge::away(name, message, "see whether its address is right, then look again")];
            }
        };
    for words in &words {
        findings.extend(judge::words(words, policy));
    }
    findings
}
