//! What every process counts, and the text that Prometheus reads.
//!
//! Their names and labels stand here and nowhere else; what one service alone counts has them in that service's own `counts.rs`
//! (broadcaster, monitor). No label ever carries the id of an item or a record.

use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

/// The names of the families.
pub mod names {
    /// What became of commands.
    pub const DELIVERIES: &str = "lockstep_deliveries_total";
    /// What was found about observations.
    pub const OBSERVATIONS: &str = "lockstep_observations_total";
    /// Conflicts, by the strategy that decided them.
    pub const CONFLICTS: &str = "lockstep_conflicts_total";
    /// Messages given up.
    pub const DEAD_LETTERS: &str = "lockstep_dead_letters_total";
    /// Webhooks received.
    pub const WEBHOOKS: &str = "lockstep_webhooks_total";
    /// HTTP requests answered.
    pub const HTTP_REQUESTS: &str = "lockstep_http_requests_total";
    /// HTTP requests refused, by the code of the answer.
    pub const HTTP_REFUSALS: &str = "lockstep_http_refusals_total";
    /// How long a stage took.
    pub const STAGE_DURATION: &str = "lockstep_stage_duration_seconds";
    /// Messages that a consumer has not yet acknowledged.
    pub const CONSUMER_LAG: &str = "lockstep_consumer_lag";
    /// Calls of connectors to their systems.
    pub const CONNECTOR_CALLS: &str = "lockstep_connector_calls_total";
    /// Calls of connectors that wait for a place in their credential's line.
    pub const PACER_WAITING: &str = "lockstep_pacer_waiting";
    /// Calls of connectors that were given their place.
    pub const PACER_GRANTED: &str = "lockstep_pacer_granted_total";
    /// Calls of connectors that the system turned away because of a limit.
    pub const PACER_REFUSED: &str = "lockstep_pacer_refused_total";
    /// Changes that wait in a system's outbox to be passed on.
    pub const OUTBOX_WAITING: &str = "lockstep_outbox_waiting";
    /// Differences that only a sweep found.
    pub const DRIFT_FOUND: &str = "lockstep_drift_found_total";
}

/// One process's metrics. A clone counts into the same families.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// `{system,outcome}`
    pub deliveries_total: IntCounterVec,
    /// `{verdict}`
    pub observations_total: IntCounterVec,
    /// `{strategy}`
    pub conflicts_total: IntCounterVec,
    /// `{service,reason}`
    pub dead_letters_total: IntCounterVec,
    /// `{system,outcome}`
    pub webhooks_total: IntCounterVec,
    /// `{service,route,status}`
    pub http_requests_total: IntCounterVec,
    /// `{service,code}`
    pub http_refusals_total: IntCounterVec,
    /// `{stage}`
    pub stage_duration_seconds: HistogramVec,
    /// `{stream,consumer}`
    pub consumer_lag: IntGaugeVec,
    /// `{system,call,outcome}`
    pub connector_calls_total: IntCounterVec,
    /// `{system,lane}`
    pub pacer_waiting: IntGaugeVec,
    /// `{system,lane}`
    pub pacer_granted_total: IntCounterVec,
    /// `{system}`
    pub pacer_refused_total: IntCounterVec,
    /// `{system}`
    pub outbox_waiting: IntGaugeVec,
    /// `{system}`
    pub drift_found_total: IntCounterVec,
}

/// From a tenth of a millisecond, which a batch in memory takes, to half a minute, which a slow system may.
const SECONDS: &[f64] =
    &[0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Families are fixed here, so a name that is bad or used twice is a mistake in this file and shows in every test.
const FIXED: &str = "names and labels in this file are valid and distinct";

impl Metrics {
    /// All families, empty.
    pub fn new() -> Self {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help), labels).expect(FIXED);
            registry.register(Box::new(family.clone())).expect(FIXED);
            family
        };
        let stage_duration_seconds = HistogramVec::new(
            HistogramOpts::new(names::STAGE_DURATION, "How long a stage took for one message or batch.")
                .buckets(SECONDS.to_vec()),
            &["stage"],
        )
        .expect(FIXED);
        let consumer_lag = IntGaugeVec::new(
            Opts::new(names::CONSUMER_LAG, "Messages that a consumer has not yet acknowledged."),
            &["stream", "consumer"],
        )
        .expect(FIXED);
        let pacer_waiting = IntGaugeVec::new(
            Opts::new(names::PACER_WAITING, "Calls of connectors that wait for a place in their credential's line."),
            &["system", "lane"],
        )
        .expect(FIXED);
        let outbox_waiting = IntGaugeVec::new(
            Opts::new(
                names::OUTBOX_WAITING,
                "Changes that wait in a system's outbox to be passed on, counted to 10000.",
            ),
            &["system"],
        )
        .expect(FIXED);
        registry.register(Box::new(outbox_waiting.clone())).expect(FIXED);
        registry.register(Box::new(pacer_waiting.clone())).expect(FIXED);
        registry.register(Box::new(stage_duration_seconds.clone())).expect(FIXED);
        registry.register(Box::new(consumer_lag.clone())).expect(FIXED);
        Self {
            deliveries_total: counters(names::DELIVERIES, "What became of commands.", &["system", "outcome"]),
            observations_total: counters(names::OBSERVATIONS, "What was found about observations.", &["verdict"]),
            conflicts_total: counters(names::CONFLICTS, "Conflicts, by the strategy that decided them.", &["strategy"]),
            dead_letters_total: counters(names::DEAD_LETTERS, "Messages given up.", &["service", "reason"]),
            webhooks_total: counters(names::WEBHOOKS, "Webhooks received.", &["system", "outcome"]),
            http_requests_total: counters(
                names::HTTP_REQUESTS,
                "HTTP requests answered.",
                &["service", "route", "status"],
            ),
            http_refusals_total: counters(
                names::HTTP_REFUSALS,
                "HTTP requests refused, by the code of the answer.",
                &["service", "code"],
            ),
            stage_duration_seconds,
            consumer_lag,
            connector_calls_total: counters(
                names::CONNECTOR_CALLS,
                "Calls of connectors to their systems.",
                &["system", "call", "outcome"],
            ),
            pacer_waiting,
            pacer_granted_total: counters(
                names::PACER_GRANTED,
                "Calls of connectors that were given their place.",
                &["system", "lane"],
            ),
            pacer_refused_total: counters(
                names::PACER_REFUSED,
                "Calls of connectors that the system turned away because of a limit.",
                &["system"],
            ),
            outbox_waiting,
            drift_found_total: counters(names::DRIFT_FOUND, "Differences that only a sweep found.", &["system"]),
            registry,
        }
    }

    /// The registry, for a service that has families of its own.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Everything in Prometheus's text format.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
