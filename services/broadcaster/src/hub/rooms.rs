//! How clients join rooms and leave them: with a snapshot first, or with what they missed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::Order;
use super::by_key::is_by_key;
use super::flow::{Missed, Subscription};
use super::index::Key;
use super::shard::Shard;
use crate::filter::Filter;
use crate::frame::{Refusal, with_reference};
use crate::history::Resume;
use crate::position::Position;
use crate::room::Room;
use crate::snapshot::{Pages, Snapshot};

/// For how long it is remembered what a snapshot told: a change that it contains comes by the bus within moments, or a little later
/// when whoever publishes it was killed just then.
const TOLD_MS: i64 = 60_000;

/// Of how many rooms the snapshots of one client may be under way at once, in times of the rooms that it may be in.
const SHOWN_TIMES: usize = 2;

/// How long a client that another broadcaster told more than was told here waits for that to come.
const REACHED: Duration = Duration::from_secs(5);

/// How much of a client waits for that at most; where it says more, nothing is waited for any longer.
const WANTED_MAX: usize = 32;

/// What a client wants of some rooms.
#[derive(Debug)]
pub struct Wish {
    pub(super) rooms: Vec<Room>,
    pub(super) filter: Filter,
    pub(super) position: Option<Position>,
    pub(super) snapshot: bool,
    pub(super) reference: Option<String>,
}

/// What a client wants of rooms.
#[derive(Debug)]
pub enum Wanted {
    /// To be let in.
    In(Box<Wish>),
    /// To leave those of these names.
    Out(Vec<String>, Option<String>),
    /// To know when what it said before is looked at.
    Ping(Option<String>),
}

impl Wanted {
    fn position(&self) -> Option<Position> {
        match self {
            Self::In(wish) => wish.position,
            Self::Out(..) | Self::Ping(_) => None,
        }
    }
}

impl Shard {
    pub(super) fn asked_for(
        &mut self,
        key: Key,
        names: Vec<String>,
        filter: Filter,
        position: Option<String>,
        snapshot: Option<bool>,
        reference: Option<String>,
    ) {
        let limit = self.shared.config.rooms_max;
        let refused = |shard: &mut Self, code, reason: String| {
            shard.answer(key, &Refusal::new(code, reason).message(reference.as_deref()));
        };
        if names.is_empty() || names.len() > limit {
            return refused(self, "malformed", format!("name 1 to {limit} rooms"));
        }
        if let Err(why) = filter.check() {
            return refused(self, "bad_filter", why);
        }
        let Ok(position) = position.map(|text| text.parse::<Position>()).transpose() else {
            return refused(self, "bad_position", "the position is none that a broadcaster gave out".into());
        };
        let mut rooms = Vec::new();
        for name in names {
            match Room::named(&name) {
                Ok(room) if rooms.contains(&room) => {}
                Ok(room) => rooms.push(room),
                Err(why) => self.answer(key, &Refusal::room("bad_room", &name, why).message(reference.as_deref())),
            }
        }
        let shown = self.clients.get(key).map_or(0, |client| client.reading + client.outbox.showing());
        if shown + rooms.len() > SHOWN_TIMES * limit {
            return refused(self, "busy", "many rooms are being shown to you; read them first".into());
        }
        if !rooms.is_empty() {
            let snapshot = snapshot.unwrap_or(true);
            self.wants(key, Wanted::In(Box::new(Wish { rooms, filter, position, snapshot, reference })));
        }
    }

    /// Does what a client wants of rooms: at once, or when all that it has read elsewhere was told here, too. Else it would be told
    /// that again. What it says after that waits with it: its order counts.
    pub(super) fn wants(&mut self, key: Key, wanted: Wanted) {
        let Some(client) = self.clients.get(key) else { return };
        let ahead = self.is_ahead(&wanted);
        if client.wanted.is_empty() && ahead.is_none() {
            return self.grant(key, wanted);
        }
        let Some(client) = self.clients.get_mut(key) else { return };
        client.wanted.push_back(wanted);
        match client.wanted.len() {
            1 => self.await_reached(key, ahead),
            WANTED_MAX.. => self.resume(key, false),
            _ => {}
        }
    }

    /// Where the client has been, when that is further than what was told here.
    fn is_ahead(&self, wanted: &Wanted) -> Option<Position> {
        wanted.position().filter(|known| self.shared.history.is_behind(known))
    }

