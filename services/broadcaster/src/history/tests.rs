//! What is remembered, and for how long.

use proto::v1;

use super::*;
use crate::message::{Message, on};

const BOUNDS: Bounds = Bounds { count: 100, bytes: 10_000_000, standing: 50, standing_ms: 1_000, alerts_ms: 5_000 };

fn draft(feed: Feed, epoch: u32, sequence: u64, agent: &str) -> Draft {
    let message = match feed {
        Feed::Live => {
            Message::AgentState(v1::AgentState { agent: agent.into(), status: "idle".into(), ..Default::default() })
        }
        _ => Message::Delivery(v1::Delivery { item: agent.into(), ..Default::default() }),
    };
    Draft { message, feed, place: Place { epoch, sequence }, trace: None, at_ms: 0 }
}

fn tell(history: &History, feed: Feed, sequences: std::ops::RangeInclusive<u64>) {
    for sequence in sequences {
        history.tell(vec![draft(feed, 1, sequence, &sequence.to_string())], feed, None);
    }
}

fn numbers(history: &History, resume: Resume, known: &Position) -> Vec<(Feed, u64)> {
    let Resume::From(number) = resume else { panic!("{resume:?}") };
    let now = history.position();
    let events = history.from(number, 1_000).unwrap();
    let new = events.iter().filter(|event| known.is_before(event.feed, event.place, &now));
    new.map(|event| (event.feed, event.place.sequence)).collect()
}

#[test]
fn whoever_comes_back_is_told_what_came_since_in_each_feed() {
    let history = History::new(BOUNDS);
    tell(&history, Feed::Changes, 1..=3);
    tell(&history, Feed::Live, 1..=2);
    tell(&history, Feed::Changes, 4..=5);
    let place = |sequence| Place { epoch: 1, sequence };
    // Another broadcaster had read less of one feed and more of the other.
    let known = Position::default().with(Feed::Changes, place(4)).with(Feed::Live, place(1));
    assert_eq!(numbers(&history, history.resume(&known, &Feed::ALL), &known), [(Feed::Live, 2), (Feed::Changes, 5)]);
    let all = history.position();
    assert_eq!(history.resume(&all, &Feed::ALL), Resume::From(8));
}

#[test]
fn whoever_has_read_more_than_was_told_here_is_known_to_be_ahead() {
    let history = History::new(BOUNDS);
    tell(&history, Feed::Changes, 1..=3);
    let at = |epoch, sequence| Position::default().with(Feed::Changes, Place { epoch, sequence });
    assert!(history.is_behind(&at(1, 4)) && !history.is_behind(&at(1, 3)) && !history.is_behind(&at(2, 9)));
}

#[test]
fn what_is_forgotten_cannot_be_gone_on_from() {
    let history = History::new(Bounds { count: 3, ..BOUNDS });
    history.begin(Feed::Changes, Place { epoch: 1, sequence: 10 });
    let at = |sequence| Position::default().with(Feed::Changes, Place { epoch: 1, sequence });
    assert_eq!(history.resume(&at(9), &Feed::ALL), Resume::Reset("too_old"));
    assert_eq!(history.resume(&at(10), &Feed::ALL), Resume::From(1));
    tell(&history, Feed::Changes, 11..=15);
    assert_eq!(history.resume(&at(11), &Feed::ALL), Resume::Reset("too_old"));
    assert_eq!(history.resume(&at(12), &Feed::ALL), Resume::From(3));
    assert!(history.from(2, 10).is_none() && history.from(3, 10).is_some_and(|events| events.len() == 3));
    assert_eq!(history.from(6, 10).map(|events| events.len()), Some(0));
}

#[test]
fn another_life_of_a_stream_cannot_be_gone_on_in() {
    let history = History::new(BOUNDS);
    tell(&history, Feed::Live, 1..=2);
    tell(&history, Feed::Changes, 1..=1);
    for feed in [Feed::Changes, Feed::Live] {
        let old = Position::default().with(feed, Place { epoch: 9, sequence: 500 });
        assert_eq!(history.resume(&old, &Feed::ALL), Resume::Reset("other_epoch"));
        assert_eq!(history.resume(&old, &[feed]), Resume::Reset("other_epoch"));
        let others: Vec<Feed> = Feed::ALL.into_iter().filter(|other| *other != feed).collect();
        assert!(
            matches!(history.resume(&old, &others), Resume::From(_)),
            "nobody who hears nothing of it is concerned"
        );
    }
}

#[test]
fn what_a_sender_leaves_out_of_the_state_before_is_filled_in() {
    let history = History::new(BOUNDS);
    let tell = |sequence, status: &str, previous: &str| {
        let state = v1::AgentState {
            agent: "a".into(),
            status: status.into(),
            previous: previous.into(),
            ..Default::default()
        };
        let draft = Draft { message: Message::AgentState(state), ..draft(Feed::Live, 1, sequence, "a") };
        history.tell(vec![draft], Feed::Live, None);
    };
    [("error", ""), ("error", ""), ("idle", ""), ("working", "waiting")]
        .iter()
        .zip(1..)
        .for_each(|((status, previous), at)| tell(at, status, previous));
    let told = history.from(1, 10).unwrap();
    let on: Vec<u8> = told.iter().map(|event| event.message.on()).collect();
    assert_eq!(on, [on::STATUS_CHANGE | on::ERROR_STATE, 0, on::STATUS_CHANGE | on::RECOVERY, on::STATUS_CHANGE]);
    let Message::AgentState(last) = &told[3].message else { panic!("another kind") };
    assert_eq!(last.previous, "waiting", "what the sender says counts");
}

