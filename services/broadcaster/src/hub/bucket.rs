//! How many messages a client may send: a bucket that fills at a steady rate. Pure.

/// What is left of a client's allowance.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    left: f64,
    at_ms: i64,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is read.
    Fine,
    /// It is not, and the client is told.
    Refused,
    /// The client goes on all the same: it is closed.
    Enough,
}

impl Bucket {
    /// A full one.
    pub fn full(burst: u32, now_ms: i64) -> Self {
        Self { left: f64::from(burst), at_ms: now_ms }
    }

    /// Takes one message out. A client that was refused `burst` messages more than the rate gave back is closed.
    #[expect(clippy::cast_precision_loss, reason = "a client's silence in milliseconds is far below 2^52")]
    pub fn take(&mut self, per_second: u32, burst: u32, now_ms: i64) -> Verdict {
        let silence = now_ms.saturating_sub(self.at_ms).max(0) as f64 / 1_000.0;
        self.at_ms = now_ms;
        self.left = (self.left + silence * f64::from(per_second)).min(f64::from(burst)) - 1.0;
        if self.left >= 0.0 {
            Verdict::Fine
        } else if self.left >= -f64::from(burst) {
            Verdict::Refused
        } else {
            Verdict::Enough
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_fine_then_the_rate_counts_then_it_is_enough() {
        let mut bucket = Bucket::full(3, 0);
        let verdicts: Vec<Verdict> = (0..7).map(|_| bucket.take(10, 3, 0)).collect();
        assert_eq!(verdicts[..3], [Verdict::Fine; 3]);
        assert_eq!(verdicts[3..6], [Verdict::Refused; 3]);
        assert_eq!(verdicts[6], Verdict::Enough);
        let mut bucket = Bucket::full(3, 0);
        assert!((1..=100).all(|n| bucket.take(10, 3, n * 100) == Verdict::Fine), "the rate itself is fine for ever");
        let mut bucket = Bucket::full(1, 1_000);
        bucket.take(10, 1, 1_000);
        assert_eq!(bucket.take(10, 1, 0), Verdict::Refused, "a clock that goes back gives nothing");
    }
}
