//! What happens by the clock: signs of life, deadlines, tokens that expire, and the going of clients when the broadcaster stops.

use std::sync::PoisonError;

use serde_json::json;

use super::client::{Client, Transport};
use super::close::Close;
use super::index::Key;
use super::shard::Shard;
use super::{Standing, TRANSPORTS};
use crate::Config;
use crate::wire::opcode;

/// How long a stream of events may be silent at most: shorter than the shortest wait of common proxies.
const KEEP_ALIVE_MS: u64 = 15_000;

/// What a client is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Nothing,
    /// It is closed with a word.
    Close(Close),
    /// It is left without one: it takes nothing.
    Leave,
    Ping,
    KeepAlive,
    /// Its token will expire.
    Warn(i64),
}

/// What a client is due now.
fn due(client: &Client, config: &Config, now: i64) -> Due {
    let ms = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    let patience = ms(config.patience_ms);
    if client.closing.is_some_and(|until| now >= until) {
        return Due::Leave;
    }
    if client.closing.is_some() {
        return Due::Nothing;
    }
    if client.leaves_at.is_some_and(|at| now >= at) {
        return Due::Close(Close::GOING_AWAY);
    }
    if client.blocked_since.is_some_and(|since| now - since >= ms(config.stall_ms)) {
        return Due::Close(Close::TOO_SLOW);
    }
    let Some(rights) = &client.rights else {
        let late = now - client.since >= ms(config.auth_ms);
        return if late { Due::Close(Close::AUTH_MISSING) } else { Due::Nothing };
    };
    if let Some(expires) = rights.expires_at {
        if now >= expires {
            return Due::Close(Close::TOKEN_EXPIRED);
        }
        if !client.warned && expires - now <= ms(config.expiry_warning_ms) {
            return Due::Warn(expires);
        }
    }
    let silent = now - client.heard_at;
    match client.transport {
        Transport::Socket { .. } if client.pinged && silent >= ms(config.ping_ms).saturating_add(patience) => {
            Due::Close(Close::NO_SIGN_OF_LIFE)
        }
        Transport::Socket { .. } if !client.pinged && silent >= ms(config.ping_ms) => Due::Ping,
        Transport::Events(_) if silent >= ms(config.ping_ms.min(KEEP_ALIVE_MS)) => Due::KeepAlive,
        _ => Due::Nothing,
    }
}

impl Shard {
    /// Looks after everyone by the clock.
    pub(super) fn tick(&mut self) {
        let now = self.shared.process.now_ms();
        self.now_ms = now;
        let mut dues: Vec<(Key, Due)> = Vec::new();
        let mut looks: Vec<Key> = Vec::new();
        let mut standing = Standing { told: self.told, ..Standing::default() };
        for (key, client) in &mut self.clients {
            client.flow.forget(&mut client.rooms, now);
            standing.clients[client.transport_index()] += 1;
            standing.behind += usize::from(!client.flow.is_live());
            standing.blocked += usize::from(client.blocked_since.is_some());
            if client.looks.at_ms.is_some_and(|at| now >= at) {
                looks.push(key);
            }
            match due(client, &self.shared.config, now) {
                Due::Nothing => {}
                due => dues.push((key, due)),
            }
        }
        for (key, due) in dues {
            self.settle(key, due, now);
        }
        for key in looks {
            self.look_again(key);
        }
        for (kind, count) in self.index.counts() {
            standing.rooms[kind.index()] = count;
        }
        self.filters.sweep();
        self.publish(standing, now);
    }

    fn settle(&mut self, key: Key, due: Due, now: i64) {
        match due {
            Due::Nothing => return,
            Due::Leave => return self.remove(key),
            Due::Close(close) => return self.close(key, close),
            _ => {}
        }
        let Some(client) = self.clients.get_mut(key) else { return };
        match due {
            Due::Ping => {
                client.pinged = true;
                client.control(opcode::PING, b"");
            }
            Due::KeepAlive => client.outbox.answer(bytes::Bytes::from_static(b": still here\n\n")),
            Due::Warn(expires) => {
                client.warned = true;
                client.answer(&json!({"type": "token_expiring", "expires_at": expires, "in_ms": expires - now}));
            }
            _ => {}
        }
        self.dirty.push(key);
    }

    /// Lets everyone go: who came first goes first, spread over the time.
    pub(super) fn drain(&mut self, within_ms: u64) {
        self.draining = true;
        let count = i64::try_from(self.clients.len().max(1)).unwrap_or(i64::MAX);
        let within = i64::try_from(within_ms).unwrap_or(i64::MAX);
        let keys: Vec<Key> = self.clients.iter().map(|(key, _)| key).collect();
        for (place, key) in (0_i64..).zip(keys) {
            let in_ms = within.saturating_mul(place) / count;
            let Some(client) = self.clients.get_mut(key) else { continue };
            client.leaves_at = Some(self.now_ms + in_ms);
            client.answer(&json!({"type": "going_away", "in_ms": in_ms}));
            self.dirty.push(key);
        }
    }

    fn publish(&self, mut standing: Standing, now: i64) {
        let shard = &self.shared.hub.shards[self.number];
        let mut last = shard.standing.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, transport) in TRANSPORTS.iter().enumerate() {
            let fresh = standing.told[index].saturating_sub(last.told[index]);
            self.shared.counts.told.with_label_values(&[transport]).inc_by(fresh);
            let more =
                i64::try_from(standing.clients[index]).unwrap_or(0) - i64::try_from(last.clients[index]).unwrap_or(0);
            self.shared.counts.clients.with_label_values(&[transport]).add(more);
        }
        for (kind, count) in self.index.counts() {
            let more = i64::try_from(count).unwrap_or(0) - i64::try_from(last.rooms[kind.index()]).unwrap_or(0);
            if more != 0 {
                self.shared.counts.subscriptions.with_label_values(&[kind.name()]).add(more);
            }
        }
        // The rate of the last whole second.
        if now - last.counted_at >= 1_000 {
            let told: u64 = standing.told.iter().sum();
            let since = u64::try_from(now - last.counted_at).unwrap_or(1).max(1);
            standing.per_second = told.saturating_sub(last.counted) * 1_000 / since;
            (standing.counted, standing.counted_at) = (told, now);
        } else {
            (standing.per_second, standing.counted, standing.counted_at) =
                (last.per_second, last.counted, last.counted_at);
        }
        *last = standing;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::auth::Rights;
    use crate::event::Form;
    use crate::hub::bucket::Bucket;
    use crate::hub::{Admission, Mailbox};

    /// A listener that may hear everything, at the time 0.
    fn listener() -> Client {
        let permit = Admission::new(1, 1).admit_of(&"k".into()).unwrap();
        let transport = Transport::Events(Mailbox::new(1, unbounded_channel().0));
        let mut client = Client::new(1, transport, Form::Sse, permit, Bucket::full(1, 0), 0);
        client.rights = Some(Arc::new(Rights::all("k")));
        client
    }

    #[test]
    fn a_listener_is_shown_a_sign_of_life_every_fifteen_seconds_or_as_often_as_a_client_is_asked_for_one() {
        let (usual, often) = (Config::default(), Config { ping_ms: 5_000, ..Config::default() });
        for (config, every) in [(&usual, 15_000), (&often, 5_000)] {
            assert_eq!(due(&listener(), config, every - 1), Due::Nothing);
            assert_eq!(due(&listener(), config, every), Due::KeepAlive);
        }
    }
}
