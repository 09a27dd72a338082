//! Decides what may happen to a step, and what is told of it. Pure: the time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use serde_json::Value;

use super::description::Description;
use super::summary::Summary;
use crate::OperationStep;

/// How many steps an operation can have.
const STEPS_MAX: usize = 10_000;
/// How much a step may know, in bytes of JSON.
const DATA_MAX: usize = 16 * 1024;
/// How long a sentence or an error may be, in bytes; what is longer is cut.
const TEXT_MAX: usize = 4 * 1024;
/// How many updates are kept, unless told otherwise.
const HISTORY_LIMIT: usize = 100;

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has not begun.
    Pending,
    /// It is being worked on.
    Executing,
    /// It is done.
    Completed,
    /// It is not, and will not be by itself.
    Failed,
}

/// What happens to a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Transition {
    /// It begins.
    Execute(Description),
    /// It is done.
    Complete,
    /// It failed, and why.
    Fail(String),
    /// It is as if it had never begun.
    Reset,
}

impl Transition {
    /// Where it leads.
    pub(super) fn to(&self) -> State {
        match self {
            Self::Execute(_) => State::Executing,
            Self::Complete => State::Completed,
            Self::Fail(_) => State::Failed,
            Self::Reset => State::Pending,
        }
    }
}

/// Why something cannot happen to a step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// It is not where it would have to be.
    #[error("the step {step:?} is {from} and cannot be {to}; reset it first, or begin it")]
    Transition {
        /// The step.
        step: String,
        /// Where it is.
        from: State,
        /// Where it would go.
        to: State,
    },
    /// There is no such step to reset.
    #[error("there is no step {step:?} to reset")]
    Unknown {
        /// The step.
        step: String,
    },
    /// What the step knows is too much to be told.
    #[error("what the step {step:?} knows has {bytes} bytes as JSON; keep it to {DATA_MAX}")]
    TooLarge {
        /// The step.
        step: String,
        /// How large it is.
        bytes: usize,
    },
    /// There are too many.
    #[error("an operation can have {STEPS_MAX} steps; give similar ones one name, or make several operations of it")]
    TooMany,
}

/// One step.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) state: State,
    description: Option<Description>,
    /// As a JSON text; empty for nothing.
    data: String,
    /// When it began, in milliseconds since 1970.
    began: Option<i64>,
    /// How long it took, in milliseconds, once it is completed or failed.
    pub(super) took: Option<u64>,
}

/// A long operation with its steps.
#[derive(Debug, Clone)]
pub struct Operation {
    name: String,
    agent: String,
    steps: BTreeMap<String, Step>,
    total: Option<usize>,
    history: VecDeque<OperationStep>,
    history_limit: usize,
}

