//! The tasks that look: heartbeats, deliveries and dead letters as they come; servers and lag every few seconds.

use std::collections::BTreeSet;

use bus::{Feed, Listener, Received, Stream, Tail, ack_all};
use model::RecordRef;
use proto::v1;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::Monitor;

/// How many messages are taken at once.
const BATCH: usize = 500;
/// How many open conflicts are counted.
const CONFLICTS_MAX: u32 = 1_000;
/// How many outcomes a label may take: they come from whoever can publish.
const OUTCOMES: [&str; 6] = ["applied", "unchanged", "superseded", "overtaken", "rejected", "failed"];

impl Monitor {
    /// Starts all of them.
    pub async fn watch(&self) -> anyhow::Result<()> {
        let bus = &self.0.bus;
        let heartbeats = bus.listen("lockstep.heartbeat.>").await?;
        let deliveries = bus.deliveries("monitor").await?;
        let letters = bus.tail(Stream::DeadLetters, &["lockstep.dead.>".to_owned()], Tail::New).await?;
        let alerts = bus.tail(Stream::Alerts, &["lockstep.alert.>".to_owned()], Tail::Sequence(1)).await?;
        let process = &self.0.process;
        process.spawn("alerts", self.clone().count(alerts, Self::alerts_told));
        process.spawn("heartbeats", self.clone().hear(heartbeats));
        process.spawn("deliveries", self.clone().count(deliveries, Self::deliveries));
        process.spawn("dead letters", self.clone().count(letters, Self::dead_letters));
        process.spawn("probes", self.clone().probe());
        Ok(())
    }

    async fn hear(self, mut heartbeats: Listener) -> anyhow::Result<()> {
        let shutdown = self.0.process.shutdown();
        loop {
            let heard = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                heard = heartbeats.next() => heard,
            };
            let Some((subject, payload)) = heard else { return Ok(()) };
            match proto::decode::<v1::Heartbeat>(None, &payload) {
                Ok(heartbeat) => self.seen().sign(heartbeat, self.0.process.now_ms()),
                Err(error) => tracing::debug!(subject, %error, "a heartbeat cannot be read"),
            }
        }
    }

    async fn count(self, mut feed: Feed, count: fn(&Self, &[Received])) -> anyhow::Result<()> {
        let shutdown = self.0.process.shutdown();
        loop {
            let batch = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                batch = feed.next_batch(BATCH) => batch?,
            };
            count(&self, &batch);
            ack_all(batch).await?;
        }
    }

    fn deliveries(&self, batch: &[Received]) {
        for message in batch {
            let Ok(delivery) = message.decode::<v1::Delivery>() else {
                continue;
            };
            let Ok(record) = delivery.record.parse::<RecordRef>() else { continue };
            let outcome = OUTCOMES.into_iter().find(|known| *known == delivery.outcome).unwrap_or("other");
            self.0.counts.deliveries.with_label_values(&[record.system.as_str(), outcome]).inc();
        }
    }

    fn dead_letters(&self, batch: &[Received]) {
        for message in batch {
            let mut tokens =
                message.subject.split('.').skip(2).map(|token| bus::topology::untoken(token).unwrap_or_default());
            let (service, reason) = (tokens.next().unwrap_or_default(), tokens.next().unwrap_or_default());
            self.0.counts.dead_letters.with_label_values(&[&service, &reason]).inc();
        }
    }

    async fn probe(self) -> anyhow::Result<()> {
        let shared = &self.0;
        let mut ticks = interval(shared.config.probe());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shown = BTreeSet::new();
        loop {
            tokio::select! {
                () = shared.process.shutdown().cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            let wait = shared.config.probe_wait();
            let (nats, postgres) =
                tokio::join!(timeout(wait, self.look_at_nats(&mut shown)), timeout(wait, self.look_at_postgres()),);
            let silent = |_| Err(format!("no answer within {} ms", wait.as_millis()));
            let (nats, postgres) = (nats.unwrap_or_else(silent), postgres.unwrap_or_else(silent));
            if nats.is_err() {
                shared.counts.dead_letters_kept.forget();
                self.forget_lag(&mut shown);
            }
            if postgres.is_err() {
                shared.counts.conflicts_open.forget();
            }
            {
                let now = shared.process.now_ms();
                let mut seen = self.seen();
                seen.probed("nats", nats, now);
                seen.probed("postgres", postgres, now);
            }
            self.tell().await;
        }
    }

    /// The readers' lag; those that are gone lose their gauge.
    async fn look_at_nats(&self, shown: &mut BTreeSet<(&'static str, String)>) -> Result<(), String> {
        let bus = &self.0.bus;
        let lags = match bus.consumer_lag().await {
            Ok(lags) => Ok(lags),
            // A stream in memory is gone when a single server starts again; whoever notices makes it anew.
            Err(_) => match bus.complete_topology().await {
                Ok(()) => bus.consumer_lag().await,
                Err(error) => Err(error),
            },
        };
        let lags = lags.map_err(|error| format!("{error:#}"))?;
        let gauge = &self.0.process.metrics().consumer_lag;
        let now: BTreeSet<_> = lags.iter().map(|lag| (lag.stream, lag.consumer.clone())).collect();
        for (stream, consumer) in shown.difference(&now) {
            // An error means that it is gone already.
            let _ = gauge.remove_label_values(&[stream, consumer.as_str()]);
        }
        for lag in &lags {
            let behind = i64::try_from(lag.pending.saturating_add(lag.ack_pending)).unwrap_or(i64::MAX);
            gauge.with_label_values(&[lag.stream, &lag.consumer]).set(behind);
        }
        self.seen().read(&lags, self.0.process.now_ms());
        *shown = now;
        let (letters, _) = bus.stream_info(Stream::DeadLetters).await.map_err(|error| format!("{error:#}"))?;
        self.0.counts.dead_letters_kept.show(letters);
        Ok(())
    }

    /// An old lag would pass for the one of now.
    fn forget_lag(&self, shown: &mut BTreeSet<(&'static str, String)>) {
        let gauge = &self.0.process.metrics().consumer_lag;
        for (stream, consumer) in std::mem::take(shown) {
            // An error means that it is gone already.
            let _ = gauge.remove_label_values(&[stream, consumer.as_str()]);
        }
    }

    async fn look_at_postgres(&self) -> Result<(), String> {
        let open = self.0.store.conflicts(true, None, CONFLICTS_MAX).await.map_err(|error| error.to_string())?;
        self.0.counts.conflicts_open.show(open.len());
        Ok(())
    }
}
