//! The whole configuration: each crate's own section, put together, read and checked before anything starts.

mod policy;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum as _;
use model::{Kind, Lifecycle, LifecycleName, Policy, Status};
use runtime::HttpConfig;
use runtime::config::{ConfigError, Origins};
use runtime::telemetry::TelemetryConfig;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cli::Service;
use crate::connectors::{self, Listed};
use policy::PolicySettings;

/// The file that is read when none is named and it is there.
const FILE: &str = "lockstep.toml";

/// The names that people expect in the environment, and the keys they set.
const WELL_KNOWN: &[(&str, &str)] = &[
    ("NATS_URL", "nats.url"),
    ("DATABASE_URL", "database.url"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.otlp_endpoint"),
    ("LINEAR_API_KEY", "connector.linear.api_key"),
    ("LINEAR_CLIENT_ID", "connector.linear.client_id"),
    ("LINEAR_CLIENT_SECRET", "connector.linear.client_secret"),
    ("LINEAR_API_URL", "connector.linear.api_url"),
    ("LINEAR_WEBHOOK_SECRET", "ingest.linear.secrets"),
    ("GITHUB_TOKEN", "connector.github.token"),
    ("GITHUB_API_URL", "connector.github.api_url"),
    ("GITHUB_WEBHOOK_SECRET", "ingest.github.secrets"),
    ("GITHUB_APP_ID", "connector.github.app_id"),
    ("GITHUB_APP_INSTALLATION_ID", "connector.github.installation_id"),
    ("GITHUB_APP_PRIVATE_KEY", "connector.github.private_key"),
    ("GITHUB_APP_PRIVATE_KEY_FILE", "connector.github.private_key_path"),
    ("AGENT_API_URL", "connector.agentapi.url"),
];

/// Everything that can be set. Its parts keep secrets as such; those of connectors are not parsed here, so it does not print.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where NATS is.
    pub nats: bus::Config,
    /// Where PostgreSQL is.
    pub database: store::Config,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
    /// The one address of `lockstep up`.
    pub gateway: Gateway,
    /// What browsers may do with the HTTP APIs.
    pub http: HttpConfig,
    /// The address of a connector's process, for its liveness, readiness and metrics.
    pub admin: Admin,
    policy: PolicySettings,
    /// The service of that name.
    pub ingest: ingest::Config,
    /// The service of that name.
    pub resolver: resolver::Config,
    /// The service of that name.
    pub broadcaster: broadcaster::Config,
    /// The service of that name.
    pub monitor: monitor::Config,
    /// By system; each reaches its connector as it is.
    connector: BTreeMap<String, Value>,
    mapping: Vec<Value>,
    lifecycle: BTreeMap<String, Value>,
    #[serde(skip)]
    origins: Origins,
}

/// The section `[gateway]`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// Where to listen.
    pub listen: SocketAddr,
}

impl Default for Gateway {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)) }
    }
}

/// The section `[admin]`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Where to listen.
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8083)) }
    }
}

