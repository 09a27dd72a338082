//! What was told last, for whoever comes back or reads slowly: one list in the order of telling, shared by all.
//!
//! Bounded in count and memory; the oldest goes first. Knows no clients.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;

use crate::event::{Draft, Event};
use crate::position::{Feed, Place, Position};
use crate::room::Room;

/// What was told last.
#[derive(Debug)]
pub struct History {
    told: RwLock<Told>,
    /// The number of the newest event.
    newest: watch::Sender<u64>,
    bounds: Bounds,
}

/// How much is remembered.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How many events.
    pub count: usize,
    /// How many bytes of memory they may take, roughly.
    pub bytes: usize,
    /// How many states stand that are no item's: of agents, workflows, health, alerts.
    pub standing: usize,
    /// For how long one stands without being told again, in milliseconds.
    pub standing_ms: i64,
    /// For how long an alert does: as long as the bus keeps it.
    pub alerts_ms: i64,
}

#[derive(Debug, Default)]
struct Told {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The number that the next event gets; the first is 1.
    next: u64,
    /// Where all feeds are.
    position: Position,
    /// From where on each feed is remembered without a gap: what is up to there was forgotten, or never read.
    forgotten: Position,
    /// By level the number of the event that says it newest.
    newest: HashMap<Box<str>, u64>,
    /// By level what a new watcher is shown while it is not too old, what the next one follows, and when it was told.
    standing: HashMap<Box<str>, (Arc<Event>, i64)>,
    standing_bytes: usize,
    /// When the newest message was stored, and when alerts that stood for too long were last thrown away.
    now_ms: i64,
    swept_ms: i64,
}

impl History {
    /// An empty one.
    pub fn new(bounds: Bounds) -> Self {
        let told = Told { next: 1, ..Told::default() };
        Self { told: RwLock::new(told), newest: watch::Sender::new(0), bounds }
    }

    /// Says where a feed begins to be read: everything after that place will be told.
    pub fn begin(&self, feed: Feed, place: Place) {
        let mut told = self.write();
        told.position = told.position.with(feed, place);
        told.forgotten = told.forgotten.with(feed, place);
    }

    /// Says that what comes after the present place of a feed, up to this one, will never be told.
    pub fn lose(&self, feed: Feed, place: Place) {
        let mut told = self.write();
        told.position = told.position.with(feed, place);
        told.forget(feed, place);
        let newest = told.next - 1;
        drop(told);
        self.newest.send_replace(newest);
    }

    /// Tells drafts, in order, and how far their feed has been read with them.
    pub fn tell(&self, drafts: Vec<Draft>, feed: Feed, upto: Option<Place>) {
        let mut told = self.write();
        for draft in drafts {
            told.add(draft, &self.bounds);
        }
        if let Some(place) = upto {
            told.position = told.position.with(feed, place);
        }
        told.shrink(&self.bounds);
        let newest = told.next - 1;
        drop(told);
        self.newest.send_replace(newest);
    }

    /// Tells when there is something new.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// The number of the newest event.
    pub fn last(&self) -> u64 {
        self.read().next - 1
    }

    /// Up to `max` events from a number on; `None` when that one is forgotten.
    pub fn from(&self, number: u64, max: usize) -> Option<Vec<Arc<Event>>> {
        let told = self.read();
        let start = told.index(number)?;
        Some(told.events.iter().skip(start).take(max).cloned().collect())
    }

    /// Where all feeds are.
    pub fn position(&self) -> Position {
        self.read().position
    }

    /// Whether whoever is at a position has read more than was told here so far: another broadcaster was faster.
    pub fn is_behind(&self, known: &Position) -> bool {
        let now = self.read().position;
        Feed::ALL.iter().any(|feed| {
            let (known, now) = (known.at(*feed), now.at(*feed));
            known.epoch == now.epoch && known.sequence > now.sequence
        })
    }

    /// Waits until everything that whoever is at a position has read was told here, too. Cancelling it loses nothing.
    pub async fn reached(&self, known: &Position) {
        let mut newest = self.newest.subscribe();
        while self.is_behind(known) {
            if newest.changed().await.is_err() {
                return;
            }
        }
    }

    /// How one goes on from a position.
    pub fn resume(&self, known: &Position) -> Resume {
        let told = self.read();
        for feed in Feed::ALL {
            let (known, forgotten, now) = (known.at(feed), told.forgotten.at(feed), told.position.at(feed));
            if known.epoch == now.epoch || known.epoch == forgotten.epoch {
                if known.epoch == forgotten.epoch && known.sequence < forgotten.sequence {
                    return Resume::Reset("too_old");
                }
            } else if known.epoch != 0 {
                // Telemetry's stream too, which begins anew by itself whenever its server does: what was last in it nobody knows any more.
                return Resume::Reset("other_epoch");
            } else if forgotten.sequence > 0 {
                return Resume::Reset("too_old");
            }
        }
        let first = told.events.partition_point(|event| {
            // Each feed's place only grows along the list, so up to some event all is known.
            Feed::ALL.iter().all(|feed| !known.is_before(*feed, event.position.at(*feed), &told.position))
        });
        Resume::From(told.events.get(first).map_or(told.next, |event| event.number))
    }

    /// The newer event that says all that this one says, where there is one.
    pub fn superseding(&self, event: &Event) -> Option<Arc<Event>> {
        let told = self.read();
        let newest = *told.newest.get(event.level.as_ref()?)?;
        if newest > event.number { told.events.get(told.index(newest)?).cloned() } else { None }
    }

