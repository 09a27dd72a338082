//! A connector's report on a command.

use std::collections::BTreeMap;

use super::{Resolved, Turn, resolve, rules};
use crate::{
    CommandMode, DeliveryOutcome, Group, Intent, Native, Observation, Origin, Policy, Position, Receipt, RecordRef,
    Source, Timestamp, Verdict, Version,
};

/// What a connector says became of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The publisher's id for this message.
    pub id: String,
    /// Which record.
    pub record: RecordRef,
    /// Which version's command.
    pub version: Version,
    /// What became of it.
    pub outcome: DeliveryOutcome,
    /// Told or shown.
    pub mode: CommandMode,
    /// What the record shows now, where that is known.
    pub native: Option<Native>,
    /// Where that is on its time line.
    pub position: Option<Position>,
    /// When it was done.
    pub at: Timestamp,
    /// Why it was not done.
    pub reason: Option<String>,
}

/// Resolves a connector's report: what it wrote is an observation of our own write, what it could not write is noted on
/// the link.
pub fn report(group: Group, report: &Report, receipt: Receipt, policy: &Policy) -> Resolved {
    let wrote = matches!(report.outcome, DeliveryOutcome::Applied | DeliveryOutcome::Unchanged);
    let observation = as_observation(report);
    if wrote && report.mode == CommandMode::Tell && report.native.is_some() {
        return resolve(group, &observation, receipt, policy);
    }
    let Some(mut turn) = Turn::new(group.clone(), &observation, receipt, policy) else {
        return Resolved::invalid(group);
    };
    let verdict = rules::redelivered(&mut turn).unwrap_or_else(|| {
        match report.outcome {
            DeliveryOutcome::Rejected | DeliveryOutcome::Failed => turn.link().last_error.clone_from(&report.reason),
            DeliveryOutcome::Applied | DeliveryOutcome::Unchanged => turn.link().last_error = None,
            DeliveryOutcome::Superseded => {}
        }
        Verdict::Reported
    });
    turn.done(verdict)
}

fn as_observation(report: &Report) -> Observation {
    Observation {
        id: report.id.clone(),
        record: report.record.clone(),
        native: report.native.clone().unwrap_or_else(Native::none),
        position: report.position,
        occurred_at: report.at,
        actor: None,
        origin: Origin::Own(Some(report.version)),
        source: Source::Delivery,
        intent: Intent::Status,
        lifecycle: None,
        title: None,
        url: None,
        keys: vec![],
        mentions: vec![],
        vocabulary: None,
        metadata: BTreeMap::new(),
    }
}
