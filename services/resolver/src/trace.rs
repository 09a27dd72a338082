//! Carries each message's trace through a batch: what it led to continues it, and not the trace of its neighbours.

use std::collections::HashMap;

use bus::{Outgoing, Received};

/// The W3C header that says which trace a message belongs to.
const TRACEPARENT: &str = "traceparent";

/// The trace of each message of a batch, by its stream sequence. Empty where nobody traces.
#[derive(Debug, Default)]
pub(crate) struct Traces(HashMap<u64, String>);

impl Traces {
    /// Opens a span for each message that brings a trace.
    pub(crate) fn of(batch: &[Received]) -> Self {
        let traced = batch.iter().filter(|received| received.header(TRACEPARENT).is_some());
        let continued = traced.filter_map(|received| {
            let span = tracing::info_span!("resolve", message.id = received.id(), sequence = received.sequence);
            received.continue_trace(&span);
            let mut parent = None;
            span.in_scope(|| {
                runtime::telemetry::inject(&mut |name, value| {
                    if name == TRACEPARENT {
                        parent = Some(value);
                    }
                });
            });
            Some((received.sequence, parent?))
        });
        Self(continued.collect())
    }

    /// The message with the trace of what caused it.
    pub(crate) fn continued(&self, message: Outgoing, cause: u64) -> Outgoing {
        match self.0.get(&cause) {
            Some(parent) => message.with_header(TRACEPARENT, parent.clone()),
            None => message,
        }
    }
}
