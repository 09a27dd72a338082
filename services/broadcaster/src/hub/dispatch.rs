//! Hands out what is new, and writes what waits.

use super::client::Client;
use super::close::Close;
use super::flow::Pulled;
use super::index::Key;
use super::outbox::Flushed;
use super::shard::Shard;

/// How many events are handed out before what waits is written: as many as one write joins.
const AT_ONCE: usize = 64;
/// How often in a row one client may take from the history before others get their turn.
const PULLS: usize = 4;

impl Shard {
    /// Hands out the next events to whoever is live, and writes what waits.
    pub(super) fn hand_out(&mut self) {
        match self.shared.history.from(self.applied + 1, AT_ONCE) {
            Some(events) => {
                for event in events {
                    let (clients, dirty) = (&mut self.clients, &mut self.dirty);
                    self.index.each(&event.message, |key| {
                        let Some(client) = clients.get_mut(key) else { return };
                        if !client.flow.takes(&event) {
                            return;
                        }
                        if client.outbox.is_empty() {
                            dirty.push(key);
                        }
                        if !client.outbox.tell(&event) {
                            client.flow.fall_behind(event.number);
                        }
                    });
                    (self.applied, self.position) = (event.number, event.position);
                }
            }
            None => self.lost_sight(),
        }
        self.shared.hub.shards[self.number].progress.set(self.applied);
        self.shared.hub.read_on.notify_waiters();
        for key in std::mem::take(&mut self.dirty) {
            self.write(key);
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
                Ok(Flushed::Blocked) => {
                    // The task that watches the socket must learn that it should wait for it to take more.
                    if let Some(waker) = &client.waker {
                        waker.wake_by_ref();
                    }
                    return;
                }
                Err(_) => return self.remove(key),
            }
            if client.closing.is_some() {
                return self.said_goodbye(key);
            }
            let Client { flow, rooms, outbox, .. } = client;
            let over = self.shared.config.conflate_over as u64;
            match flow.pull(&self.shared.history, rooms, self.applied, over, |event| outbox.tell_pulled(event)) {
                Pulled::Live | Pulled::Held => {
                    if client.outbox.is_empty() {
                        return;
                    }
                }
                Pulled::More => {}
                Pulled::Lost(rooms) => self.begin_anew(key, rooms, "too_old"),
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
        for subscription in std::mem::take(&mut client.rooms) {
            self.index.leave(&subscription.room, subscription.filter.as_ref(), key);
        }
    }
}
