//! Publishes with JetStream's acknowledgement awaited; what is not acknowledged in time goes out again under the same id.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use tokio::time::Instant;

use crate::server::{Acknowledgement, Refusal};
use crate::{Bus, Outgoing, headers};

/// A message that was not stored, as far as is known: it may have been, and its acknowledgement lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No acknowledgement within the configured time; the last attempt's error.
    #[error("JetStream did not acknowledge {subject} in time: {why}")]
    TimedOut {
        /// Where to.
        subject: String,
        /// What the last attempt came to.
        why: String,
    },
    /// It was to be stored only while nothing newer is on its subject, and something is. No attempt will do better.
    #[error("something newer than the message is on {subject}")]
    Overtaken {
        /// Where to.
        subject: String,
    },
    /// Larger than the server takes. No attempt will do better.
    #[error("the message for {subject} is too large for the bus")]
    TooLarge {
        /// Where to.
        subject: String,
    },
}

/// How many of one call's messages wait for their acknowledgement at once.
const WINDOW: usize = 1_024;
/// How many messages that go out one after another may take as long as a few.
const AT_LENGTH: usize = 150;
/// The wait before an attempt that follows one refused at once.
const PAUSE: Duration = Duration::from_millis(50);

impl Bus {
    /// Publishes a message and waits until it is stored. Its sequence in the stream; the first one's, if it is a copy.
    pub async fn publish(&self, message: Outgoing) -> Result<u64, PublishError> {
        self.publish_all(vec![message]).await.map(|sequences| sequences.first().copied().unwrap_or(0))
    }

    /// Publishes messages, many under way at once, and waits until all are stored.
    ///
    /// They go out in their order, but one that must go out again comes behind its successors: for messages whose order on their subject
    /// does not matter. When this fails, any of them may have been stored; publish all of them again.
    pub async fn publish_all(&self, messages: Vec<Outgoing>) -> Result<Vec<u64>, PublishError> {
        let due = Due { ready: (0..messages.len()).collect(), after: vec![None; messages.len()], until: None };
        self.publish_due(&messages, due).await
    }

    /// The same in order: a message goes out only when the one before it on its subject is stored: one that must go out again never
    /// comes behind its successors, and when this fails the first ones of each subject may have been stored. From `until` on none goes
    /// out: what others published meanwhile would come before it.
    pub async fn publish_in_order(&self, messages: &[Outgoing], until: Instant) -> Result<Vec<u64>, PublishError> {
        self.publish_due(messages, Due { until: Some(until), ..Due::in_order(messages) }).await
    }

    /// The configured time is for each attempt that gets nothing stored, and for all that follow one another.
    async fn publish_due(&self, messages: &[Outgoing], mut due: Due) -> Result<Vec<u64>, PublishError> {
        let patience = Duration::from_millis(self.config.publish_timeout_ms);
        let trace = trace();
        let mut sequences = vec![0; messages.len()];
        let mut deadline = Instant::now() + patience;
        loop {
            let Attempt { failed, why, stored } =
                self.attempt_all(messages, due.clone(), &trace, &mut sequences).await?;
            let Some(&first) = failed.first() else { return Ok(sequences) };
            if stored && due.is_ordered() {
                deadline = Instant::now() + patience;
            }
            if Instant::now() + PAUSE >= deadline || due.is_over() {
                return Err(PublishError::TimedOut { subject: messages[first].subject.clone(), why });
            }
            tokio::time::sleep(PAUSE).await;
            due.ready = failed.into();
        }
    }

    /// One attempt at the messages that are due, and at those that come after them.
    async fn attempt_all(
        &self,
        messages: &[Outgoing],
        mut due: Due,
        trace: &[(String, String)],
        sequences: &mut [u64],
    ) -> Result<Attempt, PublishError> {
        let patience = self.attempt;
        let mut waiting: VecDeque<(usize, Instant, Acknowledgement)> =
            VecDeque::with_capacity(due.ready.len().min(WINDOW));
        let mut attempt = Attempt::default();
        loop {
            let next = if waiting.len() < WINDOW { due.ready.pop_front() } else { None };
            if let Some(at) = next {
                if due.is_over() {
                    "it is too late for it".clone_into(&mut attempt.why);
                    attempt.failed.push(at);
                    continue;
                }
                let (subject, headers) = (messages[at].subject.clone(), prepared(&messages[at], trace));
                match self.server.send_publish(subject, headers, messages[at].payload.clone()).await {
                    Ok(acknowledgement) => waiting.push_back((at, Instant::now() + patience, acknowledgement)),
                    Err(Refusal::TooLarge) => {
                        return Err(PublishError::TooLarge { subject: messages[at].subject.clone() });
                    }
                    Err(refusal) => {
                        attempt.why = refusal.to_string();
                        attempt.failed.push(at);
                    }
                }
            } else {
                // Acknowledgements come in the order of the messages, so waiting for the oldest holds nothing up.
                let Some((at, until, acknowledgement)) = waiting.pop_front() else { break };
                // Each has its time from when it was sent: a thousand lost ones are noticed together.
                let answer = tokio::time::timeout_at(until, acknowledgement.stored()).await;
                match answer {
                    Ok(Ok(sequence)) => {
                        sequences[at] = sequence;
                        attempt.stored = true;
                        due.ready.extend(due.after[at]);
                        continue;
                    }
                    Ok(Err(Refusal::Overtaken)) => {
                        return Err(PublishError::Overtaken { subject: messages[at].subject.clone() });
                    }
                    Ok(Err(refusal)) => attempt.why = refusal.to_string(),
                    Err(_) => attempt.why = format!("no answer within {patience:?}"),
                }
                attempt.failed.push(at);
            }
        }
        attempt.failed.sort_unstable();
        Ok(attempt)
    }

