//! Hands out what is new, and writes what waits.

use std::sync::Arc;

use super::by_key::is_by_key;
use super::client::Client;
use super::close::Close;
use super::flow::Pulled;
use super::index::Key;
use super::outbox::Flushed;
use super::round::{self, Mask, Round};
use super::shard::Shard;

/// How often in a row one client may take from the history before others get their turn.
const PULLS: usize = 4;

impl Shard {
    /// Hands out the next events to whoever is live, and writes what waits.
    pub(super) fn hand_out(&mut self) {
        match self.shared.history.from(self.applied + 1, round::EVENTS) {
            Some(events) if events.is_empty() => {}
            Some(events) => self.hand_out_all(Round::new(events)),
            None => self.lost_sight(),
        }
        self.shared.hub.shards[self.number].progress.set(self.applied);
        self.shared.hub.read_on.notify_waiters();
        for key in std::mem::take(&mut self.dirty) {
            self.write(key);
        }
    }

    fn hand_out_all(&mut self, mut round: Round) {
        let (mut due, mut wanted) = (std::mem::take(&mut self.due), std::mem::take(&mut self.wanted));
        let mut named = Vec::new();
        for (bit, event) in round.each() {
            self.index.each(&event.message, |key| {
                if due.len() <= key {
                    due.resize(key + 1, 0);
                }
                if due[key] == 0 {
                    wanted.push(key);
                }
                due[key] |= bit;
            });
            (self.applied, self.position) = (event.number, event.position);
            if self.is_sought(event) {
                named.push(Arc::clone(event));
            }
        }
        for key in wanted.drain(..) {
            let events = std::mem::take(&mut due[key]);
            self.hand(key, &mut round, events);
        }
        (self.due, self.wanted) = (due, wanted);
        // What came after it in this round they go back to.
        for event in named {
            self.named(&event);
        }
    }

    /// Hands a client its events of a round, if it is live: at once where nothing waits for it.
    fn hand(&mut self, key: Key, round: &mut Round, events: Mask) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let events = client.flow.takes(round, events, &client.rooms);
        if events == 0 {
            return;
        }
        // One that is owed something is told where it stays until it has that, which is nobody else's place.
        let left = if client.outbox.is_empty() && !client.flow.seeks {
            let index = client.transport_index();
            match client.hand(&round.joined(client.form, events), &mut self.told[index], self.now_ms) {
                Ok(left) => left,
                Err(_) => return self.remove(key),
            }
        } else {
            events
        };
        // When it has taken what waits for it, it takes them by itself.
        if let Some(number) = round.first(left) {
            client.flow.fall_behind(number);
            if client.flow.seeks {
                self.dirty.push(key);
            }
        }
    }

    /// What this thread should hand out next is forgotten, which `Hub::tell` does not let happen. Its clients come back by
    /// their positions.
    fn lost_sight(&mut self) {
        tracing::error!(applied = self.applied, "the hub fell behind its own history; its clients must come back");
        (self.applied, self.position) = (self.shared.history.last(), self.shared.history.position());
        let keys: Vec<Key> = self.clients.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.close(key, Close::TOO_SLOW);
        }
    }

    /// Writes what waits for a client, and lets it take from the history what it has not been handed.
    pub(super) fn write(&mut self, key: Key) {
        for _ in 0..PULLS {
            let Some(client) = self.clients.get_mut(key) else { return };
            let index = client.transport_index();
            match client.flush(&mut self.scratch, &mut self.told[index], self.now_ms) {
                Ok(Flushed::Empty) => {}
                Ok(Flushed::Blocked) => return client.wait_until_writable(),
                Err(_) => return self.remove(key),
            }
            if client.closing.is_some() {
                return self.said_goodbye(key);
            }
            let Client { flow, rooms, outbox, .. } = client;
            let over = self.shared.config.conflate_over as u64;
            match flow.pull(&self.shared.history, rooms, self.applied, over, |event| outbox.tell(event)) {
                Pulled::Live | Pulled::Held => {
                    if client.outbox.is_empty() {
                        return;
                    }
                }
                Pulled::More => {}
                Pulled::Lost(rooms) => {
                    let asking = self.asking();
                    self.begin_anew(key, rooms, "too_old", asking);
                }
                Pulled::TooSlow => return self.close(key, Close::TOO_SLOW),
            }
        }
        self.dirty.push(key);
    }

    /// Closes a connection, and says why.
    pub(super) fn close(&mut self, key: Key, close: Close) {
        let now = self.now_ms;
        let patience = i64::try_from(self.shared.config.patience_ms).unwrap_or(i64::MAX);
        self.leave_rooms(key);
        let Some(client) = self.clients.get_mut(key) else { return };
        if client.closing.is_some() {
            return;
        }
        tracing::debug!(code = close.code, word = close.word, "a client is closed");
        self.shared.counts.closed.with_label_values(&[close.word]).inc();
        client.say_goodbye(close, now.saturating_add(patience));
        self.dirty.push(key);
    }

    /// The last word is written. A WebSocket client has a moment to close by itself: closing first could lose what it has not read.
    fn said_goodbye(&mut self, key: Key) {
        if let Some(Client { transport: super::client::Transport::Events(mailbox), .. }) = self.clients.get(key) {
            mailbox.close();
            self.remove(key);
        }
    }

    /// Forgets a client. Its socket, if it has one, is closed by that.
    pub(super) fn remove(&mut self, key: Key) {
        self.leave_rooms(key);
        if let Some(client) = self.clients.try_remove(key) {
            self.by_serial.remove(&client.serial);
            if let super::client::Transport::Events(mailbox) = &client.transport {
                mailbox.close();
            }
            if let Some(waker) = client.waker {
                waker.wake();
            }
        }
    }

    fn leave_rooms(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else { return };
        client.wanted.clear();
        for subscription in std::mem::take(&mut client.rooms) {
            self.index.leave(&subscription.room, subscription.filter.as_ref(), key);
            if subscription.beside.is_none() && is_by_key(&subscription.room) {
                self.seeks_no_more(key, &subscription.room);
            }
        }
    }
}
