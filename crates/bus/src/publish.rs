//! Publishes with JetStream's acknowledgement awaited; what is not acknowledged in time goes out again under the same id.

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
/// The wait before an attempt that follows one refused at once.
const PAUSE: Duration = Duration::from_millis(50);

impl Bus {
    /// Publishes a message and waits until it is stored. Its sequence in the stream; the first one's, if it is a copy.
    pub async fn publish(&self, message: Outgoing) -> Result<u64, PublishError> {
        self.publish_all(vec![message]).await.map(|sequences| sequences.first().copied().unwrap_or(0))
    }

    /// Publishes messages in their order, many under way at once, and waits until all are stored.
    ///
    /// A message that must go out again may come behind its successors: those of one record are told apart by their
    /// positions and versions. When this fails, any of them may have been stored; publish all of them again.
    pub async fn publish_all(&self, messages: Vec<Outgoing>) -> Result<Vec<u64>, PublishError> {
        let all = (0..messages.len()).collect();
        self.publish_rounds(&messages, vec![all]).await
    }

    /// The same, but of one subject only one is under way: one that must go out again never comes behind its successors, and
    /// when this fails the first ones of each subject may have been stored. As many round trips as one subject has messages,
    /// each with the configured time.
    pub async fn publish_in_order(&self, messages: Vec<Outgoing>) -> Result<Vec<u64>, PublishError> {
        self.publish_rounds(&messages, rounds(&messages)).await
    }

    async fn publish_rounds(&self, messages: &[Outgoing], rounds: Vec<Vec<usize>>) -> Result<Vec<u64>, PublishError> {
        let trace = trace();
        let mut sequences = vec![0; messages.len()];
        for mut due in rounds {
            let deadline = Instant::now() + Duration::from_millis(self.config.publish_timeout_ms);
            loop {
                let (failed, why) = self.attempt_all(messages, &due, &trace, &mut sequences).await?;
                let Some(&first) = failed.first() else { break };
                if Instant::now() + PAUSE >= deadline {
                    return Err(PublishError::TimedOut { subject: messages[first].subject.clone(), why });
                }
                tokio::time::sleep(PAUSE).await;
                due = failed;
            }
        }
        Ok(sequences)
    }

    /// One attempt at the messages that are due. Those that failed, and why the last of them did.
    async fn attempt_all(
        &self,
        messages: &[Outgoing],
        due: &[usize],
        trace: &[(String, String)],
        sequences: &mut [u64],
    ) -> Result<(Vec<usize>, String), PublishError> {
        let patience = self.attempt;
        let mut waiting: VecDeque<(usize, Instant, Acknowledgement)> = VecDeque::with_capacity(due.len().min(WINDOW));
        let (mut failed, mut last) = (Vec::new(), String::new());
        let mut due = due.iter().copied();
        loop {
            let next = if waiting.len() < WINDOW { due.next() } else { None };
            if let Some(at) = next {
                let (subject, headers) = (messages[at].subject.clone(), prepared(&messages[at], trace));
                match self.server.send_publish(subject, headers, messages[at].payload.clone()).await {
                    Ok(acknowledgement) => waiting.push_back((at, Instant::now() + patience, acknowledgement)),
                    Err(Refusal::TooLarge) => {
                        return Err(PublishError::TooLarge { subject: messages[at].subject.clone() });
                    }
                    Err(refusal) => {
                        last = refusal.to_string();
                        failed.push(at);
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
                        continue;
                    }
                    Ok(Err(Refusal::Overtaken)) => {
                        return Err(PublishError::Overtaken { subject: messages[at].subject.clone() });
                    }
                    Ok(Err(refusal)) => last = refusal.to_string(),
                    Err(_) => last = format!("no answer within {patience:?}"),
                }
                failed.push(at);
            }
        }
        failed.sort_unstable();
        Ok((failed, last))
    }

    /// Publishes without JetStream, for signs of life: nobody learns whether it arrived.
    pub async fn announce(&self, subject: String, payload: Bytes) -> anyhow::Result<()> {
        self.client.publish(subject.into(), payload).await
    }
}

/// The messages' places, no subject twice in a round. There are as many rounds as the subject with the most has messages.
fn rounds(messages: &[Outgoing]) -> Vec<Vec<usize>> {
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    let mut before: HashMap<&str, usize> = HashMap::with_capacity(messages.len());
    for (place, message) in messages.iter().enumerate() {
        let round = before.entry(&message.subject).or_default();
        match rounds.get_mut(*round) {
            Some(places) => places.push(place),
            None => rounds.push(vec![place]),
        }
        *round += 1;
    }
    rounds
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
        map.insert(headers::ID, one_line(&message.id));
    }
    for (name, value) in &message.headers {
        map.insert(&**name, one_line(value));
    }
    for (name, value) in trace {
        map.insert(name.as_str(), value.as_str());
    }
    map
}

/// A header's value must not hold line ends; ids come from outside too.
fn one_line(value: &str) -> String {
    value.replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_out_only_after_all_before_it_on_its_subject() {
        let on = |subject: &str| Outgoing::new(subject.to_owned(), String::new(), "");
        let messages = [on("a"), on("a"), on("b"), on("a"), on("c"), on("b")];
        assert_eq!(rounds(&messages), [vec![0, 2, 4], vec![1, 5], vec![3]]);
        assert!(rounds(&[]).is_empty());
    }
}
