//! Which of the webhooks that GitHub could not deliver are asked for again, and when.
//!
//! Pure. GitHub delivers once and never tries again by itself; for three days it sends one again when it is asked to.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::decode::moment;

/// Where webhooks of ours go, at whatever host: a hook of another path is somebody else's.
const PATH: &str = "/webhooks/github";
/// The only events that tell of a status.
const EVENTS: [&str; 3] = ["issues", "pull_request", "pull_request_review"];
/// GitHub refuses older ones after three days; the last two hours are left out.
const WINDOW_MS: i64 = 70 * HOUR_MS;
const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;
/// How often one is asked for: with waits that double from a minute to six hours, until GitHub forgets it.
const TIMES_MAX: u32 = 20;
const WAIT_MAX_MS: i64 = 6 * HOUR_MS;
/// How many are asked for in one go: each is a write, by GitHub's limits.
const ASKED_MAX: usize = 100;
/// How many are remembered to have been asked for.
const KNOWN_MAX: usize = 5_000;

/// One attempt of GitHub's to deliver a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Delivery {
    /// The attempt's id.
    pub id: u64,
    /// The webhook's, which its attempts share.
    pub guid: String,
    /// When.
    pub delivered_at: String,
    /// What was answered; 0 where nothing was.
    #[serde(default)]
    pub status_code: u16,
    /// What it tells of.
    pub event: String,
}

impl Delivery {
    /// Whether it arrived.
    pub fn is_delivered(&self) -> bool {
        (200..300).contains(&self.status_code)
    }

    /// When, in milliseconds since 1970; at the beginning of time where that cannot be read.
    pub fn at_ms(&self) -> i64 {
        moment(&self.delivered_at).map_or(0, |(_, at)| at.0)
    }
}

/// A webhook that was asked for again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Tried {
    times: u32,
    at_ms: i64,
    /// The attempt that had failed then.
    id: u64,
}

/// The webhooks that were asked for again, by guid.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked(BTreeMap<String, Tried>);

impl Asked {
    /// Those that are worth asking for now, oldest first: of each the last attempt that failed.
    pub fn due(&self, failed: &[Delivery], now_ms: i64) -> Vec<Delivery> {
        let mut last: BTreeMap<&str, &Delivery> = BTreeMap::new();
        for delivery in failed.iter().filter(|delivery| EVENTS.contains(&delivery.event.as_str())) {
            let known = last.entry(&delivery.guid).or_insert(delivery);
            if (known.at_ms(), known.id) < (delivery.at_ms(), delivery.id) {
                *known = delivery;
            }
        }
        let is_due = |delivery: &&Delivery| {
            let fresh = now_ms - delivery.at_ms() < WINDOW_MS;
            fresh && self.0.get(&delivery.guid).is_none_or(|tried| tried.is_due(delivery, now_ms))
        };
        let mut due: Vec<Delivery> = last.into_values().filter(is_due).cloned().collect();
        due.sort_by_key(|delivery| (delivery.at_ms(), delivery.id));
        due.truncate(ASKED_MAX);
        due
    }

    /// Notes that one was asked for.
    pub fn note(&mut self, delivery: &Delivery, now_ms: i64) {
        let times = self.0.get(&delivery.guid).map_or(0, |tried| tried.times) + 1;
        self.0.insert(delivery.guid.clone(), Tried { times, at_ms: now_ms, id: delivery.id });
    }

    /// Forgets those that GitHub has forgotten, and the oldest of too many.
    pub fn forget(&mut self, now_ms: i64) {
        self.0.retain(|_, tried| now_ms - tried.at_ms < WINDOW_MS + WAIT_MAX_MS);
        while self.0.len() > KNOWN_MAX {
            let oldest = self.0.iter().min_by_key(|(_, tried)| tried.at_ms).map(|(guid, _)| guid.clone());
            oldest.and_then(|guid| self.0.remove(&guid));
        }
    }
}

impl Tried {
    /// Whether it failed once more since, and has rested.
    fn is_due(&self, delivery: &Delivery, now_ms: i64) -> bool {
        let wait = (MINUTE_MS << (self.times - 1).min(16)).min(WAIT_MAX_MS);
        delivery.id != self.id && self.times < TIMES_MAX && now_ms - self.at_ms >= wait
    }
}

/// Those that have not arrived by another attempt.
pub fn not_delivered(due: Vec<Delivery>, attempts: &[Delivery]) -> Vec<Delivery> {
    let arrived: BTreeSet<&str> =
        attempts.iter().filter(|one| one.is_delivered()).map(|one| one.guid.as_str()).collect();
    due.into_iter().filter(|delivery| !arrived.contains(delivery.guid.as_str())).collect()
}

/// The ids of the hooks that are ours, of a list of a repository's hooks.
pub fn ours(hooks: &[Value]) -> Vec<u64> {
    let is_ours = |hook: &&Value| {
        let url = hook["config"]["url"].as_str().unwrap_or_default();
        hook["active"] == true && url.split(['?', '#']).next().is_some_and(|url| url.ends_with(PATH))
    };
    hooks.iter().filter(is_ours).filter_map(|hook| hook["id"].as_u64()).collect()
}

