//! The key of a run with real systems. Their webhooks come from outside, and whoever forwards more than those would hand everybody what
//! an operator may do.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde_json::json;
use toml::Table;

use super::said::Said;
use crate::random;

/// The sections that serve an API, with their keys in the environment before the last word.
const SECTIONS: [(&[&str], &str); 3] = [
    (&["ingest"], "LOCKSTEP__INGEST__"),
    (&["resolver"], "LOCKSTEP__RESOLVER__"),
    (&["broadcaster", "auth"], "LOCKSTEP__BROADCASTER__AUTH__"),
];
/// The keys by which a person says who may use it.
const SAYS: [&str; 4] = ["api_keys", "allow_anonymous", "keys", "jwt"];

/// The key, and what is set so that it is asked for.
pub struct Guard {
    /// The key.
    pub key: String,
    /// Names and values for the environment of the services. Empty where a person said who may use every API.
    pub settings: Vec<(String, String)>,
}

impl Guard {
    /// The key of the folder, made if there is none, for those of the APIs of which neither the configuration file nor the environment
    /// says who may use them.
    pub fn of(folder: &Path, said: &Said) -> Result<Self> {
        let key = random::kept(&folder.join("data/api.key"))?;
        let settings = settings(said.table(), said.environment(), &json!([key]).to_string());
        Ok(Self { key, settings })
    }
}

fn settings(config: &Table, environment: &BTreeMap<String, String>, keys: &str) -> Vec<(String, String)> {
    let is_said = |path: &[&str], prefix: &str| {
        let section = path.iter().try_fold(config, |section, name| section.get(*name)?.as_table());
        let in_file = section.is_some_and(|section| SAYS.iter().any(|key| section.contains_key(*key)));
        // Not by a shell that has read what an earlier start wrote down.
        let in_environment = environment.iter().any(|(name, value)| {
            value != keys
                && name.strip_prefix(prefix).is_some_and(|rest| {
                    SAYS.iter().any(|key| rest.to_ascii_lowercase().split("__").next() == Some(key))
                })
        });
        in_file || in_environment
    };
    let open = SECTIONS.into_iter().filter(|(path, prefix)| !is_said(path, prefix));
    open.map(|(_, prefix)| (format!("{prefix}API_KEYS"), keys.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &str = r#"["k"]"#;

    fn set(config: &str, environment: &[(&str, &str)]) -> Vec<String> {
        let said = Said::new(config, environment);
        let settings = settings(said.table(), said.environment(), KEYS);
        assert!(settings.iter().all(|(_, value)| value == KEYS));
        settings.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn every_api_of_which_nobody_says_who_may_use_it_wants_the_key() {
        let (ingest, resolver) = ("LOCKSTEP__INGEST__API_KEYS", "LOCKSTEP__RESOLVER__API_KEYS");
        let broadcaster = "LOCKSTEP__BROADCASTER__AUTH__API_KEYS";
        let all = [ingest, resolver, broadcaster];
        assert_eq!(set("", &[]), all);
        assert_eq!(set("[ingest]\nbody_max_bytes = 1\n[broadcaster]\nthreads = 1", &[(ingest, KEYS)]), all);
        assert_eq!(set("[ingest]\napi_keys = [\"own\"]", &[]), [resolver, broadcaster]);
        assert_eq!(set("[resolver]\nallow_anonymous = true", &[]), [ingest, broadcaster]);
        assert_eq!(set("[[broadcaster.auth.keys]]\nkey = \"own\"", &[]), [ingest, resolver]);
        assert_eq!(set("", &[(ingest, r#"["own"]"#)]), [resolver, broadcaster]);
        assert_eq!(set("", &[("LOCKSTEP__BROADCASTER__AUTH__JWT__JWKS_URL", "https://x")]), [ingest, resolver]);
    }

    #[test]
    fn the_key_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let first = Guard::of(folder.path(), &Said::default()).unwrap();
        let second = Guard::of(folder.path(), &Said::default()).unwrap();
        assert!(first.key == second.key && first.key.len() == 32 && first.settings.len() == 3);
    }
}
