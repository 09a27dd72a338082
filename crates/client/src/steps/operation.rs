//! Decides what may happen to a step, and what is told of it. Pure: the time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use serde_json::Value;

use super::description::Description;
use super::summary::Summary;
use crate::OperationStep;

/// How many steps are remembered, unless told otherwise.
const STEPS_MAX: usize = 10_000;
/// How much may be told of what a step knows, in bytes of JSON.
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
}

/// One step.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// How many were named before it.
    number: u64,
    pub(super) state: State,
    description: Option<Description>,
    /// As a JSON text; empty for nothing.
    data: String,
    /// When it began, in milliseconds since 1970.
    began: Option<i64>,
    /// How long it took, in milliseconds, once it is completed or failed.
    pub(super) took: Option<u64>,
}

/// Steps that ended and are not remembered one by one any more.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Forgotten {
    pub(super) completed: usize,
    pub(super) failed: usize,
}

/// A long operation with its steps.
#[derive(Debug, Clone)]
pub struct Operation {
    name: String,
    agent: String,
    steps: BTreeMap<String, Step>,
    steps_max: usize,
    forgotten: Forgotten,
    /// How many steps were named so far.
    named: u64,
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
            steps_max: STEPS_MAX,
            forgotten: Forgotten::default(),
            named: 0,
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

    /// How many steps are remembered; 10,000 otherwise. Of more, the oldest that ended are only counted.
    #[must_use]
    pub fn with_steps_max(mut self, steps: usize) -> Self {
        self.steps_max = steps;
        self
    }

    /// Names all steps before they begin, so that their number is known.
    pub fn plan<S: Into<String>>(&mut self, steps: impl IntoIterator<Item = S>) {
        for step in steps {
            self.step(step.into());
        }
        self.total = Some(self.total.unwrap_or(0).max(self.known()));
    }

    /// A step of that name, which is pending if nobody named it before.
    fn step(&mut self, step: String) -> &mut Step {
        self.steps.entry(step).or_insert_with(|| {
            self.named += 1;
            Step::pending(self.named)
        })
    }

    /// Lets something happen to a step at a moment, in milliseconds since 1970; what is to be told of it. When it is refused,
    /// nothing is changed. `data` is kept with the step and replaces what was kept before; of more than 16 KiB only the size is.
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
        let kept = self.step(step.to_owned());
        let error = kept.goes(transition, to, at);
        if data.is_some() || to == State::Pending {
            kept.data = data.map(|data| told(data.to_string())).unwrap_or_default();
        }
        let (description, data) = (cut(kept.sentence()), kept.data.clone());
        self.forget();
        let update = OperationStep {
            operation: self.name.clone(),
            step: step.to_owned(),
            state: if to == State::Pending { "reset".into() } else { to.to_string() },
            description,
            progress: self.progress().unwrap_or(0.0),
            error: cut(error),
            at,
            data,
            agent: self.agent.clone(),
        };
        self.keep(update.clone());
        Ok(update)
    }

    /// Forgets the oldest step that ended, when there are too many: an operation that goes on for ever is told of all the same.
    fn forget(&mut self) {
        if self.steps.len() <= self.steps_max {
            return;
        }
        let ended = self.steps.iter().filter(|(_, step)| matches!(step.state, State::Completed | State::Failed));
        let Some(oldest) = ended.min_by_key(|(_, step)| step.number).map(|(name, _)| name.clone()) else { return };
        match self.steps.remove(&oldest).map(|step| step.state) {
            Some(State::Completed) => self.forgotten.completed += 1,
            _ => self.forgotten.failed += 1,
        }
    }

    /// How many steps there are, those included that are only counted.
    fn known(&self) -> usize {
        self.steps.len() + self.forgotten.completed + self.forgotten.failed
    }

    fn keep(&mut self, update: OperationStep) {
        self.history.push_back(update);
        while self.history.len() > self.history_limit {
            self.history.pop_front();
        }
    }

    /// Completed steps of all, from 0 to 1; `None` while it is not known how many there are.
    #[expect(clippy::cast_precision_loss, reason = "a part of a whole needs no more digits")]
    pub fn progress(&self) -> Option<f64> {
        // More than were announced can come; a whole is never more than whole.
        let total = self.total?.max(self.known());
        let remembered = self.steps.values().filter(|step| step.state == State::Completed).count();
        let completed = remembered + self.forgotten.completed;
        Some(if total == 0 { 1.0 } else { completed as f64 / total as f64 })
    }

    /// The steps that are not pending.
    pub(super) fn begun(&self) -> Vec<String> {
        let begun = self.steps.iter().filter(|(_, step)| step.state != State::Pending);
        begun.map(|(name, _)| name.clone()).collect()
    }

    /// Where a step is; `None` for one that nobody named, or that is only counted.
    pub fn state(&self, step: &str) -> Option<State> {
        self.steps.get(step).map(|step| step.state)
    }

    /// The newest updates, oldest first.
    pub fn history(&self) -> impl Iterator<Item = &OperationStep> {
        self.history.iter()
    }

    /// What came of the steps; each counts once, however often it was updated.
    pub fn summary(&self) -> Summary {
        Summary::of(self.steps.values(), self.forgotten, self.total.unwrap_or(0), self.progress())
    }
}

impl Step {
    fn pending(number: u64) -> Self {
        Self { number, state: State::Pending, description: None, data: String::new(), began: None, took: None }
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

/// Data as it is told, a JSON text: of more than may be told, how much it is.
fn told(data: String) -> String {
    if data.len() > DATA_MAX { serde_json::json!({ "tooLarge": data.len() }).to_string() } else { data }
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
