use super::*;

fn limits() -> Limits {
    Limits { expect: vec!["resolver".into()], silent_ms: 10, stale_ms: 100 }
}

fn sign(service: &str, instance: &str, ready: bool) -> v1::Heartbeat {
    v1::Heartbeat {
        service: service.into(),
        instance: instance.into(),
        ready,
        reason: if ready { String::new() } else { "postgres is away".into() },
        ..v1::Heartbeat::default()
    }
}

fn well() -> Seen {
    let mut seen = Seen::default();
    seen.sign(sign("resolver", "a", true), 1_000);
    seen.probed("nats", Ok(()));
    seen.probed("postgres", Ok(()));
    seen
}

fn part<'a>(report: &'a Report, kind: &str, name: &str) -> &'a Component {
    &report.components[kind][name]
}

#[test]
fn all_is_well_when_every_part_is() {
    let report = well().judge(&limits(), 1_005);
    assert_eq!(report.status, Health::Healthy);
    assert_eq!(part(&report, "services", "resolver").age_ms, Some(5));
}

#[test]
fn a_service_that_must_be_there_and_is_not_makes_the_whole_unhealthy() {
    assert_eq!(well().judge(&limits(), 1_011).status, Health::Unhealthy);
    let mut empty = Seen::default();
    let report = empty.judge(&limits(), 1_000);
    assert_eq!(part(&report, "services", "resolver").status, Health::Unhealthy);
}

#[test]
fn one_living_instance_is_enough_and_recovery_is_noticed() {
    let mut seen = well();
    seen.sign(sign("resolver", "b", true), 1_020);
    let report = seen.judge(&limits(), 1_025);
    assert_eq!(report.status, Health::Healthy);
    assert_eq!(part(&report, "services", "resolver").instances, Some(1));
    seen.sign(sign("resolver", "b", false), 1_030);
    let report = seen.judge(&limits(), 1_031);
    assert_eq!(report.status, Health::Degraded);
    assert!(part(&report, "services", "resolver").reason.as_deref().is_some_and(|why| why.contains("postgres")));
    seen.sign(sign("resolver", "b", true), 1_032);
    assert_eq!(seen.judge(&limits(), 1_033).status, Health::Healthy);
}

#[test]
fn a_server_that_does_not_answer_makes_the_whole_unhealthy() {
    let mut seen = well();
    seen.probed("postgres", Err("no answer".into()));
    assert_eq!(seen.judge(&limits(), 1_001).status, Health::Unhealthy);
}

#[test]
fn a_silent_connector_or_system_degrades_the_whole() {
    let mut seen = well();
    let mut connector = sign("connector-linear", "c", true);
    connector.last_success.insert("linear".into(), 880);
    seen.sign(connector, 980);
    seen.sign(sign("resolver", "a", true), 1_000);
    let report = seen.judge(&limits(), 1_000);
    assert_eq!(report.status, Health::Degraded);
    assert_eq!(part(&report, "services", "connector-linear").status, Health::Unhealthy);
    assert_eq!(part(&report, "systems", "linear").status, Health::Degraded);
    // Long gone, it was scaled away.
    seen.sign(sign("resolver", "a", true), 2_000);
    assert!(!seen.judge(&limits(), 2_000).components["services"].contains_key("connector-linear"));
}

#[test]
fn a_clock_that_runs_ahead_does_not_keep_a_system_well() {
    let mut seen = well();
    let mut connector = sign("connector-linear", "c", true);
    connector.last_success.insert("linear".into(), 1_000_000);
    seen.sign(connector, 1_000);
    assert_eq!(part(&seen.judge(&limits(), 1_101), "systems", "linear").status, Health::Degraded);
}

#[test]
fn a_system_that_has_never_answered_degrades_the_whole_after_a_while_and_says_why() {
    let mut seen = well();
    let never = |why: &str| {
        let mut connector = sign("connector-github", "c", true);
        connector.last_success.insert("github".into(), 0);
        connector.failing.extend((!why.is_empty()).then(|| ("github".to_owned(), why.to_owned())));
        connector
    };
    seen.sign(never(""), 1_000);
    assert_eq!(seen.judge(&limits(), 1_005).status, Health::Healthy, "it has just begun");
    seen.sign(never("github answered sweep with 401 Unauthorized"), 1_100);
    seen.sign(sign("resolver", "a", true), 1_101);
    let report = seen.judge(&limits(), 1_101);
    assert_eq!(report.status, Health::Degraded);
    let github = part(&report, "systems", "github");
    let why = "no call to it has succeeded yet: github answered sweep with 401 Unauthorized";
    assert_eq!((github.status, github.reason.as_deref(), github.age_ms), (Health::Degraded, Some(why), None));
    let mut connector = sign("connector-github", "c", true);
    connector.last_success.insert("github".into(), 1_102);
    seen.sign(connector, 1_102);
    let report = seen.judge(&limits(), 1_103);
    assert_eq!(part(&report, "systems", "github").reason, None);
    // Another process that has never called it says nothing against that.
    seen.sign(never(""), 1_104);
    assert_eq!(part(&seen.judge(&limits(), 1_105), "systems", "github").status, Health::Healthy);
}
