//! The whole system: edits that go round, faults, crashes, contracts with the real products, and the repository's own rules.

mod agent_events;
mod claim;
mod clients;
mod crash;
mod dead;
mod edits;
mod faces;
mod fights;
mod following;
mod hostile;
mod limits;
mod outages;
mod payloads;
mod reconcile;
mod repository;
mod sandbox;
mod storm;
mod traces;
mod typescript;
mod up;
mod watching;
mod words;
mod xtask;
