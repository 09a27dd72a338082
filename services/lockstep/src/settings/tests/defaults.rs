//! What the example says of a default is the default.

use runtime::config::section;

use super::*;

/// The values in the example that are no defaults: without them nothing is set up, or they show a form.
const EXAMPLES: [&str; 5] = [
    "database.url",
    "connector.linear.api_key",
    "connector.github.token",
    "connector.postgres.url",
    "connector.agentapi.url",
];

/// Every key of the example with its section and its value, without those of entries that somebody adds.
pub fn keys() -> Vec<(String, &'static str, &'static str)> {
    let (mut all, mut table) = (Vec::new(), None);
    for line in EXAMPLE.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if line.starts_with('[') && line.ends_with(']') {
            let name = line.trim_matches(['[', ']']);
            let is_added = line.starts_with("[[") || line.starts_with("[lifecycle.");
            table = (!is_added).then_some(name);
        } else if let (Some(table), Some((key, value))) = (table, line.split_once(" = "))
            && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        {
            all.push((table.to_owned(), key, value));
        }
    }
    all
}

/// All that follows from a configuration, as text.
fn shown(text: &str) -> Result<String, ConfigError> {
    let settings = load(text, &[])?;
    let Settings { nats, database, telemetry, gateway, http, admin, ingest, resolver, broadcaster, monitor, .. } =
        &settings;
    let policy = settings.policy()?;
    let mut all = vec![
        format!("{nats:?} {database:?} {telemetry:?} {http:?} {policy:?}"),
        format!("{ingest:?} {resolver:?} {broadcaster:?} {monitor:?}"),
        format!("{} {} {}", gateway.listen, admin.listen, database.url.expose()),
    ];
    for listed in &connectors::ALL {
        let mut own = settings.connector(listed);
        let run = own.as_object_mut().and_then(|keys| keys.remove("run")).unwrap_or_else(|| Map::new().into());
        let name = listed.registration.name;
        all.push(format!("{:?}", section::<connector::Settings>(name, &run)?));
        all.push(match name {
            "linear" => format!("{:?}", section::<connector_linear::Config>(name, &own)?),
            "github" => format!("{:?}", section::<connector_github::Config>(name, &own)?),
            "postgres" => format!("{:?}", section::<connector_postgres::Config>(name, &own)?),
            _ => format!("{:?}", section::<connector_agentapi::Config>(name, &own)?),
        });
    }
    Ok(all.join(" "))
}

#[test]
fn what_the_example_says_is_the_default_is_it() {
    let (keys, default) = (keys(), shown("").unwrap());
    assert!(keys.len() > 100, "only {} keys are looked at", keys.len());
    let mut wrong = Vec::new();
    for (table, key, value) in keys {
        let name = format!("{table}.{key}");
        let is_example = EXAMPLES.contains(&name.as_str());
        let with = |value: &str| shown(&format!("[{table}]\n{key} = {value}"));
        match with(value) {
            Ok(said) if said != default && !is_example => wrong.push(format!("{name} = {value}")),
            Ok(_) => {}
            Err(error) => wrong.push(format!("{name} = {value}: {error}")),
        }
        // Were it not looked at, every value would be taken for the default.
        if let Ok(number) = value.parse::<u64>()
            && with(&(number + 1).to_string()).is_ok_and(|other| other == default)
        {
            wrong.push(format!("{name} is not looked at"));
        }
    }
    assert_eq!(wrong, [""; 0]);
}
