//! A whole Lockstep for one test: its own NATS and database, the sandboxes, and the real executable as a child process.
//!
//! Tests act as people do, by the sandboxes' hands, SQL and HTTP, and judge by what the systems show. What a status means in
//! each system is written down here a second time ([`oracle`]), so that a wrong mapping cannot agree with itself.

pub mod collector;
pub mod database;
pub mod demo;
pub mod edits;
pub mod eventually;
pub mod face;
pub mod fleet;
pub mod lockstep;
pub mod oracle;
pub mod postgres;
pub mod proxy;
pub mod settings;
pub mod signature;
pub mod table;
pub mod watcher;
pub mod world;

pub use database::Database;
pub use eventually::{DEADLINE, eventually};
pub use lockstep::Lockstep;
pub use oracle::Piece;
pub use settings::Settings;
pub use world::{World, with_world};
