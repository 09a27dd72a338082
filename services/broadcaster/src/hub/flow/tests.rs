use proto::v1;

use super::*;
use crate::event::Draft;
use crate::history::Bounds;
use crate::position::{Feed, Place};

const BOUNDS: Bounds = Bounds { count: 1_000, bytes: 100_000_000, standing: 50, standing_ms: 1_000, alerts_ms: 1_000 };

fn history(count: u64) -> History {
    let history = History::new(BOUNDS);
    tell(&history, 1..=count);
    history
}

/// Each event is the state of an agent: `a0` to `a9` in turns.
fn tell(history: &History, sequences: std::ops::RangeInclusive<u64>) {
    for sequence in sequences {
        let state =
            v1::AgentState { agent: format!("a{}", sequence % 10), status: "idle".into(), ..Default::default() };
        let place = Place { epoch: 1, sequence };
        let draft = Draft { message: Message::AgentState(state), feed: Feed::Live, place, trace: None, at_ms: 0 };
        history.tell(vec![draft], Feed::Live, None);
    }
}

fn room(name: &str, from: u64) -> Subscription {
    Subscription::new(Room::named(name).unwrap(), None, from, None)
}

/// A room that a client comes back to, which had read it up to a sequence, and what it missed there.
fn back(flow: &mut Flow, rooms: &mut Vec<Subscription>, name: &str, known: Position, next: u64, until: u64) {
    let missed = Missed { known, until };
    flow.come_back(next, missed, rooms, &known);
    rooms.push(Subscription::new(Room::named(name).unwrap(), None, next, Some(missed)));
}

fn known(sequence: u64) -> Position {
    Position::default().with(Feed::Live, Place { epoch: 1, sequence })
}

