//! A connection: what is sent arrives in order, late or never; and a broken one comes back.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use runtime::Counter;
use runtime::simulation::{chance, lag};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::consumer::Next;
use super::{Change, Duty, Jetstream, State, Stored};
use crate::server::{About, Client, Delivered, Server};
use crate::{Bus, Config};

/// How long a request to the server's API is waited for.
const API_TIMEOUT: Duration = Duration::from_secs(10);
/// A reader that hears nothing for so long gives the consumer up.
const SILENCE: Duration = Duration::from_secs(6);

/// One process's connection to the server. A clone is the same connection.
#[derive(Clone)]
pub struct Connection(Arc<Wire>);

struct Wire {
    server: Jetstream,
    packets: mpsc::UnboundedSender<Packet>,
    standing: Mutex<Standing>,
    /// Counts how often that changed.
    turns: Counter,
    epoch: Counter,
}

/// What is sent: something for the server to do.
type Packet = Box<dyn FnOnce(&Jetstream) + Send>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Open,
    /// Cut, and neither side has noticed: what is sent is lost.
    Silent,
    /// Cut, and both have noticed: what is sent waits.
    Broken,
    /// The process is gone.
    Dead,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

/// An answer that is under way, or lost.
pub(crate) struct Answer<T>(oneshot::Receiver<Result<T, String>>);

impl<T> Answer<T> {
    /// What the server answered. Waits for ever if the answer is lost.
    pub(crate) async fn of_server(self) -> Result<T, String> {
        match self.0.await {
            Ok(answer) => answer,
            Err(_) => std::future::pending().await,
        }
    }

    async fn in_time(self) -> Result<T, String> {
        let answer = tokio::time::timeout(API_TIMEOUT, self.of_server()).await;
        answer.unwrap_or_else(|_| Err(format!("no answer within {API_TIMEOUT:?}")))
    }
}

impl Connection {
    /// Connects.
    pub fn new(server: &Jetstream) -> Self {
        let (packets, received) = mpsc::unbounded_channel();
        let connection = Self(Arc::new(Wire {
            server: server.clone(),
            packets,
            standing: Mutex::new(Standing::Open),
            turns: Counter::default(),
            epoch: Counter::default(),
        }));
        tokio::spawn(carry(connection.clone(), received));
        connection
    }

    /// The bus over this connection.
    pub fn bus(&self, config: Config) -> Bus {
        Bus {
            client: Client::Simulated(self.clone()),
            server: Server::Simulated(self.clone()),
            attempt: Duration::from_millis(config.publish_timeout_ms / 2).min(Duration::from_secs(2)),
            config: Arc::new(config),
            epoch: self.0.epoch.watch(),
        }
    }

    /// Cuts it. For a while nobody notices, and what is sent is lost.
    pub fn cut(&self) {
        self.turn(Standing::Silent);
    }

    /// Both sides notice that it is cut: what is sent now waits for the next connection.
    pub fn notice(&self) {
        self.turn(Standing::Broken);
    }

    /// Connects again.
    pub fn mend(&self) {
        if !self.is_open() {
            self.turn(Standing::Open);
            self.0.epoch.add();
        }
    }

    /// The process is killed: what it had sent is on its way, and nothing comes back.
    pub fn kill(&self) {
        self.turn(Standing::Dead);
    }

    fn turn(&self, standing: Standing) {
        {
            let mut now = self.0.standing.lock().unwrap_or_else(PoisonError::into_inner);
            if *now == Standing::Dead {
                return;
            }
            *now = standing;
        }
        self.0.turns.add();
    }

