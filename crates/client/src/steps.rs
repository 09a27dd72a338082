//! The steps of a long operation: which there are, how far they are, and what came of them.
//!
//! A step goes from pending to executing, and from there to completed or failed; it may fail before it begins, and be reset from
//! anywhere. Other transitions are refused. [`Operation`] decides that and knows no clock; [`StepTracker`] is the same for
//! several tasks, with the time, callbacks, and publishing.

mod description;
mod operation;
mod summary;
mod tracker;

pub use description::Description;
pub use operation::{Operation, State, StepError, Transition};
pub use summary::{Durations, Summary};
pub use tracker::StepTracker;