/// Everything that a flow tells until it is live.
fn all(flow: &mut Flow, history: &History, rooms: &[Subscription], conflate_over: u64) -> Vec<u64> {
    let mut told = Vec::new();
    let applied = history.last();
    for _ in 0..100 {
        match flow.pull(history, rooms, applied, conflate_over, |event| told.push(event.number)) {
            Pulled::Live => return told,
            Pulled::More => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("the client is never live")
}

#[test]
fn whoever_comes_back_is_told_what_it_missed_and_then_what_came_meanwhile() {
    let history = history(600);
    let (mut flow, mut rooms) = (Flow::default(), Vec::new());
    back(&mut flow, &mut rooms, "agent_states", known(100), 50, 600);
    tell(&history, 601..=700);
    assert_eq!(all(&mut flow, &history, &rooms, 1_000), (101..=700).collect::<Vec<_>>());
    assert!(flow.is_live());
}

#[test]
fn one_that_is_owed_something_of_an_item_comes_as_far_as_that_and_no_further() {
    let history = history(150);
    let mut flow = Flow::default();
    flow.fall_behind(100);
    let sought = Some(Sought { from: 121, known: known(120) });
    let rooms = [room("agent_states", 1), Subscription { sought, ..room("item:ENG-1", 100) }];
    let mut told = Vec::new();
    let pulled = flow.pull(&history, &rooms, 150, 1_000, |event| told.push(event.position.at(Feed::Live).sequence));
    assert_eq!(pulled, Pulled::More);
    assert_eq!(told, (100..=150).map(|sequence: u64| sequence.min(120)).collect::<Vec<_>>());
}

#[test]
fn of_what_was_missed_all_is_told_however_far_behind_it_is_and_of_what_came_meanwhile_the_newest() {
    let history = history(600);
    let (mut flow, mut rooms) = (Flow::default(), Vec::new());
    back(&mut flow, &mut rooms, "agent_states", known(100), 50, 600);
    tell(&history, 601..=700);
    assert_eq!(all(&mut flow, &history, &rooms, 1), (101..=600).chain(691..=700).collect::<Vec<_>>());
}

#[test]
fn what_is_told_in_one_room_is_not_told_again_by_coming_back_to_another() {
    let history = history(100);
    // It has been in `agent:a1` all the time, and comes back to `agent_states`.
    let (mut flow, mut rooms) = (Flow::default(), vec![room("agent:a1", 1)]);
    back(&mut flow, &mut rooms, "agent_states", known(80), 1, 100);
    let expected: Vec<u64> = (81..=100).filter(|number| number % 10 != 1).collect();
    assert_eq!(all(&mut flow, &history, &rooms, 1_000), expected);
}

#[test]
fn a_client_that_is_far_behind_gets_the_newest_of_each_level_only() {
    let history = history(500);
    let rooms = [room("agent_states", 1)];
    let mut flow = Flow::default();
    flow.fall_behind(1);
    let told = all(&mut flow, &history, &rooms, 400);
    // The first look is far behind; the second begins at 257, which is near, and near everything is told.
    assert_eq!(told, (257..=500).collect::<Vec<_>>());
    flow.fall_behind(1);
    let told = all(&mut flow, &history, &rooms, 1);
    assert_eq!(told, (491..=500).collect::<Vec<_>>());
}

/// A version of the item `i`.
fn tell_version(history: &History, version: u64) {
    let change = v1::Change { kind: "status_changed".into(), item: "i".into(), version, ..Default::default() };
    let place = Place { epoch: 1, sequence: version };
    let draft = Draft { message: Message::Change(change), feed: Feed::Changes, place, trace: None, at_ms: 0 };
    history.tell(vec![draft], Feed::Changes, None);
}

#[test]
fn nothing_is_told_before_the_snapshot_and_nothing_that_it_told() {
    let history = History::new(BOUNDS);
    let change = |version: u64| tell_version(&history, version);
    change(1);
    let mut rooms = [room("all", 2)];
    let mut flow = Flow::default();
    flow.hold(1);
    (2..=4).for_each(change);
    let round = Round::new(history.from(2, 3).unwrap());
    assert_eq!(flow.takes(&round, 0b111, &rooms), 0);
    assert_eq!(flow.pull(&history, &rooms, 4, 100, |_| panic!("too early")), Pulled::Held);
    flow.remember(&mut rooms[0], &Arc::new(Versions::from([("i".to_owned(), 3)])), 1_000);
    flow.release();
    assert_eq!(all(&mut flow, &history, &rooms, 100), [4]);
    assert_eq!(flow.takes(&round, 0b110, &rooms), 0b100, "the second is what the snapshot told");
    flow.forget(&mut rooms, 999);
    assert_eq!(flow.takes(&round, 0b110, &rooms), 0b100);
    flow.forget(&mut rooms, 1_000);
    assert_eq!(flow.takes(&round, 0b110, &rooms), 0b110);
}

#[test]
fn what_is_forgotten_is_not_passed_over_in_silence() {
    let history = History::new(Bounds { count: 10, ..BOUNDS });
    tell(&history, 1..=30);
    let rooms = [room("agent_states", 1)];
    let mut slow = Flow::default();
    slow.fall_behind(15);
    assert_eq!(slow.pull(&history, &rooms, 30, 100, |_| {}), Pulled::TooSlow);
    let (mut flow, mut rooms) = (Flow::default(), vec![room("agent:a1", 1)]);
    back(&mut flow, &mut rooms, "agent_states", known(5), 6, 30);
    assert_eq!(flow.pull(&history, &rooms, 30, 100, |_| {}), Pulled::Lost(vec![rooms[1].room.clone()]));
    rooms.pop();
    tell(&history, 31..=31);
    assert_eq!(all(&mut flow, &history, &rooms, 100), [31], "it goes on with what it had not been handed");
}

#[test]
fn what_two_rooms_missed_is_told_in_order_and_once() {
    let history = history(600);
    let (mut flow, mut rooms, mut told) = (Flow::default(), Vec::new(), Vec::new());
    back(&mut flow, &mut rooms, "agent:a1", known(100), 1, 600);
    back(&mut flow, &mut rooms, "agent:*", known(100), 1, 600);
    flow.pull(&history, &rooms, 600, 1_000, |event| told.push(event.number));
    told.extend(all(&mut flow, &history, &rooms, 1_000));
    assert_eq!(told, (101..=600).collect::<Vec<_>>());
}

#[test]
fn what_was_told_of_one_room_is_not_told_again_by_coming_back_to_another_later() {
    let history = history(600);
    let (mut flow, mut rooms, mut told) = (Flow::default(), Vec::new(), Vec::new());
    back(&mut flow, &mut rooms, "agent:a1", known(100), 1, 600);
    flow.pull(&history, &rooms, 600, 1_000, |event| told.push(event.number));
    assert_eq!(told, (101..=256).filter(|number| number % 10 == 1).collect::<Vec<_>>());
    back(&mut flow, &mut rooms, "agent:*", known(100), 1, 600);
    let rest = all(&mut flow, &history, &rooms, 1_000);
    assert_eq!(rest, (101..=600).filter(|number| *number > 256 || number % 10 != 1).collect::<Vec<_>>());
}

#[test]
fn what_was_missed_is_told_with_a_position_that_has_all_that_was_known() {
    let history = History::new(BOUNDS);
    let at = |sequence| Place { epoch: 1, sequence };
    // What this broadcaster read last of the alerts, another one read first.
    let tell = |feed, sequence| {
        let state = v1::AgentState { agent: "a".into(), status: "idle".into(), ..Default::default() };
        let draft = Draft { message: Message::AgentState(state), feed, place: at(sequence), trace: None, at_ms: 0 };
        history.tell(vec![draft], feed, None);
    };
    (1..=3).for_each(|sequence| tell(Feed::Live, sequence));
    (1..=2).for_each(|sequence| tell(Feed::Alerts, sequence));
    tell(Feed::Live, 4);
    let known = Position::default().with(Feed::Live, at(1)).with(Feed::Alerts, at(1));
    let (mut flow, mut rooms, mut told) = (Flow::default(), Vec::new(), Vec::new());
    back(&mut flow, &mut rooms, "agent_states", known, 1, 6);
    while flow.pull(&history, &rooms, 6, 100, |event| told.push((event.number, event.position))) == Pulled::More {}
    let places: Vec<_> =
        told.iter().map(|(_, at)| (at.at(Feed::Live).sequence, at.at(Feed::Alerts).sequence)).collect();
    assert_eq!(places, [(2, 1), (3, 1), (3, 2), (4, 2)]);
    assert_eq!(told.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 3, 5, 6]);
}

#[test]
fn what_the_snapshot_of_one_room_told_is_news_in_another() {
    let history = History::new(BOUNDS);
    let change = |version: u64| tell_version(&history, version);
    (1..=4).for_each(change);
    let mut rooms = [room("all", 1), room("item:i", 1), room("item:other", 1)];
    let mut flow = Flow::default();
    let round = Round::new(history.from(1, 4).unwrap());
    flow.remember(&mut rooms[1], &Arc::new(Versions::from([("i".to_owned(), 3)])), 1_000);
    assert_eq!(flow.takes(&round, 0b1111, &rooms), 0b1111);
    flow.fall_behind(1);
    assert_eq!(all(&mut flow, &history, &rooms, 100), [1, 2, 3, 4]);
    flow.remember(&mut rooms[0], &Arc::new(Versions::from([("i".to_owned(), 2)])), 1_000);
    assert_eq!(flow.takes(&round, 0b1111, &rooms), 0b1100);
    flow.fall_behind(1);
    assert_eq!(all(&mut flow, &history, &rooms, 100), [3, 4]);
}

#[test]
fn what_a_filter_wants_is_told_though_something_newer_of_its_level_is_not_wanted() {
    let history = History::new(BOUNDS);
    for (status, sequence) in [("idle", 1), ("error", 2), ("error", 3)] {
        let state = v1::AgentState { agent: "a".into(), status: status.into(), ..Default::default() };
        let place = Place { epoch: 1, sequence };
        let draft = Draft { message: Message::AgentState(state), feed: Feed::Live, place, trace: None, at_ms: 0 };
        history.tell(vec![draft], Feed::Live, None);
    }
    let filter = Filter { on: ["error_state".to_owned()].into(), ..Filter::default() };
    let rooms = [Subscription { filter: Some(Arc::new(filter)), ..room("agent:a", 1) }];
    let mut flow = Flow::default();
    flow.fall_behind(1);
    assert_eq!(all(&mut flow, &history, &rooms, 1), [2], "the third event says the error again");
    let mut flow = Flow::default();
    flow.fall_behind(1);
    assert_eq!(all(&mut flow, &history, &[room("agent:a", 1)], 1), [3]);
}
