//! What clients ask for, and what becomes of it.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::bucket::{Bucket, Verdict};
use super::client::{Client, Transport};
use super::close::Close;
use super::index::Key;
use super::rooms::{Wanted, Wish};
use super::shard::Shard;
use super::{Carrier, Newcomer, Order};
use crate::auth::{Credential, Denied, Rights};
use crate::frame::{self, Frame, Refusal, with_reference};
use crate::requests;
use crate::room::Room;
use crate::wire::Reader;

/// How many messages of one client may be worked on elsewhere at once.
const ASKED_MAX: u32 = 16;
impl Shard {
    /// Does what the thread is told.
    pub(super) fn obey(&mut self, order: Order) {
        self.now_ms = self.shared.process.now_ms();
        match order {
            Order::Admit(newcomer) => self.admit(*newcomer),
            Order::Known { serial, rights, reference } => self.with(serial, |shard, key| {
                shard.answered(key);
                shard.known(key, rights, reference.as_deref());
            }),
            Order::Read { serial, held, show, from, at, asking, found } => self.with(serial, |shard, key| {
                shard.read(key, show, (from, at), asking, found);
                if held {
                    shard.release(key);
                }
            }),
            Order::Resume { serial, reached } => self.with(serial, |shard, key| shard.resume(key, reached)),
            Order::Answer(serial, answer) => self.with(serial, |shard, key| {
                shard.answered(key);
                shard.answer(key, &answer);
            }),
            Order::Writable(serial) => self.with(serial, |shard, key| shard.dirty.push(key)),
            Order::Gone(serial) => self.with(serial, Self::remove),
            Order::Drain(within_ms) => self.drain(within_ms),
        }
    }

    fn with(&mut self, serial: u64, act: impl FnOnce(&mut Self, Key)) {
        if let Some(key) = self.key_of(serial) {
            act(self, key);
        }
    }

    fn admit(&mut self, newcomer: Newcomer) {
        let Newcomer { serial, by, form, rights, permit, rooms, filter, position } = newcomer;
        let (transport, first) = match by {
            Carrier::Events(mailbox) => (Transport::Events(mailbox), None),
            Carrier::Socket(stream, first, deflate) => match TcpStream::from_std(stream) {
                Ok(stream) => (Transport::Socket { stream, reader: Reader::new(deflate) }, Some(first)),
                Err(error) => return tracing::warn!(%error, "a socket cannot be watched; its client must come back"),
            },
        };
        let bucket = Bucket::full(self.shared.config.messages_burst, self.now_ms);
        let client = Client::new(serial, transport, form, permit, bucket, self.now_ms);
        let is_socket = first.is_some();
        let key = self.clients.insert(client);
        self.by_serial.insert(serial, key);
        if is_socket {
            self.unwatched.push((key, serial));
            let welcome = json!({
                "type": "welcome",
                "connection": serial.to_string(),
                "position": self.position.to_string(),
                "ping_ms": self.shared.config.ping_ms,
                "message_max_bytes": self.shared.config.message_max_bytes,
            });
            self.answer(key, &welcome);
        }
        if self.draining {
            return self.close(key, Close::GOING_AWAY);
        }
        if let Some(rights) = rights
            && let Err(close) = self.entitle(key, rights)
        {
            return self.close(key, close);
        }
        if !rooms.is_empty() {
            let wish = Wish { rooms, filter, position, snapshot: true, reference: None };
            self.wants(key, Wanted::In(Box::new(wish)));
        }
        if let Some(first) = first.filter(|first| !first.is_empty()) {
            self.take(key, &first);
        }
        self.dirty.push(key);
    }

    /// Gives a client its rights. Rooms that it may not follow any more it is taken out of.
    fn entitle(&mut self, key: Key, rights: Arc<Rights>) -> Result<(), Close> {
        let Some(client) = self.clients.get_mut(key) else { return Ok(()) };
        client.permit.is_of(&rights.subject)?;
        let lost: Vec<Room> = client
            .rooms
            .iter()
            .filter(|subscription| {
                subscription.beside.is_none() && !rights.rooms.covers(&subscription.room.to_string())
            })
            .map(|subscription| subscription.room.clone())
            .collect();
        (client.rights, client.warned) = (Some(rights), false);
        for room in lost {
            self.leave(key, &room);
            let reason = "the new token does not grant this room; you have left it";
            self.answer(key, &Refusal::room("forbidden", &room.to_string(), reason).message(None));
        }
        Ok(())
    }

    /// Whether a client may say something more now. Where it may not it is told so, or closed.
    pub(super) fn may_speak(&mut self, key: Key) -> bool {
        let config = &self.shared.config;
        let (rate, burst, now) = (config.messages_per_s, config.messages_burst, self.now_ms);
        let Some(client) = self.clients.get_mut(key) else { return false };
        match client.bucket.take(rate, burst, now) {
            Verdict::Fine => return true,
            Verdict::Refused => {
                let reason = format!("{rate} messages a second are taken; this one was not");
                self.answer(key, &Refusal::new("too_many_messages", reason).message(None));
            }
            Verdict::Enough => self.close(key, Close::TOO_MANY_MESSAGES),
        }
        false
    }

