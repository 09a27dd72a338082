use super::*;
use crate::{OperationStep, Told};

fn names(rooms: &[&str]) -> BTreeSet<String> {
    rooms.iter().map(|room| (*room).to_owned()).collect()
}

/// Joins rooms, which come into effect at `here` and whose snapshots come.
fn joined(rooms: &mut Rooms, joins: &[&str], here: &str, shown: &[&str]) {
    let (reference, _) = rooms.join(names(joins), Begin::Snapshot);
    rooms.subscribed(&Subscribed { position: here.into(), reference: Some(reference.clone()) });
    assert_eq!(rooms.pong(&reference), Some(Answered { refused: Vec::new() }));
    for room in shown {
        show(rooms, room, here);
    }
}

fn show(rooms: &mut Rooms, room: &str, position: &str) {
    rooms.snapshot(&Snapshot { room: room.into(), position: position.into(), ..Snapshot::default() });
}

fn event(rooms: &mut Rooms, position: &str) {
    let step = OperationStep::default();
    rooms.event(&Message::OperationStep(Told { position: position.into(), traceparent: None, event: Box::new(step) }));
}

/// What is asked for on a new connection: rooms, and from where; and whether all else is a ping for each.
fn asked(rooms: &mut Rooms) -> Vec<(Value, Value)> {
    let said = rooms.connected();
    let subscribes: Vec<&Value> = said.iter().filter(|said| said["type"] == "subscribe").collect();
    subscribes.into_iter().map(|said| (said["rooms"].clone(), said["position"].clone())).collect()
}

#[test]
fn all_rooms_go_on_together_from_the_last_event() {
    let mut rooms = Rooms::new(Filter { ids: vec!["x".into()], ..Filter::default() });
    joined(&mut rooms, &["a", "b"], "p0", &["a", "b"]);
    joined(&mut rooms, &["c"], "p2", &["c"]);
    event(&mut rooms, "p3");
    let said = rooms.connected();
    assert_eq!(said.len(), 2, "a subscription and a ping");
    assert_eq!((&said[0]["rooms"], &said[0]["position"]), (&json!(["a", "b", "c"]), &json!("p3")));
    assert_eq!((&said[0]["filter"], &said[1]["ref"]), (&json!({"ids": ["x"]}), &said[0]["ref"]));
}

#[test]
fn without_an_event_they_go_on_from_where_the_first_began() {
    let mut rooms = Rooms::default();
    joined(&mut rooms, &["a"], "p0", &["a"]);
    joined(&mut rooms, &["b", "operation:x", "c:*"], "p2", &["b"]);
    assert_eq!(asked(&mut rooms), [(json!(["a", "b", "c:*", "operation:x"]), json!("p0"))]);
}

#[test]
fn a_quiet_connection_goes_on_from_where_it_is_unless_something_is_asked_behind_that() {
    let mut rooms = Rooms::default();
    joined(&mut rooms, &["a"], "p0", &[]);
    rooms.quiet("p1".into());
    show(&mut rooms, "a", "p0");
    rooms.quiet("p2".into());
    assert_eq!(asked(&mut rooms), [(json!(["a"]), json!("p2"))]);
    // What is gone on with is not in effect yet, and not when the ping behind it is answered first.
    rooms.quiet("p3".into());
    assert!(rooms.pong("s2").is_some());
    rooms.quiet("p4".into());
    assert_eq!(asked(&mut rooms), [(json!(["a"]), json!("p2"))]);
    assert!(rooms.pong("s3").is_some());
    rooms.subscribed(&Subscribed { position: "p5".into(), reference: Some("s3".into()) });
    rooms.quiet("p6".into());
    assert_eq!(asked(&mut rooms), [(json!(["a"]), json!("p6"))]);
}

#[test]
fn a_room_whose_snapshot_has_not_come_whole_begins_anew_beside_the_others() {
    let mut rooms = Rooms::default();
    joined(&mut rooms, &["a"], "p0", &["a"]);
    joined(&mut rooms, &["b"], "p1", &[]);
    let page = Snapshot { room: "b".into(), position: "p1".into(), more: true, ..Snapshot::default() };
    rooms.snapshot(&page);
    event(&mut rooms, "p2");
    assert_eq!(asked(&mut rooms), [(json!(["a"]), json!("p2")), (json!(["b"]), Value::Null)]);
    show(&mut rooms, "b", "p3");
    assert_eq!(asked(&mut rooms), [(json!(["a", "b"]), json!("p2"))]);
}

