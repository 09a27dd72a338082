//! Statuses that are stored, and how far they have spread: by events and by asking; [`spread`] judges.

mod spread;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

pub use spread::{Outcome, RecordOutcome, StatusOutcome};

use crate::{Client, Error, Item, Watch};
use spread::{HistoryLine, Spread};

/// The first of the waits between two questions about one item: events make most of them needless.
const ASK_FIRST: Duration = Duration::from_millis(100);
/// The longest of them.
const ASK_MAX: Duration = Duration::from_secs(2);
/// How long questions may take that are asked when the time is nearly over.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// How many questions go at once.
const AT_ONCE: usize = 8;
/// How many lines of history are looked through for one status: as many as one message may cause, and more.
const LINES: u32 = 50;

/// A status that the server stored: from now on it counts, whatever happens to us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stored {
    /// The record that it is about.
    pub record: String,
    /// Its id: the given one, or a new one.
    pub id: String,
    /// The status.
    pub status: String,
    /// The lane in which it waits for its turn.
    pub lane: String,
    /// Its place on the stream of observations.
    pub sequence: u64,
    /// Where watching must begin to hear everything that followed.
    pub from: Option<String>,
}

/// A status that was not stored, or is not known to be.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NotStored {
    /// The record that it is about.
    pub record: String,
    /// Its id.
    pub id: String,
    /// Why: [`Error::Replaced`] when a newer one of its record took its place while there was no connection, [`Error::AnswerLost`]
    /// when it was sent and may be stored.
    pub error: Error,
}

/// How far the statuses of one call have spread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Propagated {
    /// Each item took its status, had it, or lets it change nothing, and each record that can be told shows it, as its system confirmed.
    pub complete: bool,
    /// Nothing more is to come: nothing is pending.
    pub settled: bool,
    /// Each status, in no particular order.
    pub statuses: Vec<StatusOutcome>,
}

/// Statuses that are stored.
#[derive(Debug, Clone)]
pub struct Propagation {
    /// Stored: they count from now on, whatever happens to this client.
    pub accepted: Vec<Stored>,
    /// Not stored, or not known to be, each with the reason.
    pub refused: Vec<NotStored>,
    client: Client,
}

impl Propagation {
    /// Of what came of a call; an error when nothing of it is stored.
    pub(crate) fn of(client: Client, accepted: Vec<Stored>, refused: Vec<NotStored>) -> Result<Self, Error> {
        if accepted.is_empty() { Err(nothing_stored(&refused)) } else { Ok(Self { accepted, refused, client }) }
    }

    /// Waits until the system of each record concerned has confirmed what it shows, or the time is over and a last look, which takes a
    /// second at most. Never fails: what is not confirmed by then is `pending`.
    pub async fn propagated(&self, within: Duration) -> Propagated {
        let spreads = self.accepted.iter().cloned().map(Spread::new).collect();
        let rooms = self.accepted.iter().map(|stored| format!("record:{}", stored.record)).collect();
        let from = self.accepted.first().and_then(|stored| stored.from.clone());
        let following = Following::NotYet;
        let mut waiting = Waiting { client: &self.client, spreads, rooms, from, following, joined: BTreeSet::new() };
        waiting.until(Instant::now() + within).await;
        let mut statuses: Vec<_> = waiting.spreads.iter().map(Spread::outcome).collect();
        statuses.extend(self.refused.iter().map(not_stored));
        Propagated {
            complete: statuses.iter().all(StatusOutcome::is_complete),
            settled: statuses.iter().all(StatusOutcome::is_settled),
            statuses,
        }
    }
}

/// The error of a call of which nothing is known to be stored. What may be stored is told rather than what is not: whoever takes all
/// for refused would give such a status another time.
fn nothing_stored(refused: &[NotStored]) -> Error {
    let may_be = |one: &&NotStored| matches!(one.error, Error::AnswerLost { .. });
    let (first, count) = (refused.iter().find(may_be).or(refused.first()), refused.iter().filter(may_be).count());
    match first.map(|first| first.error.clone()) {
        Some(Error::AnswerLost { record, why }) if refused.len() > 1 => {
            let why = format!("{why}; of {} statuses {count} may be stored, and none is known to be", refused.len());
            Error::AnswerLost { record, why }
        }
        Some(error) => error,
        None => Error::Refused {
            status: 0,
            code: "bad_argument".into(),
            detail: "there must be at least one status".into(),
            errors: Vec::new(),
        },
    }
}

