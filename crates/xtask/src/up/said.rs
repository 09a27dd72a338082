//! What a person says of a setting: in the environment, or in the configuration file of a run with real systems.
//!
//! Reads as the executable does: `LOCKSTEP__…` wins over the name that people expect, and that over the file.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use toml::{Table, Value};

use super::place::Systems;
use crate::servers::{Named, OWN, STORAGE_MB};
use crate::setting::{given, wrong};
use crate::state;

/// Both, read once.
#[derive(Default)]
pub struct Said {
    file: Option<PathBuf>,
    table: Table,
    environment: BTreeMap<String, String>,
}

impl Said {
    /// What counts for a run with these systems: one with the sandboxes reads no file of a person's.
    pub fn of(systems: Systems) -> Result<Self> {
        let file = match systems {
            Systems::Sandboxes => None,
            Systems::Real => own_file()?,
        };
        let table = file.as_deref().map(read).transpose()?.unwrap_or_default();
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Ok(Self { file, table, environment: env::vars_os().filter_map(text).collect() })
    }

    /// For tests: as of this file and this environment.
    #[cfg(test)]
    pub fn new(file: &str, environment: &[(&str, &str)]) -> Self {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { file: Some("lockstep.toml".into()), table: file.parse().unwrap_or_default(), environment }
    }

    /// The configuration file, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What it says.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The environment, as far as it is text.
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// What is said of a key with dots, for which people expect this name in the environment; with the place, for a sentence.
    pub fn find(&self, key: &str, expected: Option<&str>) -> Option<(String, String)> {
        let own = format!("LOCKSTEP__{}", key.replace('.', "__").to_uppercase());
        for name in [Some(own.as_str()), expected].into_iter().flatten() {
            if let Some(value) = self.environment.get(name).filter(|value| !value.trim().is_empty()) {
                return Some((name.to_owned(), value.clone()));
            }
        }
        let mut parts = key.split('.');
        let first = self.table.get(parts.next()?)?;
        let value = match parts.try_fold(first, |section, part| section.get(part))? {
            Value::String(text) => text.clone(),
            Value::Array(list) if list.is_empty() => return None,
            other => other.to_string(),
        };
        let file = self.file.as_deref().unwrap_or(Path::new("the configuration"));
        (!value.trim().is_empty()).then(|| (format!("{key} in {}", file.display()), value))
    }

    /// The server that is named, unless an earlier start brought it up itself and wrote it down for a shell.
    pub fn server(&self, key: &str, expected: &str) -> Option<Named> {
        let own = self.environment.get(OWN).is_some_and(|own| own.split(',').any(|own| own == expected));
        let (place, url) = self.find(key, (!own).then_some(expected))?;
        Some(Named { place, url })
    }

    /// How many megabytes the streams get where nobody says it: on a laptop, and for a demo, fewer than the services' own default.
    pub fn storage_mb(&self, systems: Systems, is_own: bool) -> Option<u64> {
        let few = is_own || systems == Systems::Sandboxes;
        (few && self.find("nats.storage_mb", None).is_none()).then_some(STORAGE_MB)
    }

    /// Refuses a file that names a server where the folder has what one of ours stored: it would not be read any more.
    pub fn check_stored(&self, folder: &Path) -> Result<()> {
        for (key, expected, name) in [("nats.url", "NATS_URL", "nats"), ("database.url", "DATABASE_URL", "postgres")] {
            let stored = folder.join("data").join(name);
            let named = self.server(key, expected).filter(|named| named.place.starts_with(key));
            if let Some(Named { place, .. }) = named.filter(|_| stored.is_dir()) {
                return Err(wrong(format!(
                    "{place} names a server, and {} has what an earlier start stored without it; leave the key out to go on with that, or \
                     begin with an empty folder (--data)",
                    stored.display()
                )));
            }
        }
        Ok(())
    }

    /// Refuses a file that says who we are to a NATS server, and names none: ours knows another.
    pub fn check_credentials(&self) -> Result<()> {
        if self.server("nats.url", "NATS_URL").is_some() {
            return Ok(());
        }
        let said = ["nats.token", "nats.credentials"]
            .map(|key| self.find(key, None).filter(|(place, _)| place.starts_with(key)));
        match said.into_iter().flatten().next() {
            Some((place, _)) => {
                Err(wrong(format!("{place} is for a NATS server of yours: name it with nats.url, or leave this out")))
            }
            None => Ok(()),
        }
    }
}

