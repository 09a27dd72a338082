//! All tests of the model over its public items, in one binary.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what it expects by failing, and what it ran"
)]

mod conflicts;
mod drift;
mod faults;
mod fights;
mod histories;
mod laws;
mod lifecycles;
mod old_copies;
mod records;
mod scene;
mod sends;
mod ties;
