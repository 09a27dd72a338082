//! The GitHub sandbox as a client sees it: over HTTP.

#![expect(
    clippy::unwrap_used,
    clippy::similar_names,
    reason = "a test that meets something unexpected ends there; what a receiver received is called so"
)]

mod api;
mod app;
mod graphql;
#[path = "../sandboxes/receiver.rs"]
mod receiver;
mod rest;
mod webhooks;