    fn standing(&self) -> Standing {
        *self.0.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_open(&self) -> bool {
        self.standing() == Standing::Open
    }

    /// Sends a message that nobody answers: an acknowledgement, or an announcement.
    pub(crate) fn send(&self, subject: Subject, payload: Bytes) {
        self.pass_on(Box::new(move |server| {
            let Some(rest) = subject.strip_prefix("$JS.ACK.") else { return };
            let mut parts = rest.split('/');
            let (Some(stream), Some(consumer), Some(sequence)) = (parts.next(), parts.next(), parts.next()) else {
                return;
            };
            let mut state = server.state();
            let Ok(log) = state.log(stream) else { return };
            if let Some((consumer, _)) = log.consumer(consumer) {
                consumer.answer(sequence.parse().unwrap_or(0), &payload);
            }
        }));
    }

    pub(crate) fn publish(&self, subject: String, headers: HeaderMap, payload: Bytes) -> Answer<u64> {
        self.ask(move |state| {
            let log = state.logs.values_mut().find(|log| log.takes(&subject));
            Ok(log.ok_or("no stream takes it")?.append(&subject, headers, payload))
        })
    }

    pub(crate) async fn about(&self, stream: &'static str) -> Result<About, String> {
        self.ask(move |state| Ok(state.log(stream)?.about())).in_time().await
    }

    pub(crate) async fn last(&self, stream: &'static str, subject: &str) -> Result<Option<Stored>, String> {
        let subject = subject.to_owned();
        self.ask(move |state| Ok(state.log(stream)?.last_on(&subject))).in_time().await
    }

    pub(crate) async fn next(&self, stream: &'static str, subject: &str, from: u64) -> Result<Option<Stored>, String> {
        let subject = subject.to_owned();
        self.ask(move |state| Ok(state.log(stream)?.next_on(&subject, from))).in_time().await
    }

    pub(crate) async fn consumers(&self, stream: &'static str) -> Result<Vec<(String, u64)>, String> {
        self.ask(move |state| Ok(state.log(stream)?.consumers())).in_time().await
    }

    pub(crate) async fn delete_consumer(&self, stream: &'static str, name: &str) -> Result<(), String> {
        let name = name.to_owned();
        self.ask(move |state| state.log(stream)?.delete_consumer(&name)).in_time().await
    }

    pub(crate) async fn change(&self, bucket: &'static str, key: &str, change: Change) -> anyhow::Result<u64> {
        let key = key.to_owned();
        let asked = self.ask(move |state| {
            if state.left_out == Some(Duty::Leases) && key.starts_with("commands/") {
                return Ok(1);
            }
            state.buckets.get_mut(bucket).ok_or("there is no such bucket")?.change(&key, change)
        });
        asked.in_time().await.map_err(anyhow::Error::msg)
    }

    pub(crate) async fn value(&self, bucket: &'static str, key: &str) -> Result<Option<(Bytes, u64)>, String> {
        let key = key.to_owned();
        let asked =
            self.ask(move |state| Ok(state.buckets.get_mut(bucket).ok_or("there is no such bucket")?.value(&key)));
        asked.in_time().await
    }

    pub(crate) async fn names(&self, bucket: &'static str) -> Result<Vec<String>, String> {
        let asked = self.ask(move |state| Ok(state.buckets.get_mut(bucket).ok_or("there is no such bucket")?.names()));
        asked.in_time().await
    }

    pub(crate) async fn count(&self, bucket: &'static str, prefix: &str) -> Result<usize, String> {
        let prefix = prefix.to_owned();
        let asked =
            self.ask(move |state| Ok(state.buckets.get_mut(bucket).ok_or("there is no such bucket")?.count(&prefix)));
        asked.in_time().await
    }

    pub(crate) async fn open(
        &self,
        stream: &'static str,
        config: pull::Config,
        strict: bool,
        prefetch: usize,
    ) -> Result<Messages, String> {
        let make = move |state: &mut State| match config.durable_name.clone() {
            Some(name) => state.log(stream)?.make_consumer(&name, config, strict).map(|()| name),
            None => Ok(state.log(stream)?.make_tail(config)),
        };
        let name = self.ask(make).in_time().await?;
        let (sender, messages) = mpsc::channel(prefetch);
        let task = tokio::spawn(deliver(self.clone(), stream, name, sender)).abort_handle();
        Ok(Messages { messages, task })
    }

    fn ask<T, F>(&self, act: F) -> Answer<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut State) -> Result<T, String> + Send + 'static,
    {
        let (teller, answer) = oneshot::channel();
        let connection = self.clone();
        self.pass_on(Box::new(move |server| {
            let answer = act(&mut server.state());
            tokio::spawn(async move {
                let faults = connection.0.server.faults();
                lag(faults.lag_ms).await;
                if connection.is_open() && !chance(faults.unanswered) {
                    // Whoever asked may have given up.
                    drop(teller.send(answer));
                }
            });
        }));
        Answer(answer)
    }