    fn await_reached(&self, key: Key, ahead: Option<Position>) {
        let (Some(client), Some(known)) = (self.clients.get(key), ahead) else { return };
        let (serial, shared) = (client.serial, Arc::clone(&self.shared));
        self.main.spawn(async move {
            // What does not come in time is told apart by `subscribe`.
            let reached = tokio::time::timeout(REACHED, shared.history.reached(&known)).await.is_ok();
            let _ = shared.hub.orders(serial).send(Order::Resume { serial, reached });
        });
    }

    /// Does what a client wanted while it waited; of what it waited for in vain nothing more is waited for.
    pub(super) fn resume(&mut self, key: Key, reached: bool) {
        let mut waits = false;
        while let Some(next) = self.clients.get(key).and_then(|client| client.wanted.front()) {
            let ahead = self.is_ahead(next).filter(|_| waits);
            if ahead.is_some() {
                return self.await_reached(key, ahead);
            }
            if let Some(next) = self.clients.get_mut(key).and_then(|client| client.wanted.pop_front()) {
                self.grant(key, next);
            }
            waits = reached;
        }
    }

    fn grant(&mut self, key: Key, wanted: Wanted) {
        match wanted {
            Wanted::In(wish) => self.subscribe(key, *wish),
            Wanted::Out(names, reference) => self.unsubscribe(key, &names, reference.as_deref()),
            Wanted::Ping(reference) => self.ping(key, reference.as_deref()),
        }
    }

    /// Lets a client into those of the rooms that it may be in, and has them read where that is needed.
    fn subscribe(&mut self, key: Key, wish: Wish) {
        if wish.position.is_some() {
            // What was told already is not new to it; only what comes later is.
            let newest = self.shared.history.last();
            while self.applied < newest {
                self.hand_out();
            }
        }
        let limit = self.shared.config.rooms_max;
        let filter = self.filters.share(wish.filter);
        let reference = wish.reference.as_deref();
        if self.filters_of(key, &wish.rooms, filter.as_ref()) > self.shared.config.filters_max_bytes {
            let most = self.shared.config.filters_max_bytes;
            let reason = format!(
                "the filters of a client have at most {most} bytes together; leave a room, or use one filter for several"
            );
            return self.answer(key, &Refusal::new("too_many_filters", reason).message(reference));
        }
        let until = self.applied;
        let asking = self.asking();
        let rooms = self.gone_on(wish.rooms, wish.position);
        let next = rooms
            .iter()
            .filter_map(|(_, resume)| if let Some(Resume::From(next)) = resume { Some(*next) } else { None });
        let back = wish.position.zip(next.min()).map(|(known, next)| (next, Missed { known, until }));
        let mut comes_back = back;
        let mut joined = Vec::new();
        for (room, resume) in rooms {
            let Some(client) = self.clients.get_mut(key) else { return };
            let granted = client.rights.as_ref().is_some_and(|rights| rights.rooms.covers(&room.to_string()));
            let inside = client.rooms.iter().any(|known| known.is_asked(&room));
            let asked = client.rooms.iter().filter(|known| known.beside.is_none()).count();
            if !granted {
                let refusal =
                    Refusal::room("forbidden", &room.to_string(), "your key or token does not grant this room");
                self.answer(key, &refusal.message(reference));
                continue;
            }
            if !inside && asked >= limit {
                let reason = format!("a client can be in {limit} rooms; leave one first");
                self.answer(key, &Refusal::room("too_many_rooms", &room.to_string(), reason).message(reference));
                continue;
            }
            let back = back.filter(|_| matches!(resume, Some(Resume::From(_))));
            let (from, missed) = back.map_or((until + 1, None), |(from, missed)| (from, Some(missed)));
            if let Some((from, missed)) = comes_back.take_if(|_| back.is_some()) {
                client.flow.come_back(from, missed, &mut client.rooms, &self.position);
            }
            let fresh = Subscription::new(room.clone(), filter.clone(), from, missed);
            let subscription = match self.leave(key, &room) {
                None => Subscription { joined: asking, told_by: asking, ..fresh },
                Some(before) if missed.is_some() => Subscription { joined: before.joined, ..fresh },
                // A client that is behind has not been handed all of a room that it was in before.
                Some(before) => Subscription { filter: filter.clone(), ..before },
            };
            self.join(key, subscription);
            joined.push((room, resume));
        }
        if joined.is_empty() {
            return;
        }
        let resumed = joined.iter().any(|(_, resume)| matches!(resume, Some(Resume::From(_))));
        let names: Vec<String> = joined.iter().map(|(room, _)| room.to_string()).collect();
        let done = json!({
            "type": "subscribed",
            "rooms": names,
            "position": self.position.to_string(),
            "resumed": resumed,
        });
        self.answer(key, &with_reference(done, reference));
        let (mut lost, mut shown, mut by_key) = (BTreeMap::<_, Vec<Room>>::new(), Vec::new(), Vec::new());
        for (room, resume) in joined {
            match resume {
                Some(Resume::Reset(why)) => lost.entry(why).or_default().push(room),
                None if wish.snapshot => shown.push(room),
                // An item that was asked for by a key is followed by its id, too: its changes may carry another key.
                Some(Resume::From(_)) | None if is_by_key(&room) => by_key.push(room),
                Some(Resume::From(_)) | None => {}
            }
        }
        for (why, rooms) in lost {
            self.begin_anew(key, rooms, why, asking);
        }
        self.have_read(key, shown, true, asking);
        self.have_read(key, by_key, false, asking);
    }

