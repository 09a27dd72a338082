//! A Linear of our own, and a connector to it.

use connector::calls::{CallSettings, Calls};
use connector::{Connector, Decoded, Parts, Webhook};
use connector_linear::{Config, Linear, SYSTEM};
use model::{Command, CommandMode, ItemId, Native, RecordRef, Status, Timestamp, Version};
use runtime::Process;
use runtime::config::Secret;
use sandbox::linear::{LinearOptions, LinearSandbox};

/// The key that acts as a person.
pub const PERSONAL: &str = "lin_api_sandbox";
/// The token that acts as the application.
pub const APP: &str = "lin_oauth_sandbox";

/// A server with its demo issues, whose webhooks stay in its log.
pub async fn server() -> LinearSandbox {
    // Deliveries are taken from the log; nobody listens at this address.
    let webhook_url = Some("http://127.0.0.1:9/".to_owned());
    sandbox::linear::start(LinearOptions { webhook_url, ..LinearOptions::default() }).await.unwrap()
}

/// A connector with that key.
pub fn connector(server: &LinearSandbox, key: &str) -> Linear {
    connector_with(server, Config { api_key: Secret::new(key), ..Config::default() })
}

/// A connector with those settings, at the server's address.
pub fn connector_with(server: &LinearSandbox, config: Config) -> Linear {
    try_connector(Config { api_url: server.graphql_url(), ..config }).unwrap()
}

/// A connector with those settings, or why there is none.
pub fn try_connector(config: Config) -> Result<Linear, String> {
    connector_in(Process::new(SYSTEM, None), config)
}

/// A connector with those settings in a process, whose readiness it tells.
pub fn connector_in(process: Process, config: Config) -> Result<Linear, String> {
    let calls = Calls::new(SYSTEM, Linear::LIMITS, CallSettings::default(), process.clone())?;
    Linear::new(config, Parts { process, calls, hears: true })
}

/// The record of an issue.
pub fn record(server: &LinearSandbox, identifier: &str) -> RecordRef {
    format!("linear/issue/{}", server.issue(identifier).unwrap().id).parse().unwrap()
}

/// What the newest webhook of the server's says.
pub fn newest(server: &LinearSandbox, connector: &Linear) -> Decoded {
    let logged = server.webhooks().deliveries().pop().unwrap();
    let webhook = Webhook {
        id: logged.guid,
        event: logged.event,
        received_at: Timestamp(logged.at_ms),
        headers: logged.headers.into_iter().collect(),
        body: logged.body.to_string().into(),
    };
    connector.decode(&webhook).unwrap()
}

/// A command that asks for a state.
pub fn command(record: &RecordRef, native: &str, status: &str) -> Command {
    Command {
        record: record.clone(),
        item: ItemId(uuid::Uuid::nil()),
        version: Version(2),
        status: Status::new(status).unwrap(),
        previous: None,
        native: Native::new(native).unwrap(),
        mode: CommandMode::Tell,
        expects: Vec::new(),
        earlier: vec![],
        position: None,
        key: None,
        cause: 1,
    }
}
