mod defaults;
mod words;

use super::*;

const EXAMPLE: &str = include_str!("../../../../lockstep.example.toml");

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lockstep.toml");
    std::fs::write(&file, text).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let (settings, origins) = runtime::config::load_with_origins(Some(&file), WELL_KNOWN, environment)?;
    Settings { origins, ..settings }.checked()
}

/// The example with every key that it shows as a comment set to what the comment says.
fn whole_example() -> String {
    let key = |line: &str| {
        let rest = line.strip_prefix("# ").unwrap_or(line);
        let is_key = rest
            .split_once(" = ")
            .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit()));
        let is_table = rest.starts_with('[') && rest.ends_with(']');
        if is_key || is_table { rest.to_owned() } else { line.to_owned() }
    };
    EXAMPLE.lines().map(key).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_can_be_read_as_it_stands_and_with_every_key_set() {
    for text in [EXAMPLE.to_owned(), whole_example()] {
        let settings = load(&text, &[]).unwrap_or_else(|error| panic!("{error}"));
        settings.policy().unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn the_example_sets_up_every_connector_rightly() {
    let settings = load(&whole_example(), &[]).unwrap();
    for listed in &connectors::ALL {
        assert_eq!(listed.missing(&settings.connector(listed)), None, "{}", listed.service());
        settings.check_connector(listed).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn without_credentials_connectors_are_left_out_and_with_them_they_are_not() {
    let none = load("", &[]).unwrap();
    assert!(connectors::ALL.iter().all(|listed| listed.missing(&none.connector(listed)).is_some()));
    let environment = [
        ("LINEAR_API_KEY", "lin_api_x"),
        ("GITHUB_TOKEN", "ghp_x"),
        ("AGENT_API_URL", "http://localhost:3284"),
        ("DATABASE_URL", "postgres://localhost/x"),
    ];
    let settings =
        load("[[connector.postgres.tables]]\ntable = \"public.tasks\"\nkind = \"task\"", &environment).unwrap();
    for listed in &connectors::ALL {
        assert_eq!(listed.missing(&settings.connector(listed)), None, "{}", listed.service());
        settings.check_connector(listed).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn what_is_wrong_is_named_by_its_key() {
    let cases = [
        ("[broadcaster]\nclients = 3", "broadcaster.clients"),
        ("[connector.jira]\nurl = \"x\"", "connector.jira"),
        ("[policy]\nstrategy = \"coin\"", "policy.strategy"),
        ("[monitor]\nsilent_ms = 0", "monitor.silent_ms"),
        ("[nats]\npartitions = 0", "nats.partitions"),
        ("[broadcaster]\norigins = []", "broadcaster.origins: it is http.origins now"),
    ];
    for (text, key) in cases {
        let error = load(text, &[]).err().unwrap().to_string();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn what_a_connector_refuses_is_named_by_its_key_and_by_where_it_was_said() {
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case<'_>; 5] = [
        (
            "",
            &[("GITHUB_APP_ID", "abc")],
            "environment variable GITHUB_APP_ID: connector.github.app_id: must be a whole number from 0 up, not this text",
        ),
        (
            "[connector.github]\ntoken = \"x\"\nrepositories = [\"acme\"]",
            &[],
            "lockstep.toml: connector.github.repositories: \"acme\" is not",
        ),
        (
            "[connector.linear]\napi_key = \"x\"\nsweep = 1",
            &[],
            "lockstep.toml: connector.linear.sweep: unknown key; known here are api_url",
        ),
        ("[connector.linear]\napi_key = \"x\"\nrun = { held = 1 }", &[], "connector.linear.run.held: unknown key"),
        (
            "[connector.linear]\napi_key = \"x\"",
            &[("LOCKSTEP__CONNECTOR__LINEAR__RUN__CALLS__AT_ONCE", "0")],
            "environment variable LOCKSTEP__CONNECTOR__LINEAR__RUN__CALLS__AT_ONCE: connector.linear.run.calls: at_once",
        ),
    ];
    for (text, environment, sentence) in cases {
        let wrong = load(text, environment).unwrap().wrong();
        let all: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        assert!(all.iter().any(|said| said.contains(sentence)), "{sentence}: {all:?}");
        assert!(all.iter().all(|said| !said.contains("sweep: unknown") || said.ends_with(", run")), "{all:?}");
    }
}

#[test]
fn one_check_finds_all_that_up_would_end_with() {
    let text = "
[gateway]
listen = \"0.0.0.0:8080\"
[ingest]
api_keys = [\"k\"]
[resolver]
api_keys = [\"k\"]
[telemetry]
level = \"a=b=c\"
[database]
url = \"postgres://a/b\"
";
    let wrong = load(text, &[]).unwrap().wrong();
    let keys: Vec<&str> = wrong.iter().map(|error| error.key.as_str()).collect();
    assert_eq!(keys, ["telemetry.level", "broadcaster.auth.api_keys"]);
    for (key, value) in [("otlp_endpoint", "\"nonsense\""), ("trace_ratio", "7.0")] {
        let wrong = load(&format!("[telemetry]\n{key} = {value}"), &[]).unwrap().wrong();
        assert_eq!(wrong[0].key, format!("telemetry.{key}"));
    }
    let whole = text.replace("a=b=c", "info") + "[broadcaster.auth]\napi_keys = [\"k\"]";
    assert_eq!(load(&whole, &[]).unwrap().wrong(), []);
}

#[test]
fn what_could_not_be_run_with_is_refused_with_what_would_be_right() {
    let database = "[database]\nurl = \"postgres://a/b\"\n";
    let refused = |text: &str| {
        let said = |error: ConfigError| error.to_string();
        let settings = match load(&(database.to_owned() + text), &[]) {
            Ok(settings) => settings,
            Err(error) => return vec![said(error)],
        };
        let policy = settings.policy().err().map(said);
        settings.wrong().into_iter().map(said).chain(policy).collect::<Vec<_>>()
    };
    let message = "[connector.agentapi]\nurl = \"http://a\"\n[[connector.agentapi.messages]]\n";
    let cases = [
        (
            format!("{message}on = [\"canceld\"]\ntext = \"x\""),
            "agentapi.messages: on: no lifecycle has the status \"canceld\"; there are",
        ),
        (
            "[monitor]\nexpect = [\"resolvr\"]".to_owned(),
            "monitor.expect: there is no service \"resolvr\"; there are ingest",
        ),
        (
            "[connector.linear]\napi_key = \"k\"\n[connector.linear.run.backoff]\nattempts = 0".to_owned(),
            "connector.linear.run.backoff.attempts: is 0; it must be at least 1",
        ),
        ("[nats]\nurl = \"nats://a:99999\"".to_owned(), "nats.url has \"nats://a:99999\", which is no address"),
        ("connections = 0".to_owned(), "database.connections: is 0; it must be from 1"),
        (
            "[ingest]\nin_flight_max = 9223372036854775807".to_owned(),
            "ingest.in_flight_max: is 9223372036854775807; it must be from 1 to 65536",
        ),
        ("[broadcaster]\nthreads = 100000".to_owned(), "broadcaster.threads: is 100000; it must be from 1 to 1024"),
        (
            "[broadcaster.auth.jwt]\njwks_file = \"/no/such.json\"".to_owned(),
            "broadcaster.auth.jwt.jwks_file: (/no/such.json) cannot be read",
        ),
    ];
    for (text, sentence) in cases {
        let said = refused(&text);
        assert!(said.iter().any(|error| error.contains(sentence)), "{text}\n{sentence}: {said:?}");
    }
    assert_eq!(refused(""), [""; 0]);
}

#[test]
fn an_address_that_is_none_is_refused_without_being_repeated() {
    for address in ["localhost/lockstep", "mysql://a:hunter2@b/c", "postgres://a:hunter2@b:port/c"] {
        let settings = load(&format!("[database]\nurl = \"{address}\""), &[]).unwrap();
        let error = settings.need_database().unwrap_err().to_string();
        assert!(error.contains("database.url") && !error.contains("hunter2"), "{error}");
    }
    let settings = load("[database]\nurl = \"postgres://a:b@c/d\"", &[]).unwrap();
    assert!(settings.need_database().is_ok());
}

#[test]
fn a_policy_that_makes_no_sense_is_refused() {
    let cases = [
        ("[policy.lifecycle_of]\n\"linear\" = \"work\"", "lifecycle_of"),
        ("[policy.lifecycle_of]\n\"linear/issue\" = \"cooking\"", "cooking"),
        ("[policy]\ndefault_lifecycle = \"cooking\"", "default_lifecycle"),
        ("[lifecycle.door]\nstatuses = [\"open\", \"shut\"]\nterminal = [\"gone\"]", "gone"),
        ("[[mapping]]\nsystem = \"jira\"\nkind = \"issue\"\nlifecycle = \"work\"\nget = { todo = \"To do\" }", "jira"),
    ];
    for (text, part) in cases {
        let error = load(text, &[]).unwrap().policy().err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn configured_lifecycles_and_mappings_join_the_built_in_ones() {
    let text = "
[lifecycle.door]
statuses = [\"open\", \"shut\"]
[[mapping]]
system = \"house\"
kind = \"door\"
lifecycle = \"door\"
get = { open = \"Wide open\", shut = \"Shut\" }
put = { \"Wide open\" = \"open\", \"Shut\" = \"shut\" }
[policy.lifecycle_of]
\"house/door\" = \"door\"
[policy.priorities]
house = 0
";
    let policy = load(text, &[]).unwrap().policy().unwrap();
    let record: model::RecordRef = "house/door/front".parse().unwrap();
    assert_eq!(policy.lifecycle_for(&record).as_str(), "door");
    assert!(policy.mappings.iter().any(|mapping| mapping.system.as_str() == "house"));
    for agent in ["agentapi/agent/a", "agent/session/s"] {
        assert_eq!(policy.lifecycle_for(&agent.parse().unwrap()).as_str(), "agent");
    }
}

#[test]
fn rows_without_a_mapping_speak_their_lifecycles_own_words_and_can_be_told_them() {
    let text = "
[[connector.postgres.tables]]
table = \"public.builds\"
kind = \"build\"
lifecycle = \"workflow\"
[[connector.postgres.tables]]
table = \"public.chores\"
kind = \"chore\"
";
    let policy = load(text, &[]).unwrap().policy().unwrap();
    for (record, lifecycle, word) in
        [("postgres/build/1", "workflow", "failed"), ("postgres/chore/1", "work", "in_review")]
    {
        let record: model::RecordRef = record.parse().unwrap();
        assert_eq!(policy.lifecycle_for(&record).as_str(), lifecycle);
        let lens = policy.lens(&record, None, policy.lifecycles.get(policy.lifecycle_for(&record)).unwrap()).unwrap();
        assert!(!lens.is_read_only() && lens.get(&model::Status::new(word).unwrap()).as_str() == word, "{record}");
    }
    let error = load(&text.replace("workflow", "cooking"), &[]).unwrap().policy().err().unwrap().to_string();
    assert!(error.contains("connector.postgres.tables.lifecycle") && error.contains("cooking"), "{error}");
}

#[test]
fn of_a_built_in_mapping_that_another_takes_the_place_of_nothing_is_asked() {
    let lifecycle = "
[lifecycle.work]
statuses = [\"todo\", \"done\"]
terminal = [\"done\"]
";
    let error = load(lifecycle, &[]).unwrap().policy().err().unwrap().to_string();
    assert!(error.contains("built in for"), "{error}");
    let mut text = lifecycle.to_owned();
    for listed in &crate::connectors::ALL {
        for kind in listed.registration.mapping.split("[[mapping]]").skip(1) {
            let lines =
                kind.lines().filter(|line| ["system", "kind", "lifecycle"].iter().any(|key| line.starts_with(key)));
            let own: Vec<&str> = lines.collect();
            if own.iter().any(|line| line.contains("\"work\"")) {
                let own = own.join("\n");
                let words = "get = { todo = \"a\", done = \"b\" }\nput = { a = \"todo\", b = \"done\" }";
                text = [text.as_str(), "[[mapping]]", &own, words, ""].join("\n");
            }
        }
    }
    let policy = load(&text, &[]).unwrap().policy().unwrap();
    assert!(
        policy
            .mappings
            .iter()
            .any(|mapping| mapping.system.as_str() == "agentapi" && mapping.lifecycle.as_str() == "agent")
    );
}
