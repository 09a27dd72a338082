//! Sends webhooks in order from a bounded queue, misbehaving as told, and remembers what became of the last ones.
//!
//! It does not know what a webhook says: its system hands it a payload, and a signer that makes headers and bytes of it
//! at the moment of sending.

mod queue;
mod sender;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::{
    queue::{Inner, Job, Queue},
    sender::Sender,
};
use crate::faults::{SharedFaults, WebhookFault};

/// How long a reordered webhook waits for a later one to overtake it.
const HOLD_MAX: Duration = Duration::from_secs(2);

/// One webhook to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The delivery's own id, the same on every attempt.
    pub guid: String,
    /// The id of the webhook registration it is for; the signer finds the secret by it.
    pub hook: String,
    /// The system's name of the event (`Issue`, `pull_request`).
    pub event: String,
    /// What happened to the thing, where the system says so (`update`, `closed`).
    pub action: Option<String>,
    /// Where it goes; `None` follows the server's target, which can change until it is sent.
    pub target: Option<String>,
    /// What it says.
    pub payload: Value,
}

/// A delivery as it goes over the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signed {
    /// The headers, signature included; the content type is added.
    pub headers: Vec<(String, String)>,
    /// The bytes that were signed.
    pub body: Vec<u8>,
}

/// Makes headers and bytes of a delivery at the moment it is sent.
pub type Signer = Arc<dyn Fn(&Delivery) -> Signed + Send + Sync>;

/// What a system does when the other side does not answer 2xx in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How long an answer may take.
    pub timeout: Duration,
    /// The waits before the second, third, … attempt; after the last one it gives up.
    pub waits: Vec<Duration>,
}

impl RetryPolicy {
    /// Linear: an answer within 5 s, else again after a minute, an hour and six hours.
    pub fn linear() -> Self {
        Self { timeout: Duration::from_secs(5), waits: [60, 3600, 6 * 3600].map(Duration::from_secs).to_vec() }
    }

    /// GitHub: an answer within 10 s, and no second attempt.
    pub fn github() -> Self {
        Self { timeout: Duration::from_secs(10), waits: Vec::new() }
    }
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not sent yet, or to be sent again.
    Pending,
    /// Answered 2xx.
    Delivered,
    /// Answered otherwise, late or not at all, for the last time.
    Failed,
    /// Lost on purpose, or pushed out of a full queue.
    Dropped,
}

/// A delivery in the log.
#[derive(Clone, Debug, Serialize)]
pub struct Logged {
    /// The log's own number for it, growing by one.
    pub number: u64,
    /// The delivery's id.
    pub guid: String,
    /// The webhook registration it is for.
    pub hook: String,
    /// The system's name of the event.
    pub event: String,
    /// What happened to the thing.
    pub action: Option<String>,
    /// What became of it so far.
    pub outcome: Outcome,
    /// The last HTTP status answered.
    pub status: Option<u16>,
    /// Why the last attempt failed, if it did.
    pub error: Option<String>,
    /// How often it has been sent.
    pub attempts: u32,
    /// Whether somebody asked for it to be sent again.
    pub redelivery: bool,
    /// When it was last sent, or made if it never was, in milliseconds since 1970.
    pub at_ms: i64,
    /// How long the last answer took.
    pub duration_ms: u64,
    /// The headers last sent.
    pub headers: Vec<(String, String)>,
    /// What it says.
    pub body: Value,
    #[serde(skip)]
    target: Option<String>,
}

/// The webhooks of one server: a queue, and the task that empties it until the last handle is gone.
#[derive(Clone)]
pub struct Webhooks {
    inner: Arc<Inner>,
    _stop: Arc<DropGuard>,
}

impl Webhooks {
    /// Starts the task that sends to `target`, or to nobody while there is none.
    pub fn new(
        target: Option<String>,
        faults: SharedFaults,
        policy: RetryPolicy,
        signer: Signer,
    ) -> anyhow::Result<Self> {
        // Refused when the process has chosen a provider already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(policy.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("cannot make an HTTP client for webhooks")?;
        let stopping = CancellationToken::new();
        let inner = Arc::new(Inner {
            queue: Mutex::new(Queue { target, next_number: 1, ..Queue::default() }),
            faults,
            changed: watch::Sender::new(0),
        });
        let sender = Sender { inner: Arc::clone(&inner), policy, signer, client };
        let until = stopping.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = until.cancelled() => {}
                () = sender.run() => {}
            }
        });
        Ok(Self { inner, _stop: Arc::new(stopping.drop_guard()) })
    }

    /// Queues a delivery; without a target, now or of its own, nobody is subscribed and nothing is queued.
    pub fn send(&self, delivery: &Delivery) {
        let fault = self.inner.faults.draw_webhook();
        let mut queue = self.inner.lock();
        if delivery.target.is_none() && queue.target.is_none() {
            return;
        }
        let number = queue.enter(delivery, false);
        match fault {
            WebhookFault::Drop => queue.settle(number, |logged| logged.outcome = Outcome::Dropped),
            WebhookFault::Send { delay, double, reorder } => {
                let due = Instant::now() + if reorder { delay.max(HOLD_MAX) } else { delay };
                for _ in 0..=usize::from(double) {
                    queue.push(due, Job { number, delivery: delivery.clone(), attempt: 0, held: reorder });
                }
            }
        }
        drop(queue);
        self.inner.wake();
    }

    /// Sends a remembered delivery once more, honestly, as a new entry of the log with the same delivery id.
    ///
    /// Answers the new entry's number, or nothing when the log no longer holds `number`.
    pub fn redeliver(&self, number: u64) -> Option<u64> {
        let mut queue = self.inner.lock();
        let logged = queue.find(number)?;
        let delivery = Delivery {
            guid: logged.guid.clone(),
            hook: logged.hook.clone(),
            event: logged.event.clone(),
            action: logged.action.clone(),
            target: logged.target.clone(),
            payload: logged.body.clone(),
        };
        let number = queue.enter(&delivery, true);
        queue.push(Instant::now(), Job { number, delivery, attempt: 0, held: false });
        drop(queue);
        self.inner.wake();
        Some(number)
    }

    /// Where deliveries without a target of their own go.
    pub fn target(&self) -> Option<String> {
        self.inner.lock().target.clone()
    }

    /// Changes where deliveries without a target of their own go, those already waiting included.
    pub fn set_target(&self, target: Option<String>) {
        self.inner.lock().target = target;
    }

    /// The last deliveries, oldest first.
    pub fn deliveries(&self) -> Vec<Logged> {
        self.inner.lock().log.iter().cloned().collect()
    }

    /// One remembered delivery.
    pub fn delivery(&self, number: u64) -> Option<Logged> {
        self.inner.lock().find(number).cloned()
    }

    /// How many deliveries have not been sent once.
    pub fn pending(&self) -> usize {
        self.inner.lock().pending()
    }

    /// How many deliveries a full queue pushed out.
    pub fn overflowed(&self) -> u64 {
        self.inner.lock().overflowed
    }

    /// Waits until every delivery queued so far has been sent once, or `deadline` has passed; answers whether it has.
    pub async fn drained(&self, deadline: Duration) -> bool {
        let mut changed = self.inner.changed.subscribe();
        timeout(deadline, async {
            while self.pending() > 0 {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        })
        .await
        .is_ok()
    }
}
