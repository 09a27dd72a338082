//! JetStream as the services see it: topology, publish, consume, lease, dead-letter.
//!
//! Knows how messages travel; not what they mean.

mod config;
mod connection;
mod cursor;
mod dead_letter;
mod feed;
mod heartbeat;
mod lag;
mod lease;
mod outgoing;
mod publish;
mod received;
mod room;
mod server;
mod share;
#[cfg(feature = "simulation")]
pub mod simulation;
mod streams;
#[cfg(feature = "testing")]
pub mod testing;
mod ticket;
mod told;
pub mod topology;

pub use config::Config;
pub use connection::{Bus, Standing};
pub use cursor::SWEEPS;
pub use dead_letter::{Content, DeadLetter, Filter, Letter, REASONS, Reason, Replayed, reason};
pub use feed::{Feed, Listener, Tail};
pub use lag::Lag;
pub use lease::Lease;
pub use outgoing::{Outgoing, headers};
pub use publish::{PublishError, time_in_order};
pub use received::{Received, ack_all};
pub use share::Share;
pub use told::Told;
pub use topology::Stream;
