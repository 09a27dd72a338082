//! What the monitor counts for all processes together: each process's own counters say only what that one did.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{IntCounterVec, IntGaugeVec, Opts};
use runtime::Metrics;

use crate::health::{Health, Report};

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
    pub dead_letters_kept: Looked,
    /// Without labels.
    pub conflicts_open: Looked,
    /// `{kind,name}`: 1 for healthy, 0 for anything else.
    up: IntGaugeVec,
    /// The kinds and names that have one.
    shown: Arc<Mutex<BTreeSet<(&'static str, String)>>>,
}

/// A number that a server was asked for. It is there only while the server answers: an old one would pass for the one of now.
#[derive(Debug, Clone)]
pub struct Looked(IntGaugeVec);

impl Looked {
    fn new(name: &str, help: &str) -> prometheus::Result<Self> {
        Ok(Self(IntGaugeVec::new(Opts::new(name, help), &[])?))
    }

    /// Shows how many there are.
    pub fn show(&self, count: impl TryInto<i64>) {
        self.0.with_label_values::<&str>(&[]).set(count.try_into().unwrap_or(i64::MAX));
    }

    /// Shows nothing until it is known again.
    pub fn forget(&self) {
        self.0.reset();
    }
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
            dead_letters_kept: Looked::new(names::DEAD_LETTERS_KEPT, "Dead letters that are kept.")?,
            conflicts_open: Looked::new(names::CONFLICTS_OPEN, "Conflicts that wait for a person, counted to 1000.")?,
            up: IntGaugeVec::new(Opts::new(names::UP, "1 when a component is healthy, else 0."), &["kind", "name"])?,
            shown: Arc::default(),
        };
        registry.register(Box::new(counts.deliveries.clone()))?;
        registry.register(Box::new(counts.dead_letters.clone()))?;
        registry.register(Box::new(counts.dead_letters_kept.0.clone()))?;
        registry.register(Box::new(counts.conflicts_open.0.clone()))?;
        registry.register(Box::new(counts.up.clone()))?;
        Ok(counts)
    }

    /// Shows how well each component is; those that are gone lose their gauge. The others keep theirs: somebody may read them meanwhile.
    pub fn show(&self, report: &Report) {
        let parts = report.components.iter().flat_map(|(kind, parts)| parts.iter().map(move |part| (*kind, part)));
        let now: BTreeSet<_> = parts.clone().map(|(kind, (name, _))| (kind, name.clone())).collect();
        // A panic elsewhere leaves names that are still good.
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for (kind, name) in shown.difference(&now) {
            // An error means that it is gone already.
            let _ = self.up.remove_label_values(&[*kind, name.as_str()]);
        }
        for (kind, (name, component)) in parts {
            self.up.with_label_values(&[kind, name.as_str()]).set(i64::from(component.status == Health::Healthy));
        }
        *shown = now;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prometheus::core::Collector as _;

    use super::*;
    use crate::health::Component;

    #[test]
    fn a_component_keeps_its_gauge_while_it_is_known() {
        let report = |names: &[&str], status| {
            let part = Component { status, reason: None, age_ms: None, instances: None, since: None };
            let services = names.iter().map(|name| ((*name).to_owned(), part.clone())).collect();
            Report { status, at: 0, components: BTreeMap::from([("services", services)]) }
        };
        let counts = Counts::new(&Metrics::new()).unwrap();
        counts.show(&report(&["ingest", "resolver"], Health::Healthy));
        let resolver = counts.up.with_label_values(&["services", "resolver"]);
        assert_eq!(resolver.get(), 1);
        counts.show(&report(&["resolver"], Health::Degraded));
        assert_eq!(resolver.get(), 0, "it is the same one: nobody saw none");
        assert_eq!(counts.up.collect()[0].get_metric().len(), 1, "ingest is gone");
    }
}
