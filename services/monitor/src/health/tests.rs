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
    seen.probed("nats", Ok(()), 1_000);
    seen.probed("postgres", Ok(()), 1_000);
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
fn a_service_that_cannot_be_seen_is_not_called_lifeless() {
    let mut seen = well();
    seen.probed("nats", Err("no answer".into()), 1_040);
    let report = seen.judge(&limits(), 1_045);
    let resolver = part(&report, "services", "resolver");
    assert_eq!((resolver.status, resolver.instances, resolver.since), (Health::Degraded, None, None));
    assert!(resolver.reason.as_deref().is_some_and(|why| why.contains("NATS")), "{resolver:?}");
    assert_eq!(report.status, Health::Unhealthy, "nothing goes on without NATS");
    // It is back, and the services are heard a moment later, or not.
    seen.probed("nats", Ok(()), 1_046);
    assert_eq!(seen.judge(&limits(), 1_050).status, Health::Degraded);
    let report = seen.judge(&limits(), 1_051);
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
    seen.probed("postgres", Err("no answer".into()), 1_000);
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
    // However long it is gone: nothing is synced with its system.
    seen.sign(sign("resolver", "a", true), 200_000);
    let report = seen.judge(&limits(), 200_000);
    assert_eq!(report.status, Health::Degraded);
    let connector = part(&report, "services", "connector-linear");
    assert_eq!((connector.status, connector.since, connector.instances), (Health::Unhealthy, Some(980), Some(0)));
}

#[test]
fn who_was_told_to_stop_is_not_missed_unless_it_must_be_there() {
    let leaving = |service: &str, instance: &str| v1::Heartbeat { leaving: true, ..sign(service, instance, true) };
    let mut seen = well();
    seen.sign(sign("connector-linear", "c", true), 1_000);
    seen.sign(sign("connector-linear", "d", true), 1_000);
    seen.sign(leaving("connector-linear", "c"), 1_001);
    assert_eq!(part(&seen.judge(&limits(), 1_002), "services", "connector-linear").instances, Some(1));
    seen.sign(leaving("connector-linear", "d"), 1_003);
    seen.sign(leaving("nobody", "d"), 1_003);
    let report = seen.judge(&limits(), 1_004);
    assert_eq!(report.status, Health::Healthy);
    assert!(!report.components["services"].contains_key("connector-linear"));
    seen.sign(leaving("resolver", "a"), 1_005);
    let report = seen.judge(&limits(), 1_006);
    let resolver = part(&report, "services", "resolver");
    assert_eq!((report.status, resolver.status, resolver.since), (Health::Degraded, Health::Degraded, Some(1_005)));
    assert_eq!(resolver.reason.as_deref(), Some("it was stopped"));
    assert_eq!(seen.judge(&limits(), 1_015).status, Health::Degraded, "it may be restarting");
    let report = seen.judge(&limits(), 1_016);
    let resolver = part(&report, "services", "resolver");
    assert_eq!((report.status, resolver.status, resolver.since), (Health::Unhealthy, Health::Unhealthy, Some(1_005)));
}

