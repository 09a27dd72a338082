//! Ingest on a real NATS server.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod agent_events;
mod status;
mod telemetry;
mod webhooks;
mod world;
