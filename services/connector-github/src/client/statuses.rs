//! Shows an item's status on the head of a pull request, and on each head that follows.

use std::sync::{MutexGuard, PoisonError};

use connector::{Failure, Reading};
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

    /// Whether a pull request's head has moved, and nobody said yet that what was shown before stands on it.
    pub(super) fn is_to_be_kept(&self, reading: &Reading) -> bool {
        let record = &reading.observation.record;
        reading.extra["head"].as_str().is_some_and(|head| !self.heads().before(record, head).is_empty())
    }

    /// Shows on the head of a pull request what was shown on the one before, where it has moved. Fails where the next attempt may succeed.
    pub(super) async fn show_on_the_next(
        &self,
        record: &RecordRef,
        repository: &str,
        head: &str,
    ) -> Result<(), Failure> {
        let before = self.heads().before(record, head);
        // Where no loop runs, it may be a dry run.
        if before.is_empty() || !self.hears {
            return Ok(());
        }
        // Apart, for it is seldom done and would make every reading as large.
        if let Err(failure) = Box::pin(self.show_again(repository, &before, head)).await {
            tracing::info!(%record, %failure, "its new head does not show yet what the one before did");
            if matches!(failure, Failure::Unavailable { .. } | Failure::Limited { .. }) {
                return Err(failure);
            }
        }
        self.heads().settle(record, &before);
        Ok(())
    }

    /// Shows on the head what is shown on the first of the commits before it on which anything is.
    async fn show_again(&self, repository: &str, before: &[String], head: &str) -> Result<(), Failure> {
        // All of it in one turn: whoever has the turn to write may be showing a newer one, on this commit or on those.
        let show = async {
            for commit in before {
                let shown = self.statuses(repository, commit).await?;
                let Some(call) = encode::status_again(&shown, repository, head) else { continue };
                if !encode::shows_newer(&self.statuses(repository, head).await?, &shown) {
                    self.api.ask(&call, "show").await?;
                }
                break;
            }
            Ok(())
        };
        self.api.calls().in_turn_to_look(Box::pin(show)).await
    }

    async fn statuses(&self, repository: &str, commit: &str) -> Result<Value, Failure> {
        json_of(&self.api.ask(&encode::statuses(repository, commit), "read").await?)
    }

    pub(super) fn heads(&self) -> MutexGuard<'_, Heads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
