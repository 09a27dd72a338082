//! Following rooms over a WebSocket, through broken connections: every event once and in order.
//!
//! Rooms of one filter share a connection, and with it a position: [`links`] knows which. A task of its own holds each; what they
//! hear waits for [`Watch::next`] in a queue of 1,024. When that is full they read no further, and the server does with a slow
//! client what its protocol says.

mod builder;
mod calls;
mod ending;
mod handle;
mod line;
mod links;
mod rooms;
mod said;
mod socket;
mod state;
mod task;

pub use builder::WatchBuilder;
pub use handle::Handle;
pub(crate) use line::Line;
pub use state::ConnectionState;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;

use tokio::sync::mpsc;

use crate::{Accepted, Error, Filter, Message, Status};

/// How many messages may wait for [`Watch::next`].
const WAITING: usize = 1_024;
/// How many of them a call sets aside while it waits for its own answer.
const AHEAD: usize = 100_000;

/// What one of the connections heard.
#[derive(Debug)]
struct Heard {
    message: Result<Message, Error>,
    /// The watch was opened with it.
    first: bool,
}

/// Some rooms, being followed. Dropping it ends that.
#[derive(Debug)]
pub struct Watch {
    messages: mpsc::Receiver<Heard>,
    /// What came while a call waited for its answer.
    ahead: VecDeque<Heard>,
    handle: Handle,
    position: Option<String>,
    ended: Option<String>,
}

impl Watch {
    /// The next message, waiting as long as it takes. The connection is made again as often as it must; an error means that
    /// somebody must mend something, and is the end. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Result<Message, Error> {
        if let Some(why) = &self.ended {
            return Err(Error::Ended { why: why.clone() });
        }
        let message = match self.ahead.pop_front() {
            Some(message) => Some(message),
            None => self.messages.recv().await,
        };
        let stopped = || Heard { message: Err(Error::Ended { why: "its task was stopped".into() }), first: true };
        let Heard { message, first } = message.unwrap_or_else(stopped);
        match &message {
            Ok(Message::Snapshot(snapshot)) if first && !snapshot.more => {
                self.position = Some(snapshot.position.clone());
            }
            Ok(message) if first => {
                if let Some(position) = message.position() {
                    self.position = Some(position.to_owned());
                }
            }
            Ok(_) => {}
            Err(error) => self.ended = Some(error.to_string()),
        }
        message
    }

    /// Where the watcher is, after the last message of [`next`](Self::next): kept by a program, it goes on from there in its next
    /// life ([`WatchBuilder::position`]). It covers the rooms that have the filter which the watch was opened with.
    pub fn position(&self) -> Option<&str> {
        self.position.as_deref()
    }

    /// What speaks for this watch from elsewhere, while [`next`](Self::next) waits here.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Joins rooms, with a snapshot of each, or gives those that are joined another filter. On an error the rooms that
    /// were refused are not joined, and others are. What is heard meanwhile waits for [`next`](Self::next).
    pub async fn join<R: Into<String>>(
        &mut self,
        rooms: impl IntoIterator<Item = R>,
        filter: Filter,
    ) -> Result<(), Error> {
        let handle = self.handle();
        self.meanwhile(handle.join(rooms, filter)).await
    }

    /// Joins a room beside those that the watch was opened with, and hears of it what came since a position.
    pub(crate) async fn join_from(&mut self, room: String, position: &str) -> Result<(), Error> {
        let handle = self.handle();
        let begin = rooms::Begin::Position(position.to_owned());
        self.meanwhile(handle.join_from([room].into(), Filter::default(), begin)).await
    }

    /// Leaves rooms. What was told of them before waits for [`next`](Self::next).
    pub async fn leave<R: Into<String>>(&mut self, rooms: impl IntoIterator<Item = R>) -> Result<(), Error> {
        let handle = self.handle();
        self.meanwhile(handle.leave(rooms)).await
    }

    /// Says that somebody sees to an alert.
    pub async fn acknowledge(&mut self, alert: &str) -> Result<(), Error> {
        let handle = self.handle();
        self.meanwhile(handle.acknowledge(alert)).await
    }

    /// Stores statuses over the socket; see [`Handle::update_status`].
    pub async fn update_status(&mut self, statuses: &[Status]) -> Result<Vec<Accepted>, Error> {
        let handle = self.handle();
        self.meanwhile(handle.update_status(statuses)).await
    }

    /// Waits for an answer and sets aside what else comes: the answer may stand behind it.
    async fn meanwhile<T>(&mut self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let mut answer = pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                message = self.messages.recv(), if self.ahead.len() < AHEAD => match message {
                    Some(message) => self.ahead.push_back(message),
                    None => return answer.await,
                }
            }
        }
    }

    /// Waits until the first rooms are in effect.
    async fn opened(&mut self, answer: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        let answer = self.meanwhile(answer).await;
        if answer.is_ok() {
            return answer;
        }
        // Why the task ended says more than that it did.
        while let Ok(message) = self.messages.try_recv() {
            self.ahead.push_back(message);
        }
        match self.ahead.pop_back() {
            Some(Heard { message: Err(why), .. }) => Err(why),
            _ => answer,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
