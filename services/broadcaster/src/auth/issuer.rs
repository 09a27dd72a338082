//! The keys of who signs tokens: read at the start, from time to time, and when a token names one that is not known.
//!
//! One task reads, so nobody reads twice at once; what was read last stays until something better is read.

mod source;

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use model::Backoff;
use runtime::Process;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::jwt::KeySet;

pub(super) use source::Source;

/// How many may wait for the next reading; more are told to come back.
const WAITING_MAX: usize = 1_024;
/// How long one of them waits.
const WAIT: Duration = Duration::from_secs(5);

/// How often the keys are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// From one reading to the next that nobody asked for.
    pub(super) every: Duration,
    /// From one reading that an unknown key led to, to the next such.
    pub(super) apart: Duration,
    /// After one that failed.
    pub(super) backoff: Backoff,
}

impl Pace {
    /// What `source` can bear.
    fn of(source: &Source) -> Self {
        let every = if source.is_file() { Duration::from_secs(10) } else { Duration::from_mins(10) };
        let backoff = Backoff { first_ms: 1_000, max_ms: 60_000, attempts: u32::MAX };
        Self { every, apart: Duration::from_secs(10), backoff }
    }
}

/// The keys, and the task that reads them, which ends with this.
pub(super) struct Issuer {
    state: watch::Receiver<State>,
    asks: mpsc::Sender<oneshot::Sender<()>>,
}

#[derive(Clone, Default)]
struct State {
    keys: Arc<KeySet>,
    /// The last reading failed.
    is_failing: bool,
}

/// Nobody could look, or not in time.
pub(super) struct NotLooked;

impl Issuer {
    /// Reads the keys, and keeps reading. An address that does not answer is no error: the readiness says so under `jwks`.
    pub(super) async fn start(source: Source, process: &Process) -> anyhow::Result<Self> {
        let pace = Pace::of(&source);
        Self::start_at(source, process, pace).await
    }

    pub(super) async fn start_at(source: Source, process: &Process, pace: Pace) -> anyhow::Result<Self> {
        let is_file = source.is_file();
        let (teller, state) = watch::channel(State::default());
        let (asks, asked) = mpsc::channel(WAITING_MAX);
        let mut reader = Reader {
            source,
            pace,
            process: process.clone(),
            state: teller,
            failures: 0,
            next: Instant::now(),
            asked_last: None,
        };
        let read = reader.read().await;
        // A file does not come by itself, so it is a wrong setting.
        if let (Err(why), true) = (read, is_file) {
            return Err(anyhow!("broadcaster.auth.jwt.jwks_file {why}"));
        }
        process.spawn("jwks", reader.run(asked));
        Ok(Self { state, asks })
    }

    /// Those that were read last.
    pub(super) fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.state.borrow().keys)
    }

    /// Whether the last reading failed, so that there may be keys that are not known here.
    pub(super) fn is_failing(&self) -> bool {
        self.state.borrow().is_failing
    }

    /// Waits until the keys were read once more, unless that happened a moment ago.
    pub(super) async fn look_again(&self) -> Result<(), NotLooked> {
        let (teller, told) = oneshot::channel();
        self.asks.try_send(teller).map_err(|_| NotLooked)?;
        match timeout(WAIT, told).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(NotLooked),
        }
    }
}

struct Reader {
    source: Source,
    pace: Pace,
    process: Process,
    state: watch::Sender<State>,
    /// How many readings in a row failed.
    failures: u32,
    /// When it is time again.
    next: Instant,
    /// When an unknown key last led to a reading.
    asked_last: Option<Instant>,
}

impl Reader {
    async fn run(mut self, mut asked: mpsc::Receiver<oneshot::Sender<()>>) -> anyhow::Result<()> {
        let shutdown = self.process.shutdown().clone();
        loop {
            let teller = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                waiting = asked.recv() => match waiting {
                    Some(teller) => Some(teller),
                    None => return Ok(()),
                },
                () = sleep_until(self.next) => None,
            };
            let is_time = match &teller {
                None => true,
                Some(_) => self.asked_last.is_none_or(|last| last.elapsed() >= self.pace.apart),
            };
            if is_time {
                if teller.is_some() {
                    self.asked_last = Some(Instant::now());
                }
                // Why it failed has been said.
                if shutdown.run_until_cancelled(self.read()).await.is_none() {
                    return Ok(());
                }
            }
            if let Some(teller) = teller {
                // Whoever asked may have given up.
                let _ = teller.send(());
            }
        }
    }

    /// Reads once, keeps what was read before if that fails, and says when the next time is.
    async fn read(&mut self) -> Result<(), String> {
        let read = self.source.read().await.and_then(|json| KeySet::parse(&json));
        let wait = match read {
            Ok(keys) => {
                self.failures = 0;
                self.state.send_replace(State { keys: Arc::new(keys), is_failing: false });
                self.process.ready("jwks", Ok(()));
                // Several processes should not all come at once.
                Ok(self.pace.every.mul_f64(1.0 - runtime::jitter() / 10.0))
            }
            Err(why) => {
                self.failures = self.failures.saturating_add(1);
                self.state.send_modify(|state| state.is_failing = true);
                let key = self.source.key();
                tracing::warn!(why, failures = self.failures, "the keys of {key} cannot be read; older ones are kept");
                if self.state.borrow().keys.is_empty() {
                    self.process.ready("jwks", Err(format!("{key} {why}, and no token can be checked without it")));
                }
                Err(why)
            }
        };
        let pause = match &wait {
            Ok(pause) => *pause,
            Err(_) => self.pace.backoff.wait(self.failures, None, runtime::jitter()),
        };
        self.next = Instant::now() + pause;
        wait.map(drop)
    }
}
