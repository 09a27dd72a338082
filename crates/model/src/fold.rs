//! Reads several records of one kind on one item as one.

use serde::{Deserialize, Serialize};

use crate::{Lens, Lifecycle, Native};

/// How several records of one system and kind on one item are read together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fold {
    /// The least advanced speaks: the item is done when all are.
    #[default]
    AllDone,
    /// While any is open, the most advanced of the open ones speaks; then the least advanced of the ended ones.
    AnyOpen,
    /// The one that was tied first speaks.
    Primary,
}

impl Fold {
    /// The native that speaks for all of `natives` (in the order in which they were tied), each known to the lens;
    /// `None` when there is none.
    pub fn of<'a>(self, lens: &Lens, lifecycle: &Lifecycle, natives: &[&'a Native]) -> Option<&'a Native> {
        let preferred = |native: &Native| lens.normal(native).and_then(|normal| lens.preferred(normal));
        let rank = |native: &&&'a Native| preferred(native).map_or(usize::MAX, |status| lifecycle.rank(status));
        let open = |native: &&&'a Native| preferred(native).is_some_and(|status| !lifecycle.is_terminal(status));
        match self {
            Fold::Primary => natives.first().copied(),
            Fold::AllDone => natives.iter().min_by_key(rank).copied(),
            Fold::AnyOpen => {
                let furthest = natives.iter().filter(open).max_by_key(rank);
                furthest.or_else(|| natives.iter().min_by_key(rank)).copied()
            }
        }
    }
}
