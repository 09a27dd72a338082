//! What every process shares: configuration, telemetry, clock, shutdown, and the admin listener.
//!
//! Knows nothing of items, records or the bus.

pub mod access;
mod browser;
mod chance;
pub mod config;
mod count;
pub mod http;
pub mod metrics;
mod process;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod telemetry;

pub use browser::HttpConfig;
pub use chance::{jitter, unique};
pub use config::{EXIT_CONFIG, Secret};
pub use count::{Closed, Count, Counter};
pub use http::Problem;
pub use metrics::Metrics;
pub use process::Process;

use std::sync::Once;

/// Makes ring the process's provider of cryptography. TLS calls panic when there is none; a second call does nothing.
pub fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that somebody installed a provider already, which is all that is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