    /// How much the filters of a client would take, with this one for these rooms.
    fn filters_of(&self, key: Key, rooms: &[Room], filter: Option<&Arc<Filter>>) -> usize {
        let Some(client) = self.clients.get(key).filter(|_| filter.is_some()) else { return 0 };
        let stays = |known: &&Subscription| !rooms.contains(known.beside.as_ref().unwrap_or(&known.room));
        let others = client.rooms.iter().filter(stays).filter_map(|known| known.filter.as_ref()).chain(filter);
        let each: BTreeMap<_, _> = others.map(|filter| (Arc::as_ptr(filter), filter)).collect();
        each.into_values().map(|filter| filter.weight()).sum()
    }

    /// How each of these rooms is gone on with from a position: by what is heard there. One whose feeds were lost begins anew, and leaves
    /// the others as they are.
    fn gone_on(&self, rooms: Vec<Room>, position: Option<Position>) -> Vec<(Room, Option<Resume>)> {
        let history = &self.shared.history;
        let ahead = position.is_some_and(|known| history.is_behind(&known));
        let resume = |room: &Room, known: Position| {
            if ahead { Resume::Reset("ahead") } else { history.resume(&known, room.kind.feeds()) }
        };
        rooms
            .into_iter()
            .map(|room| {
                let resume = position.map(|known| resume(&room, known));
                (room, resume)
            })
            .collect()
    }

    /// What was missed in these rooms cannot be told: their clients are shown again how they stand.
    pub(super) fn begin_anew(&mut self, key: Key, rooms: Vec<Room>, why: &str, asking: u64) {
        if rooms.is_empty() {
            return;
        }
        let from = self.applied + 1;
        if let Some(client) = self.clients.get_mut(key) {
            for lost in client.rooms.iter_mut().filter(|known| rooms.contains(&known.room)) {
                lost.sought = None;
                if lost.missed.take().is_some() {
                    (lost.from, lost.told_by) = (from, asking);
                }
            }
        }
        for room in &rooms {
            self.leave_beside(key, room);
        }
        self.looks_no_more(key);
        let names: Vec<String> = rooms.iter().map(Room::to_string).collect();
        self.answer(key, &json!({"type": "reset", "rooms": names, "reason": why}));
        self.have_read(key, rooms, true, asking);
    }

    /// Has rooms read from the database; until that is done the client is told nothing more.
    fn have_read(&mut self, key: Key, rooms: Vec<Room>, show: bool, asking: u64) {
        let applied = self.applied;
        let Some(client) = self.clients.get_mut(key) else { return };
        if rooms.is_empty() {
            return;
        }
        client.flow.hold(applied);
        self.look_up(key, rooms, true, show, asking);
    }

    /// Has rooms read from the database, all at once: how many reads go on at the same time the desk bounds.
    pub(super) fn look_up(&mut self, key: Key, rooms: Vec<Room>, held: bool, show: bool, asking: u64) {
        let Some(client) = self.clients.get_mut(key) else { return };
        client.reading += rooms.len();
        let (serial, from, at, shared) = (client.serial, self.applied + 1, self.position, Arc::clone(&self.shared));
        self.main.spawn(async move {
            let read = rooms.into_iter().map(async |room| {
                let snapshot = shared.snapshots.read(&room).await;
                (room, snapshot)
            });
            let found = join_all(read).await;
            // A thread that has ended has no clients to show it to.
            let _ = shared.hub.orders(serial).send(Order::Read { serial, held, show, from, at, asking, found });
        });
    }