impl Settings {
    /// Reads the file, or the one that is there when none is named, and the environment over it.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let found = PathBuf::from(FILE);
        let file = file.or_else(|| found.is_file().then_some(found.as_path()));
        let (settings, origins) = runtime::config::load(file, WELL_KNOWN)?;
        Self { origins, ..settings }.checked()
    }

    fn checked(self) -> Result<Self, ConfigError> {
        self.check().map_err(|error| self.named(error))?;
        Ok(self)
    }

    /// The same error with the file or the variable that says what is wrong.
    pub fn named(&self, error: ConfigError) -> ConfigError {
        self.origins.name(error)
    }

    /// Everything that keeps `lockstep up` from running with it.
    pub fn wrong(&self) -> Vec<ConfigError> {
        let gateway = Some(self.gateway.listen);
        let services = [Service::Ingest, Service::Resolver, Service::Broadcaster, Service::Monitor];
        let services = services.into_iter().filter_map(|service| self.check_service(service, gateway).err());
        let wanted = connectors::ALL.iter().filter(|listed| listed.missing(&self.connector(listed)).is_none());
        let connectors = wanted.filter_map(|listed| self.check_connector(listed).err());
        let others = [self.telemetry.check().map_err(|error| self.named(error)).err(), self.need_database().err()];
        others.into_iter().flatten().chain(services).chain(connectors).collect()
    }

    /// Nothing, when a service can run with its section, where `gateway` serves it too; else what is wrong.
    pub fn check_service(&self, service: Service, gateway: Option<SocketAddr>) -> Result<(), ConfigError> {
        let checked = match service {
            Service::Ingest => self.ingest.check(gateway),
            Service::Resolver => self.resolver.check(gateway),
            Service::Broadcaster => {
                let addresses = std::iter::once(self.broadcaster.listen).chain(gateway);
                let auth = &self.broadcaster.auth;
                self.broadcaster.check().and_then(|()| auth.check(addresses)).and_then(|()| auth.check_files())
            }
            Service::Monitor => self.monitor.check(),
            Service::ConnectorLinear
            | Service::ConnectorGithub
            | Service::ConnectorPostgres
            | Service::ConnectorAgentapi => Ok(()),
        };
        checked.map_err(|error| self.named(error))
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.nats.check().map_err(|why| ConfigError::new("", why))?;
        self.http.check()?;
        self.broadcaster.check()?;
        self.monitor.check()?;
        let services: Vec<&str> = Service::value_variants().iter().map(|service| service.name()).collect();
        if let Some(name) = self.monitor.expect.iter().find(|name| !services.contains(&name.as_str())) {
            let why = format!("there is no service {name:?}; there are {}", services.join(", "));
            return Err(ConfigError::new("monitor.expect", why));
        }
        let known: Vec<&str> = connectors::ALL.iter().map(|listed| listed.registration.name).collect();
        match self.connector.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                let why = format!("there is no such connector; known here are {}", known.join(", "));
                Err(ConfigError::new(format!("connector.{name}"), why))
            }
            None => Ok(()),
        }
    }

    /// The lifecycles and mappings, built in and configured, and all that stands in `[policy]`.
    pub fn policy(&self) -> Result<Arc<Policy>, ConfigError> {
        let toml = |key: &str, value: Value| {
            let text = toml::to_string(&Map::from_iter([(key.to_owned(), value)]));
            text.map_err(|error| ConfigError::new(key, error.to_string()))
        };
        let lifecycles = if self.lifecycle.is_empty() {
            String::new()
        } else {
            toml("lifecycle", self.lifecycle.clone().into_iter().collect::<Map<_, _>>().into())?
        };
        let mappings = toml("mapping", Value::Array(self.mapping.clone()))?;
        let policy = self.policy.build(&lifecycles, &mappings, &self.tables()).map_err(|error| self.named(error))?;
        self.check_messages(&policy).map_err(|error| self.named(error))?;
        Ok(Arc::new(policy))
    }

    /// Refuses messages to agents on statuses that no item can have. All else of them their connector checks.
    fn check_messages(&self, policy: &Policy) -> Result<(), ConfigError> {
        let known: BTreeSet<&str> =
            policy.lifecycles.iter().flat_map(Lifecycle::statuses).map(Status::as_str).collect();
        let messages = self.connector.get("agentapi").and_then(|section| section.get("messages"));
        let on = messages.and_then(Value::as_array).into_iter().flatten().filter_map(|message| message.get("on"));
        let mut statuses = on.filter_map(Value::as_array).flatten().filter_map(Value::as_str);
        match statuses.find(|status| !known.contains(status)) {
            None => Ok(()),
            Some(status) => {
                let known = known.into_iter().collect::<Vec<_>>().join(", ");
                let why = format!("on: no lifecycle has the status {status:?}; there are {known}");
                Err(ConfigError::new("connector.agentapi.messages", why))
            }
        }
    }

    /// The kinds of tracked tables, and the lifecycles of their items. What is wrong in the section its connector says.
    fn tables(&self) -> Vec<(Kind, LifecycleName)> {
        let section = self.connector.get("postgres");
        let tables = section.and_then(|section| section.get("tables")).and_then(Value::as_array);
        let table = |table: &Value| {
            let lifecycle = table.get("lifecycle").and_then(Value::as_str).unwrap_or("work");
            Some((Kind::new(table.get("kind")?.as_str()?).ok()?, LifecycleName::new(lifecycle).ok()?))
        };
        tables.into_iter().flatten().filter_map(table).collect()
    }

    /// A connector's section. Where it names no database, Lockstep's own has the tracked tables.
    pub fn connector(&self, listed: &Listed) -> Value {
        let mut section =
            self.connector.get(listed.registration.name).cloned().unwrap_or_else(|| Value::Object(Map::new()));
        let own = listed.registration.name == "postgres" && section.get("url").is_none();
        if let (true, Some(keys)) = (own && !self.database.url.is_empty(), section.as_object_mut()) {
            keys.insert("url".into(), self.database.url.expose().into());
        }
        section
    }

    /// Nothing, when a connector can run with its section; else the sentence that says why not.
    pub fn check_connector(&self, listed: &Listed) -> Result<(), ConfigError> {
        (listed.registration.check)(&self.connector(listed)).map_err(|error| self.named(error))
    }

    /// Refuses a configuration without a database, for those that need one.
    pub fn need_database(&self) -> Result<(), ConfigError> {
        if self.database.url.is_empty() {
            let why = "is missing; DATABASE_URL in the environment sets it too";
            return Err(self.named(ConfigError::new("database.url", why)));
        }
        self.database.check().map_err(|(key, why)| self.named(ConfigError::new(key, why)))
    }
}

#[cfg(test)]
mod tests;