/// The cursor of the next page, by a list's `Link` header.
pub fn next_cursor(link: &str) -> Option<&str> {
    let next = link.split(',').find(|link| link.contains("rel=\"next\""))?;
    let url = next.split(['<', '>']).nth(1)?;
    let query = url.split_once('?')?.1;
    query.split('&').find_map(|pair| pair.strip_prefix("cursor="))
}

/// How many there are, by a list's `Link` header where each page holds one.
pub fn last_page(link: &str) -> Option<u64> {
    let last = link.split(',').find(|link| link.contains("rel=\"last\""))?;
    let query = last.split(['<', '>']).nth(1)?.split_once('?')?.1;
    query.split('&').find_map(|pair| pair.strip_prefix("page="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOON: &str = "2026-11-20T12:00:00Z";
    const LATER: &str = "2026-11-20T12:05:00Z";

    fn noon_ms() -> i64 {
        moment(NOON).unwrap().1.0
    }

    fn failed(id: u64, guid: &str, delivered_at: &str) -> Delivery {
        Delivery {
            id,
            guid: guid.to_owned(),
            delivered_at: delivered_at.to_owned(),
            status_code: 502,
            event: "issues".to_owned(),
        }
    }

    fn ids(due: &[Delivery]) -> Vec<u64> {
        due.iter().map(|delivery| delivery.id).collect()
    }

    #[test]
    fn each_webhook_is_asked_for_once_by_its_last_attempt_and_the_oldest_first() {
        let failures = [failed(3, "b", LATER), failed(2, "a", LATER), failed(1, "b", NOON), failed(0, "c", NOON)];
        assert_eq!(ids(&Asked::default().due(&failures, noon_ms())), [0, 2, 3]);
    }

    #[test]
    fn one_that_was_asked_for_is_left_alone_until_it_fails_again_and_has_rested() {
        let mut asked = Asked::default();
        let first = failed(1, "a", NOON);
        asked.note(&first, noon_ms());
        assert_eq!(
            ids(&asked.due(std::slice::from_ref(&first), noon_ms() + HOUR_MS)),
            [0; 0],
            "its answer may be on its way"
        );
        let second = [failed(2, "a", LATER), first];
        assert_eq!(ids(&asked.due(&second, noon_ms() + 59_000)), [0; 0]);
        assert_eq!(ids(&asked.due(&second, noon_ms() + MINUTE_MS)), [2]);
        asked.note(&second[0], noon_ms() + MINUTE_MS);
        let third = [failed(3, "a", LATER)];
        assert_eq!(ids(&asked.due(&third, noon_ms() + 2 * MINUTE_MS)), [0; 0], "the waits double");
        assert_eq!(ids(&asked.due(&third, noon_ms() + 3 * MINUTE_MS)), [3]);
    }

    #[test]
    fn asking_has_an_end() {
        let (mut asked, mut now, mut times) = (Asked::default(), noon_ms(), 0);
        for id in 0..200 {
            let failures = [failed(id, "a", NOON)];
            for due in asked.due(&failures, now) {
                asked.note(&due, now);
                times += 1;
            }
            now += HOUR_MS;
        }
        assert!((5..=TIMES_MAX).contains(&times), "{times}");
        asked.forget(now);
        assert_eq!(asked, Asked::default(), "and so has remembering");
    }

    #[test]
    fn old_ones_other_events_and_the_many_at_once_are_left_out() {
        let other = Delivery { event: "push".to_owned(), ..failed(1, "a", NOON) };
        assert_eq!(ids(&Asked::default().due(&[other], noon_ms())), [0; 0]);
        assert_eq!(ids(&Asked::default().due(&[failed(1, "a", NOON)], noon_ms() + WINDOW_MS)), [0; 0]);
        let many: Vec<_> = (0..500).map(|id| failed(id, &id.to_string(), NOON)).collect();
        assert_eq!(Asked::default().due(&many, noon_ms()).len(), ASKED_MAX);
    }

    #[test]
    fn what_arrived_by_another_attempt_is_not_asked_for() {
        let due = vec![failed(1, "a", NOON), failed(2, "b", NOON)];
        let arrived = Delivery { status_code: 202, ..failed(3, "a", LATER) };
        assert_eq!(ids(&not_delivered(due, &[arrived, failed(4, "b", LATER)])), [2]);
    }

    #[test]
    fn a_hook_is_ours_by_its_path() {
        let hook = |id: u64, url: &str, active: bool| json!({"id": id, "active": active, "config": {"url": url}});
        let hooks = [
            hook(1, "https://ci.example/hooks", true),
            hook(2, "https://a.example/lockstep/webhooks/github?x=1", true),
            hook(3, "https://a.example/webhooks/github", false),
        ];
        assert_eq!(ours(&hooks), [2]);
    }

    #[test]
    fn links_lead_to_the_next_page_and_tell_how_many_there_are() {
        let link = "<https://h/x?per_page=1&cursor=v1_9>; rel=\"next\", <https://h/x?per_page=1&page=34>; rel=\"last\"";
        assert_eq!((next_cursor(link), last_page(link)), (Some("v1_9"), Some(34)));
        assert_eq!((next_cursor(""), last_page("<https://h/x>; rel=\"prev\"")), (None, None));
    }
}
