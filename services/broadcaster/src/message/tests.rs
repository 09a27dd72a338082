//! What messages say of themselves.

use super::*;

fn rooms(message: &Message) -> Vec<String> {
    let mut rooms = Vec::new();
    message.rooms(|kind, name| {
        rooms.push(if kind.has_names() { format!("{}:{name}", kind.name()) } else { kind.name().to_owned() });
    });
    rooms
}

fn change(lifecycle: &str, key: &str, records: &[&str]) -> Message {
    Message::Change(v1::Change {
        kind: "status_changed".into(),
        item: "i".into(),
        lifecycle: lifecycle.into(),
        key: key.into(),
        record: records[0].into(),
        records: records.iter().map(|&record| record.to_owned()).collect(),
        ..v1::Change::default()
    })
}

#[test]
fn a_change_is_heard_in_the_rooms_of_its_item_records_project_and_agents() {
    let message = change("work", "acme/web#7", &["github/issue/acme/web#7", "agentapi/agent/a"]);
    let expected = [
        "all",
        "item:i",
        "lifecycle:work",
        "item:acme/web#7",
        "project:acme/web",
        "record:github/issue/acme/web#7",
        "record:agentapi/agent/a",
        "agent:a",
    ];
    assert_eq!(rooms(&message), expected);
    assert!(rooms(&change("agent", "", &["x/y/z/1"])).contains(&"agent:z/1".to_owned()));
    assert!(rooms(&change("agent", "", &["x/y/z"])).contains(&"agent_states".to_owned()));
}

#[test]
fn what_is_heard_in_a_room_comes_from_one_of_its_feeds() {
    use crate::position::Feed;
    let conflict = v1::Change { kind: "conflict_opened".into(), key: "K-1".into(), ..v1::Change::default() };
    let told = [
        (Feed::Changes, change("work", "K-1", &["agentapi/agent/a"])),
        (Feed::Changes, change("agent", "", &["agentapi/agent/a"])),
        (Feed::Changes, change("workflow", "", &["ci/build/a"])),
        (Feed::Changes, Message::Change(conflict)),
        (
            Feed::Deliveries,
            Message::Delivery(v1::Delivery { record: "agentapi/agent/a".into(), ..v1::Delivery::default() }),
        ),
        (Feed::Alerts, Message::SystemAlert(v1::SystemAlert::default())),
        (Feed::Metrics, Message::Metrics(String::new(), vec![])),
        (Feed::Live, Message::AgentState(v1::AgentState::default())),
        (Feed::Live, Message::WorkflowExecution(v1::WorkflowExecution::default())),
        (Feed::Live, Message::MemoryTimeline(v1::MemoryTimeline::default())),
        (Feed::Live, Message::HealthChanged(v1::HealthChanged::default())),
        (Feed::Live, Message::OperationStep(v1::OperationStep { agent: "a".into(), ..Default::default() })),
    ];
    let mut needed = Vec::new();
    for (feed, message) in told {
        message.rooms(|kind, _| needed.push((kind, feed)));
    }
    for kind in Kind::ALL {
        for feed in Feed::ALL {
            assert_eq!(kind.feeds().contains(&feed), needed.contains(&(kind, feed)), "{kind:?} {feed:?}");
        }
    }
}

#[test]
fn a_delivery_is_heard_in_the_rooms_of_its_own_record_and_its_item() {
    let delivery = |record: &str| {
        let (record, item) = (record.to_owned(), "i".to_owned());
        rooms(&Message::Delivery(v1::Delivery { record, item, ..v1::Delivery::default() }))
    };
    assert_eq!(delivery("github/issue/a#1"), ["deliveries", "item:i", "record:github/issue/a#1"]);
    assert_eq!(delivery("agentapi/agent/a"), ["deliveries", "item:i", "record:agentapi/agent/a", "agent:a"]);
}

#[test]
fn a_project_is_what_stands_before_the_number() {
    assert_eq!(project_of("ENG-1"), Some("ENG"));
    assert_eq!(project_of("a-b-12"), Some("a-b"));
    assert_eq!(
        (project_of("ENG"), project_of("ENG-x"), project_of("-1"), project_of("ENG-")),
        (None, None, None, None)
    );
}

#[test]
fn going_wrong_and_getting_well_again_are_told_apart() {
    let health = |from: &str, to: &str| {
        Message::HealthChanged(v1::HealthChanged {
            previous: from.into(),
            health: to.into(),
            ..v1::HealthChanged::default()
        })
        .on()
    };
    assert_eq!(health("healthy", "unhealthy"), on::HEALTH_CHANGE | on::ERROR_STATE);
    assert_eq!(health("unhealthy", "healthy"), on::HEALTH_CHANGE | on::RECOVERY);
    assert_eq!(health("healthy", "degraded"), on::HEALTH_CHANGE);
    assert_eq!(health("healthy", "healthy"), 0);
}

#[test]
fn only_an_alert_of_weight_goes_wrong_until_somebody_has_seen_to_it_and_gets_well_again() {
    for (severity, wrong, well) in
        [("warning", 0, 0), ("error", on::ERROR_STATE, on::RECOVERY), (CRITICAL, on::ERROR_STATE, on::RECOVERY)]
    {
        let alert = |seen_by: &str, is_over: bool| {
            let (severity, acknowledged_by) = (severity.to_owned(), seen_by.to_owned());
            let mut alert = v1::SystemAlert { severity, acknowledged_by, ..v1::SystemAlert::default() };
            alert.set_over(is_over);
            Message::SystemAlert(alert).on()
        };
        assert_eq!([alert("", false), alert("Ada", false)], [wrong, 0], "{severity}");
        assert_eq!([alert("monitor", true), alert("", true)], [well; 2], "{severity}");
    }
}

#[test]
fn only_what_a_newer_message_says_again_is_a_level() {
    assert!(change("work", "ENG-1", &["a/b/c"]).level().is_some());
    let Message::Change(linked) = change("work", "ENG-1", &["a/b/c"]) else { unreachable!() };
    assert!(Message::Change(v1::Change { kind: "linked".into(), ..linked }).level().is_none());
    assert!(Message::Delivery(v1::Delivery::default()).level().is_none());
    assert!(Message::OperationStep(v1::OperationStep::default()).level().is_none());
}
