//! How a sandbox misbehaves: what it may be told to do wrong, and the draws that decide when.
//!
//! It decides; the servers and [`crate::webhooks`] do it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// What a sandbox does wrong, and how often; probabilities are between 0 and 1, and the default is to behave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Probability that a webhook is never sent.
    pub webhook_drop: f64,
    /// Probability that a webhook is sent twice.
    pub webhook_double: f64,
    /// A webhook waits up to this long, without holding back those after it.
    pub webhook_delay_ms_max: u64,
    /// Probability that a webhook is held back until a later one has gone, or two seconds at most.
    pub webhook_reorder: f64,
    /// Probability that an API call is answered with the system's own rate-limit error.
    pub limit: f64,
    /// Probability that an API call is answered with a 5xx.
    pub error_5xx: f64,
    /// How long each API call takes before it is answered.
    pub slow_ms: u64,
    /// Where the draws start; the same seed and the same calls meet the same faults.
    pub seed: u64,
}

/// What an API call meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiFault {
    /// It is answered honestly.
    None,
    /// It is answered with the system's rate-limit error.
    Limit,
    /// It is answered with a 5xx.
    ServerError,
}

/// What a webhook meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookFault {
    /// It is lost.
    Drop,
    /// It is sent.
    Send {
        /// After this long.
        delay: Duration,
        /// Twice.
        double: bool,
        /// After a later one.
        reorder: bool,
    },
}

/// The faults in force, shared by a server's parts and changed while it runs.
#[derive(Clone, Debug)]
pub struct SharedFaults {
    inner: Arc<Mutex<(Faults, StdRng)>>,
}

impl SharedFaults {
    /// Starts with `faults`.
    pub fn new(faults: Faults) -> Self {
        let rng = StdRng::seed_from_u64(faults.seed);
        Self { inner: Arc::new(Mutex::new((faults, rng))) }
    }

    /// The faults in force.
    pub fn get(&self) -> Faults {
        self.lock().0.clone()
    }

    /// Replaces the faults and starts the draws anew from their seed.
    pub fn set(&self, faults: Faults) {
        let rng = StdRng::seed_from_u64(faults.seed);
        *self.lock() = (faults, rng);
    }

    /// Draws what the next API call meets, and how long it takes first.
    pub fn draw_api(&self) -> (ApiFault, Duration) {
        let (faults, rng) = &mut *self.lock();
        let slow = Duration::from_millis(faults.slow_ms);
        let fault = if hit(rng, faults.limit) {
            ApiFault::Limit
        } else if hit(rng, faults.error_5xx) {
            ApiFault::ServerError
        } else {
            ApiFault::None
        };
        (fault, slow)
    }

    /// Draws what the next webhook meets.
    pub fn draw_webhook(&self) -> WebhookFault {
        let (faults, rng) = &mut *self.lock();
        if hit(rng, faults.webhook_drop) {
            return WebhookFault::Drop;
        }
        let double = hit(rng, faults.webhook_double);
        let reorder = hit(rng, faults.webhook_reorder);
        let delay_ms =
            if faults.webhook_delay_ms_max == 0 { 0 } else { rng.random_range(0..=faults.webhook_delay_ms_max) };
        WebhookFault::Send { delay: Duration::from_millis(delay_ms), double, reorder }
    }

    fn lock(&self) -> MutexGuard<'_, (Faults, StdRng)> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hit(rng: &mut StdRng, probability: f64) -> bool {
    probability > 0.0 && rng.random::<f64>() < probability
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_faults() {
        let faults = Faults { webhook_drop: 0.3, webhook_double: 0.3, limit: 0.5, seed: 7, ..Faults::default() };
        let draw =
            |shared: &SharedFaults| (0..50).map(|_| (shared.draw_webhook(), shared.draw_api())).collect::<Vec<_>>();
        let shared = SharedFaults::new(faults.clone());
        let first = draw(&shared);
        shared.set(faults);
        assert_eq!(draw(&shared), first);
        assert!(first.iter().any(|(webhook, _)| *webhook == WebhookFault::Drop));
    }

    #[test]
    fn without_faults_nothing_is_drawn() {
        let shared = SharedFaults::new(Faults::default());
        assert_eq!(shared.draw_api(), (ApiFault::None, Duration::ZERO));
        assert_eq!(shared.draw_webhook(), WebhookFault::Send { delay: Duration::ZERO, double: false, reorder: false });
    }
}
