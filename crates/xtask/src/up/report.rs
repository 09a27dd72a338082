//! What a person and a script are told when everything runs.

use std::env;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::address;
use super::credentials::Credentials;
use super::services::{ENVIRONMENT, Services};
use crate::process::Process;
use crate::servers::Servers;
use crate::{files, say};

/// The file for scripts, in the state folder; it is there while everything runs.
pub const FILE: &str = "up.json";

/// What tells `lockstep` where that is.
pub const UP_FILE: &str = "LOCKSTEP_UP_FILE";

/// Writes every address, credential and process id, for this user only.
pub fn write(
    folder: &Path,
    executable: &Path,
    servers: &Servers,
    services: &Services,
    credentials: &Credentials,
) -> Result<()> {
    let pid = |process: Option<&Process>| process.map(Process::id);
    let sandbox = services.sandbox.as_ref();
    let report = json!({
        "url": format!("http://127.0.0.1:{}", services.port),
        "executable": executable,
        "config": services.config,
        "api_key": services.api_key,
        "services": services.addresses,
        "sandbox": sandbox.map(|sandbox| &sandbox.addresses),
        "nats_url": servers.nats.url,
        "nats_monitor_url": servers.nats.monitor_url,
        "database_url": servers.postgres.url,
        "credentials": if sandbox.is_some() { json!(credentials) } else { Value::Null },
        "processes": {
            "xtask": std::process::id(),
            "lockstep": services.lockstep.id(),
            "sandbox": pid(sandbox.map(|sandbox| &sandbox.process)),
            "nats": pid(servers.nats.process.as_ref()),
            "postgres": pid(servers.postgres.process.as_ref()),
        },
        "logs": folder.join("logs"),
    });
    files::write_json(&folder.join(FILE), &report)
}

/// Prints the addresses and three things to try.
pub fn print(folder: &Path, executable: &Path, servers: &Servers, services: &Services) {
    say::plain("");
    for (name, url) in address::named(&services.addresses) {
        say::plain(format_args!("  {name:<24} {url}"));
    }
    if let Some(sandbox) = &services.sandbox {
        for (name, url) in address::named(&sandbox.addresses) {
            say::plain(format_args!("  {:<24} {url}", format!("sandbox {name}")));
        }
    }
    // Neither line shows a password: the whole URLs stand in the file.
    say::plain(format_args!("  {:<24} {}", "NATS", without_credentials(&servers.nats.url)));
    say::plain(format_args!("  {:<24} {}", "PostgreSQL", without_credentials(&servers.postgres.url)));
    say::plain(format_args!("  {:<24} {}", "logs", shortened(&folder.join("logs"))));
    say::plain(format_args!("  {:<24} {}", "all of it, for scripts", shortened(&folder.join(FILE))));
    say::plain("\nThree things to try, in another terminal:");
    // The other one may run beside it, and would be found first.
    let named = if folder.ends_with(".lockstep") {
        String::new()
    } else {
        format!("{UP_FILE}={} ", shortened(&folder.join(FILE)))
    };
    let lockstep = format!("{named}{}", shortened(executable));
    let tries: [(&str, &str); 3] = if services.sandbox.is_some() {
        [
            ("watch", "every change, as it happens"),
            ("sandbox linear move ENG-1 \"In Review\"", "a person moves an issue"),
            ("status", "each item, side by side in every system"),
        ]
    } else {
        [
            ("status", "each item, side by side in every system"),
            ("watch", "every change, as it happens"),
            ("--help", "everything else"),
        ]
    };
    for (command, meaning) in tries {
        say::plain(format_args!("  {lockstep} {command}\n      {meaning}"));
    }
    if services.sandbox.is_none() {
        say::plain(format_args!(
            "\nWebhooks: forward /webhooks/* to http://127.0.0.1:{} from a public address, and nothing else.",
            services.port
        ));
    }
    if services.api_key.is_some() {
        let environment = shortened(&folder.join(ENVIRONMENT));
        say::plain(format_args!(
            "The APIs want a key, which lockstep finds by itself; for curl: . {environment}\n  \
             curl -H \"Authorization: Bearer $LOCKSTEP_API_KEY\" http://127.0.0.1:{}/v1/items",
            services.port
        ));
    }
    say::plain("\nCtrl-C stops everything; what was stored is kept.");
}

fn shortened(path: &Path) -> String {
    let here = env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

fn without_credentials(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://{place}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::without_credentials;

    #[test]
    fn an_address_is_shown_without_user_and_password() {
        assert_eq!(without_credentials("postgres://me:secret@127.0.0.1:1/x"), "postgres://127.0.0.1:1/x");
        assert_eq!(without_credentials("nats://127.0.0.1:4222"), "nats://127.0.0.1:4222");
    }
}
