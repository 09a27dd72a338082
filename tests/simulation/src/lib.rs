//! The whole system in one thread on virtual time from one seed, judged by an oracle.
//!
//! The resolver's worker, the connectors' loop, the bus above JetStream's API and the model are the production code. Simulated
//! are what they speak to: JetStream, PostgreSQL's transactions, the systems, the people, and everything that can go wrong:
//! webhooks lost, doubled, late and out of order, remote errors and limits, writes whose answer is lost or that land late,
//! crashes of any process at any await, redelivery, partitions between any two parts, skewed clocks, changed configuration,
//! links made and cut.
//!
//! `cargo xtask simulate --seeds N` runs N worlds, `--seed S` one of them with its trace.
#![cfg(test)]
#![expect(clippy::cast_possible_truncation, reason = "a world is small")]

mod chaos;
mod connectors;
mod land;
mod oracle;
mod people;
mod services;
mod settings;
// The statuses of the simulated systems and what they mean: the same tables as in the model's random histories.
#[path = "../../../crates/model/tests/histories/table.rs"]
mod table;
mod tests;
mod world;
