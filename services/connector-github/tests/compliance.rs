//! GitHub's connector against a server that speaks GitHub's protocol.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

#[path = "compliance/app.rs"]
mod app;
#[path = "compliance/calls.rs"]
mod calls;
#[path = "compliance/front.rs"]
mod front;
#[path = "compliance/redeliver.rs"]
mod redeliver;
#[path = "compliance/suite.rs"]
mod suite;
#[path = "compliance/sweep.rs"]
mod sweep;
#[path = "compliance/world.rs"]
mod world;
