//! The task behind a watch: connects, hears, says, and connects again.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use reqwest::Url;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::Heard;
use super::calls::{Calls, Command};
use super::ending::{End, Life, Next, Patience};
use super::rooms::{Answered, Blame, Rooms};
use super::said::{Pong, Refusal, Said};
use super::socket::Socket;
use super::state::{ConnectionState, OnState};
use crate::backoff::Draw;
use crate::credential::Credential;
use crate::{Backoff, Error, Message};

/// The time between two signs of life of the server, until it has said another.
const PING: Duration = Duration::from_secs(30);
/// After so many times without one it is gone.
const PATIENCE: f64 = 2.5;
/// The reference of a new token.
const AUTH: &str = "auth";
/// The reference of the question where a quiet connection is.
const QUIET: &str = "quiet";

pub(super) struct Task {
    pub(super) url: Url,
    pub(super) credential: Credential,
    pub(super) backoff: Backoff,
    /// How its waits are drawn.
    pub(super) draw: Draw,
    pub(super) on_state: OnState,
    /// It was told that the connection is broken.
    pub(super) lost: bool,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) out: mpsc::Sender<Heard>,
    /// It is the connection that the watch was opened with.
    pub(super) first: bool,
    /// How large a message to the server may be, as it said last.
    pub(super) message_max_bytes: Arc<AtomicUsize>,
    pub(super) rooms: Rooms,
    pub(super) calls: Calls,
    /// Where the connection is that stands, for whoever sends by it: what is said now comes after it.
    pub(super) stands_at: watch::Sender<Option<String>>,
    /// The first rooms are in effect: from then on a broken connection is made again.
    pub(super) opened: bool,
}

/// Why the task does not go on with a connection.
enum Stop {
    End(End),
    /// Nobody reads any more.
    Dropped,
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

type Renewing = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

/// One connection.
struct Connection {
    socket: Socket,
    began: Instant,
    heard: Instant,
    /// The time between two signs of life.
    ping: Duration,
    /// Silence for so long means that it is gone.
    silence: Duration,
    /// When to ask where it is, unless an event says so: what is quiet would go on from ever longer ago.
    asks: Instant,
    /// When to go, once the server said that it stops.
    leave: Option<Instant>,
    /// A new token is being got.
    renewing: Option<Renewing>,
}

impl Task {
    /// Follows the rooms until nobody reads any more, or somebody must mend something.
    pub(super) async fn run(mut self) {
        let mut patience = Patience::default();
        let mut shown = self.credential.shown().await;
        loop {
            let (stop, life) = match self.open(shown).await {
                Ok(socket) => self.live(socket).await,
                Err(error) if error.is_passing() => (Stop::End(End::Lost(error.to_string())), Life::default()),
                Err(error) => (Stop::End(End::Refused(error)), Life::default()),
            };
            self.stands_at.send_replace(None);
            let Stop::End(end) = stop else { return };
            tracing::debug!(?end, "the connection to Lockstep ended");
            let (error, renewable) = (end.error(), self.credential.is_renewable());
            let why = error.to_string();
            let next = patience.next(end, life, &self.backoff, renewable, (self.draw)());
            let (wait, renew) = match next {
                // Who cannot be reached at all is told to whoever opens the watch, and not waited for.
                Next::Again(_) if !self.opened => return self.tell_last(error).await,
                Next::Again(wait) => (wait, false),
                Next::Renewed(wait) => (wait, true),
                Next::GiveUp(error) => return self.tell_last(error).await,
            };
            if !std::mem::replace(&mut self.lost, true) {
                self.on_state.tell(ConnectionState::Disconnected { why });
            }
            tokio::select! {
                () = self.out.closed() => return,
                () = sleep(wait) => {}
            }
            shown = if renew { self.credential.renewed().await } else { self.credential.shown().await };
        }
    }

    async fn open(&self, shown: Result<Option<String>, Error>) -> Result<Socket, Error> {
        Socket::open(&self.url, shown?.as_deref()).await
    }

