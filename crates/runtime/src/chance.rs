//! Chance: from the operating system, or from the seed of a simulation.

use uuid::{Builder, Uuid};

/// A random number from `0.0..1.0`, for the decisions that take jitter as an argument.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
pub fn jitter() -> f64 {
    (random() >> 11) as f64 / (1_u64 << 53) as f64
}

/// An id that nobody else has.
pub fn unique() -> Uuid {
    let bytes = u128::from(random()) << 64 | u128::from(random());
    Builder::from_random_bytes(bytes.to_be_bytes()).into_uuid()
}

pub(crate) fn random() -> u64 {
    #[cfg(feature = "simulation")]
    if let Some(number) = crate::simulation::drawn() {
        return number;
    }
    rand::random()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_below_one_and_spread() {
        let drawn: Vec<f64> = (0..1_000).map(|_| jitter()).collect();
        assert!(drawn.iter().all(|jitter| (0.0..1.0).contains(jitter)));
        let mean = drawn.iter().sum::<f64>() / 1_000.0;
        assert!((0.4..0.6).contains(&mean), "{mean}");
    }

    #[test]
    fn no_two_ids_are_the_same() {
        assert_ne!(unique(), unique());
        assert_eq!(unique().get_version_num(), 4);
    }
}
