//! Whether `/v1/ws` keeps to RFC 6455 and RFC 7692, whoever speaks: the cases of Autobahn's suite by their numbers, as far as they
//! make sense for a server that does not echo, and the handshake, which Autobahn leaves out.
//!
//! Only bytes go in and out: nothing here is built on the code that is tested.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod case;
mod client;
mod control;
mod crowd;
mod deflate;
mod fragments;
mod frame;
mod framing;
mod handshake;
mod limits;
mod rolling;
mod utf8;
mod world;