    fn pass_on(&self, packet: Packet) {
        // Nobody is left to carry it when the process is gone.
        let _ = self.0.packets.send(packet);
    }
}

/// Carries what is sent to the server, in order.
async fn carry(connection: Connection, mut packets: mpsc::UnboundedReceiver<Packet>) {
    let mut turns = connection.0.turns.watch();
    while let Some(packet) = packets.recv().await {
        let faults = connection.0.server.faults();
        lag(faults.lag_ms).await;
        let standing = loop {
            match connection.standing() {
                Standing::Broken => {}
                standing => break standing,
            }
            if turns.changed().await.is_err() {
                return;
            }
        };
        // Of what a killed process had sent, some has left and some has not.
        let lost = match standing {
            Standing::Silent => true,
            Standing::Dead => chance(500),
            _ => chance(faults.lost),
        };
        if !lost {
            packet(&connection.0.server);
        }
    }
}

/// A consumer's messages as they arrive.
pub(crate) struct Messages {
    messages: mpsc::Receiver<Result<Delivered, String>>,
    task: AbortHandle,
}

impl Messages {
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Delivered, String>>> {
        self.messages.poll_recv(cx)
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Hands out a consumer's messages over a connection, for as long as both last.
async fn deliver(
    connection: Connection,
    stream: &'static str,
    name: String,
    reader: mpsc::Sender<Result<Delivered, String>>,
) {
    let mut turns = connection.0.turns.watch();
    loop {
        let settled = async {
            while matches!(connection.standing(), Standing::Silent | Standing::Broken) && turns.changed().await.is_ok()
            {
            }
        };
        if tokio::time::timeout(SILENCE, settled).await.is_err() {
            // Whoever reads may be gone.
            let _ = reader.send(Err("missed the server's heartbeats".to_owned())).await;
            return;
        }
        if connection.standing() == Standing::Dead {
            return;
        }
        let Ok(place) = reader.reserve().await else { return };
        let (next, news) = {
            let mut state = connection.0.server.state();
            let Some((consumer, messages)) = state.log(stream).ok().and_then(|log| log.consumer(&name)) else {
                place.send(Err("the consumer was deleted".to_owned()));
                return;
            };
            let next = consumer.take(messages);
            (next, consumer.news())
        };
        match next {
            Next::Message { stored, counted, delivered } => {
                lag(connection.0.server.faults().lag_ms).await;
                if connection.is_open() {
                    place.send(Ok(Delivered {
                        reply: format!("$JS.ACK.{stream}/{name}/{}", stored.sequence).into(),
                        subject: stored.subject,
                        payload: stored.payload,
                        headers: Some(stored.headers),
                        stream_sequence: stored.sequence,
                        consumer_sequence: counted,
                        times: delivered,
                        published_at_ms: stored.at_ms,
                    }));
                }
            }
            Next::Nothing(until) => {
                drop(place);
                let news = news.notified();
                let far = Instant::now() + Duration::from_hours(1);
                tokio::select! {
                    biased;
                    () = news => {}
                    _ = turns.changed() => {}
                    () = tokio::time::sleep_until(until.unwrap_or(far)) => {}
                }
            }
        }
    }
}
