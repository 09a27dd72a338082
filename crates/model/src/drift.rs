//! Whether a sweep found what neither a webhook, a stream nor a report had told.
//!
//! Pure. Every sweep sees again what is known; only what comes of it tells drift from that.

use crate::{Native, Observation, Resolved, Source, Verdict};

/// Whether what came of an observation shows that its record had drifted. `shadow` is what the record was known to show.
///
/// A record that is seen for the first time is none: the first sweep sees nothing else. Nor is one that shows what it should,
/// or what it was told: the report of our own write may be a moment behind the sweep.
pub fn is_drift(shadow: &Native, observation: &Observation, resolved: &Resolved) -> bool {
    if observation.source != Source::Sweep {
        return false;
    }
    match resolved.verdict {
        Verdict::FastForward
        | Verdict::Conflict
        | Verdict::FlipFlop
        | Verdict::JoinedHold
        | Verdict::Refused
        | Verdict::HeldIrregular
        | Verdict::Ignored
        | Verdict::WentBack
        | Verdict::Unmapped => *shadow != observation.native,
        // It shows what it showed, and is told once more what it should show.
        Verdict::NoNews => !resolved.commands.is_empty(),
        Verdict::Redelivered
        | Verdict::Stale
        | Verdict::OwnWrite
        | Verdict::Agreed
        | Verdict::LateEcho
        | Verdict::Created
        | Verdict::Asked
        | Verdict::Forced
        | Verdict::Linked
        | Verdict::Reported
        | Verdict::Invalid => false,
    }
}
