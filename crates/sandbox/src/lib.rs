//! Stand-ins for Linear, GitHub and agentapi that speak their real protocols and can be told to misbehave.
//!
//! Each system is a server on its own port: [`linear::start`] and its siblings take options and answer a handle with the
//! server's address and a person's edits as methods. The same edits are there over HTTP, under `/sandbox/`.
//!
//! State lives in memory, and every acknowledged change is in a [`journal`] first when a data folder is given.
//! All of them misbehave alike ([`faults`]), send [`webhooks`] alike, count alike ([`counters`]) and ration alike ([`limits`]).
//! No sandbox knows anything of Lockstep: it sees an API client and a webhook address.

pub mod agentapi;
pub mod clock;
pub mod control;
pub mod counters;
pub mod faults;
pub mod github;
pub mod journal;
pub mod limits;
pub mod linear;
pub mod server;
pub mod webhooks;
