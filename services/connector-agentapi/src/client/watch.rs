//! Watches agents: the event stream for speed, the status for truth.

use std::sync::atomic::Ordering;
use std::time::Duration;

use connector::moment::http_date_ms;
use connector::{Connector, Failure, Sink};
use futures_util::future::try_join_all;
use model::{Backoff, Source};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::{Client, Reached, patience, status};
use crate::Agentapi;
use crate::decode::{self, Event, Stream};
use crate::watched::Watched;

/// The waits between connects.
const RECONNECT: Backoff = Backoff { first_ms: 1_000, max_ms: 20_000, attempts: u32::MAX };

/// Why a session with an agent ended.
enum Ended {
    /// The agent cannot be reached, or hung up.
    Lost(String),
    /// The bus did not take what was seen.
    Unpublished(Failure),
}

impl Client {
    /// Watches all agents for as long as the bus takes what is seen.
    pub(crate) async fn watch(&self, sink: &Sink) -> Result<(), Failure> {
        if self.agents.is_empty() {
            std::future::pending::<()>().await;
        }
        // A mark in each, because the watch may be dropped while it is noted that it is ours.
        let another = || self.agents.iter().for_each(|reached| reached.by_another.store(true, Ordering::Relaxed));
        sink.is_watched_by(Agentapi::SYSTEM, &self.watcher, another).await?;
        try_join_all(self.agents.iter().map(|reached| self.watch_one(reached, sink))).await.map(drop)
    }

    async fn watch_one(&self, reached: &Reached, sink: &Sink) -> Result<(), Failure> {
        // The watch ends when the bus is away, and with the lease; one at a time goes on.
        let mut watched = reached.watched.lock().await;
        if reached.by_another.swap(false, Ordering::Relaxed) {
            *watched = Watched::new(patience(&self.config));
        } else {
            watched.begins_again();
        }
        let mut attempt = 0_u32;
        loop {
            let begun = Instant::now();
            match self.session(reached, &mut watched, sink).await {
                Ended::Unpublished(failure) => return Err(failure),
                Ended::Lost(why) => tracing::debug!(record = %reached.record, why, "lost an agent"),
            }
            watched.out_of_reach(self.process.now_ms());
            // A session that held says that the agent is well.
            let held = begun.elapsed() > Duration::from_millis(RECONNECT.max_ms);
            attempt = if held { 1 } else { attempt.saturating_add(1) };
            let until = Instant::now() + RECONNECT.wait(attempt, None, runtime::jitter());
            loop {
                self.publish(reached, &mut watched, sink).await?;
                let due = self.due(&watched).filter(|due| *due < until);
                sleep_until(due.unwrap_or(until)).await;
                if due.is_none() {
                    break;
                }
            }
        }
    }

    /// One connect: the status once, then the stream, and the status beside it.
    async fn session(&self, reached: &Reached, watched: &mut Watched, sink: &Sink) -> Ended {
        match self.follow(reached, watched, sink).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn follow(
        &self,
        reached: &Reached,
        watched: &mut Watched,
        sink: &Sink,
    ) -> Result<std::convert::Infallible, Ended> {
        let lost = |failure: Failure| Ended::Lost(failure.to_string());
        // Without the circuit breaker of the session before: the waits between sessions are pause enough.
        let (agent, calls) = (&reached.agent, reached.watch.scoped());
        // The stream first: what happens between the two calls is then in the stream.
        let request = calls.client().get(agent.address("events")).header("accept", "text/event-stream");
        let mut response = calls.open(request, "events").await.map_err(lost)?;
        let its_date = response.headers().get("date").and_then(|date| http_date_ms(date.to_str().ok()?));
        watched.opened(its_date.unwrap_or_else(|| self.process.now_ms()));
        watched.told(status(agent, &calls).await.map_err(lost)?, self.process.now_ms());
        let mut stream = Stream::default();
        let mut polls = interval(Duration::from_secs(self.config.poll_s));
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        polls.reset();
        loop {
            self.publish(reached, watched, sink).await.map_err(Ended::Unpublished)?;
            let due = self.due(watched);
            tokio::select! {
                // The stream last: a busy agent always has something to say.
                biased;
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                _ = polls.tick() => watched.told(status(agent, &calls).await.map_err(lost)?, self.process.now_ms()),
                part = response.chunk() => match part {
                    Ok(Some(part)) => self.take(reached, watched, stream.push(&part).map_err(Ended::Lost)?),
                    Ok(None) => return Err(Ended::Lost("the event stream ended".into())),
                    Err(_) => return Err(Ended::Lost("the event stream broke".into())),
                },
            }
        }
    }

    fn take(&self, reached: &Reached, watched: &mut Watched, events: Vec<(String, String)>) {
        for (name, data) in events {
            match decode::event(&name, &data) {
                Ok(Event::Status(status)) => watched.told(status, self.process.now_ms()),
                Ok(Event::Error(at)) => watched.erred(at),
                Ok(Event::Message(at)) => watched.conversed(at),
                Ok(Event::Other) => {}
                Err(why) => tracing::warn!(record = %reached.record, event = name, why, "an event cannot be read"),
            }
        }
    }

    async fn publish(&self, reached: &Reached, watched: &mut Watched, sink: &Sink) -> Result<(), Failure> {
        if let Some(native) = watched.news(self.process.now_ms()) {
            let (seen, now) = (self.observation(reached, native.clone(), Source::Stream), self.process.now_ms());
            let id = format!("{}:state", seen.id);
            let agent = &reached.agent;
            let state = decode::state(&agent.name, agent.item.as_ref(), &native, watched.before(), now);
            let tells = watched.tells(&native, now);
            watched.may_show(native.clone());
            sink.observe(seen).await?;
            if tells {
                sink.tell_state(id, &state).await;
            }
            watched.showed(native, now);
        }
        Ok(())
    }

    /// When there may be news though nothing is said.
    fn due(&self, watched: &Watched) -> Option<Instant> {
        let now = self.process.now_ms();
        let wait = u64::try_from(watched.due(now)? - now).ok()?;
        // A millisecond more: the two clocks round differently.
        Some(Instant::now() + Duration::from_millis(wait + 1))
    }
}
