//! The faults, each a test.

mod disk;
mod freeze;
mod kill;
mod network;
mod restart;
mod several;
