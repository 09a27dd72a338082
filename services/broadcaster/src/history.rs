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

    /// How one goes on from a position with what these feeds tell. What became of the others does not count.
    pub fn resume(&self, known: &Position, feeds: &[Feed]) -> Resume {
        let told = self.read();
        for &feed in feeds {
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
            feeds.iter().all(|feed| !known.is_before(*feed, event.position.at(*feed), &told.position))
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

/// For how long it is shown at most what has ended. It is news, and there is always more of it.
const ENDED_MS: i64 = 600_000;

impl Bounds {
    /// How many bytes may be of what stands.
    fn standing_bytes(&self) -> usize {
        self.bytes / 2
    }

    /// Until when an event stands that was stored at some time.
    fn stands_until(&self, event: &Event, at_ms: i64) -> i64 {
        at_ms.saturating_add(match event.feed {
            Feed::Alerts => self.alerts_ms,
            _ if event.message.has_ended() => self.standing_ms.min(ENDED_MS),
            _ => self.standing_ms,
        })
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

/// Of what stands the least goes first.
fn worth(event: &Event) -> u8 {
    if event.feed == Feed::Alerts { 2 } else { u8::from(!event.message.has_ended()) }
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

    /// Makes room for a tenth, so that it is not done for each event. What has ended goes first, alerts last.
    fn forget_oldest_standing(&mut self) {
        let mut ages: Vec<_> =
            self.standing.iter().map(|(level, (event, at))| (worth(event), *at, level.clone())).collect();
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
mod tests;