    /// What stands in a room, as far as it was told up to a number: oldest first.
    pub fn standing(&self, room: &Room, upto: u64, now_ms: i64) -> Vec<Arc<Event>> {
        let told = self.read();
        let mut standing: Vec<_> = told
            .standing
            .values()
            .filter(|(event, at)| event.number <= upto && now_ms < self.bounds.stands_until(event, *at))
            .filter(|(event, _)| {
                let mut heard = false;
                event.message.rooms(|kind, name| heard |= room.hears(kind, name));
                heard
            })
            .map(|(event, _)| Arc::clone(event))
            .collect();
        standing.sort_by_key(|event| event.number);
        standing
    }

    /// How many events are remembered, and how many bytes they take, roughly.
    pub fn size(&self) -> (usize, usize) {
        let told = self.read();
        (told.events.len(), told.bytes)
    }

    fn read(&self) -> RwLockReadGuard<'_, Told> {
        // A panic elsewhere leaves lists that are still whole.
        self.told.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Told> {
        self.told.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bounds {
    /// How many bytes may be of what stands.
    fn standing_bytes(&self) -> usize {
        self.bytes / 2
    }

    /// Until when an event stands that was stored at some time.
    fn stands_until(&self, event: &Event, at_ms: i64) -> i64 {
        at_ms.saturating_add(if event.feed == Feed::Alerts { self.alerts_ms } else { self.standing_ms })
    }
}

/// How one goes on from a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// All that was missed is at or after this number.
    From(u64),
    /// Not at all, and why.
    Reset(&'static str),
}

impl Told {
    fn add(&mut self, mut draft: Draft, bounds: &Bounds) {
        let at_ms = draft.at_ms;
        let level = draft.message.level().filter(|_| draft.message.stands());
        if let Some((before, _)) = level.and_then(|level| self.standing.get(&*level)).cloned() {
            draft.message.follow(&before.message);
        }
        self.position = self.position.with(draft.feed, draft.place);
        let event = Arc::new(Event::new(draft, self.next, self.position));
        self.next += 1;
        self.bytes += event.weight();
        if let Some(level) = &event.level {
            self.newest.insert(level.clone(), event.number);
            let before = if event.message.stands() {
                self.standing_bytes += event.weight();
                self.standing.insert(level.clone(), (Arc::clone(&event), at_ms))
            } else {
                self.standing.remove(level)
            };
            self.standing_bytes -= before.map_or(0, |(before, _)| before.weight());
            while self.standing.len() > bounds.standing || self.standing_bytes > bounds.standing_bytes() {
                self.forget_oldest_standing();
            }
        }
        self.events.push_back(event);
        self.now_ms = self.now_ms.max(at_ms);
    }

    /// Makes room for a tenth, so that it is not done for each event. Alerts go last.
    fn forget_oldest_standing(&mut self) {
        let mut ages: Vec<_> =
            self.standing.iter().map(|(level, (event, at))| (event.feed == Feed::Alerts, *at, level.clone())).collect();
        ages.sort();
        for (_, _, level) in ages.into_iter().take((self.standing.len() / 10).max(1)) {
            self.standing_bytes -= self.standing.remove(&level).map_or(0, |(event, _)| event.weight());
        }
    }

    /// Throws away alerts that stood for too long; not for each event. Of what else is not shown any more the next one still follows.
    fn sweep(&mut self, bounds: &Bounds) {
        let now = self.now_ms;
        if now.saturating_sub(self.swept_ms) < bounds.alerts_ms / 10 {
            return;
        }
        self.standing.retain(|_, (event, at)| event.feed != Feed::Alerts || now < bounds.stands_until(event, *at));
        self.standing_bytes = self.standing.values().map(|(event, _)| event.weight()).sum();
        self.swept_ms = now;
    }

    fn shrink(&mut self, bounds: &Bounds) {
        self.sweep(bounds);
        while self.events.len() > bounds.count.max(1) || (self.bytes > bounds.bytes && self.events.len() > 1) {
            let Some(event) = self.events.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(event.weight());
            self.forget(event.feed, event.place);
            if let Some(level) = &event.level
                && self.newest.get(level) == Some(&event.number)
            {
                self.newest.remove(level);
            }
        }
    }

    /// What is up to a place of a feed is not remembered any more, if it was.
    fn forget(&mut self, feed: Feed, place: Place) {
        self.forgotten = self.forgotten.latest(&Position::default().with(feed, place), &self.position);
    }

    /// Where an event is in the list; `None` when it is forgotten.
    fn index(&self, number: u64) -> Option<usize> {
        let first = self.next - self.events.len() as u64;
        number.checked_sub(first).map(|index| usize::try_from(index).unwrap_or(usize::MAX))
    }
}

/// How far each hub thread has read, so that nothing is told faster than the slowest can read it.
#[derive(Debug, Default)]
pub struct Progress(AtomicU64);

impl Progress {
    /// Notes the number that was read last.
    pub fn set(&self, number: u64) {
        self.0.store(number, Ordering::Release);
    }

    /// The number that was read last.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(numbers(&history, history.resume(&known), &known), [(Feed::Live, 2), (Feed::Changes, 5)]);
        let all = history.position();
        assert_eq!(history.resume(&all), Resume::From(8));
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
        assert_eq!(history.resume(&at(9)), Resume::Reset("too_old"));
        assert_eq!(history.resume(&at(10)), Resume::From(1));
        tell(&history, Feed::Changes, 11..=15);
        assert_eq!(history.resume(&at(11)), Resume::Reset("too_old"));
        assert_eq!(history.resume(&at(12)), Resume::From(3));
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
            assert_eq!(history.resume(&old), Resume::Reset("other_epoch"));
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
        let on: Vec<u8> =
            told.iter().filter(|event| event.feed == Feed::Live).map(|event| event.message.on()).collect();
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
}
