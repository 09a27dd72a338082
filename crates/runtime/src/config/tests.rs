use std::collections::BTreeMap;
use std::io::Write;

use serde::Deserialize;

use super::*;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    ingest: Ingest,
    linear: Option<serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ingest {
    listen: Option<std::net::SocketAddr>,
    body_max: u64,
    open: bool,
    keys: Vec<Secret>,
    weights: BTreeMap<String, f64>,
    mode: Mode,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Plain,
    VeryStrict,
}

fn settings(file: &str, environment: &[(&str, &str)]) -> Result<Settings, String> {
    let mut at = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    at.write_all(file.as_bytes()).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load_from(Some(at.path()), &[("BODY_MAX", "ingest.body_max"), ("KEY", "ingest.keys")], environment)
        .map_err(|error| error.to_string().replace(&at.path().display().to_string(), "FILE"))
}

#[test]
fn the_environment_wins_over_the_file_and_our_own_names_over_well_known_ones() {
    let file = "[ingest]\nbody_max = 1\nlisten = \"127.0.0.1:1\"\n";
    let seen = settings(file, &[("BODY_MAX", "2")]).unwrap();
    assert_eq!(seen.ingest.body_max, 2);
    let seen = settings(
        file,
        &[("BODY_MAX", "2"), ("LOCKSTEP__INGEST__BODY_MAX", "3"), ("LOCKSTEP__INGEST__LISTEN", "[::1]:80")],
    )
    .unwrap();
    assert_eq!(seen.ingest.body_max, 3);
    assert_eq!(seen.ingest.listen.unwrap().to_string(), "[::1]:80");
    assert_eq!(settings(file, &[("BODY_MAX", "")]).unwrap().ingest.body_max, 1);
}

#[test]
fn values_of_the_environment_take_the_type_of_their_key() {
    let environment = [
        ("LOCKSTEP__INGEST__OPEN", "true"),
        ("LOCKSTEP__INGEST__KEYS", r#"["12345", "b"]"#),
        ("LOCKSTEP__INGEST__WEIGHTS", "{ a = 1, b = 0.5 }"),
        ("LOCKSTEP__INGEST__MODE", "very_strict"),
    ];
    let seen = settings("", &environment).unwrap().ingest;
    assert!(seen.open);
    assert_eq!(seen.keys.iter().map(Secret::expose).collect::<Vec<_>>(), ["12345", "b"]);
    assert!((seen.weights["b"] - 0.5).abs() < f64::EPSILON);
    assert_eq!(seen.mode, Mode::VeryStrict);
    assert_eq!(settings("", &[("KEY", "007")]).unwrap().ingest.keys[0].expose(), "007");
}

#[test]
fn lists_and_tables_of_the_environment_are_toml_or_json() {
    for weights in ["{ a = 1, b = 0.5 }", r#"{"a": 1, "b": 0.5}"#] {
        let ingest = settings("", &[("LOCKSTEP__INGEST__WEIGHTS", weights)]).unwrap().ingest;
        assert_eq!(ingest.weights.len(), 2, "{weights}");
    }
    let wrong = |name, value| settings("", &[(name, value)]).unwrap_err();
    let list = wrong("LOCKSTEP__INGEST__KEYS", "['a', b]");
    assert!(list.ends_with("looks like a list, and cannot be read as one, neither as TOML nor as JSON"), "{list}");
    let table = wrong("LOCKSTEP__INGEST", "on");
    assert!(table.ends_with("must be a table, not this text"), "{table}");
}

#[test]
fn an_unknown_key_is_refused_with_its_place() {
    assert_eq!(
        settings("[ingest]\nlisten_on = 1", &[]).unwrap_err(),
        "FILE: ingest.listen_on: unknown key; known here are listen, body_max, open, keys, weights, mode"
    );
    assert_eq!(
        settings("", &[("LOCKSTEP__INGST__LISTEN", "x")]).unwrap_err(),
        "environment variable LOCKSTEP__INGST__LISTEN: ingst: unknown key; known here are ingest, linear"
    );
}

#[test]
fn a_wrong_value_is_refused_by_key_without_being_repeated() {
    assert_eq!(
        settings("[ingest]\nbody_max = \"hunter2\"", &[]).unwrap_err(),
        "FILE: ingest.body_max: must be a whole number from 0 up, not this text"
    );
    assert_eq!(
        settings("[ingest]\nopen = 3", &[]).unwrap_err(),
        "FILE: ingest.open: must be true or false, not integer `3`"
    );
    assert!(settings("[ingest]\nmode = \"lax\"", &[]).unwrap_err().starts_with("FILE: ingest.mode: unknown variant"));
    assert!(settings("[ingest\n", &[]).unwrap_err().starts_with("FILE: line 1: "));
}

#[test]
fn an_unparsed_section_is_read_as_its_owners_type() {
    let environment = [("LOCKSTEP__LINEAR__BODY_MAX", "7"), ("LOCKSTEP__LINEAR__OPEN", "false")];
    let value = settings("[linear]\nkeys = [\"a\"]", &environment).unwrap().linear.unwrap();
    let seen: Ingest = section("linear", &value).unwrap();
    assert_eq!((seen.body_max, seen.keys.len()), (7, 1));
    let wrong = section::<Ingest>("linear", &serde_json::json!({"bodymax": 1})).unwrap_err();
    assert!(wrong.to_string().contains("linear.bodymax: unknown key"), "{wrong}");
}

#[test]
fn a_check_that_comes_later_is_told_where_its_key_was_said() {
    let mut at = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    at.write_all(b"[ingest]\nbody_max = 1\n[linear]\nsweep_s = 0\n").unwrap();
    let environment = [("KEY".to_owned(), "x".to_owned()), ("LOCKSTEP__LINEAR__AGENTS".to_owned(), "[1]".to_owned())];
    let (_, origins): (Settings, Origins) =
        load_with_origins(Some(at.path()), &[("KEY", "ingest.keys")], environment).unwrap();
    let file = at.path().display().to_string();
    for (key, origin) in [
        ("ingest.body_max", file.as_str()),
        ("linear.sweep_s", &file),
        ("ingest.keys", "environment variable KEY"),
        ("linear.agents[0].url", "environment variable LOCKSTEP__LINEAR__AGENTS"),
        ("database.url", "configuration"),
        ("", "configuration"),
    ] {
        let named = origins.name(ConfigError::new(key, "is wrong"));
        assert_eq!((named.origin.as_str(), named.key.as_str()), (origin, key));
    }
}

#[test]
fn a_secret_never_prints() {
    let secret = Secret::new("hunter2");
    assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
}
