//! One agent's conversation: its messages, whether it is running, its errors, and the events that tell of them.
//!
//! Every change is published under the same lock that a new subscriber takes its snapshot under, so that none falls between.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::clock;
use crate::journal::{Entry, Journal};

/// A subscriber that falls this far behind is cut off.
const EVENTS_MAX: usize = 1024;
/// How many errors are kept for later subscribers.
const ERRORS_MAX: usize = 100;
/// What a running agent's last line turns through.
const SPINNER: [char; 4] = ['|', '/', '-', '\\'];

/// A message of the conversation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) id: u64,
    pub(super) role: String,
    pub(super) content: String,
    pub(super) time: String,
}

/// An event as it is streamed.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) name: &'static str,
    pub(super) data: Value,
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The agent is running.
    Busy,
    /// There is nothing in it.
    Empty,
    /// White space around it.
    Untrimmed,
}

impl Refused {
    /// The sentence of the answer.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Busy => "failed to send message: message can only be sent when the agent is waiting for user input",
            Self::Empty => "failed to send message: message must not be empty",
            Self::Untrimmed => "failed to send message: message must be trimmed of leading and trailing whitespace",
        }
    }
}

/// The conversation.
pub(super) struct Conversation {
    pub(super) agent_type: String,
    pub(super) running: bool,
    pub(super) messages: Vec<Message>,
    errors: VecDeque<Value>,
    turn: usize,
    /// What a running agent says it is doing.
    doing: String,
    journal: Journal,
    events: Option<broadcast::Sender<Event>>,
}

impl Conversation {
    /// What the journal's messages add up to; an agent that was running when it ended is not running now.
    pub(super) fn replayed(agent_type: String, journal: Journal, entries: Vec<Entry>) -> anyhow::Result<Self> {
        let mut messages = Vec::new();
        for entry in entries {
            messages.push(serde_json::from_value::<Message>(entry.value)?);
        }
        messages.sort_by_key(|message| message.id);
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let mut conversation = Self {
            agent_type,
            running: false,
            messages,
            errors: VecDeque::new(),
            turn: 0,
            doing: String::new(),
            journal,
            events: Some(events),
        };
        if conversation.messages.is_empty() {
            conversation.add("agent", "Ready.")?;
        }
        Ok(conversation)
    }

    /// The status in agentapi's words.
    pub(super) fn status(&self) -> &'static str {
        if self.running { "running" } else { "stable" }
    }

    /// What a new subscriber is told first, and the events from then on; none once the server is stopping.
    pub(super) fn subscribe(&self) -> Option<(Vec<Event>, broadcast::Receiver<Event>)> {
        let live = self.events.as_ref()?.subscribe();
        let messages = self.messages.iter().map(message_update);
        let errors = self.errors.iter().map(|error| Event { name: "agent_error", data: error.clone() });
        Some((messages.chain([self.status_change()]).chain(errors).collect(), live))
    }

    /// Ends every subscription.
    pub(super) fn close(&mut self) {
        self.events = None;
    }

    /// Takes a person's or program's message; the agent starts on it.
    pub(super) fn tell(&mut self, content: &str) -> anyhow::Result<Result<(), Refused>> {
        if content.is_empty() {
            return Ok(Err(Refused::Empty));
        }
        if content.trim() != content {
            return Ok(Err(Refused::Untrimmed));
        }
        if self.running {
            return Ok(Err(Refused::Busy));
        }
        self.add("user", content)?;
        self.run("Working on it")?;
        Ok(Ok(()))
    }

    /// Makes the agent run, saying `doing`.
    pub(super) fn run(&mut self, doing: &str) -> anyhow::Result<()> {
        doing.clone_into(&mut self.doing);
        if self.running {
            return self.say(&format!("{doing}…"));
        }
        self.add("agent", &format!("{doing}…"))?;
        self.set_running(true);
        Ok(())
    }

    /// Makes the screen stand still.
    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        if self.running {
            let said = format!("{}: done.", self.doing);
            self.say(&said)?;
            self.set_running(false);
        }
        Ok(())
    }

    /// Changes the last message of a running agent, as a screen that is being redrawn does.
    pub(super) fn redraw(&mut self) {
        if !self.running {
            return;
        }
        self.turn = (self.turn + 1) % SPINNER.len();
        // What is on a screen for a moment is not worth the journal.
        let said = format!("{}… {}", self.doing, SPINNER[self.turn]);
        if let Some(last) = self.messages.last_mut() {
            last.content = said;
            let event = message_update(last);
            self.publish(event);
        }
    }

    /// Reports an error (`error` or `warning`) beside the conversation.
    pub(super) fn fail(&mut self, message: &str, level: &str) {
        let data = json!({"level": level, "message": message, "time": clock::iso(clock::now_ms())});
        if self.errors.len() == ERRORS_MAX {
            self.errors.pop_front();
        }
        self.errors.push_back(data.clone());
        self.publish(Event { name: "agent_error", data });
    }

    /// Everything, for a person to look at.
    pub(super) fn dump(&self) -> Value {
        json!({"agent_type": self.agent_type, "status": self.status(), "messages": self.messages, "errors": self.errors})
    }

    fn set_running(&mut self, running: bool) {
        self.running = running;
        let event = self.status_change();
        self.publish(event);
    }

    fn add(&mut self, role: &str, content: &str) -> anyhow::Result<()> {
        let id = self.messages.last().map_or(0, |last| last.id + 1);
        let time = clock::iso(clock::now_ms());
        let message = Message { id, role: role.to_owned(), content: content.to_owned(), time };
        self.journal.append("message", &id.to_string(), &message)?;
        let event = message_update(&message);
        self.messages.push(message);
        self.publish(event);
        Ok(())
    }

    /// Rewrites the last message.
    fn say(&mut self, content: &str) -> anyhow::Result<()> {
        let Some(last) = self.messages.last_mut() else { return Ok(()) };
        content.clone_into(&mut last.content);
        self.journal.append("message", &last.id.to_string(), last)?;
        let event = message_update(last);
        self.publish(event);
        Ok(())
    }

    fn status_change(&self) -> Event {
        Event { name: "status_change", data: json!({"status": self.status(), "agent_type": self.agent_type}) }
    }

    fn publish(&self, event: Event) {
        if let Some(events) = &self.events {
            // Nobody listening is no error.
            let _ = events.send(event);
        }
    }
}

fn message_update(message: &Message) -> Event {
    let data = json!({"id": message.id, "role": message.role, "message": message.content, "time": message.time});
    Event { name: "message_update", data }
}
