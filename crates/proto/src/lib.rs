//! The messages that cross the bus, their JSON form, and their conversions to the model.

mod alert;
mod convert;
mod token;
mod wire;

pub use convert::{Malformed, actor_to, command_from, command_to, observation_from, observation_to, report_from};
pub use token::{token, untoken};
pub use wire::{DecodeError, JSON, PROTOBUF, decode, encode, encode_json};

/// The generated messages.
#[allow(missing_docs, clippy::pedantic)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/lockstep.v1.rs"));
}
