//! The Linear sandbox: its API, its limits, its webhooks, its memory.

mod api;
mod changes;
mod queries;
mod refusals;
mod webhooks;
