//! What a connector is: the trait, the one loop that runs it, HTTP pacing and circuit breaking, and the compliance suite.
//!
//! Knows no system. A connector is a folder that implements [`Connector`] and one line that makes its [`Registration`].

mod backfill;
pub mod calls;
#[cfg(feature = "testing")]
pub mod compliance;
mod contract;
mod failure;
mod finding;
mod lanes;
pub mod moment;
mod registration;
mod run;
mod token;

pub use backfill::{Backfill, BoxSweeper, Order, Progress, Step, Sweeper, Swept, beginning};
pub use calls::{Calls, Response};
pub use contract::{Connector, Decoded, Page, Parts, Reading, Redelivered, Unreadable, Webhook, Written};
pub use failure::{Action, Failure};
pub use finding::{Examined, Finding, Severity, Words, clock_skew};
pub use registration::{Registration, Settings, registration};
pub use run::{Sink, observation_id, run};
pub use token::Token;
