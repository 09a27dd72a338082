//! The section `[policy]`, and the policy that it makes of lifecycles and mappings.

use std::collections::BTreeMap;

use model::{Kind, LifecycleName, Lifecycles, Mappings, OnLink, Policy, Strategy, System};
use runtime::config::ConfigError;
use serde::Deserialize;

use crate::connectors;

/// The section `[policy]`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySettings {
    strategy: Strategy,
    priorities: BTreeMap<System, u32>,
    on_link: OnLink,
    clock_skew_ms: u64,
    escalation_threshold: usize,
    escalation_window_ms: u64,
    strict: bool,
    default_lifecycle: String,
    lifecycle_of: BTreeMap<String, LifecycleName>,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            priorities: BTreeMap::new(),
            on_link: OnLink::default(),
            clock_skew_ms: 2_000,
            escalation_threshold: 3,
            escalation_window_ms: 600_000,
            strict: false,
            default_lifecycle: "work".to_owned(),
            lifecycle_of: BTreeMap::new(),
        }
    }
}

/// The lifecycles of kinds that are not work, where nobody says otherwise.
const LIFECYCLE_OF: [(&str, &str); 2] = [("agentapi/agent", "agent"), ("agent/session", "agent")];

impl PolicySettings {
    /// The policy: built-in lifecycles and the connectors' mappings, with the configured ones over them.
    ///
    /// `tables` are the kinds of tracked tables, and the lifecycles of their items: where no mapping says otherwise, rows speak its own
    /// words.
    pub fn build(
        &self,
        lifecycles: &str,
        mappings: &str,
        tables: &[(Kind, LifecycleName)],
    ) -> Result<Policy, ConfigError> {
        let wrong = |key: &str, why: &dyn std::fmt::Display| ConfigError::new(key, why.to_string());
        let mut all = Lifecycles::built_in().map_err(|error| wrong("lifecycle", &error))?;
        if !lifecycles.is_empty() {
            all.add_toml(lifecycles).map_err(|error| wrong("lifecycle", &error))?;
        }
        let mut lenses = Mappings::default();
        lenses.add_toml(mappings, &all).map_err(|error| wrong("mapping", &error))?;
        // Only where nothing takes their place: a lifecycle that was changed may fit them no more.
        for listed in &connectors::ALL {
            let key = format!("mapping (built in for {})", listed.registration.name);
            lenses.add_missing_toml(listed.registration.mapping, &all).map_err(|error| wrong(&key, &error))?;
        }
        let postgres = System::new("postgres").map_err(|error| wrong("connector.postgres", &error))?;
        for (kind, name) in tables {
            let key = "connector.postgres.tables.lifecycle";
            known(&all, name, key)?;
            let lifecycle = all.get(name).ok_or_else(|| ConfigError::new(key, "there is no such lifecycle"))?;
            let added = lenses.add_own_words(&postgres, kind, lifecycle, &all);
            added.map_err(|error| wrong("connector.postgres.tables", &error))?;
        }
        let default =
            LifecycleName::new(&self.default_lifecycle).map_err(|error| wrong("policy.default_lifecycle", &error))?;
        known(&all, &default, "policy.default_lifecycle")?;
        let mut lifecycle_of = self.lifecycle_of(&all)?;
        for (kind, name) in tables {
            lifecycle_of.entry((postgres.clone(), kind.clone())).or_insert_with(|| name.clone());
        }
        if self.escalation_threshold == 0 {
            return Err(ConfigError::new("policy.escalation_threshold", "must be above 0"));
        }
        let mut policy = Policy::new(all, lenses, default);
        policy.strategy = self.strategy;
        policy.priorities.extend(self.priorities.clone());
        policy.on_link = self.on_link;
        policy.clock_skew_ms = self.clock_skew_ms;
        policy.escalation_threshold = self.escalation_threshold;
        policy.escalation_window_ms = self.escalation_window_ms;
        policy.strict = self.strict;
        policy.lifecycle_of = lifecycle_of;
        Ok(policy)
    }

    fn lifecycle_of(&self, all: &Lifecycles) -> Result<BTreeMap<(System, Kind), LifecycleName>, ConfigError> {
        let built_in =
            LIFECYCLE_OF.iter().filter_map(|(kind, name)| Some(((*kind).to_owned(), LifecycleName::new(name).ok()?)));
        let configured = self.lifecycle_of.iter().map(|(kind, name)| (kind.clone(), name.clone()));
        let entry = |(of, name): (String, LifecycleName)| {
            let key = format!("policy.lifecycle_of.{of}");
            let parts =
                of.split_once('/').and_then(|(system, kind)| Some((System::new(system).ok()?, Kind::new(kind).ok()?)));
            let parts =
                parts.ok_or_else(|| ConfigError::new(&key, "is not a system/kind, such as \"linear/issue\""))?;
            known(all, &name, &key)?;
            Ok((parts, name))
        };
        built_in.chain(configured).map(entry).collect()
    }
}

fn known(all: &Lifecycles, name: &LifecycleName, key: &str) -> Result<(), ConfigError> {
    if all.get(name).is_some() {
        return Ok(());
    }
    let names: Vec<&str> = all.iter().map(|lifecycle| lifecycle.name().as_str()).collect();
    Err(ConfigError::new(key, format!("there is no lifecycle {name:?}; known are {}", names.join(", "))))
}
