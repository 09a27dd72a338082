//! Tells how far a backfill is: so many read, how fast, and how long it may yet take.

use std::time::Duration;

use connector::Progress;
use serde_json::json;
use tokio::time::Instant;

use crate::output;

/// No more often than this.
const EVERY: Duration = Duration::from_secs(1);

/// Tells of one backfill.
pub struct Telling {
    system: String,
    json: bool,
    began: Instant,
    /// What was read before this run.
    before: u64,
    last: Option<Instant>,
}

impl Telling {
    /// One that begins now, when so much has been read already.
    pub fn new(system: &str, json: bool, began: Instant, before: u64) -> Self {
        Self { system: system.to_owned(), json, began, before, last: None }
    }

    /// It goes on with what an earlier run left.
    pub fn resumed(&self, progress: &Progress) {
        if !self.json {
            let seen = progress.seen;
            output::line(&format!("{}: goes on after {seen} (--fresh begins at the beginning)", self.system));
        }
    }

    /// A page was read.
    pub fn read(&mut self, progress: &Progress, now: Instant) {
        if self.is_time(now) {
            self.say(progress, now, "reading");
        }
    }

    /// It waits for the resolver.
    pub fn waited(&mut self, behind: u64, now: Instant) {
        if !self.is_time(now) {
            return;
        }
        let line = if self.json {
            json!({"system": self.system, "state": "waiting", "behind": behind}).to_string()
        } else {
            format!("{}: waiting, the resolver has {behind} before it", self.system)
        };
        output::line(&line);
    }

    /// Everything was read.
    pub fn ended(&self, progress: &Progress, now: Instant) {
        self.say(progress, now, "ended");
    }

    fn is_time(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.duration_since(last) >= EVERY);
        if due {
            self.last = Some(now);
        }
        due
    }

    fn say(&self, progress: &Progress, now: Instant, state: &str) {
        let pace = Pace::of(progress.seen, self.before, progress.total, now.duration_since(self.began));
        let Progress { seen, unreadable, total, .. } = progress;
        let line = if self.json {
            json!({
                "system": self.system, "state": state, "read": seen, "unreadable": unreadable, "total": total,
                "per_second": pace.per_second, "seconds_left": pace.left_s,
            })
            .to_string()
        } else {
            let of = total.filter(|total| total >= seen && state != "ended").map(|total| format!(" of {total}"));
            let left = match pace.left_s {
                _ if state == "ended" => ", all there is".to_owned(),
                Some(left) => format!(", about {} left", human(left)),
                None => String::new(),
            };
            let unread = match unreadable {
                0 => String::new(),
                many => format!("; {many} cannot be read, see the dead letters"),
            };
            format!("{}: {seen}{} read, {:.0}/s{left}{unread}", self.system, of.unwrap_or_default(), pace.per_second)
        };
        output::line(&line);
    }
}

/// How fast it goes, and for how long it will.
#[derive(Debug, PartialEq)]
struct Pace {
    per_second: f64,
    left_s: Option<u64>,
}

impl Pace {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate for people"
    )]
    fn of(seen: u64, before: u64, total: Option<u64>, took: Duration) -> Self {
        let per_second = (seen - before.min(seen)) as f64 / took.as_secs_f64().max(0.001);
        let left = |total: u64| (total.saturating_sub(seen) as f64 / per_second).ceil() as u64;
        Self { per_second: (per_second * 10.0).round() / 10.0, left_s: total.filter(|_| per_second > 0.0).map(left) }
    }
}

fn human(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3_600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_what_this_run_read() {
        let pace = Pace::of(300, 100, Some(1_000), Duration::from_secs(10));
        assert_eq!(pace, Pace { per_second: 20.0, left_s: Some(35) });
    }

    #[test]
    fn without_a_total_or_a_pace_nothing_is_foretold() {
        assert_eq!(Pace::of(300, 0, None, Duration::from_secs(10)).left_s, None);
        assert_eq!(Pace::of(100, 100, Some(1_000), Duration::from_secs(10)).left_s, None);
        assert_eq!(Pace::of(1_200, 0, Some(1_000), Duration::from_secs(1)).left_s, Some(0), "more than were counted");
    }

    #[test]
    fn long_times_are_rounded_up() {
        assert_eq!([human(90), human(121), human(7_201)], ["90 s", "3 min", "3 h"]);
    }
}
