//! Who asks: what a task says of itself to the calls that it makes, without every call having to be told.

use model::Lane;
use tokio_util::sync::CancellationToken;

tokio::task_local! {
    static ASKING: Asking;
}

/// On whose behalf calls are made.
#[derive(Debug, Clone, Default)]
pub(super) struct Asking {
    pub(super) lane: Lane,
    /// Ends waits for a place: nobody wants the answer any more.
    pub(super) ends: CancellationToken,
    /// It has the turn to write.
    pub(super) turn: bool,
}

impl Asking {
    /// What the current task said of itself; by default it is in the lane `normal`.
    pub(super) fn now() -> Self {
        ASKING.try_with(Clone::clone).unwrap_or_default()
    }
}

/// Does `work`, whose calls are in `lane`; when `ends` is cancelled they wait no longer. What is spawned in it is on its own.
pub async fn asking<W: Future>(lane: Lane, ends: CancellationToken, work: W) -> W::Output {
    ASKING.scope(Asking { lane, ends, turn: false }, work).await
}

/// Does `work` on the same behalf, with the turn to write.
pub(super) async fn with_turn<W: Future>(work: W) -> W::Output {
    ASKING.scope(Asking { turn: true, ..Asking::now() }, work).await
}
