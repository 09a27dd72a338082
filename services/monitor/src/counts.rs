//! What the monitor counts for all processes together: each process's own counters say only what that one did.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts};
use runtime::Metrics;

/// The names of the families.
pub mod names {
    /// What became of commands, in all processes.
    pub const DELIVERIES: &str = "lockstep_fleet_deliveries_total";
    /// Messages given up, in all processes.
    pub const DEAD_LETTERS: &str = "lockstep_fleet_dead_letters_total";
    /// Dead letters that are kept.
    pub const DEAD_LETTERS_KEPT: &str = "lockstep_fleet_dead_letters_kept";
    /// Conflicts that wait for a person.
    pub const CONFLICTS_OPEN: &str = "lockstep_fleet_conflicts_open";
    /// How well a component is.
    pub const UP: &str = "lockstep_fleet_up";
}

/// The monitor's own families.
#[derive(Debug, Clone)]
pub struct Counts {
    /// `{system,outcome}`
    pub deliveries: IntCounterVec,
    /// `{service,reason}`
    pub dead_letters: IntCounterVec,
    /// Without labels.
    pub dead_letters_kept: IntGauge,
    /// Without labels.
    pub conflicts_open: IntGauge,
    /// `{kind,name}`: 1 for healthy, 0 for anything else.
    pub up: IntGaugeVec,
}

impl Counts {
    /// All of them, registered with the process's.
    pub fn new(metrics: &Metrics) -> anyhow::Result<Self> {
        let registry = metrics.registry();
        let counts = Self {
            deliveries: IntCounterVec::new(
                Opts::new(names::DELIVERIES, "What became of commands, in all processes."),
                &["system", "outcome"],
            )?,
            dead_letters: IntCounterVec::new(
                Opts::new(names::DEAD_LETTERS, "Messages given up, in all processes."),
                &["service", "reason"],
            )?,
            dead_letters_kept: IntGauge::new(names::DEAD_LETTERS_KEPT, "Dead letters that are kept.")?,
            conflicts_open: IntGauge::new(names::CONFLICTS_OPEN, "Conflicts that wait for a person, counted to 1000.")?,
            up: IntGaugeVec::new(Opts::new(names::UP, "1 when a component is healthy, else 0."), &["kind", "name"])?,
        };
        registry.register(Box::new(counts.deliveries.clone()))?;
        registry.register(Box::new(counts.dead_letters.clone()))?;
        registry.register(Box::new(counts.dead_letters_kept.clone()))?;
        registry.register(Box::new(counts.conflicts_open.clone()))?;
        registry.register(Box::new(counts.up.clone()))?;
        Ok(counts)
    }
}