impl Operation {
    /// An operation without steps yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            agent: String::new(),
            steps: BTreeMap::new(),
            total: None,
            history: VecDeque::new(),
            history_limit: HISTORY_LIMIT,
        }
    }

    /// The agent that works on it.
    #[must_use]
    pub fn with_agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = agent.into();
        self
    }

    /// How many steps it has in all, where that is known: only then is there a progress.
    #[must_use]
    pub fn with_total(mut self, steps: usize) -> Self {
        self.total = Some(steps);
        self
    }

    /// How many updates are kept; 100 otherwise.
    #[must_use]
    pub fn with_history_limit(mut self, updates: usize) -> Self {
        self.history_limit = updates;
        self
    }

    /// Names all steps before they begin, so that their number is known.
    pub fn plan<S: Into<String>>(&mut self, steps: impl IntoIterator<Item = S>) -> Result<(), StepError> {
        let mut planned = self.steps.clone();
        for step in steps {
            planned.entry(step.into()).or_insert_with(Step::pending);
        }
        if planned.len() > STEPS_MAX {
            return Err(StepError::TooMany);
        }
        self.total = Some(self.total.unwrap_or(0).max(planned.len()));
        self.steps = planned;
        Ok(())
    }

    /// Lets something happen to a step at a moment, in milliseconds since 1970; what is to be told of it. When it is refused,
    /// nothing is changed. `data` is kept with the step and replaces what was kept before.
    pub fn apply(
        &mut self,
        step: &str,
        transition: Transition,
        data: Option<Value>,
        at: i64,
    ) -> Result<OperationStep, StepError> {
        let known = self.steps.get(step);
        let from = known.map_or(State::Pending, |step| step.state);
        let to = transition.to();
        match (from, to) {
            (_, State::Pending) if known.is_none() => return Err(StepError::Unknown { step: step.into() }),
            (_, State::Pending)
            | (State::Pending, State::Executing | State::Failed)
            | (State::Executing, State::Completed | State::Failed) => {}
            _ => return Err(StepError::Transition { step: step.into(), from, to }),
        }
        if known.is_none() && self.steps.len() >= STEPS_MAX {
            return Err(StepError::TooMany);
        }
        let data = data.map(|data| data.to_string());
        if let Some(bytes) = data.as_ref().map(String::len).filter(|bytes| *bytes > DATA_MAX) {
            return Err(StepError::TooLarge { step: step.into(), bytes });
        }
        let kept = self.steps.entry(step.to_owned()).or_insert_with(Step::pending);
        let error = kept.goes(transition, to, at);
        if data.is_some() || to == State::Pending {
            kept.data = data.unwrap_or_default();
        }
        let update = OperationStep {
            operation: self.name.clone(),
            step: step.to_owned(),
            state: if to == State::Pending { "reset".into() } else { to.to_string() },
            description: cut(kept.sentence()),
            progress: 0.0,
            error: cut(error),
            at,
            data: kept.data.clone(),
            agent: self.agent.clone(),
        };
        let update = OperationStep { progress: self.progress().unwrap_or(0.0), ..update };
        self.keep(update.clone());
        Ok(update)
    }

    fn keep(&mut self, update: OperationStep) {
        self.history.push_back(update);
        while self.history.len() > self.history_limit {
            self.history.pop_front();
        }
    }

    /// Completed steps of all, from 0 to 1; `None` while it is not known how many there are.
    #[expect(clippy::cast_precision_loss, reason = "there are at most some thousand steps")]
    pub fn progress(&self) -> Option<f64> {
        // More than were announced can come; a whole is never more than whole.
        let total = self.total?.max(self.steps.len());
        let completed = self.steps.values().filter(|step| step.state == State::Completed).count();
        Some(if total == 0 { 1.0 } else { completed as f64 / total as f64 })
    }

    /// The steps that are not pending.
    pub(super) fn begun(&self) -> Vec<String> {
        let begun = self.steps.iter().filter(|(_, step)| step.state != State::Pending);
        begun.map(|(name, _)| name.clone()).collect()
    }

    /// Where a step is; `None` for one that nobody named.
    pub fn state(&self, step: &str) -> Option<State> {
        self.steps.get(step).map(|step| step.state)
    }

    /// The newest updates, oldest first.
    pub fn history(&self) -> impl Iterator<Item = &OperationStep> {
        self.history.iter()
    }

    /// What came of the steps; each counts once, however often it was updated.
    pub fn summary(&self) -> Summary {
        Summary::of(self.steps.values(), self.total.unwrap_or(0), self.progress())
    }
}

impl Step {
    fn pending() -> Self {
        Self { state: State::Pending, description: None, data: String::new(), began: None, took: None }
    }

    /// Takes a transition that is allowed; why it failed, when it did.
    fn goes(&mut self, transition: Transition, to: State, at: i64) -> String {
        self.state = to;
        // A clock that was set back makes no time negative.
        let took = self.began.map(|began| u64::try_from(at - began).unwrap_or(0));
        match transition {
            Transition::Execute(description) => {
                (self.description, self.began, self.took) = (Some(description), Some(at), None);
                String::new()
            }
            Transition::Complete => {
                self.took = took;
                String::new()
            }
            Transition::Fail(error) => {
                self.took = took;
                error
            }
            Transition::Reset => {
                (self.began, self.took) = (None, None);
                String::new()
            }
        }
    }

    fn sentence(&self) -> String {
        let Some(description) = &self.description else { return String::new() };
        match self.state {
            State::Pending | State::Executing => description.executing.clone(),
            State::Completed => description.completed.clone(),
            State::Failed => description.failed.clone(),
        }
    }
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        text.truncate(text.floor_char_boundary(TEXT_MAX - '…'.len_utf8()));
        text.push('…');
    }
    text
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Executing => "executing",
            Self::Completed => "completed",
            Self::Failed => "failed",
        })
    }
}

#[cfg(test)]
mod tests;
