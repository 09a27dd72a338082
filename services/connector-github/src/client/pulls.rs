//! Reads pull requests: by GraphQL, and by REST those that GraphQL cannot read.

use std::collections::{HashMap, VecDeque};
use std::sync::{MutexGuard, PoisonError};

use connector::Failure;

use super::Github;
use super::api::json_of;
use crate::address::Address;
use crate::encode;
use crate::pull::Pull;

/// When GraphQL has failed so often in a row for one pull request, and answered for another right afterwards, it cannot read that one.
const TRIES: u32 = 4;
/// How many are remembered that it read.
const GOOD_MAX: usize = 4;
/// Of how many it is remembered how often GraphQL failed for them; past it all are forgotten, which costs tries and nothing else.
const FAILED_MAX: usize = 1_000;

/// Which pull requests GraphQL can read.
#[derive(Debug, Default)]
pub(super) struct Served {
    /// Those that it read last, and the one first that is asked for next: one of them may not be readable any more.
    good: VecDeque<Address>,
    /// How often in a row it failed for one and answered for another.
    failed: HashMap<Address, u32>,
}

impl Served {
    fn read(&mut self, at: &Address) {
        self.failed.remove(at);
        self.good.retain(|good| good != at);
        self.good.push_front(at.clone());
        self.good.truncate(GOOD_MAX);
    }

    /// Another than this one that it read.
    fn another(&self, at: &Address) -> Option<Address> {
        self.good.iter().find(|good| *good != at).cloned()
    }

    /// It failed for this one too: the next time another is asked for.
    fn failed_as_well(&mut self, at: &Address) {
        let before = self.good.len();
        self.good.retain(|good| good != at);
        if self.good.len() < before {
            self.good.push_back(at.clone());
        }
    }

    fn failed(&mut self, at: &Address) {
        if self.failed.len() >= FAILED_MAX && !self.failed.contains_key(at) {
            self.failed.clear();
        }
        let times = self.failed.entry(at.clone()).or_default();
        *times = times.saturating_add(1);
    }

    fn cannot_read(&self, at: &Address) -> bool {
        self.failed.get(at).is_some_and(|times| *times >= TRIES)
    }
}

impl Github {
    /// A pull request by GraphQL, or by REST where GraphQL does not serve.
    pub(super) async fn pull(&self, at: &Address, class: &'static str) -> Result<Pull, Failure> {
        match self.by_graphql(at, class).await {
            Ok(Some(pull)) => {
                self.served().read(at);
                return Ok(pull);
            }
            Ok(None)
            | Err(Failure::Gone { .. } | Failure::Refused { code: "invalid" | "unreadable" | "forbidden", .. }) => {}
            Err(failure @ Failure::Unavailable { .. }) => {
                if Box::pin(self.serves_another(at, class)).await {
                    self.served().failed(at);
                }
                if !self.cannot_read(at) {
                    return Err(failure);
                }
                tracing::warn!(pull_request = %at, "GraphQL fails for this one alone; REST does not tell its reviews");
            }
            Err(failure) => return Err(failure),
        }
        Pull::of_rest(&json_of(&self.api.ask(&encode::pull_by_rest(at), class).await?)?)
    }

    /// Whether GraphQL fails for this pull request and not for others.
    pub(super) fn cannot_read(&self, at: &Address) -> bool {
        self.served().cannot_read(at)
    }

    async fn by_graphql(&self, at: &Address, class: &'static str) -> Result<Option<Pull>, Failure> {
        Pull::of_graphql(&self.api.graphql(&encode::pull(at), class).await?)
    }

    /// Whether GraphQL answers when it is asked for another one: then it is not away, and its circuit does not open because of this one.
    async fn serves_another(&self, at: &Address, class: &'static str) -> bool {
        let other = self.served().another(at);
        let call = other.as_ref().map_or_else(encode::graphql_limits, encode::pull);
        match (self.api.graphql(&call, class).await, other) {
            (Err(Failure::Unavailable { .. }), Some(other)) => {
                self.served().failed_as_well(&other);
                false
            }
            (Err(Failure::Unavailable { .. } | Failure::Limited { .. } | Failure::Busy { .. }), _) => false,
            _ => true,
        }
    }

    fn served(&self) -> MutexGuard<'_, Served> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
