//! What may differ from world to world, and the configuration file that follows.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// What a test wants of its world.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often Linear, GitHub and the table are swept, in seconds.
    pub sweep_s: u64,
    /// How often GitHub is asked for webhooks that failed, in seconds.
    pub redeliver_s: u64,
    /// The pieces of work that are there before Lockstep starts, from `ENG-1` on: each a Linear issue, a GitHub issue and a task.
    pub pieces: usize,
    /// How far apart writes to GitHub are, in milliseconds; `None` for as far as GitHub asks for.
    pub writes_apart_ms: Option<u64>,
    /// So many conflicts hold an item for a person.
    pub escalation_threshold: u32,
    /// How conflicts are decided.
    pub strategy: &'static str,
    /// A PostgreSQL server of the test's own, which it may kill.
    pub own_postgres: bool,
    /// The origins whose pages may watch.
    pub origins: Vec<String>,
    /// Where traces are sent; nowhere when it is empty.
    pub otlp_endpoint: String,
    /// What is logged.
    pub level: String,
}

impl Default for Settings {
    /// Sweeps, and asks for failed webhooks, so rarely that it does not happen in a test after the sweep at the start; writes
    /// without a pause. Edits of several systems at once are the test's people, not automations that fight: nothing waits
    /// for a person.
    fn default() -> Self {
        Self {
            sweep_s: 3_600,
            redeliver_s: 3_600,
            pieces: 6,
            writes_apart_ms: Some(0),
            escalation_threshold: 1_000_000,
            strategy: "priority_based",
            own_postgres: false,
            origins: Vec::new(),
            otlp_endpoint: String::new(),
            level: "info".to_owned(),
        }
    }
}

/// The credentials that sandboxes and services share. Both are an application's; of GitHub's the writes are known by their actor, of
/// Linear's they are not, for want of `app_id`.
pub mod credentials {
    /// Linear's OAuth token.
    pub const LINEAR_TOKEN: &str = "lin_oauth_system_tests";
    /// Linear's signing secret.
    pub const LINEAR_SECRET: &str = "lin_wh_system_tests";
    /// GitHub's installation token.
    pub const GITHUB_TOKEN: &str = "ghs_system_tests";
    /// GitHub's webhook secret.
    pub const GITHUB_SECRET: &str = "github secret of the system tests";
    /// The password that stands in the address of NATS, which asks for none.
    pub const NATS_PASSWORD: &str = "nats_of_system_tests";
    /// The password that stands in the address of the agent, which asks for none.
    pub const AGENT_PASSWORD: &str = "agent_of_system_tests";
}

/// Where everything is.
pub(crate) struct Addresses<'a> {
    pub(crate) gateway: SocketAddr,
    pub(crate) nats: &'a str,
    pub(crate) database: &'a str,
    pub(crate) linear: &'a str,
    pub(crate) github: &'a str,
    pub(crate) agent: &'a str,
}

/// The configuration as TOML.
pub(crate) fn toml(settings: &Settings, at: &Addresses<'_>) -> String {
    let Addresses { gateway, nats, database, linear, github, agent } = at;
    let Settings { sweep_s, redeliver_s, .. } = settings;
    // Where writes are not apart, as many may go as a test makes.
    let apart = |apart| format!("writes_apart_ms = {apart}, writes_an_hour = 0");
    let apart = settings.writes_apart_ms.map(apart).unwrap_or_default();
    let mut text = String::new();
    // One address for all: a service whose address is the gateway's has none of its own.
    for service in ["gateway", "admin", "ingest", "resolver", "broadcaster", "monitor"] {
        let _ = writeln!(text, "[{service}]\nlisten = \"{gateway}\"");
    }
    let _ = writeln!(text, "[http]\norigins = {:?}", settings.origins);
    let _ = writeln!(text, "[telemetry]\notlp_endpoint = {:?}\nlevel = {:?}", settings.otlp_endpoint, settings.level);
    let _ = write!(
        text,
        r#"
[policy]
strategy = "{strategy}"
escalation_threshold = {threshold}
[ingest.linear]
secrets = ["{linear_secret}"]
[ingest.github]
secrets = ["{github_secret}"]
[nats]
url = "{nats}"
storage_mb = 256
[database]
url = "{database}"
[connector.linear]
api_url = "{linear}"
api_key = "{linear_token}"
sweep_s = {sweep_s}
run = {{ sweep_least_s = {sweep_s} }}
[connector.github]
api_url = "{github}"
token = "{github_token}"
bot_login = "lockstep[bot]"
repositories = ["acme/web"]
sweep_s = {sweep_s}
redeliver_s = {redeliver_s}
run = {{ sweep_least_s = {sweep_s}, calls = {{ {apart} }} }}
[connector.postgres]
url = "{database}"
install = true
sweep_s = {sweep_s}
run = {{ sweep_least_s = {sweep_s} }}
tables = [{{ table = "public.tasks", kind = "task", title = "title", mentions = ["issue"] }}]
[connector.agentapi]
agents = [{{ name = "agent-1", url = "{agent}" }}]
"#,
        strategy = settings.strategy,
        threshold = settings.escalation_threshold,
        linear_secret = credentials::LINEAR_SECRET,
        github_secret = credentials::GITHUB_SECRET,
        linear_token = credentials::LINEAR_TOKEN,
        github_token = credentials::GITHUB_TOKEN,
    );
    text
}
