//! What to follow, and from where.

use std::collections::VecDeque;

use reqwest::Url;
use tokio::sync::mpsc;

use super::handle::{Handle, names};
use super::links::Links;
use super::rooms::Begin;
use super::state::OnState;
use super::{ConnectionState, WAITING, Watch, socket};
use crate::backoff::Draw;
use crate::credential::Credential;
use crate::{Backoff, Error, Filter};

/// A watch that is not open yet.
#[derive(Debug, Clone)]
#[must_use = "nothing is followed until it is opened"]
pub struct WatchBuilder {
    url: Result<Url, String>,
    credential: Credential,
    rooms: Vec<String>,
    filter: Filter,
    position: Option<String>,
    snapshot: bool,
    backoff: Backoff,
    pub(super) draw: Draw,
    on_state: OnState,
}

impl WatchBuilder {
    pub(crate) fn new(url: Result<Url, Error>, credential: Credential) -> Self {
        Self {
            url: url.map_err(|error| error.to_string()),
            credential,
            rooms: Vec::new(),
            filter: Filter::default(),
            position: None,
            snapshot: true,
            backoff: Backoff::default(),
            draw: rand::random,
            on_state: OnState::default(),
        }
    }

    /// Follows these rooms, too: `all`, `item:<id or key>`, `record:<system>/<kind>/<id>`, `agent:*`, …
    pub fn rooms<R: Into<String>>(mut self, rooms: impl IntoIterator<Item = R>) -> Self {
        self.rooms.extend(rooms.into_iter().map(Into::into));
        self
    }

    /// Follows one agent, too: its state, its memory, its steps, and its records.
    pub fn agent(self, name: &str) -> Self {
        self.rooms([format!("agent:{name}")])
    }

    /// Follows the states of all agents, too.
    pub fn agents(self) -> Self {
        self.rooms(["agent_states"])
    }

    /// Follows one item, by its id or its key, too: its changes and deliveries.
    pub fn item(self, name: &str) -> Self {
        self.rooms([format!("item:{name}")])
    }

    /// Wants of these rooms only what passes.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Goes on from where an earlier watch of the same rooms was: [`Watch::position`].
    pub fn position(mut self, position: impl Into<String>) -> Self {
        self.position = Some(position.into());
        self
    }

    /// Whether each room begins with how it stands; by default it does. With a position it never does.
    pub fn snapshot(mut self, wanted: bool) -> Self {
        self.snapshot = wanted;
        self
    }

    /// How long to wait before connecting again.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Draws the waits by something else than chance.
    #[cfg(test)]
    pub(super) fn drawing(mut self, draw: Draw) -> Self {
        self.draw = draw;
        self
    }

    /// Calls this when the connection that the watch was opened with breaks, and when it stands again. It must not take long. Rooms
    /// that were joined with another filter go by one of their own, which it is not called for.
    pub fn on_state(mut self, told: impl Fn(ConnectionState) + Send + Sync + 'static) -> Self {
        self.on_state = OnState::new(told);
        self
    }

    /// Connects and joins the rooms. When this returns nothing that happens later is missed: it is in a room's snapshot, or told
    /// after that. It fails when Lockstep cannot be reached, or refuses.
    pub async fn open(self) -> Result<Watch, Error> {
        let url = self.url.map_err(|why| Error::address("the address of the WebSocket", why))?;
        let url = socket::address(url)?;
        let (out, messages) = mpsc::channel(WAITING);
        let begin = match self.position {
            Some(position) => Begin::Position(position),
            None if self.snapshot => Begin::Snapshot,
            None => Begin::Now,
        };
        let handle = Handle::new(Links::new(url, self.credential, (self.backoff, self.draw), self.on_state, out));
        let mut watch = Watch { messages, ahead: VecDeque::new(), handle: handle.clone(), position: None, ended: None };
        watch.opened(handle.join_from(names(self.rooms), self.filter, begin)).await?;
        Ok(watch)
    }
}
