//! Tells agents of chosen changes.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use connector::Failure;
use model::RecordRef;
use proto::v1::Change;

use super::{Client, Reached, status};
use crate::decode::Conversation;
use crate::encode::{self, Body};
use crate::often::Often;

/// How many sent messages are remembered.
const SENT_MAX: usize = 1_000;
/// How long a busy agent is left alone.
const BUSY: Duration = Duration::from_secs(2);

impl Client {
    /// Whether a change sends something to an agent.
    pub(crate) fn is_told(&self, change: &Change, record: &RecordRef) -> bool {
        self.agent(record).is_ok() && !encode::messages(&self.config.messages, change, record).is_empty()
    }

    /// Sends what a change sends to an agent. A failure is for all of it; what was sent is not sent again.
    pub(crate) async fn on_change(&self, change: &Change, record: &RecordRef) -> Result<(), Failure> {
        let reached = self.agent(record)?;
        let by_an_agent = change.record.starts_with("agentapi/");
        if by_an_agent && self.often().is_enough(record, &change.item, self.process.now_ms()) {
            let why = format!(
                "{record} was told three times within ten minutes of what agents made of {}, and is not told once more that it is {}",
                if change.key.is_empty() { &change.item } else { &change.key },
                change.to
            );
            return Err(Failure::refused("told_too_often", why));
        }
        for (number, body) in encode::messages(&self.config.messages, change, record).iter().enumerate() {
            let name = format!("{} {record} {number}", change.id);
            if self.is_sent(&name) {
                continue;
            }
            self.tell(reached, body, change).await?;
            self.note(name);
        }
        if by_an_agent {
            self.often().note(record, &change.item, self.process.now_ms());
        }
        Ok(())
    }

    fn often(&self) -> MutexGuard<'_, Often> {
        self.often.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn tell(&self, reached: &Reached, body: &Body, change: &Change) -> Result<(), Failure> {
        let Reached { agent, record, tell, .. } = reached;
        if body.kind == "user" {
            let answer = tell.send(tell.client().get(agent.address("messages")), "messages").await?;
            if encode::is_said(&answer.success("GET /messages")?.json::<Conversation>()?, body, change) {
                return Ok(());
            }
            // A busy agent would answer with a 500, which says no more than any other fault.
            if status(agent, tell).await?.as_str() != "stable" {
                let why = format!("{record} is busy, and takes no message until it stands still");
                return Err(Failure::Busy { why, retry_after: BUSY });
            }
        }
        let request = tell.client().post(agent.address("message")).json(body);
        tell.send(request, "message").await?.success("POST /message")?;
        tracing::info!(%record, change = change.id, "told an agent of a change");
        Ok(())
    }

    fn is_sent(&self, name: &str) -> bool {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|sent| sent == name)
    }

    fn note(&self, name: String) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if sent.len() == SENT_MAX {
            sent.pop_front();
        }
        sent.push_back(name);
    }
}
