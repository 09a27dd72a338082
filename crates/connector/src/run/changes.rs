//! Changes of items, for connectors that want to hear of them, one after another. One process at a time.

use bus::{DeadLetter, Feed, Lease, Received};
use model::RecordRef;
use proto::v1;
use tracing::{Instrument, info_span};

use super::Loop;
use super::attempt::{End, attempts};
use crate::Connector;

pub(super) async fn run<C: Connector>(parts: Loop<C>) -> anyhow::Result<()> {
    let shutdown = parts.process.shutdown().clone();
    let name = format!("changes/{}", C::SYSTEM);
    while !shutdown.is_cancelled() {
        let lease = match parts.bus.lease(&name, &parts.process).await {
            Ok(lease) => lease,
            Err(_) if shutdown.is_cancelled() => break,
            Err(error) => return Err(error),
        };
        let feed = parts.bus.changes(C::SYSTEM).await?;
        hold(&parts, feed, &lease).await?;
    }
    Ok(())
}

/// Hears of changes for as long as the lease is held. The one in hand is finished.
async fn hold<C: Connector>(parts: &Loop<C>, mut feed: Feed, lease: &Lease) -> anyhow::Result<()> {
    loop {
        let message = tokio::select! {
            biased;
            () = parts.process.shutdown().cancelled() => return Ok(()),
            () = lease.lost().cancelled() => return Ok(()),
            message = feed.next() => message?,
        };
        let span = info_span!("change", system = C::SYSTEM, message.id = message.id());
        message.continue_trace(&span);
        handle(parts, &message).instrument(span).await;
    }
}

async fn handle<C: Connector>(parts: &Loop<C>, message: &Received) {
    if !message.is_for(parts.process.service()) {
        return parts.done(message).await;
    }
    let change: v1::Change = match proto::decode(message.content_type(), &message.payload) {
        Ok(change) => change,
        Err(error) => return give_up(parts, message, DeadLetter::of(message, "malformed", error.to_string())).await,
    };
    let of_ours = |record: &String| record.parse::<RecordRef>().ok().filter(|record| record.system == parts.system);
    let records: Vec<RecordRef> = change.records.iter().filter_map(of_ours).collect();
    if records.is_empty() {
        return parts.done(message).await;
    }
    let tell = || parts.connector.on_change(&change, &records);
    match attempts(&parts.settings.backoff, message, parts.process.shutdown(), tell).await {
        (Ok(()), _) => parts.done(message).await,
        (Err(End::GivenUp { reason, failure, .. }), tries) => {
            let letter = DeadLetter::of(message, reason, failure.advice()).after(tries.into());
            give_up(parts, message, letter).await;
        }
        // Not acknowledged: it comes again.
        (Err(End::Dropped), _) => {}
    }
}

async fn give_up<C: Connector>(parts: &Loop<C>, message: &Received, letter: DeadLetter) {
    if parts.bury(letter).await {
        parts.done(message).await;
    }
}
