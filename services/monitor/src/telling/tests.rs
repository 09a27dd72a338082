use super::*;
use crate::health::Component;

fn alert(message: &str) -> Alert {
    Alert {
        code: "service_down",
        severity: Severity::Critical,
        component: "resolver".into(),
        since: None,
        message: message.into(),
        action: "start it".into(),
        held: None,
    }
}

/// What is told of them, in short, and kept under this sequence.
fn tell(told: &mut Told, open: &[Alert], now: i64, sequence: u64) -> Vec<(String, Option<u64>)> {
    let due = told.alerts(open, true, now);
    due.into_iter()
        .map(|(alert, after)| {
            let short = format!("{} {} {}", alert.metadata["state"], alert.message, alert.acknowledged_by);
            told.keep(sequence, alert);
            (short.trim_end().to_owned(), after)
        })
        .collect()
}

#[test]
fn an_alert_is_told_once_while_it_lasts_and_once_when_it_is_over() {
    let mut told = Told::default();
    assert_eq!(tell(&mut told, &[alert("a")], 0, 1), [("open a".to_owned(), None)]);
    assert_eq!(tell(&mut told, &[alert("b")], 5_000, 2), [], "other words alone are told after a while");
    assert_eq!(tell(&mut told, &[alert("b")], WORDS_MS + 1, 2), [("open b".to_owned(), Some(1))]);
    assert_eq!(tell(&mut told, &[], WORDS_MS + 2, 3), [("cleared b monitor".to_owned(), Some(2))]);
    assert_eq!(tell(&mut told, &[], WORDS_MS + 3, 4), []);
    assert_eq!(tell(&mut told, &[alert("c")], WORDS_MS + 4, 4), [("open c".to_owned(), Some(3))]);
}

#[test]
fn one_that_a_person_has_seen_to_is_not_raised_again_until_it_is_over() {
    let mut told = Told::default();
    tell(&mut told, &[alert("a")], 0, 1);
    let mut seen = told.kept.values().next().unwrap().alert.clone();
    seen.acknowledged_by = "Ada".into();
    told.keep(2, seen);
    assert_eq!(tell(&mut told, &[alert("b")], ALERT_AGAIN_MS, 3), []);
    let again = ("open b Ada".to_owned(), Some(2));
    assert_eq!(tell(&mut told, &[alert("b")], ALERT_AGAIN_MS + 1, 3), [again], "so that it is kept");
    assert_eq!(tell(&mut told, &[], ALERT_AGAIN_MS + 2, 4), [("cleared b monitor".to_owned(), Some(3))]);
    assert_eq!(tell(&mut told, &[alert("c")], ALERT_AGAIN_MS + 3, 5), [("open c".to_owned(), Some(4))]);
}

#[test]
fn what_the_bus_has_counts_though_more_was_known() {
    let mut told = Told::default();
    tell(&mut told, &[alert("a")], 0, 7);
    tell(&mut told, &[], 1, 8);
    let kept = told.kept.values().next().unwrap().alert.clone();
    told.find(&kept, Some((2, kept.clone())));
    assert_eq!(told.alerts(&[alert("b")], true, 2)[0].1, Some(2), "the stream was made anew");
    told.find(&kept, None);
    assert_eq!(told.alerts(&[alert("b")], true, 3)[0].1, None, "it was too old to be kept");
}

#[test]
fn nothing_is_over_while_not_all_that_is_open_is_known() {
    let mut told = Told::default();
    tell(&mut told, &[alert("a")], 0, 1);
    assert_eq!(told.alerts(&[], false, 1), []);
    assert_eq!(tell(&mut told, &[], 2, 2), [("cleared a monitor".to_owned(), Some(1))]);
}

#[test]
fn that_nobody_can_look_is_told_once_it_has_lasted_and_one_look_that_is_late_is_not() {
    let mut told = Told::default();
    assert!(!told.looked(false, 1_000) && !told.looked(false, 61_000));
    assert!(told.looked(false, 61_001));
    assert!(!told.looked(true, 62_000));
    assert!(!told.looked(false, 122_000), "it began anew");
}

#[test]
fn what_a_monitor_before_raised_is_over_only_when_this_one_has_looked_for_long_enough() {
    let mut before = Told::default();
    tell(&mut before, &[alert("a")], 0, 1);
    let mut told = Told { kept: before.kept, ..Told::default() };
    assert_eq!(tell(&mut told, &[], 1_000, 2), []);
    assert_eq!(tell(&mut told, &[], 1_001 + SETTLES_MS, 2), [("cleared a monitor".to_owned(), Some(1))]);
    told.keep(9, v1::SystemAlert { id: "disk".into(), severity: "critical".into(), ..Default::default() });
    assert_eq!(told.kept.len(), 1, "what others raise is theirs");
}

#[test]
fn levels_are_told_when_they_change_and_again_after_a_while() {
    let report = |status, at| {
        let part = Component { status, reason: Some("why".into()), age_ms: None, instances: None, since: None };
        let services = BTreeMap::from([("resolver".to_owned(), part)]);
        Report { status: Health::Healthy, at, components: BTreeMap::from([("services", services)]) }
    };
    let mut told = Told::default();
    let mut tell = |status, at| {
        let due = told.health(&report(status, at));
        for health in &due {
            told.has_told(health);
        }
        due.into_iter()
            .filter(|health| health.target == "service/resolver")
            .map(|health| (health.previous, health.health))
            .collect::<Vec<_>>()
    };
    let moved = |from: &str, to: &str| vec![(from.to_owned(), to.to_owned())];
    assert_eq!(tell(Health::Unhealthy, 0), [], "it may not have been seen yet");
    assert_eq!(tell(Health::Healthy, 1_000), moved("", "healthy"));
    assert_eq!(tell(Health::Healthy, 2_000), []);
    assert_eq!(tell(Health::Degraded, 3_000), moved("healthy", "degraded"));
    assert_eq!(tell(Health::Degraded, 3_001 + HEALTH_AGAIN_MS), moved("degraded", "degraded"));
}