    /// Takes a text message.
    pub(super) fn text(&mut self, key: Key, text: &str) {
        let Some(client) = self.clients.get(key) else { return };
        let known = client.rights.is_some();
        match frame::read(text) {
            Err((refusal, reference)) if known => self.answer(key, &refusal.message(reference.as_deref())),
            Ok(Frame::Auth { token, reference }) => self.authenticate(key, &token, reference),
            // An answer that refers to a ping shows that what was said before it is looked at.
            Ok(Frame::Ping { reference: Some(reference) }) => self.wants(key, Wanted::Ping(Some(reference))),
            Ok(Frame::Ping { reference: None }) => self.ping(key, None),
            _ if !known => self.close(key, Close::AUTH_MISSING),
            Ok(Frame::Subscribe { rooms, filter, position, snapshot, reference }) => {
                self.asked_for(key, rooms, filter, position, snapshot, reference);
            }
            Ok(Frame::Unsubscribe { rooms, reference }) => self.wants(key, Wanted::Out(rooms, reference)),
            Ok(Frame::StatusUpdate { statuses, reference }) => {
                self.elsewhere(key, true, reference, move |shared, rights, reference| async move {
                    requests::status_update(&shared, &rights, statuses, reference).await
                });
            }
            Ok(Frame::Acknowledge { alert, reference }) => {
                self.elsewhere(key, false, reference, move |shared, rights, reference| async move {
                    requests::acknowledge(&shared, &rights, &alert, reference).await
                });
            }
            Err(_) => {}
        }
    }

    /// Answers a ping, with where the client is when it was told all.
    pub(super) fn ping(&mut self, key: Key, reference: Option<&str>) {
        let Some(client) = self.clients.get(key) else { return };
        // Answers go before events that wait: where those are not told yet, the client is not there yet.
        // One that waits to come back has been further already in some of it; one that seeks an item is owed what names its id only.
        let is_there = client.rights.is_some()
            && client.flow.is_live()
            && client.outbox.has_told()
            && client.wanted.is_empty()
            && !client.flow.seeks;
        let position = is_there.then(|| self.position.to_string());
        self.answer(key, &with_reference(frame::pong(self.now_ms, position), reference));
    }

    /// Lets something be worked on where it can be waited for. What counts `in_order` begins when what counted before is done, and not
    /// at all when its client has gone by then: that may have said something newer elsewhere.
    fn elsewhere<F, Fut>(&mut self, key: Key, in_order: bool, reference: Option<String>, work: F)
    where
        F: FnOnce(Arc<crate::Shared>, Arc<Rights>, Option<String>) -> Fut,
        Fut: Future<Output = Value> + Send + 'static,
    {
        let Some(serial) = self.asks(key, reference.as_deref()) else { return };
        let Some(client) = self.clients.get_mut(key) else { return };
        let Some(rights) = client.rights.clone() else { return };
        let (done, is_done) = oneshot::channel::<()>();
        let before = if in_order { client.last_asked.replace(is_done) } else { None };
        let here = Arc::downgrade(&client.here);
        let shared = Arc::clone(&self.shared);
        let work = work(Arc::clone(&shared), rights, reference);
        self.main.spawn(async move {
            if let Some(before) = before {
                // Its end is dropped, not sent.
                let _ = before.await;
                if here.strong_count() == 0 {
                    return;
                }
            }
            let answer = work.await;
            drop(done);
            // A thread that has ended has no clients to answer.
            let _ = shared.hub.orders(serial).send(Order::Answer(serial, answer));
        });
    }

    /// Counts one more message that is worked on elsewhere, unless there are as many as may be.
    pub(super) fn asks(&mut self, key: Key, reference: Option<&str>) -> Option<u64> {
        let client = self.clients.get_mut(key)?;
        if client.asked >= ASKED_MAX {
            let reason = format!("{ASKED_MAX} messages of yours are being worked on; wait for an answer");
            self.answer(key, &Refusal::new("busy", reason).message(reference));
            return None;
        }
        client.asked += 1;
        Some(client.serial)
    }

    pub(super) fn answered(&mut self, key: Key) {
        if let Some(client) = self.clients.get_mut(key) {
            client.asked = client.asked.saturating_sub(1);
        }
    }

    fn authenticate(&mut self, key: Key, token: &str, reference: Option<String>) {
        let credential = Credential::shown(token);
        let Some(serial) = self.asks(key, reference.as_deref()) else { return };
        if let Some(rights) = self.shared.access.admit_now(&credential, self.now_ms) {
            self.answered(key);
            return self.known(key, rights, reference.as_deref());
        }
        let (shared, now) = (Arc::clone(&self.shared), self.now_ms);
        self.main.spawn(async move {
            let rights = shared.access.admit(&credential, now).await;
            // A thread that has ended has no clients to answer.
            let _ = shared.hub.orders(serial).send(Order::Known { serial, rights, reference });
        });
    }

    /// It is known who a client is. One that was somebody before stays that when its new token is not good.
    fn known(&mut self, key: Key, rights: Result<Arc<Rights>, Denied>, reference: Option<&str>) {
        let Some(client) = self.clients.get(key) else { return };
        let before = client.rights.is_some();
        let rights = match rights {
            Ok(rights) => rights,
            Err(denied) if before => {
                return self.answer(key, &Refusal::new(denied.code, denied.reason).message(reference));
            }
            Err(denied) => {
                self.answer(key, &Refusal::new(denied.code, denied.reason).message(reference));
                self.write(key);
                return self.close(key, Close::named(denied.code).unwrap_or(Close::AUTH_FAILED));
            }
        };
        let rooms: Vec<String> = rights.rooms.iter().map(str::to_owned).collect();
        let success = json!({
            "type": "auth_success",
            "subject": &*rights.subject,
            "expires_at": rights.expires_at.unwrap_or(0),
            "rooms": rooms,
        });
        match self.entitle(key, rights) {
            Ok(()) => self.answer(key, &with_reference(success, reference)),
            Err(close) => self.close(key, close),
        }
    }

    /// Answers a client, if it is still here and not being closed.
    pub(super) fn answer(&mut self, key: Key, message: &Value) {
        if let Some(client) = self.clients.get_mut(key).filter(|client| client.closing.is_none()) {
            client.answer(message);
            self.dirty.push(key);
        }
    }
}
