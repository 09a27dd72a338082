//! Brings what happens from the bus to the hub.

use std::sync::Arc;

use bus::{Bus, Feed, Received, Stream, Tail};
use proto::v1;
use runtime::Process;

use crate::event::Event;
use crate::hub::Hub;

/// How many messages are handed out at once.
const BATCH: usize = 500;

/// Starts following changes and deliveries. What happens after this returns reaches the hub.
pub async fn start(process: &Process, bus: &Bus, hub: &Arc<Hub>) -> anyhow::Result<()> {
    let changes = bus.tail(Stream::Changes, &["lockstep.change.>".to_owned()], Tail::New).await?;
    let deliveries = bus.tail(Stream::Observations, &["lockstep.delivery.>".to_owned()], Tail::New).await?;
    process.spawn("changes", follow(process.clone(), changes, Arc::clone(hub), hand_out_changes));
    process.spawn("deliveries", follow(process.clone(), deliveries, Arc::clone(hub), hand_out_deliveries));
    Ok(())
}

async fn follow(
    process: Process,
    mut feed: Feed,
    hub: Arc<Hub>,
    hand_out: fn(&Hub, &[Received]),
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = process.shutdown().cancelled() => return Ok(()),
            batch = feed.next_batch(BATCH) => hand_out(&hub, &batch?),
        }
    }
}

fn hand_out_changes(hub: &Hub, batch: &[Received]) {
    let event = |message: &Received| {
        if !message.is_for("broadcaster") {
            return None;
        }
        let change: v1::Change = noted(message, proto::decode(message.content_type(), &message.payload))?;
        noted(message, Event::change(change, message.sequence, message.header("traceparent")))
    };
    hub.hand_out(batch.iter().filter_map(event).collect(), batch.last().map(|message| message.sequence));
}

fn hand_out_deliveries(hub: &Hub, batch: &[Received]) {
    // Deliveries are as many as records; where nobody follows a single one they are not even decoded.
    if !hub.has_single_rooms() {
        return;
    }
    let event = |message: &Received| {
        let delivery: v1::Delivery = noted(message, proto::decode(message.content_type(), &message.payload))?;
        noted(message, Event::delivery(delivery, message.sequence, message.header("traceparent")))
    };
    hub.hand_out(batch.iter().filter_map(event).collect(), None);
}

/// A message that cannot be read is logged and passed over: whoever owns the stream deals with it.
fn noted<T>(message: &Received, read: Result<T, impl std::fmt::Display>) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!(subject = message.subject, sequence = message.sequence, %error, "a message cannot be shown");
            None
        }
    }
}