/// Goes on after a break, at `here`, where what was missed cannot be told.
fn too_old(rooms: &mut Rooms, here: &str, named: &[&str]) {
    let reference = rooms.connected()[0]["ref"].as_str().map(str::to_owned);
    rooms.subscribed(&Subscribed { position: here.into(), reference });
    rooms.reset(&Reset { rooms: named.iter().map(|room| (*room).to_owned()).collect(), reason: "too_old".into() });
}

#[test]
fn after_a_reset_the_old_position_is_never_shown_again() {
    let mut rooms = Rooms::default();
    joined(&mut rooms, &["a", "deliveries"], "p0", &["a"]);
    event(&mut rooms, "p1");
    too_old(&mut rooms, "p9", &["a", "deliveries"]);
    assert_eq!(asked(&mut rooms), [(json!(["deliveries"]), json!("p9")), (json!(["a"]), Value::Null)]);
    show(&mut rooms, "a", "p10");
    // A server may write names its own way, and say only from where it was asked to go on.
    too_old(&mut rooms, "p9", &["A"]);
    assert_eq!(asked(&mut rooms), [(json!(["deliveries"]), Value::Null), (json!(["a"]), Value::Null)]);
    show(&mut rooms, "a", "p20");
    assert_eq!(asked(&mut rooms), [(json!(["a", "deliveries"]), json!("p20"))]);
}

#[test]
fn after_a_reset_of_some_rooms_the_others_go_on_from_where_they_were() {
    let mut rooms = Rooms::default();
    joined(&mut rooms, &["a", "b"], "p0", &["a", "b"]);
    event(&mut rooms, "p1");
    too_old(&mut rooms, "p9", &["a"]);
    assert_eq!(asked(&mut rooms), [(json!(["b"]), json!("p1")), (json!(["a"]), Value::Null)]);
    show(&mut rooms, "a", "p9");
    event(&mut rooms, "p10");
    assert_eq!(asked(&mut rooms), [(json!(["a", "b"]), json!("p10"))]);
}

#[test]
fn a_room_that_was_left_or_refused_is_not_asked_for_again() {
    let mut rooms = Rooms::default();
    let (reference, _) = rooms.join(names(&["a", "b", "c"]), Begin::Snapshot);
    let refusal = Refusal { room: Some("b".into()), reference: Some(reference.clone()), ..Refusal::default() };
    assert_eq!(rooms.refused(&refusal), Blame::Rooms);
    assert_eq!(rooms.refused(&Refusal::default()), Blame::NoRoom);
    assert_eq!(rooms.pong(&reference), Some(Answered { refused: vec![refusal] }));
    assert_eq!(rooms.pong(&reference), None);
    rooms.leave(&names(&["c"]));
    assert_eq!(asked(&mut rooms), [(json!(["a"]), Value::Null)]);
}

#[test]
fn a_room_in_effect_that_is_refused_later_begins_anew_on_the_next_connection_beside_the_others() {
    let refusal = |reference: Option<String>| Refusal {
        code: "forbidden".into(),
        room: Some("a".into()),
        reference,
        ..Refusal::default()
    };
    let mut rooms = Rooms::default();
    joined(&mut rooms, &["a", "b"], "p0", &["a", "b"]);
    event(&mut rooms, "p1");
    // A new token does not grant it.
    assert_eq!(rooms.refused(&refusal(None)), Blame::NoRoom, "it is told");
    event(&mut rooms, "p2");
    rooms.quiet("p3".into());
    let said = rooms.connected();
    assert_eq!((&said[0]["rooms"], &said[0]["position"]), (&json!(["b"]), &json!("p3")));
    assert_eq!((&said[2]["rooms"], &said[2]["position"]), (&json!(["a"]), &Value::Null));
    // Nor does the next connection; the one after it does.
    let reference = said[2]["ref"].as_str().map(str::to_owned);
    assert_eq!(rooms.refused(&refusal(reference)), Blame::NoRoom);
    assert_eq!(asked(&mut rooms), [(json!(["b"]), json!("p3")), (json!(["a"]), Value::Null)]);
    show(&mut rooms, "a", "p4");
    event(&mut rooms, "p5");
    assert_eq!(asked(&mut rooms), [(json!(["a", "b"]), json!("p5"))]);
    let reference = rooms.connected()[0]["ref"].as_str().map(str::to_owned);
    let whole = Refusal { code: "malformed".into(), reference, ..Refusal::default() };
    assert_eq!(rooms.refused(&whole), Blame::NoRoom);
    assert_eq!(asked(&mut rooms), [(json!(["a", "b"]), Value::Null)]);
}

