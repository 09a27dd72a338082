//! The connectors that there are. One line each; nothing else knows their names.

use anyhow::Context;
use connector::Registration;
use serde_json::Value;

/// All of them.
pub const ALL: [Listed; 4] = [
    listed(
        connector_linear::REGISTRATION,
        &["api_key", "client_id"],
        "neither LINEAR_API_KEY nor LINEAR_CLIENT_ID is set",
    ),
    listed(connector_github::REGISTRATION, &["token", "app_id"], "neither GITHUB_TOKEN nor GITHUB_APP_ID is set"),
    listed(connector_postgres::REGISTRATION, &["tables"], "connector.postgres.tables names no table"),
    listed(connector_agentapi::REGISTRATION, &["url", "agents"], "AGENT_API_URL is not set"),
];

/// The one of that name.
pub fn named(system: &str) -> anyhow::Result<&'static Listed> {
    let found = ALL.iter().find(|listed| listed.registration.name == system);
    found.with_context(|| format!("there is no system {system:?}; known here are {}", names().join(", ")))
}

/// The systems that they connect.
pub fn names() -> [&'static str; 4] {
    ALL.each_ref().map(|listed| listed.registration.name)
}

/// A connector, and by which settings it is known that somebody wants it.
pub struct Listed {
    /// What the connector says of itself.
    pub registration: Registration,
    wants_one_of: &'static [&'static str],
    missing: &'static str,
}

const fn listed(registration: Registration, wants_one_of: &'static [&'static str], missing: &'static str) -> Listed {
    Listed { registration, wants_one_of, missing }
}

impl Listed {
    /// Its service's name.
    pub fn service(&self) -> String {
        format!("connector-{}", self.registration.name)
    }

    /// Nothing, when its section sets it up; else what is missing.
    pub fn missing(&self, section: &Value) -> Option<&'static str> {
        let is_set = |key: &&str| match section.get(key) {
            None | Some(Value::Null) => false,
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(list)) => !list.is_empty(),
            Some(_) => true,
        };
        if self.wants_one_of.iter().any(is_set) { None } else { Some(self.missing) }
    }
}
