//! A GitHub of our own, and a connector to it.

use connector::calls::{CallSettings, Calls};
use connector::{Connector, Decoded, Parts, Webhook};
use connector_github::{Config, Github, SYSTEM};
use model::{Command, CommandMode, ItemId, Native, RecordRef, Status, Timestamp, Version};
use runtime::Process;
use runtime::config::Secret;
use sandbox::github::{GithubOptions, GithubSandbox};

/// The repository of the tests.
pub const REPO: &str = "acme/web";
/// The bot's token.
pub const TOKEN: &str = "bot-token";

/// Options of a server whose webhooks stay in its log.
pub fn options() -> GithubOptions {
    // Deliveries are taken from the log; nobody listens at this address.
    let webhook_url = Some("http://127.0.0.1:9/".to_owned());
    GithubOptions { webhook_url, tokens: vec![TOKEN.to_owned()], ..GithubOptions::default() }
}

/// A server with an empty repository.
pub async fn server() -> GithubSandbox {
    let server = sandbox::github::start(options()).await.unwrap();
    server.create_repo(REPO).unwrap();
    server
}

/// A connector with the bot's token.
pub fn connector(server: &GithubSandbox) -> Github {
    let bot_login = Some("lockstep[bot]".to_owned());
    connector_with(server, Config { token: Some(Secret::new(TOKEN)), bot_login, ..Config::default() })
}

/// A connector with those settings, at the server's address.
pub fn connector_with(server: &GithubSandbox, config: Config) -> Github {
    let process = Process::new(SYSTEM, None);
    let calls = Calls::new(SYSTEM, Github::LIMITS, CallSettings::default(), process.clone()).unwrap();
    let config = Config { api_url: server.url(), repositories: vec![REPO.to_owned()], ..config };
    Github::new(config, Parts { process, calls, hears: true }).unwrap()
}

/// A connector with the bot's token that may write so often in an hour.
pub fn connector_that_writes(server: &GithubSandbox, writes_an_hour: u64) -> Github {
    let process = Process::new(SYSTEM, None);
    let settings = CallSettings { writes_an_hour: Some(writes_an_hour), ..CallSettings::default() };
    let calls = Calls::new(SYSTEM, Github::LIMITS, settings, process.clone()).unwrap();
    let (api_url, token) = (server.url(), Some(Secret::new(TOKEN)));
    let config = Config { api_url, token, repositories: vec![REPO.to_owned()], ..Config::default() };
    Github::new(config, Parts { process, calls, hears: true }).unwrap()
}

/// A connector to several repositories, and the process that it tells of its readiness.
pub fn connector_to(api_url: String, repositories: &[&str], hears: bool) -> (Github, Process) {
    let process = Process::new(SYSTEM, None);
    let calls = Calls::new(SYSTEM, Github::LIMITS, CallSettings::default(), process.clone()).unwrap();
    let repositories = repositories.iter().map(|&name| name.to_owned()).collect();
    let config = Config { api_url, repositories, token: Some(Secret::new(TOKEN)), ..Config::default() };
    (Github::new(config, Parts { process: process.clone(), calls, hears }).unwrap(), process)
}

/// A connector in a process that decodes no webhooks.
pub fn deaf(server: &GithubSandbox) -> Github {
    connector_to(server.url(), &[REPO], false).0
}

/// The record of an issue.
pub fn issue(number: u64) -> RecordRef {
    format!("github/issue/{REPO}#{number}").parse().unwrap()
}

/// The record of a pull request.
pub fn pull(number: u64) -> RecordRef {
    format!("github/pull_request/{REPO}#{number}").parse().unwrap()
}

/// What the newest webhook of the server's says.
pub fn newest(server: &GithubSandbox, connector: &Github) -> Decoded {
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

/// A command that asks for a status.
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
        key: Some("ENG-1".to_owned()),
        cause: 1,
    }
}

/// Reads a record and makes it show a status.
pub async fn write(github: &Github, command: &Command) -> Result<String, connector::Failure> {
    let reading = github.read(&command.record).await?;
    Ok(github.write(command, &reading).await?.native.to_string())
}