    async fn tell_last(self, error: Error) {
        // Who stopped reading does not need it.
        let _ = self.out.send(Heard { message: Err(error), first: self.first }).await;
    }

    async fn live(&mut self, socket: Socket) -> (Stop, Life) {
        let now = Instant::now();
        let (ping, silence, asks) = (PING, PING.mul_f64(PATIENCE), now + PING);
        let mut connection =
            Connection { socket, began: now, heard: now, ping, silence, asks, leave: None, renewing: None };
        let Err(stop) = self.serve(&mut connection).await;
        let life = Life { whole: self.rooms.is_whole(), stood: connection.began.elapsed() };
        if !matches!(stop, Stop::End(End::Lost(_))) {
            connection.socket.close().await;
        }
        (stop, life)
    }

    async fn serve(&mut self, connection: &mut Connection) -> Result<Infallible, Stop> {
        for what in self.rooms.connected().into_iter().chain(self.calls.unanswered(SystemTime::now())) {
            connection.socket.say(&what).await?;
        }
        loop {
            let silent = connection.heard + connection.silence;
            tokio::select! {
                () = self.out.closed() => return Err(Stop::Dropped),
                command = self.commands.recv() => {
                    let Some(command) = command else { return Err(Stop::Dropped) };
                    for what in self.obey(command) {
                        connection.socket.say(&what).await?;
                    }
                }
                () = sleep_until(connection.leave.unwrap_or(silent)), if connection.leave.is_some() => {
                    return Err(End::Left.into());
                }
                () = sleep_until(connection.asks) => {
                    connection.asks = Instant::now() + connection.ping;
                    connection.socket.say(&json!({"type": "ping", "ref": QUIET})).await?;
                }
                token = renewed(&mut connection.renewing) => {
                    if let Some(token) = token {
                        connection.socket.say(&json!({"type": "auth", "token": token, "ref": AUTH})).await?;
                    }
                }
                text = connection.socket.hear(silent) => {
                    if let Some(text) = text? {
                        self.hear(&text, connection).await?;
                    }
                    // After the watcher has taken it, which may have been long.
                    connection.heard = Instant::now();
                }
            }
        }
    }

    /// Does what a caller asks; what to say for it.
    fn obey(&mut self, command: Command) -> Vec<Value> {
        let now = SystemTime::now();
        match command {
            // Rooms are joined and left whether or not somebody still waits: which are whose is noted already.
            Command::Say { answer, .. } if answer.is_closed() => Vec::new(),
            Command::Join { rooms, begin, answer } => {
                let (reference, said) = self.rooms.join(rooms, begin);
                self.calls.joins(reference, answer);
                said
            }
            Command::Leave { rooms, answer } => {
                self.rooms.leave(&rooms);
                vec![self.calls.says(json!({"type": "unsubscribe", "rooms": rooms}), answer, now)]
            }
            Command::Say { what, answer } => vec![self.calls.says(what, answer, now)],
        }
    }

