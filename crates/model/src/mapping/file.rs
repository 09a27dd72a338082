//! A mapping as it is written in TOML.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Mapping, MappingError, Reopen};
use crate::{Fold, Kind, LifecycleName, Native, Status, System};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    mapping: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    system: System,
    kind: Kind,
    lifecycle: LifecycleName,
    get: BTreeMap<Status, OneOrMany>,
    #[serde(default)]
    put: BTreeMap<String, Status>,
    #[serde(default)]
    alias: BTreeMap<Native, Native>,
    #[serde(default)]
    silent: BTreeSet<Native>,
    #[serde(default)]
    writable: Option<BTreeSet<Native>>,
    #[serde(default)]
    ends: BTreeSet<Native>,
    #[serde(default)]
    shows: bool,
    #[serde(default)]
    reopen: Reopen,
    #[serde(default)]
    fold: Fold,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Vec<String> {
    fn from(natives: OneOrMany) -> Self {
        match natives {
            OneOrMany::One(native) => vec![native],
            OneOrMany::Many(natives) => natives,
        }
    }
}

/// The `[[mapping]]` tables of a TOML text, not checked yet.
pub(super) fn mappings(text: &str) -> Result<Vec<Mapping>, MappingError> {
    let file: File = toml::from_str(text).map_err(|error| MappingError::Shape(error.to_string()))?;
    Ok(file.mapping.into_iter().map(Mapping::from).collect())
}

impl From<Entry> for Mapping {
    fn from(entry: Entry) -> Self {
        Self {
            system: entry.system,
            kind: entry.kind,
            lifecycle: entry.lifecycle,
            get: entry.get.into_iter().map(|(status, natives)| (status, natives.into())).collect(),
            put: entry.put,
            alias: entry.alias,
            silent: entry.silent,
            writable: entry.writable,
            ends: entry.ends,
            shows: entry.shows,
            reopen: entry.reopen,
            fold: entry.fold,
        }
    }
}