fn not_stored(NotStored { record, id, error }: &NotStored) -> StatusOutcome {
    let outcome = match error {
        Error::Replaced { .. } => Outcome::Superseded,
        Error::AnswerLost { .. } => Outcome::Pending,
        _ => Outcome::Rejected,
    };
    let (record, id, reason) = (record.clone(), id.clone(), error.to_string());
    StatusOutcome { record, id, outcome, reason, item: None, version: None, records: Vec::new() }
}

enum Following {
    NotYet,
    By(Watch),
    /// The server does not let us: what can be asked tells.
    No,
}

struct Waiting<'a> {
    client: &'a Client,
    spreads: Vec<Spread>,
    /// The rooms of the records.
    rooms: Vec<String>,
    from: Option<String>,
    following: Following,
    /// The items whose rooms are followed: the room of a record does not hear of the item's other records.
    joined: BTreeSet<String>,
}

impl Waiting<'_> {
    async fn until(&mut self, until: Instant) {
        let mut wait = ASK_FIRST;
        while !self.is_settled() {
            // Whoever cannot be followed now may be a moment later.
            let _ = timeout_at(until, self.follow()).await;
            let _ = timeout_at(until.max(Instant::now() + LAST_LOOK), self.look()).await;
            if Instant::now() >= until {
                return;
            }
            let _ = timeout_at(until.min(Instant::now() + wait), self.hear(until)).await;
            wait = (wait * 2).min(ASK_MAX);
        }
    }

    fn is_settled(&self) -> bool {
        self.spreads.iter().all(Spread::is_settled)
    }

    async fn follow(&mut self) {
        if !matches!(self.following, Following::NotYet) {
            return;
        }
        let watch = self.client.watch().rooms(self.rooms.clone()).snapshot(false);
        let watch = match &self.from {
            Some(from) => watch.position(from),
            None => watch,
        };
        self.following = match watch.open().await {
            Ok(watch) => Following::By(watch),
            Err(error) if error.is_passing() => return,
            Err(_) => Following::No,
        };
        self.joined.clear();
    }

    /// Hears until everything is settled, or it is cancelled, which loses nothing.
    async fn hear(&mut self, until: Instant) {
        while !self.is_settled() {
            self.join(until).await;
            let Following::By(watch) = &mut self.following else { return std::future::pending().await };
            match watch.next().await {
                Ok(message) => self.spreads.iter_mut().for_each(|spread| spread.hear(&message)),
                Err(error) if error.is_passing() => self.following = Following::NotYet,
                Err(_) => self.following = Following::No,
            }
        }
    }

    /// Follows the items that are known by now.
    async fn join(&mut self, until: Instant) {
        let Following::By(watch) = &mut self.following else { return };
        for item in self.spreads.iter().filter(|spread| !spread.is_settled()).filter_map(Spread::item) {
            if !self.joined.insert(item.to_owned()) {
                continue;
            }
            let joining = watch.join_from(format!("item:{item}"), self.from.as_deref().unwrap_or_default());
            // What the room would tell is told by the item as well, only later.
            let _ = timeout_at(until, joining).await;
        }
    }

    /// Asks how the items stand.
    async fn look(&mut self) {
        let client = self.client;
        let open = self.spreads.iter_mut().filter(|spread| !spread.is_settled());
        let looks = open.map(|spread| async move {
            // Where the face for items cannot be reached, events alone tell.
            match client.item(spread.record()).await {
                Ok(item) => {
                    let history = if spread.is_unexplained(&item) {
                        history(client, &item, spread.sequence()).await.unwrap_or_default()
                    } else {
                        Vec::new()
                    };
                    spread.stands(&item, &history);
                }
                Err(Error::Refused { status: 404, .. }) => spread.unseen(),
                Err(_) => {}
            }
        });
        stream::iter(looks).for_each_concurrent(AT_ONCE, |look| look).await;
    }
}

/// An item's history up to a place on the stream, newest first.
async fn history(client: &Client, item: &Item, up_to: u64) -> Result<Vec<HistoryLine>, Error> {
    #[derive(Deserialize)]
    struct History {
        history: Vec<HistoryLine>,
    }
    let query = [("before", up_to.saturating_add(1)), ("limit", u64::from(LINES))];
    let answer = client.json(&["v1", "items", &item.id, "history"], &query).await?;
    let History { history } =
        serde_json::from_value(answer).map_err(|error| Error::Unexpected { why: error.to_string() })?;
    Ok(history)
}

#[cfg(test)]
mod tests;
