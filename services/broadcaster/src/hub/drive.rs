//! Watches one socket: reads what its client says, and goes on writing when it takes more.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::client::{Client, Transport};
use super::close::Close;
use super::index::Key;
use super::shard::Shard;
use crate::wire::{Broken, Said, opcode};

/// How many bytes of answers may wait for a client that goes on asking.
const ANSWERS_MAX: usize = 8 * 1024 * 1024;

/// Watches a client's socket until the client is gone.
pub async fn watch(shard: Rc<RefCell<Shard>>, key: Key, serial: u64) {
    poll_fn(move |cx| shard.borrow_mut().drive(key, serial, cx)).await;
}

impl Shard {
    /// Ready when the client is gone.
    fn drive(&mut self, key: Key, serial: u64, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(client) = self.clients.get_mut(key).filter(|client| client.serial == serial) else {
                return Poll::Ready(());
            };
            if client.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                client.waker = Some(cx.waker().clone());
            }
            let Transport::Socket { stream, .. } = &client.transport else { return Poll::Ready(()) };
            if client.blocked_since.is_some() && stream.poll_write_ready(cx).is_ready() {
                self.write(key);
                self.leave_to_the_loop();
                continue;
            }
            match stream.poll_read_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => {
                    self.remove(key);
                    return Poll::Ready(());
                }
                Poll::Ready(Ok(())) => match stream.try_read(&mut self.inlet) {
                    Ok(0) => {
                        self.remove(key);
                        return Poll::Ready(());
                    }
                    Ok(length) => self.hear(key, length),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => {
                        self.remove(key);
                        return Poll::Ready(());
                    }
                },
            }
        }
    }

    /// Takes the bytes that were read.
    fn hear(&mut self, key: Key, length: usize) {
        let bytes = std::mem::take(&mut self.inlet);
        self.take(key, &bytes[..length]);
        self.inlet = bytes;
        for key in std::mem::take(&mut self.dirty) {
            self.write(key);
        }
        self.leave_to_the_loop();
    }

    /// What is still to be written is written by the loop, which may be waiting for something else.
    fn leave_to_the_loop(&self) {
        if !self.dirty.is_empty() {
            self.work.notify_one();
        }
    }

    /// Takes bytes of a client's, and does what they say.
    pub(super) fn take(&mut self, key: Key, bytes: &[u8]) {
        let max = self.shared.config.message_max_bytes;
        self.now_ms = self.shared.process.now_ms();
        let Some(client) = self.clients.get_mut(key) else { return };
        (client.heard_at, client.pinged) = (self.now_ms, false);
        let Client { transport: Transport::Socket { reader, .. }, .. } = client else { return };
        let mut said = Vec::new();
        let read = reader.take(bytes, max, |one| said.push(one));
        for one in said {
            self.react(key, one);
        }
        if let Err(broken) = read {
            self.close(
                key,
                match broken {
                    Broken::Protocol(why) => {
                        tracing::debug!(why, "a client is against the protocol");
                        Close::PROTOCOL_ERROR
                    }
                    Broken::NotUtf8 => Close::NOT_UTF8,
                    Broken::TooLarge => Close::TOO_LARGE,
                },
            );
        }
    }

    fn react(&mut self, key: Key, said: Said) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if client.closing.is_some() {
            // Whatever else it says, we are waiting for it to close.
            if matches!(said, Said::Close(_)) && client.outbox.is_empty() {
                self.remove(key);
            }
            return;
        }
        let is_close = matches!(said, Said::Close(_));
        if !is_close && !self.may_speak(key) {
            return;
        }
        let Some(client) = self.clients.get_mut(key) else { return };
        match said {
            Said::Text(text) => self.text(key, &text),
            Said::Binary => self.close(key, Close::NOT_TEXT),
            Said::Ping(payload) => {
                client.pong(&payload);
                self.dirty.push(key);
            }
            Said::Pong => {}
            Said::Close(code) => {
                // What it asked for before is answered before.
                client.outbox.clear_events();
                client.control(opcode::CLOSE, &code.map_or_else(Vec::new, |code| code.to_be_bytes().to_vec()));
                // The client has said all it will; what of the answer its socket does not take now is not waited for.
                let index = client.transport_index();
                let _ = client.flush(&mut self.scratch, &mut self.told[index], self.now_ms);
                self.remove(key);
            }
        }
        let full = |client: &Client| client.closing.is_none() && client.outbox.answer_bytes() > ANSWERS_MAX;
        if self.clients.get(key).is_some_and(full) {
            self.close(key, Close::TOO_SLOW);
        }
    }
}