    pub(super) fn read(
        &mut self,
        key: Key,
        show: bool,
        (from, at): (u64, Position),
        asking: u64,
        found: Vec<(Room, Result<Arc<Snapshot>, String>)>,
    ) {
        let until = self.now_ms + TOLD_MS;
        if let Some(client) = self.clients.get_mut(key) {
            client.reading = client.reading.saturating_sub(found.len());
        }
        for (room, snapshot) in found {
            let Some(client) = self.clients.get_mut(key) else { return };
            let is_for = |known: &&mut Subscription| known.is_asked(&room) && known.joined <= asking;
            let Some(subscription) = client.rooms.iter_mut().find(is_for) else {
                // It has left meanwhile; if it has come again, that is read for itself.
                continue;
            };
            match snapshot {
                Ok(snapshot) => {
                    if show && subscription.told_by == asking {
                        client.flow.remember(subscription, &snapshot.versions, until);
                    }
                    if is_by_key(&room) {
                        // Nothing was told since it was joined, unless it was looked up before in vain.
                        let next = client.flow.next_of(subscription, self.applied);
                        self.looked_up(key, &room, snapshot.id.as_deref(), next);
                    }
                    if show {
                        self.show(key, room, snapshot, from - 1, at);
                    }
                }
                Err(why) if !show && self.looks_again(key, &room, at) => {
                    tracing::debug!(%room, why, "an item could not be looked up; it is again later");
                }
                Err(why) => {
                    tracing::warn!(%room, why, "a snapshot could not be read; the client was told");
                    self.leave(key, &room);
                    let reason = "how things stand cannot be read now; subscribe again";
                    self.answer(key, &Refusal::room("unavailable", &room.to_string(), reason).message(None));
                }
            }
        }
        self.dirty.push(key);
    }

    /// What a client waited for is there.
    pub(super) fn release(&mut self, key: Key) {
        if let Some(client) = self.clients.get_mut(key) {
            client.flow.release();
            self.dirty.push(key);
        }
    }

    /// Shows how a room stands: its items, and what was told up to an event, after which a client is at this position, and still holds.
    fn show(&mut self, key: Key, room: Room, snapshot: Arc<Snapshot>, upto: u64, position: Position) {
        let standing = self.shared.history.standing(&room, upto, self.now_ms);
        let page = self.shared.config.snapshot_page;
        if let Some(client) = self.clients.get_mut(key) {
            client.outbox.show(Pages::new(room, position, snapshot, standing, page));
        }
    }

    pub(super) fn join(&mut self, key: Key, subscription: Subscription) {
        let Some(client) = self.clients.get_mut(key) else { return };
        self.index.join(&subscription.room, subscription.filter.as_ref(), key);
        let sought =
            (subscription.beside.is_none() && is_by_key(&subscription.room)).then(|| subscription.room.clone());
        client.rooms.push(subscription);
        if let Some(room) = sought {
            self.seeks(key, &room);
        }
    }

    /// Takes a client out of a room that it asked for, and of the item's id beside it. `None` when it was not in it.
    pub(super) fn leave(&mut self, key: Key, room: &Room) -> Option<Subscription> {
        let client = self.clients.get_mut(key)?;
        let place = client.rooms.iter().position(|known| known.is_asked(room))?;
        let left = client.rooms.remove(place);
        self.index.leave(&left.room, left.filter.as_ref(), key);
        self.leave_beside(key, room);
        if is_by_key(room) {
            self.seeks_no_more(key, room);
            self.looks_no_more(key);
        }
        Some(left)
    }

    fn unsubscribe(&mut self, key: Key, names: &[String], reference: Option<&str>) {
        let mut left = Vec::new();
        for name in names {
            let refusal = match Room::named(name) {
                Ok(room) if self.leave(key, &room).is_some() => {
                    left.push(name);
                    continue;
                }
                Ok(_) => Refusal::room("not_subscribed", name, "you are not in this room"),
                Err(why) => Refusal::room("bad_room", name, why),
            };
            self.answer(key, &refusal.message(reference));
        }
        self.answer(key, &with_reference(json!({"type": "unsubscribed", "rooms": left}), reference));
    }
}
