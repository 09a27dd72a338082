//! Ingest on a real NATS server.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod status;
mod webhooks;
mod world;
