//! One measurement, the same for what is measured and its baseline.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;

use super::publisher::Publisher;
use super::seen::Seen;
use super::world::World;
use bus::Outgoing;

/// A place to publish to, and to see what comes out.
pub struct Target {
    /// What the subjects begin with.
    pub prefix: &'static str,
    /// What came out.
    pub seen: Seen,
}

impl Target {
    fn edits(&self, world: &mut World, count: usize) -> Result<Vec<Outgoing>> {
        let mut messages = world.edits(count)?;
        for message in &mut messages {
            message.subject.insert_str(0, self.prefix);
        }
        self.seen.take();
        Ok(messages)
    }
}

/// Publishes as fast as it can be done, and waits until all came out. Events a second.
pub async fn saturate(publisher: &Publisher, world: &mut World, events: usize, target: &Target) -> Result<f64> {
    let messages = target.edits(world, events)?;
    let before = target.seen.total();
    let began = Instant::now();
    publisher.publish(messages, |_| None).await?;
    target.seen.wait(before + events).await?;
    let count = f64::from(u32::try_from(events)?);
    Ok(count / began.elapsed().as_secs_f64())
}

/// How long events took, in milliseconds.
#[derive(Debug, Serialize)]
pub struct Latency {
    /// How many events.
    pub count: usize,
    /// The middle one.
    pub p50_ms: f64,
    /// One in a hundred takes longer.
    pub p99_ms: f64,
    /// One in a thousand takes longer.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// Publishes at a rate for some seconds, whether or not what came before is through, and measures from the moment that each
/// event was due.
pub async fn latency(
    publisher: &Publisher,
    world: &mut World,
    rate: f64,
    seconds: u32,
    target: &Target,
) -> Result<Latency> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of events")]
    let events = (rate * f64::from(seconds)) as usize;
    let messages = target.edits(world, events)?;
    let before = target.seen.total();
    let gap = Duration::from_secs_f64(1.0 / rate);
    let began = Instant::now() + Duration::from_millis(100);
    let due = |number: usize| began + gap * u32::try_from(number).unwrap_or(u32::MAX);
    let sequences = publisher.publish(messages, |number| Some(due(number))).await?;
    target.seen.wait(before + events).await?;
    let due: HashMap<u64, Instant> =
        sequences.into_iter().enumerate().map(|(number, sequence)| (sequence, due(number))).collect();
    let mut waits: Vec<f64> = Vec::with_capacity(events);
    for (cause, at) in target.seen.take() {
        let Some(due) = due.get(&cause) else { bail!("an event came out that was not published: {cause}") };
        waits.push(at.saturating_duration_since(*due).as_secs_f64() * 1e3);
    }
    waits.sort_by(f64::total_cmp);
    let at = |per_mille: usize| waits.get((waits.len() * per_mille / 1_000).min(waits.len() - 1)).copied();
    Ok(Latency {
        count: waits.len(),
        p50_ms: at(500).unwrap_or(f64::NAN),
        p99_ms: at(990).unwrap_or(f64::NAN),
        p999_ms: at(999).unwrap_or(f64::NAN),
        max_ms: at(1_000).unwrap_or(f64::NAN),
    })
}
