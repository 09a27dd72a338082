//! The operator's commands.

pub mod check;
pub mod dead;
pub mod health;
pub mod postgres;
pub mod status;
pub mod sync;
pub mod watch;
