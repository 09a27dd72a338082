//! Linear's connector against a server that speaks Linear's protocol.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

#[path = "compliance/calls.rs"]
mod calls;
#[path = "compliance/front.rs"]
mod front;
#[path = "compliance/suite.rs"]
mod suite;
#[path = "compliance/world.rs"]
mod world;