#[test]
fn what_was_refused_before_a_break_is_answered_after_it() {
    let mut rooms = Rooms::default();
    let (reference, _) = rooms.join(names(&["a", "b"]), Begin::Snapshot);
    let refusal = Refusal { room: Some("b".into()), reference: Some(reference.clone()), ..Refusal::default() };
    rooms.refused(&refusal);
    assert_eq!(asked(&mut rooms), [(json!(["a"]), Value::Null)]);
    assert_eq!(rooms.pong(&reference), Some(Answered { refused: vec![refusal] }));
}

#[test]
fn a_room_in_effect_stays_so_when_joining_it_once_more_is_refused_after_a_break() {
    let mut rooms = Rooms::default();
    joined(&mut rooms, &["a", "b"], "p0", &["a", "b"]);
    let (reference, _) = rooms.join(names(&["a", "c"]), Begin::Snapshot);
    assert_eq!(asked(&mut rooms), [(json!(["a", "b"]), json!("p0")), (json!(["a", "c"]), Value::Null)]);
    let busy = Refusal { code: "busy".into(), reference: Some(reference), ..Refusal::default() };
    assert_eq!(rooms.refused(&busy), Blame::Rooms);
    assert_eq!(asked(&mut rooms)[0], (json!(["a", "b"]), json!("p0")));
}

#[test]
fn what_cannot_be_read_for_a_moment_is_asked_for_anew() {
    let mut rooms = Rooms::default();
    joined(&mut rooms, &["a"], "p0", &[]);
    let refusal = |room: &str| Refusal { code: "unavailable".into(), room: Some(room.into()), ..Refusal::default() };
    assert_eq!(rooms.refused(&refusal("a")), Blame::Passing, "its snapshot, which comes after the answer");
    assert_eq!(rooms.refused(&refusal("b")), Blame::NoRoom);
    assert_eq!(asked(&mut rooms), [(json!(["a"]), Value::Null)]);
    let busy = Refusal { code: "busy".into(), reference: Some("s2".into()), ..Refusal::default() };
    assert_eq!(rooms.refused(&busy), Blame::Passing, "rooms that were in effect before the connection broke");
}

#[test]
fn a_join_that_broke_off_keeps_its_reference() {
    let mut rooms = Rooms::default();
    let (reference, _) = rooms.join(names(&["a", "b"]), Begin::Snapshot);
    rooms.subscribed(&Subscribed { position: "p0".into(), reference: Some(reference.clone()) });
    show(&mut rooms, "a", "p0");
    let said = rooms.connected();
    assert_eq!((&said[0]["rooms"], &said[0]["position"]), (&json!(["a"]), &json!("p0")));
    assert_eq!((&said[2]["rooms"], &said[2]["ref"]), (&json!(["b"]), &json!(reference)));
    show(&mut rooms, "b", "p1");
    let said = rooms.connected();
    assert_eq!((said.len(), &said[2]["type"], &said[2]["ref"]), (3, &json!("ping"), &json!(reference)));
    assert!(rooms.pong(&reference).is_some_and(|answered| answered.refused.is_empty()));
}

#[test]
fn rooms_in_effect_stay_so_when_joining_them_once_more_is_refused() {
    let mut rooms = Rooms::default();
    joined(&mut rooms, &["a", "b"], "p0", &["a"]);
    let (reference, _) = rooms.join(names(&["a", "b", "c"]), Begin::Snapshot);
    let busy = Refusal { code: "busy".into(), reference: Some(reference.clone()), ..Refusal::default() };
    show(&mut rooms, "b", "p1");
    assert_eq!(rooms.refused(&busy), Blame::Rooms);
    assert_eq!(rooms.pong(&reference), Some(Answered { refused: vec![busy] }));
    rooms.quiet("p2".into());
    assert_eq!(asked(&mut rooms), [(json!(["a", "b"]), json!("p2"))]);
}
