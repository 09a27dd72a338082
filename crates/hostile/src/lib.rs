//! What strangers may send to each parser, and what must hold whatever they send.
//!
//! Each target takes any bytes and panics only when something is wrong. They are driven twice: by a mutator of our own in every
//! test run, for a moment each, and by cargo-fuzz (the folder `fuzz`) for as long as one likes.

pub mod corpus;
pub mod mutate;
mod onward;
mod targets;

pub use targets::{TARGETS, Target};
