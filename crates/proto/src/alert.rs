//! Whether an alert is over, as its `metadata` tells.

use crate::v1::SystemAlert;

const STATE: &str = "state";
const CLEARED: &str = "cleared";

impl SystemAlert {
    /// Whether its cause is gone. Of alerts of others that is known when somebody acknowledges them.
    pub fn is_over(&self) -> bool {
        self.metadata.get(STATE).is_some_and(|state| state == CLEARED)
    }

    /// Says whether its cause is gone.
    pub fn set_over(&mut self, is_over: bool) {
        let state = if is_over { CLEARED } else { "open" };
        self.metadata.insert(STATE.to_owned(), state.to_owned());
    }
}