    /// Publishes without JetStream, for signs of life: nobody learns whether it arrived.
    pub async fn announce(&self, subject: String, payload: Bytes) -> anyhow::Result<()> {
        self.client.publish(subject.into(), payload).await
    }
}

/// How long messages may take that are stored in order, where a few may take `patience`: on one subject each waits for the one before it, and
/// the same messages sent again would take as long again.
pub fn time_in_order(messages: &[Outgoing], patience: Duration) -> Duration {
    let mut of_subject: HashMap<&str, usize> = HashMap::with_capacity(messages.len());
    for message in messages {
        *of_subject.entry(&message.subject).or_default() += 1;
    }
    let most = of_subject.into_values().max().unwrap_or(0);
    patience.saturating_mul(u32::try_from(1 + most / AT_LENGTH).unwrap_or(u32::MAX))
}

/// Which messages go out next, by their places.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Due {
    ready: VecDeque<usize>,
    /// What goes out after each message is stored.
    after: Vec<Option<usize>>,
    /// From when on nothing goes out.
    until: Option<Instant>,
}

impl Due {
    /// The first message of each subject, and after each the next one.
    fn in_order(messages: &[Outgoing]) -> Self {
        let (mut ready, mut after) = (VecDeque::with_capacity(messages.len()), vec![None; messages.len()]);
        let mut last: HashMap<&str, usize> = HashMap::with_capacity(messages.len());
        for (at, message) in messages.iter().enumerate() {
            match last.insert(&message.subject, at) {
                Some(before) => after[before] = Some(at),
                None => ready.push_back(at),
            }
        }
        Self { ready, after, until: None }
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    fn is_ordered(&self) -> bool {
        self.after.iter().any(Option::is_some)
    }
}

/// What an attempt came to.
#[derive(Debug, Default)]
struct Attempt {
    /// Which failed, in their order.
    failed: Vec<usize>,
    /// Why the last of them did.
    why: String,
    /// Whether any was stored.
    stored: bool,
}

/// The current span's trace context: the same for all messages of one call.
fn trace() -> Vec<(String, String)> {
    let mut headers = Vec::new();
    runtime::telemetry::inject(&mut |name, value| headers.push((name.to_owned(), value)));
    headers
}

fn prepared(message: &Outgoing, trace: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    if !message.id.is_empty() {
        map.insert(headers::ID, one_line(&message.id).as_ref());
    }
    for (name, value) in &message.headers {
        map.insert(&**name, one_line(value).as_ref());
    }
    for (name, value) in trace {
        map.insert(name.as_str(), value.as_str());
    }
    map
}

/// A header's value must not hold line ends; ids come from outside too.
fn one_line(value: &str) -> Cow<'_, str> {
    if value.contains(['\r', '\n']) { value.replace(['\r', '\n'], " ").into() } else { value.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_out_only_after_the_one_before_it_on_its_subject() {
        let on = |subject: &str| Outgoing::new(subject.to_owned(), String::new(), "");
        let messages = [on("a"), on("a"), on("b"), on("a"), on("c"), on("b")];
        let Due { ready, after, .. } = Due::in_order(&messages);
        assert_eq!(ready, [0, 2, 4]);
        assert_eq!(after, [Some(1), Some(3), Some(5), None, None, None]);
    }

    #[test]
    fn what_waits_for_one_another_may_take_longer() {
        let on = |subject: usize| Outgoing::new(subject.to_string(), String::new(), "");
        let time = |messages: Vec<Outgoing>| time_in_order(&messages, Duration::from_secs(3)).as_secs();
        assert_eq!(time((0..500).map(on).collect()), 3, "all go out at once");
        assert_eq!(time((0..500).map(|at| on(at % 2)).collect()), 6);
        assert_eq!(time((0..500).map(|_| on(0)).collect()), 12);
        assert_eq!(time(Vec::new()), 3);
    }

    #[test]
    fn nothing_goes_out_from_its_last_moment_on() {
        let due = |until| Due { until, ..Due::in_order(&[]) };
        assert!(!due(None).is_over() && !due(Some(Instant::now() + PAUSE)).is_over());
        assert!(due(Some(Instant::now())).is_over());
    }
}
