//! `lockstep check`: everything that can be known to be wrong without starting anything.

use std::path::Path;
use std::process::ExitCode;

use runtime::EXIT_CONFIG;

use crate::connectors;
use crate::output;
use crate::settings::Settings;

/// Reads it all, and says what is wrong or what would run.
pub fn run(file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(file)?;
    let policy = settings.policy()?;
    let wrong = settings.wrong();
    let mut lines = vec![format!(
        "{} lifecycles, {} mappings: lawful",
        policy.lifecycles.iter().count(),
        policy.mappings.iter().count()
    )];
    for listed in &connectors::ALL {
        let service = listed.service();
        match listed.missing(&settings.connector(listed)) {
            Some(missing) => lines.push(format!("{service}: would be left out, {missing}")),
            None if settings.check_connector(listed).is_ok() => lines.push(format!("{service}: would run")),
            // It is among what is wrong.
            None => {}
        }
    }
    for line in lines {
        output::line(&line);
    }
    for error in &wrong {
        output::complain(&error.to_string());
    }
    if wrong.is_empty() {
        output::line("the configuration can be run with");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(u8::try_from(EXIT_CONFIG).unwrap_or(1)))
}
