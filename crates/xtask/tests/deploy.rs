//! What docker-compose.yml and deploy/ say, checked without a container engine.

#[cfg(test)]
mod deploy {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use serde_norway::Value;

    /// The services of the workspace, with the ports that people know.
    const SERVICES: [(&str, Option<u16>); 8] = [
        ("ingest", Some(8080)),
        ("resolver", Some(8081)),
        ("broadcaster", Some(8082)),
        ("monitor", Some(3001)),
        ("connector-linear", None),
        ("connector-github", None),
        ("connector-postgres", None),
        ("connector-agentapi", None),
    ];

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn read(path: &str) -> String {
        fs::read_to_string(root().join(path)).unwrap()
    }

    fn compose() -> Value {
        let mut value: Value = serde_norway::from_str(&read("docker-compose.yml")).unwrap();
        value.apply_merge().unwrap();
        value
    }

    fn texts(value: &Value) -> Vec<String> {
        let list = value.as_sequence().unwrap_or_else(|| panic!("a list is expected, not {value:?}"));
        list.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    }

    fn keys(value: &Value) -> BTreeSet<String> {
        value.as_mapping().unwrap().keys().map(|key| key.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn compose_runs_exactly_the_services_of_the_workspace() {
        let compose = compose();
        let mut expected: BTreeSet<String> = SERVICES.iter().map(|(name, _)| (*name).to_owned()).collect();
        let folders = fs::read_dir(root().join("services")).unwrap().map(|entry| entry.unwrap().file_name());
        let folders: BTreeSet<String> = folders.map(|name| name.into_string().unwrap()).collect();
        assert_eq!(folders.into_iter().filter(|name| name != "lockstep").collect::<BTreeSet<_>>(), expected);
        expected.extend(["nats", "postgres", "sandbox"].map(str::to_owned));
        assert_eq!(keys(&compose["services"]), expected);
    }

    #[test]
    fn each_service_serves_itself_where_its_health_is_asked_for() {
        let compose = compose();
        for (name, known_port) in SERVICES {
            let service = &compose["services"][name];
            let port = known_port.unwrap_or(8080);
            assert_eq!(texts(&service["command"]), ["serve", name, "--listen", &format!("0.0.0.0:{port}")], "{name}");
            let health = texts(&service["healthcheck"]["test"]);
            assert_eq!(
                health[1..],
                ["lockstep", "health", "--url", &format!("http://127.0.0.1:{port}/readyz")],
                "{name}"
            );
            let published = service.get("ports").map(texts).unwrap_or_default();
            let expected: Vec<String> = known_port.iter().map(|port| format!("127.0.0.1:{port}:{port}")).collect();
            assert_eq!(published, expected, "{name}");
            assert_eq!(keys(&service["depends_on"]), ["nats", "postgres"].map(str::to_owned).into(), "{name}");
            let environment = keys(&service["environment"]);
            assert!(
                environment.contains("NATS_URL") && environment.contains("DATABASE_URL"),
                "{name}: {environment:?}"
            );
        }
    }

    #[test]
    fn everything_has_a_healthcheck_and_only_the_sandboxes_a_profile() {
        let compose = compose();
        for (name, service) in compose["services"].as_mapping().unwrap() {
            let name = name.as_str().unwrap();
            assert_eq!(texts(&service["healthcheck"]["test"])[0], "CMD", "{name}");
            let profiles = service.get("profiles").map(texts).unwrap_or_default();
            assert_eq!(profiles == ["sandbox"], name == "sandbox", "{name}");
        }
    }

    #[test]
    fn volumes_are_declared_and_mounted_files_are_there() {
        let compose = compose();
        let declared = keys(&compose["volumes"]);
        let services = compose["services"].as_mapping().unwrap().values();
        let mounts: Vec<String> = services.filter_map(|service| service.get("volumes")).flat_map(texts).collect();
        assert!(!mounts.is_empty());
        for mount in mounts {
            // A colon stands in what says `${NAME:-default}`, too.
            let mount = mount.replace("${CONFIG_FOLDER:-./config}", "./config");
            let source = mount.split(':').next().unwrap();
            let found = if source.starts_with('.') { root().join(source).exists() } else { declared.contains(source) };
            assert!(found, "{mount}");
        }
    }

    #[test]
    fn the_sandbox_settings_are_ones_that_compose_reads() {
        let compose = read("docker-compose.yml");
        let lines = read("deploy/sandbox.env");
        let settings: BTreeMap<&str, &str> = lines.lines().filter_map(|line| line.split_once('=')).collect();
        for (name, value) in &settings {
            assert!(!value.is_empty(), "{name}");
            assert!(*name == "COMPOSE_PROFILES" || compose.contains(&format!("${{{name}:-")), "{name}");
        }
        assert!(root().join(settings["CONFIG_FOLDER"]).join("lockstep.toml").is_file());
        assert_eq!(settings["COMPOSE_PROFILES"], "sandbox");
    }

    /// The names in the environment that the executable knows, with the keys they set, as its source lists them.
    fn well_known() -> BTreeMap<String, String> {
        let source = read("services/lockstep/src/settings.rs");
        let (_, list) = source.split_once("const WELL_KNOWN: &[(&str, &str)] = &[").unwrap();
        let (list, _) = list.split_once("];").unwrap();
        let words = |line: &str| {
            let (name, key) = line.trim().strip_prefix("(\"")?.strip_suffix("\"),")?.split_once("\", \"")?;
            Some((name.to_owned(), key.to_owned()))
        };
        list.lines().filter_map(words).collect()
    }

    #[test]
    fn every_well_known_setting_reaches_the_service_that_reads_it() {
        let compose = compose();
        let known = well_known();
        assert!(known.len() >= 14, "{known:?}");
        for (name, key) in &known {
            let reads = |service: &str| match key.split('.').collect::<Vec<_>>()[..] {
                ["connector", system, _] => service == format!("connector-{system}"),
                ["ingest", ..] => service == "ingest",
                _ => true,
            };
            for (service, _) in SERVICES.iter().filter(|(service, _)| reads(service)) {
                let passed = compose["services"][*service]["environment"][name.as_str()].as_str();
                let passed = passed.unwrap_or_else(|| panic!("{service} is not given {name}"));
                let is_own = ["NATS_URL", "DATABASE_URL"].contains(&name.as_str());
                assert!(is_own || passed == format!("${{{name}:-}}"), "{service}: {name}: {passed}");
            }
        }
    }

    #[test]
    fn a_password_may_have_any_signs_and_who_sets_keys_may_close_the_apis() {
        let compose = compose();
        for (name, _) in SERVICES {
            let environment = &compose["services"][name]["environment"];
            assert_eq!(environment["PGPASSWORD"].as_str(), Some("${POSTGRES_PASSWORD:-lockstep}"), "{name}");
            let url = environment["DATABASE_URL"].as_str().unwrap();
            assert!(!url.contains('$'), "{name}: {url}");
            for (setting, value) in environment.as_mapping().unwrap() {
                let (setting, value) = (setting.as_str().unwrap(), value.as_str().unwrap());
                let is_open = setting.ends_with("ALLOW_ANONYMOUS");
                assert!(!is_open || value == format!("${{{setting}:-true}}"), "{name}: {setting}: {value}");
            }
        }
    }

    #[test]
    fn what_may_hold_credentials_is_neither_committed_nor_sent_to_a_build() {
        for (file, prefix) in [(".gitignore", "/"), ("deploy/Dockerfile.dockerignore", "")] {
            let text = read(file);
            for name in ["lockstep.toml", ".env"] {
                assert!(text.lines().any(|line| line == format!("{prefix}{name}")), "{file}: {name}");
            }
        }
    }

    #[test]
    fn every_service_reads_the_configuration_beside_the_compose_file() {
        let compose = compose();
        for (name, _) in SERVICES {
            let service = &compose["services"][name];
            assert_eq!(service["working_dir"].as_str(), Some("/etc/lockstep"), "{name}");
            assert_eq!(texts(&service["volumes"]), ["${CONFIG_FOLDER:-./config}:/etc/lockstep:ro"], "{name}");
        }
        // Else Docker makes the folder, as root.
        assert!(root().join("config/.gitignore").is_file());
    }

    #[test]
    fn the_image_is_one_executable_that_does_not_run_as_root() {
        let lines = read("deploy/Dockerfile");
        let last = |word: &str| lines.lines().rfind(|line| line.starts_with(word)).map(str::to_owned);
        assert_eq!(last("ENTRYPOINT").as_deref(), Some("ENTRYPOINT [\"lockstep\"]"));
        assert_eq!(last("USER").as_deref(), Some("USER 10001"));
        let compiler = format!("FROM rust:{}-", env!("CARGO_PKG_RUST_VERSION"));
        assert!(lines.contains(&compiler), "the image's compiler is not the workspace's");
    }

    #[test]
    fn the_server_takes_the_configuration() {
        // Named by `cargo xtask test`; there is no server to ask without.
        let Some(server) = std::env::var_os("LOCKSTEP_TEST_NATS_SERVER") else { return };
        let file = root().join("deploy/nats/nats.conf");
        let output = Command::new(server).arg("-t").arg("-c").arg(file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
