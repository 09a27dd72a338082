//! Shows an item's status on the head of a pull request, and on each head that follows.

use std::sync::{MutexGuard, PoisonError};

use connector::Failure;
use model::{Command, RecordRef};
use serde_json::Value;

use super::Github;
use super::api::json_of;
use crate::encode;
use crate::heads::Heads;

impl Github {
    /// Shows a command's status on a commit, unless it stands there already.
    pub(super) async fn show_on(&self, repository: &str, head: &str, command: &Command) -> Result<(), Failure> {
        let call = encode::status(repository, head, command);
        if !encode::says_already(&self.statuses(repository, head).await?, &call) {
            self.api.ask(&call, "show").await?;
        }
        Ok(())
    }

    /// Shows on the head of a pull request what was shown on the one before, where it has moved. Fails where the next reading may succeed,
    /// and does it.
    pub(super) async fn keep_shown(&self, record: &RecordRef, repository: &str, head: &str) -> Result<(), Failure> {
        // Where no loop runs, it may be a dry run.
        if !self.hears {
            return Ok(());
        }
        let before = self.heads().moved(record, head);
        // Apart, for it is seldom done and would make every reading as large.
        for commit in &before {
            match Box::pin(self.show_again(repository, commit, head)).await {
                Ok(false) => {}
                Ok(true) => return Ok(()),
                Err(failure) => {
                    tracing::info!(%record, %failure, "its new head does not show yet what the one before did");
                    if matches!(failure, Failure::Unavailable { .. } | Failure::Limited { .. }) {
                        before.iter().rev().for_each(|commit| self.heads().note(record, commit));
                        return Err(failure);
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Shows on one commit what is shown on another; whether anything is.
    async fn show_again(&self, repository: &str, before: &str, head: &str) -> Result<bool, Failure> {
        let shown = self.statuses(repository, before).await?;
        let Some(call) = encode::status_again(&shown, repository, head) else { return Ok(false) };
        // Whoever has the turn to write may be showing a newer one.
        let show = async {
            if !encode::shows_newer(&self.statuses(repository, head).await?, &shown) {
                self.api.ask(&call, "show").await?;
            }
            Ok(true)
        };
        self.api.calls().in_turn(Box::pin(show)).await
    }

    async fn statuses(&self, repository: &str, commit: &str) -> Result<Value, Failure> {
        json_of(&self.api.ask(&encode::statuses(repository, commit), "read").await?)
    }

    pub(super) fn heads(&self) -> MutexGuard<'_, Heads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