    async fn hear(&mut self, text: &str, connection: &mut Connection) -> Result<(), Stop> {
        let said = Said::parse(text).map_err(End::Refused)?;
        match said {
            Said::Welcome(welcome) => {
                if welcome.ping_ms > 0 {
                    connection.ping = Duration::from_millis(welcome.ping_ms);
                    connection.silence = connection.ping.mul_f64(PATIENCE);
                    connection.asks = Instant::now() + connection.ping;
                }
                if welcome.message_max_bytes > 0 {
                    self.message_max_bytes.store(welcome.message_max_bytes, Ordering::Relaxed);
                }
                self.stands_at.send_replace(Some(welcome.position));
                // Of rooms it stands with the answer about them.
                if self.rooms.is_whole() {
                    self.stands();
                }
            }
            Said::AuthSuccess => {}
            Said::Subscribed(subscribed) => self.rooms.subscribed(&subscribed),
            Said::Snapshot(snapshot) => {
                self.rooms.snapshot(&snapshot);
                self.tell(Message::Snapshot(snapshot)).await?;
            }
            Said::Reset(reset) => {
                self.rooms.reset(&reset);
                self.tell(Message::Reset(reset)).await?;
            }
            Said::Event(message) => {
                self.rooms.event(&message);
                self.tell(message).await?;
                connection.asks = Instant::now() + connection.ping;
            }
            Said::StatusAccepted(said) => {
                self.calls.answer(said.reference.as_deref(), Ok(said.accepted));
            }
            Said::Unsubscribed(said) | Said::Acknowledged(said) => {
                self.calls.answer(said.reference.as_deref(), Ok(Vec::new()));
            }
            Said::Pong(Pong { position, reference }) if reference.as_deref() == Some(QUIET) => {
                if let Some(position) = position {
                    self.stands_at.send_replace(Some(position.clone()));
                    self.rooms.quiet(position);
                }
            }
            Said::Pong(said) => self.answered(said.reference.as_deref().unwrap_or_default()),
            Said::TokenExpiring if self.credential.is_renewable() => {
                connection.renewing = Some(Box::pin(renewing(self.credential.clone(), self.backoff, self.draw)));
            }
            Said::TokenExpiring => {
                tracing::warn!("the token expires soon and nothing renews it: give the client a source of tokens");
            }
            Said::GoingAway { in_ms } => {
                let wait = Duration::from_millis(in_ms).mul_f64((self.draw)());
                connection.leave = Some(Instant::now() + wait);
            }
            Said::Refusal(refusal) => self.refused(refusal, text).await?,
        }
        Ok(())
    }

    /// A subscription has been looked at whole.
    fn answered(&mut self, reference: &str) {
        let Some(Answered { refused }) = self.rooms.pong(reference) else { return };
        match refused.into_iter().next().map(Error::from) {
            Some(error) => self.calls.answer(Some(reference), Err(error)),
            None => self.calls.answer(Some(reference), Ok(Vec::new())),
        };
        self.opened = true;
        self.stands();
    }

    /// The connection stands, again if it was lost.
    fn stands(&mut self) {
        if std::mem::take(&mut self.lost) {
            self.on_state.tell(ConnectionState::Connected);
        }
    }

    async fn refused(&mut self, refusal: Refusal, text: &str) -> Result<(), Stop> {
        match self.rooms.refused(&refusal) {
            Blame::Rooms => return Ok(()),
            Blame::Passing => return Err(End::Lost(Error::from(refusal).to_string()).into()),
            Blame::NoRoom => {}
        }
        let reference = refusal.reference.clone();
        if reference.is_none() && refusal.code == "too_many_messages" {
            // Which of ours was not read is not said: all that is not answered is said again, after a wait.
            return Err(End::Lost(Error::from(refusal).to_string()).into());
        }
        if refusal.code == "not_subscribed" {
            // Said again after a broken connection, which began without the room.
            self.calls.answer(reference.as_deref(), Ok(Vec::new()));
            return Ok(());
        }
        if reference.as_deref() == Some(AUTH) {
            tracing::warn!(code = refusal.code, reason = refusal.reason, "a new token was not taken");
        } else if !self.calls.answer(reference.as_deref(), Err(refusal.into())) {
            self.tell(Message::parse(text).map_err(End::Refused)?).await?;
        }
        Ok(())
    }

    async fn tell(&self, message: Message) -> Result<(), Stop> {
        self.out.send(Heard { message: Ok(message), first: self.first }).await.map_err(|_| Stop::Dropped)
    }
}

/// The new token once it is there, which empties the place; never without one being got.
async fn renewed(renewing: &mut Option<Renewing>) -> Option<String> {
    let Some(asking) = renewing else { return std::future::pending().await };
    let token = asking.await;
    *renewing = None;
    token
}

/// Asks for a new token until there is one. The connection ends it: the server closes one whose token has expired.
async fn renewing(credential: Credential, backoff: Backoff, draw: Draw) -> Option<String> {
    let mut attempt = 0;
    loop {
        let error = match credential.renewed().await {
            Ok(token) => return token,
            Err(error) => error,
        };
        attempt += 1;
        tracing::warn!(%error, attempt, "no new token yet");
        sleep(backoff.wait(attempt, draw())?).await;
    }
}
