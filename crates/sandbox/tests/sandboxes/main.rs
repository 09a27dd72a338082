//! The sandboxes as a client sees them: over HTTP.

#![expect(clippy::unwrap_used, reason = "a test's helpers say what they expect by failing, as the tests do")]

mod linear;
mod receiver;
