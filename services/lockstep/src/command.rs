//! The operator's commands.

pub mod check;
pub mod claim;
pub mod conflicts;
pub mod dead;
pub mod doctor;
pub mod health;
pub mod history;
pub mod postgres;
pub mod status;
pub mod sync;
pub mod watch;
