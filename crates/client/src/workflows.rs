//! Workflows, one or all, with the last state of each execution.

use crate::newest::{MAX, Newest};
use crate::{Error, Handle, Message, Watch, WatchBuilder, WorkflowExecution};

/// Watches workflows. How they stand follows from what [`next`](Self::next) has told; the newest 10,000 executions are known.
#[derive(Debug)]
pub struct WorkflowClient {
    watch: Watch,
    states: Newest<WorkflowExecution>,
}

impl WorkflowClient {
    /// Begins to watch one workflow, or all, by a watch with a backoff or callbacks of one's own.
    pub async fn open(watch: WatchBuilder, workflow: Option<&str>) -> Result<Self, Error> {
        let room = workflow.map_or_else(|| "workflow_executions".to_owned(), |workflow| format!("workflow:{workflow}"));
        Ok(Self { watch: watch.rooms([room]).open().await?, states: Newest::new(MAX) })
    }

    /// The next message, as [`Watch::next`] gives it; then how things stand is known with it.
    pub async fn next(&mut self) -> Result<Message, Error> {
        let message = self.watch.next().await?;
        self.hear(&message);
        Ok(message)
    }

    /// How an execution stood last; the name is empty where a workflow has only one.
    pub fn state(&self, workflow: &str, execution: &str) -> Option<&WorkflowExecution> {
        self.states.get(&name(workflow, execution))
    }

    /// How each execution stood last.
    pub fn states(&self) -> impl Iterator<Item = &WorkflowExecution> {
        self.states.values()
    }

    /// What speaks for it from elsewhere, while [`next`](Self::next) waits here.
    pub fn handle(&self) -> Handle {
        self.watch.handle()
    }

    fn hear(&mut self, message: &Message) {
        match message {
            Message::Reset(_) => self.states.clear(),
            Message::Snapshot(snapshot) => snapshot.messages.iter().for_each(|message| self.hear(message)),
            Message::WorkflowExecution(told) => {
                self.states.set(&name(&told.workflow, &told.execution), (*told.event).clone());
            }
            _ => {}
        }
    }
}

/// No other pair of names makes the same.
fn name(workflow: &str, execution: &str) -> String {
    format!("{workflow:?} {execution:?}")
}

#[cfg(test)]
mod tests;