#[test]
fn however_long_ago_the_state_before_was_told_the_next_one_follows_it() {
    let history = History::new(BOUNDS);
    let tell = |sequence, at_ms, status: &str| {
        let state = v1::AgentState { agent: "a".into(), status: status.into(), ..Default::default() };
        let state = Draft { message: Message::AgentState(state), at_ms, ..draft(Feed::Live, 1, sequence, "a") };
        history.tell(vec![Draft { at_ms, ..draft(Feed::Deliveries, 1, sequence, "x") }], Feed::Deliveries, None);
        history.tell(vec![state], Feed::Live, None);
    };
    [(0, "error"), (10_000, "error"), (20_000, "idle")]
        .iter()
        .zip(1..)
        .for_each(|((at_ms, status), sequence)| tell(sequence, *at_ms, status));
    let told = history.from(1, 10).unwrap();
    let on: Vec<u8> = told.iter().filter(|event| event.feed == Feed::Live).map(|event| event.message.on()).collect();
    assert_eq!(on, [on::STATUS_CHANGE | on::ERROR_STATE, 0, on::STATUS_CHANGE | on::RECOVERY]);
}

#[test]
fn only_the_newest_of_a_level_is_not_superseded() {
    let history = History::new(BOUNDS);
    let state = |sequence, agent: &str| history.tell(vec![draft(Feed::Live, 1, sequence, agent)], Feed::Live, None);
    state(1, "a");
    state(2, "b");
    state(3, "a");
    let events = history.from(1, 10).unwrap();
    let superseding = |event: &Arc<Event>| history.superseding(event).map(|newer| newer.number);
    assert_eq!(events.iter().map(superseding).collect::<Vec<_>>(), [Some(3), None, None]);
    let room = Room::named("agent_states").unwrap();
    let shown = |upto, now| history.standing(&room, upto, now).iter().map(|event| event.number).collect::<Vec<_>>();
    assert_eq!((shown(3, 10), shown(2, 10), shown(3, 2_000)), (vec![2, 3], vec![2], vec![]));
    assert!(history.standing(&Room::named("agent:b").unwrap(), 3, 10).len() == 1);
}

#[test]
fn memory_is_bounded() {
    let history = History::new(Bounds { bytes: 20_000, standing: 20, ..BOUNDS });
    tell(&history, Feed::Live, 1..=500);
    let (count, bytes) = history.size();
    assert!(count > 5 && bytes <= 20_000, "{count} {bytes}");
    let told = history.read();
    assert!(told.newest.len() <= count && told.standing.len() <= 20);
    assert!(told.standing_bytes > 0 && told.standing_bytes <= 10_000, "{}", told.standing_bytes);
}

fn run(sequence: u64, execution: &str, status: &str) -> Draft {
    let (workflow, execution, status) = ("w".into(), execution.into(), status.into());
    let run = v1::WorkflowExecution { workflow, execution, status, ..Default::default() };
    Draft { message: Message::WorkflowExecution(run), ..draft(Feed::Live, 1, sequence, "") }
}

#[test]
fn a_state_that_was_told_once_stands_for_long_and_what_has_ended_only_for_a_while() {
    let standing_ms = i64::try_from(crate::Config::default().standing_ms).unwrap();
    let history = History::new(Bounds { standing_ms, ..BOUNDS });
    let told = ["running", "completed", "failed", "cancelled", "pending"];
    let runs = told.iter().zip(1..).map(|(status, sequence)| run(sequence, status, status));
    history.tell(runs.chain([draft(Feed::Live, 1, 9, "a")]).collect(), Feed::Live, None);
    let shown = |room: &str, now| history.standing(&Room::named(room).unwrap(), 9, now).len();
    assert_eq!((shown("workflow:w", ENDED_MS - 1), shown("workflow:w", ENDED_MS)), (5, 2));
    let day = 24 * 3_600_000;
    assert_eq!((shown("agent:a", day - 1), shown("workflow:w", day - 1), shown("all", day)), (1, 2, 0));
}

#[test]
fn where_too_much_stands_what_has_ended_goes_before_what_goes_on() {
    let history = History::new(Bounds { standing: 20, ..BOUNDS });
    history.tell((1..=10).map(|number| draft(Feed::Live, 1, number, &number.to_string())).collect(), Feed::Live, None);
    history.tell((11..=90).map(|number| run(number, &number.to_string(), "completed")).collect(), Feed::Live, None);
    let shown = |room: &str| history.standing(&Room::named(room).unwrap(), 90, 0).len();
    assert_eq!(shown("agent_states"), 10, "older, and nobody has told anything else since");
    assert!((8..=10).contains(&shown("workflow:w")), "{}", shown("workflow:w"));
}

#[test]
fn what_stood_for_too_long_is_not_shown_and_alerts_are_not_kept() {
    let history = History::new(BOUNDS);
    let alert = v1::SystemAlert { id: "d".into(), severity: crate::message::CRITICAL.into(), ..Default::default() };
    let alert = Draft { message: Message::SystemAlert(alert), ..draft(Feed::Alerts, 1, 1, "") };
    history.tell(vec![alert, draft(Feed::Live, 1, 1, "a")], Feed::Live, None);
    let shown = |room: &str, now| history.standing(&Room::named(room).unwrap(), 9, now).len();
    assert_eq!((shown("agent_states", 999), shown("agent_states", 1_000)), (1, 0));
    assert_eq!((shown("system_alerts", 4_999), shown("system_alerts", 5_000)), (1, 0));
    let kept = |sequence, at_ms| {
        let later = Draft { at_ms, ..draft(Feed::Deliveries, 1, sequence, "x") };
        history.tell(vec![later], Feed::Deliveries, None);
        let told = history.read();
        (told.standing.len(), told.standing_bytes > 0)
    };
    assert_eq!((kept(1, 900), kept(2, 1_000), kept(3, 5_000)), ((2, true), (2, true), (1, true)));
}