/// The configuration file of a person's own.
fn own_file() -> Result<Option<PathBuf>> {
    match given("LOCKSTEP_CONFIG") {
        // The services start in the checkout.
        Some(named) => Ok(Some(std::path::absolute(named)?)),
        None => Ok(Some(state::root().join("lockstep.toml")).filter(|file| file.is_file())),
    }
}

fn read(file: &Path) -> Result<Table> {
    let text =
        fs::read_to_string(file).map_err(|error| wrong(format!("{} cannot be read: {error}", file.display())))?;
    text.parse().map_err(|error: toml::de::Error| wrong(format!("{}: {}", file.display(), error.message())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_where_the_executable_finds_it() {
        let file = "[nats]\nurl = \"nats://file\"\n[connector.github]\napp_id = 7\n[connector.agentapi]\nagents = []";
        let of = |environment: &[(&str, &str)], key: &str, expected| Said::new(file, environment).find(key, expected);
        let found = |place: &str, value: &str| Some((place.to_owned(), value.to_owned()));
        let both = [("NATS_URL", "nats://expected"), ("LOCKSTEP__NATS__URL", "nats://own")];
        assert_eq!(of(&both, "nats.url", Some("NATS_URL")), found("LOCKSTEP__NATS__URL", "nats://own"));
        assert_eq!(of(&both[..1], "nats.url", Some("NATS_URL")), found("NATS_URL", "nats://expected"));
        assert_eq!(
            of(&[("NATS_URL", " ")], "nats.url", Some("NATS_URL")),
            found("nats.url in lockstep.toml", "nats://file")
        );
        assert_eq!(of(&[], "connector.github.app_id", None).unwrap().1, "7");
        assert_eq!(of(&[], "connector.agentapi.agents", None), None);
        assert_eq!(of(&[], "database.url", Some("DATABASE_URL")), None);
    }

    #[test]
    fn a_server_that_an_earlier_start_brought_up_is_nobody_elses() {
        let shell = [(OWN, "NATS_URL"), ("NATS_URL", "nats://ours"), ("DATABASE_URL", "postgres://theirs")];
        let said = Said::new("", &shell);
        assert!(said.server("nats.url", "NATS_URL").is_none());
        assert_eq!(said.server("database.url", "DATABASE_URL").unwrap().url, "postgres://theirs");
        let said = Said::new("[nats]\nurl = \"nats://theirs\"", &shell);
        assert_eq!(said.server("nats.url", "NATS_URL").unwrap().url, "nats://theirs");
    }

    #[test]
    fn a_file_that_names_a_server_does_not_hide_what_one_of_ours_stored() {
        let folder = tempfile::tempdir().unwrap();
        let file = "[nats]\nurl = \"nats://theirs\"\n[database]\nurl = \"postgres://theirs\"";
        Said::new(file, &[]).check_stored(folder.path()).unwrap();
        fs::create_dir_all(folder.path().join("data/postgres")).unwrap();
        let refused = Said::new(file, &[]).check_stored(folder.path()).unwrap_err().to_string();
        assert!(refused.starts_with("database.url in lockstep.toml names a server"), "{refused}");
        Said::new("", &[]).check_stored(folder.path()).unwrap();
        // What the environment names won before, too.
        Said::new(file, &[("DATABASE_URL", "postgres://theirs")]).check_stored(folder.path()).unwrap();
    }

    #[test]
    fn who_we_are_to_a_nats_is_said_with_its_address() {
        let credentials = "[nats]\ncredentials = \"a.creds\"";
        let refused = Said::new(credentials, &[]).check_credentials().unwrap_err().to_string();
        assert!(refused.starts_with("nats.credentials in lockstep.toml is for a NATS server of yours"), "{refused}");
        Said::new(credentials, &[("NATS_URL", "nats://theirs")]).check_credentials().unwrap();
    }

    #[test]
    fn a_demos_streams_are_small_wherever_they_are() {
        let megabytes = |file, systems, is_own| Said::new(file, &[]).storage_mb(systems, is_own);
        assert_eq!(megabytes("", Systems::Sandboxes, false), Some(STORAGE_MB));
        assert_eq!(megabytes("", Systems::Real, true), Some(STORAGE_MB));
        assert_eq!(megabytes("", Systems::Real, false), None);
        assert_eq!(megabytes("[nats]\nstorage_mb = 64", Systems::Sandboxes, true), None);
    }
}
