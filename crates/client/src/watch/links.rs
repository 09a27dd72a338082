//! The connections of a watch: one for each filter. A position is a connection's, and so is what it covers.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::Url;
use tokio::sync::{mpsc, watch};

use super::Heard;
use super::calls::{Calls, Command};
use super::handle::ended;
use super::rooms::Rooms;
use super::state::OnState;
use super::task::Task;
use crate::backoff::Draw;
use crate::credential::Credential;
use crate::{Backoff, Error, Filter};

/// How many things may wait to be said over one connection.
const COMMANDS: usize = 64;
/// How large a message may be, to a server that does not say it.
const MESSAGE_MAX_BYTES: usize = 64 * 1024;

/// Where the task of one connection takes what it should do.
pub(super) type Link = mpsc::Sender<Command>;

/// The connections of one watch. They end when nobody reads what they hear.
#[derive(Debug)]
pub(super) struct Links {
    url: Url,
    credential: Credential,
    backoff: Backoff,
    draw: Draw,
    on_state: OnState,
    out: mpsc::Sender<Heard>,
    /// How large a message to the server may be, as it said last.
    message_max_bytes: Arc<AtomicUsize>,
    /// The first is the one that the watch was opened with.
    open: Mutex<Vec<Open>>,
}

#[derive(Debug)]
struct Open {
    filter: Filter,
    rooms: BTreeSet<String>,
    link: Link,
}

impl Links {
    pub(super) fn new(
        url: Url,
        credential: Credential,
        (backoff, draw): (Backoff, Draw),
        on_state: OnState,
        out: mpsc::Sender<Heard>,
    ) -> Self {
        let message_max_bytes = Arc::new(AtomicUsize::new(MESSAGE_MAX_BYTES));
        Self { url, credential, backoff, draw, on_state, out, message_max_bytes, open: Mutex::default() }
    }

    /// How large a message to the server may be.
    pub(super) fn message_max_bytes(&self) -> usize {
        self.message_max_bytes.load(Ordering::Relaxed)
    }

    /// The connection that everything but rooms goes by.
    pub(super) fn first(&self) -> Result<Link, Error> {
        self.open().first().map(|open| open.link.clone()).ok_or_else(ended)
    }

    /// The connection for rooms of this filter, which are noted as its own.
    pub(super) fn joins(&self, rooms: &BTreeSet<String>, filter: &Filter) -> Link {
        let mut all = self.open();
        let place = all.iter().position(|open| open.filter == *filter).unwrap_or_else(|| {
            let link = self.start(filter, all.is_empty());
            all.push(Open { filter: filter.clone(), rooms: BTreeSet::new(), link });
            all.len() - 1
        });
        all[place].rooms.extend(rooms.iter().cloned());
        all[place].link.clone()
    }

    /// The connections that these rooms are to be left by, but for the one of the filter `but`: each with what is left by it.
    pub(super) fn leaves(&self, rooms: &BTreeSet<String>, but: Option<&Filter>) -> Vec<(Link, BTreeSet<String>)> {
        let all = self.open();
        let others = all.iter().filter(|open| Some(&open.filter) != but);
        let its = |open: &Open| open.rooms.intersection(rooms).cloned().collect::<BTreeSet<String>>();
        others.map(|open| (open.link.clone(), its(open))).filter(|(_, its)| !its.is_empty()).collect()
    }

    /// Rooms are being left by a connection. One that has no rooms any more ends when what is said over it last is answered; the
    /// first stays.
    pub(super) fn left(&self, link: &Link, rooms: &BTreeSet<String>) {
        let mut all = self.open();
        for open in all.iter_mut().filter(|open| open.link.same_channel(link)) {
            open.rooms.retain(|room| !rooms.contains(room));
        }
        let mut place = 0;
        all.retain(|open| {
            place += 1;
            place == 1 || !open.rooms.is_empty()
        });
    }

    /// A connection without rooms, for what is said; a server that is not there is waited for.
    pub(super) fn bare(&self) -> (Link, watch::Receiver<Option<String>>) {
        let (stands_at, stands) = watch::channel(None);
        (self.run(&Filter::default(), true, true, stands_at), stands)
    }

    fn start(&self, filter: &Filter, first: bool) -> Link {
        // Only whoever opens a watch is told that nobody is there; later it is waited for.
        self.run(filter, first, !first, watch::Sender::new(None))
    }

    fn run(&self, filter: &Filter, first: bool, opened: bool, stands_at: watch::Sender<Option<String>>) -> Link {
        let (link, commands) = mpsc::channel(COMMANDS);
        let task = Task {
            url: self.url.clone(),
            credential: self.credential.clone(),
            backoff: self.backoff,
            draw: self.draw,
            on_state: if first { self.on_state.clone() } else { OnState::default() },
            lost: false,
            commands,
            out: self.out.clone(),
            first,
            message_max_bytes: Arc::clone(&self.message_max_bytes),
            rooms: Rooms::new(filter.clone()),
            calls: Calls::default(),
            stands_at,
            opened,
        };
        tokio::spawn(task.run());
        link
    }

    fn open(&self) -> MutexGuard<'_, Vec<Open>> {
        // What a panic elsewhere left is whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
