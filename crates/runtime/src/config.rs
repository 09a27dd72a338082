//! Reads a process's settings: one TOML file, the environment over it, and one clear sentence when something is wrong.
//!
//! Knows no section; the type that it fills says what there is.

mod secret;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::de::DeserializeOwned;

pub use secret::Secret;
use tree::Tree;
pub use tree::UNKNOWN;

/// The exit code of a process that was not configured right (`EX_USAGE` of sysexits.h).
pub const EXIT_CONFIG: i32 = 64;

/// Keys of an older release, and what they are called now.
const RENAMED: [(&str, &str); 1] = [("broadcaster.origins", "http.origins")];

/// What the names of our own environment variables start with.
const PREFIX: &str = "LOCKSTEP__";

/// A setting that cannot be used. Displays as one sentence that names the key and where it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file or the environment variable that says it.
    pub origin: String,
    /// The key, with dots; empty when it is not about one key.
    pub key: String,
    /// What is wrong.
    pub why: String,
}

impl ConfigError {
    /// A setting that reads well and makes no sense: for checks that come after loading.
    pub fn new(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self { origin: nowhere(), key: key.into(), why: why.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.origin, self.why),
            key => write!(f, "{}: {key}: {}", self.origin, self.why),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The settings from the file (when there is one) and from the process's environment, which wins.
///
/// `LOCKSTEP__INGEST__LISTEN` sets `ingest.listen`. A value is read as the type of its key; one that starts with `[` or
/// `{` is a list or table of TOML or JSON. `well_known` maps names that people expect (`DATABASE_URL`) to keys (`store.url`); they
/// win over the file and lose to `LOCKSTEP__…`, and an empty one counts as not set.
pub fn load<T: DeserializeOwned>(
    path: Option<&Path>,
    well_known: &[(&str, &str)],
) -> Result<(T, Origins), ConfigError> {
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    load_with_origins(path, well_known, environment)
}

/// As [`load`], with the environment as an argument, and the settings alone.
pub fn load_from<T: DeserializeOwned>(
    path: Option<&Path>,
    well_known: &[(&str, &str)],
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    load_with_origins(path, well_known, environment).map(|(settings, _)| settings)
}

/// As [`load`], with the environment as an argument.
pub fn load_with_origins<T: DeserializeOwned>(
    path: Option<&Path>,
    well_known: &[(&str, &str)],
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(T, Origins), ConfigError> {
    let said = path.map_or_else(|| Ok(Tree::empty()), read)?;
    let mut tree = said.clone();
    let environment: BTreeMap<String, String> = environment.into_iter().collect();
    let mut set_by = BTreeMap::new();
    for (name, key) in well_known {
        if let Some(value) = environment.get(*name).filter(|value| !value.is_empty()) {
            set(&mut tree, &mut set_by, name, key, value)?;
        }
    }
    for (name, value) in &environment {
        if let Some(rest) = name.strip_prefix(PREFIX) {
            let key = rest.to_lowercase().replace("__", ".");
            set(&mut tree, &mut set_by, name, &key, value)?;
        }
    }
    let file = path.map(|path| path.display().to_string());
    let origins = Origins { file, said, set_by };
    match fill(tree) {
        Ok(settings) => Ok((settings, origins)),
        Err((key, why)) => {
            let file = || origins.file.clone().unwrap_or_else(nowhere);
            Err(ConfigError { origin: origins.variable(&key).unwrap_or_else(file), key, why })
        }
    }
}

/// Where each setting was said.
#[derive(Debug, Clone)]
pub struct Origins {
    file: Option<String>,
    /// What the file says.
    said: Tree,
    /// The environment variables, by the keys they set.
    set_by: BTreeMap<String, String>,
}

impl Default for Origins {
    fn default() -> Self {
        Self { file: None, said: Tree::empty(), set_by: BTreeMap::new() }
    }
}

impl Origins {
    /// The same error with the place where its key was said, where a check that came after loading did not know it.
    #[must_use]
    pub fn name(&self, error: ConfigError) -> ConfigError {
        // `agents[0].url` is a part of what was said as `agents`.
        let key = error.key.split('[').next().unwrap_or_default();
        if error.origin != nowhere() || key.is_empty() {
            return error;
        }
        let file = || self.file.clone().filter(|_| self.said.has(key));
        let origin = self.variable(key).or_else(file).unwrap_or_else(nowhere);
        ConfigError { origin, ..error }
    }

    fn variable(&self, key: &str) -> Option<String> {
        let under = |set: &str, above: &str| set == above || set.starts_with(&format!("{above}."));
        // A whole section may be there only because the environment names a key in it.
        let set_here = |set: &str| under(key, set) || (under(set, key) && !self.said.has(key));
        let (_, name) = self.set_by.iter().find(|(set, _)| set_here(set))?;
        Some(format!("environment variable {name}"))
    }
}

fn nowhere() -> String {
    "configuration".to_owned()
}

/// One section that reached its owner unparsed, as the owner's type. Texts become numbers or truth values where the
/// type wants them, as they do in [`load`], for the environment has nothing but texts.
pub fn section<T: DeserializeOwned>(name: &str, value: &serde_json::Value) -> Result<T, ConfigError> {
    fill(Tree::from_json(value)).map_err(|(key, why)| {
        let key = if key.is_empty() { name.to_owned() } else { format!("{name}.{key}") };
        ConfigError::new(key, why)
    })
}

fn read(path: &Path) -> Result<Tree, ConfigError> {
    let wrong = |why: String| ConfigError { origin: path.display().to_string(), key: String::new(), why };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(0, |span| text.get(..span.start).unwrap_or("").matches('\n').count() + 1);
        wrong(format!("line {line}: {}", error.message()))
    })?;
    Ok(Tree::from_toml(toml::Value::Table(table)))
}

fn set(
    tree: &mut Tree,
    set_by: &mut BTreeMap<String, String>,
    name: &str,
    key: &str,
    value: &str,
) -> Result<(), ConfigError> {
    tree.set(key, Tree::from_text(value)).map_err(|why| ConfigError {
        origin: format!("environment variable {name}"),
        key: key.to_owned(),
        why,
    })?;
    set_by.insert(key.to_owned(), name.to_owned());
    Ok(())
}

fn fill<T: DeserializeOwned>(tree: Tree) -> Result<T, (String, String)> {
    serde_path_to_error::deserialize(tree).map_err(|error| {
        let key = error.path().to_string();
        let key = if key == "." { String::new() } else { key };
        let why = match RENAMED.iter().find(|(before, _)| *before == key) {
            Some((_, now)) => format!("it is {now} now"),
            None => error.into_inner().to_string(),
        };
        (key, why)
    })
}

#[cfg(test)]
mod tests;