#[test]
fn silent_instances_are_forgotten_but_for_the_last_and_it_is_known_since_when_one_is_not_ready() {
    let mut seen = well();
    seen.sign(sign("resolver", "b", false), 1_010);
    seen.sign(sign("resolver", "b", false), 2_000);
    let report = seen.judge(&limits(), 2_001);
    assert_eq!(part(&report, "services", "resolver").since, Some(1_010));
    assert_eq!(seen.services["resolver"].len(), 1, "the other's successor is there");
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

#[test]
fn a_stream_of_which_nothing_is_read_any_more_is_noticed_and_one_that_moves_or_is_read_is_not() {
    let mut seen = well();
    let lag = |stream, acked, pending| Lag {
        stream,
        consumer: "observe-0-high".into(),
        pending,
        ack_pending: 1,
        acked,
        given: acked + 1,
    };
    let idle = |stream| Lag { ack_pending: 0, ..lag(stream, 5, 0) };
    let mut judged = |lag: Lag, now: i64| {
        seen.read(&[lag], now);
        seen.sign(sign("resolver", "a", true), now);
        let report = seen.judge(&limits(), now);
        (report.status, report.components["streams"]["OBSERVATIONS"].reason.clone())
    };
    let (long, well) = (61_000, (Health::Healthy, None));
    assert_eq!(judged(idle("OBSERVATIONS"), 0), well);
    assert_eq!(judged(idle("OBSERVATIONS"), long), well, "nothing waits");
    assert_eq!(judged(lag("OBSERVATIONS", 5, 3), long + 1), well);
    assert_eq!(judged(lag("OBSERVATIONS", 6, 9), 2 * long), well, "it has come further");
    let words = "observe-0-high has read nothing for 61 s, and 10 messages wait".to_owned();
    assert_eq!(judged(lag("OBSERVATIONS", 6, 9), 3 * long), (Health::Unhealthy, Some(words)));
    assert_eq!(judged(lag("OBSERVATIONS", 7, 9), 3 * long + 1), well);
    assert_eq!(judged(lag("COMMANDS", 7, 9), 5 * long), well, "a system that is away is waited for");
    assert_eq!(judged(lag("WEBHOOKS", 7, 9), 5 * long + 1).0, Health::Healthy);
    assert_eq!(judged(lag("WEBHOOKS", 7, 9), 6 * long + 2).0, Health::Degraded);
}

#[test]
fn a_system_to_which_every_call_fails_is_in_doubt_after_a_minute() {
    let mut seen = well();
    let limits = Limits { stale_ms: 900_000, silent_ms: 900_000, ..limits() };
    let heard = |at: i64, why: &str| v1::Heartbeat {
        last_success: [("linear".to_owned(), at)].into(),
        failing: (!why.is_empty()).then(|| ("linear".to_owned(), why.to_owned())).into_iter().collect(),
        ..sign("resolver", "a", true)
    };
    let mut judged = |at, why: &str, now| {
        seen.sign(heard(at, why), now);
        let linear = seen.judge(&limits, now).components["systems"]["linear"].clone();
        (linear.status, linear.reason)
    };
    assert_eq!(judged(1_000, "", 1_000), (Health::Healthy, None));
    assert_eq!(
        judged(1_000, "500", 60_000),
        (Health::Healthy, None),
        "one that fails may be followed by one that does not"
    );
    assert_eq!(judged(1_000, "500", 61_001), (Health::Healthy, None), "that it was quiet before is no fault");
    assert_eq!(judged(1_000, "500", 120_001), (Health::Degraded, Some("calls to it fail: 500".into())));
    assert_eq!(judged(130_000, "", 130_000), (Health::Healthy, None));
    assert_eq!(judged(130_000, "", 500_000), (Health::Healthy, None), "nobody called it");
    assert_eq!(judged(130_000, "500", 500_001), (Health::Healthy, None));
    assert_eq!(judged(130_000, "500", 560_002), (Health::Healthy, None), "nobody said so for a minute: it began anew");
}

#[test]
fn a_stream_that_takes_nothing_is_in_doubt_while_somebody_tries_and_quiet_is_no_fault() {
    let mut seen = well();
    let limits = Limits { stale_ms: 900_000, silent_ms: 9_000_000, ..limits() };
    let name = "nats:WEBHOOKS".to_owned();
    let mut judged = |at: i64, why: &str, now: i64| {
        let failing = (!why.is_empty()).then(|| (name.clone(), why.to_owned())).into_iter().collect();
        let last_success = [(name.clone(), at)].into();
        seen.sign(v1::Heartbeat { last_success, failing, ..sign("ingest", "a", true) }, now);
        let stream = seen.judge(&limits, now).components["systems"][&name].clone();
        (stream.status, stream.reason)
    };
    let fails = (Health::Degraded, Some("calls to it fail: no space left".to_owned()));
    assert_eq!(judged(1_000, "", 2_000_000), (Health::Healthy, None), "nobody sent anything");
    assert_eq!(judged(1_000, "no space left", 2_000_001), (Health::Healthy, None), "once is no fault");
    assert_eq!(judged(1_000, "no space left", 2_060_001), (Health::Healthy, None), "nor for a minute");
    assert_eq!(
        judged(1_000, "no space left", 2_060_002),
        (Health::Degraded, Some("no call to it succeeded for a while: no space left".into()))
    );
    assert_eq!(judged(2_061_000, "", 2_061_500), (Health::Healthy, None));
    for at in [2_070_000, 2_120_000, 2_170_000] {
        judged(2_061_000, "no space left", at);
    }
    assert_eq!(judged(2_061_000, "no space left", 2_170_001), fails);
    assert_eq!(judged(2_061_000, "", 2_240_000), (Health::Healthy, None), "nobody tries any more");
}

#[test]
fn one_call_that_failed_is_no_fault_however_long_it_is_told_of_and_nobody_calls_again() {
    let limits = Limits { stale_ms: 900_000, silent_ms: 900_000, ..limits() };
    for name in ["github", "nats:WEBHOOKS"] {
        let mut seen = well();
        let heard = |failing: bool| v1::Heartbeat {
            last_success: [(name.to_owned(), 1_000)].into(),
            failing: failing.then(|| (name.to_owned(), "away".to_owned())).into_iter().collect(),
            ..sign("ingest", "a", true)
        };
        for now in (2_000..200_000).step_by(2_000) {
            // A process tells of one for three quarters of a minute.
            seen.sign(heard(now <= 47_000), now);
            assert_eq!(part(&seen.judge(&limits, now), "systems", name).status, Health::Healthy, "{name} at {now}");
        }
    }
}

#[test]
fn that_webhooks_are_refused_counts_as_soon_as_it_is_told_and_is_over_when_it_is_not() {
    let mut seen = well();
    let name = "webhooks:github".to_owned();
    let limits = Limits { stale_ms: 900_000, silent_ms: 900_000, ..limits() };
    let mut judged = |at: i64, why: &str, now: i64| {
        let failing = (!why.is_empty()).then(|| (name.clone(), why.to_owned())).into_iter().collect();
        seen.sign(
            v1::Heartbeat { last_success: [(name.clone(), at)].into(), failing, ..sign("ingest", "a", true) },
            now,
        );
        let webhooks = seen.judge(&limits, now).components["systems"][&name].clone();
        (webhooks.status, webhooks.reason)
    };
    let refused = (Health::Degraded, Some("refused: the secret differs".to_owned()));
    assert_eq!(judged(0, "", 1_000), (Health::Healthy, None));
    assert_eq!(judged(0, "the secret differs", 2_000), refused);
    assert_eq!(judged(0, "", 62_000), refused, "who says so may have nothing more to say");
    assert_eq!(judged(0, "", 62_001), (Health::Healthy, None));
    assert_eq!(judged(70_000, "", 70_000), (Health::Healthy, None));
    assert_eq!(judged(70_000, "the secret differs", 80_000), refused);
    assert_eq!(judged(90_000, "", 90_000), (Health::Healthy, None), "a genuine one came");
}

#[test]
fn a_reader_whose_webhooks_wait_for_a_limit_reads_on() {
    let mut seen = well();
    let long = 61_000;
    let mut judged = |stream, given, pending, now: i64| {
        seen.read(&[Lag { stream, consumer: "a".into(), pending, ack_pending: given, acked: 0, given }], now);
        seen.sign(sign("resolver", "a", true), now);
        seen.judge(&limits(), now).components["streams"][stream].status
    };
    assert_eq!(judged("WEBHOOKS", 1, 0, 0), Health::Healthy);
    assert_eq!(judged("WEBHOOKS", 1, 0, long), Health::Healthy, "it comes again later");
    assert_eq!(judged("WEBHOOKS", 1, 1, long + 1), Health::Healthy);
    assert_eq!(judged("WEBHOOKS", 2, 1, 2 * long), Health::Healthy, "it was given the next");
    assert_eq!(judged("WEBHOOKS", 2, 1, 3 * long), Health::Degraded, "and none after that");
    // Observations come in order: nothing follows one that is not done with.
    assert_eq!(judged("OBSERVATIONS", 1, 0, 4 * long), Health::Healthy);
    assert_eq!(judged("OBSERVATIONS", 2, 0, 5 * long), Health::Unhealthy);
}
