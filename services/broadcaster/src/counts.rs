//! What the broadcaster counts. No label ever carries a room's name, only its kind.

use prometheus::{IntCounterVec, IntGaugeVec, Opts};
use runtime::Metrics;

/// The names of the families.
pub mod names {
    /// Clients connected now.
    pub const CLIENTS: &str = "lockstep_broadcast_clients";
    /// Events handed to clients.
    pub const MESSAGES: &str = "lockstep_broadcast_messages_total";
    /// Subscriptions now.
    pub const SUBSCRIPTIONS: &str = "lockstep_broadcast_subscriptions";
    /// Connections that the broadcaster closed.
    pub const CLOSED: &str = "lockstep_broadcast_closed_total";
    /// Messages of the bus that could not be shown.
    pub const UNREADABLE: &str = "lockstep_broadcast_unreadable_total";
}

/// The broadcaster's own families.
#[derive(Debug, Clone)]
pub struct Counts {
    /// `{transport}`
    pub clients: IntGaugeVec,
    /// `{transport}`
    pub told: IntCounterVec,
    /// `{room}`: its kind
    pub subscriptions: IntGaugeVec,
    /// `{word}`: why
    pub closed: IntCounterVec,
    /// `{stream}`
    pub unreadable: IntCounterVec,
}

impl Counts {
    /// All of them, in the process's registry.
    pub fn new(metrics: &Metrics) -> prometheus::Result<Self> {
        let counts = Self {
            clients: IntGaugeVec::new(Opts::new(names::CLIENTS, "Clients connected now."), &["transport"])?,
            told: IntCounterVec::new(Opts::new(names::MESSAGES, "Events handed to clients."), &["transport"])?,
            subscriptions: IntGaugeVec::new(
                Opts::new(names::SUBSCRIPTIONS, "Subscriptions to rooms of a kind now."),
                &["room"],
            )?,
            closed: IntCounterVec::new(
                Opts::new(names::CLOSED, "Connections that the broadcaster closed."),
                &["word"],
            )?,
            unreadable: IntCounterVec::new(
                Opts::new(names::UNREADABLE, "Messages of the bus that could not be shown."),
                &["stream"],
            )?,
        };
        metrics.registry().register(Box::new(counts.clients.clone()))?;
        metrics.registry().register(Box::new(counts.told.clone()))?;
        metrics.registry().register(Box::new(counts.subscriptions.clone()))?;
        metrics.registry().register(Box::new(counts.closed.clone()))?;
        metrics.registry().register(Box::new(counts.unreadable.clone()))?;
        // A family without a member is not shown: these are there from the start.
        for transport in crate::hub::TRANSPORTS {
            counts.clients.with_label_values(&[transport]).set(0);
            counts.told.with_label_values(&[transport]).inc_by(0);
        }
        Ok(counts)
    }
}
