//! How the connection of a watch is, for whoever wants to show it.

use std::fmt;
use std::sync::Arc;

/// What became of a connection of a watch that was open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    /// It broke, or was left because the server stops, and is made again.
    Disconnected {
        /// What came of it.
        why: String,
    },
    /// It stands again, and goes on from where it was.
    Connected,
}

/// Who is told.
#[derive(Clone, Default)]
pub(super) struct OnState(Option<Arc<dyn Fn(ConnectionState) + Send + Sync>>);

impl OnState {
    pub(super) fn new(told: impl Fn(ConnectionState) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(told)))
    }

    pub(super) fn tell(&self, state: ConnectionState) {
        if let Some(told) = &self.0 {
            told(state);
        }
    }
}

impl fmt::Debug for OnState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnState").field(&self.0.is_some()).finish()
    }
}
