//! Decides what an agent shows, from all that its server says and fails to say.
//!
//! Pure: time is an argument. agentapi replays everything on each connect and knows only two statuses; so what is told here
//! may be told again, and only what differs from what was shown last comes out; and from time to time the same once more, because
//! nothing else would put right what was published out of turn.
//!
//! That an agent stands still means something only where it ran before: then it handed over what it worked on. One that is found
//! standing still after an outage shows another word, `idle`, so that no outage moves the item beside it.

use model::Native;

/// How patient the decision is, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the unit belongs to each name")]
pub struct Patience {
    /// How long an agent must have stood still before that is shown.
    pub stable_ms: i64,
    /// How long it may be out of reach before it is offline, or unknown where it was never reached.
    pub offline_ms: i64,
    /// After how long what it shows is published once more.
    pub repeat_ms: i64,
}

/// One agent, as far as it is known.
#[derive(Debug, Clone)]
pub struct Watched {
    patience: Patience,
    /// What its server said last.
    said: Option<Native>,
    /// Since when it has said so.
    since: i64,
    /// Since when it has been out of reach.
    lost: Option<i64>,
    /// It reported an error, and has not begun anew since.
    failed: bool,
    /// Errors up to this moment of its own clock are history.
    errors_until: Option<i64>,
    /// Its event stream is the first that was opened: what it replays is not known from before.
    is_first: bool,
    /// When its conversation went on last, by its own clock.
    conversed_at: Option<i64>,
    /// It ran, and was not shown standing still since.
    ran: bool,
    /// What was published last, and when.
    shown: Option<(Native, i64)>,
    /// When whoever watches was told last.
    told_at: Option<i64>,
}

/// After how long whoever watches is told the same again: whoever comes later is shown what telemetry is kept, for ten minutes.
const TELL_MS: i64 = 300_000;

/// When something was shown that is to be published once more.
const LONG_AGO: i64 = i64::MIN;

impl Watched {
    /// An agent of which nothing is known.
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            said: None,
            since: 0,
            lost: None,
            failed: false,
            errors_until: None,
            is_first: false,
            conversed_at: None,
            ran: false,
            shown: None,
            told_at: None,
        }
    }

    /// It is watched again after nobody did, as where the bus was away. What it was shown as, and whether it ran since, is known; what its
    /// server said may be old, and is said anew. What is shown is published once more: whether the bus stored it may not be known.
    pub fn begins_again(&mut self) {
        let shown = self.shown.take().map(|(native, _)| (native, LONG_AGO));
        *self = Self { shown, ran: self.ran, ..Self::new(self.patience) };
    }

    /// Its server said this status, in an event or an answer.
    pub fn told(&mut self, status: Native, now: i64) {
        self.lost = None;
        if self.said.as_ref() == Some(&status) {
            return;
        }
        if status.as_str() == "running" {
            self.ran = true;
            // Whatever went wrong, it works again.
            self.failed = false;
        }
        self.said = Some(status);
        self.since = now;
    }

    /// Its event stream was opened, at this moment of its own clock: errors from before the first time are history, if anything came of
    /// them.
    pub fn opened(&mut self, its_now: i64) {
        self.is_first = self.errors_until.is_none();
        self.errors_until.get_or_insert(its_now);
    }

    /// Its conversation went on, at this moment of its own clock.
    pub fn conversed(&mut self, its_now: Option<i64>) {
        self.conversed_at = self.conversed_at.max(its_now);
    }

    /// It reported an error, at this moment of its own clock. Each connect repeats them, after the messages.
    pub fn erred(&mut self, its_now: Option<i64>) {
        // Without times a repetition cannot be told from news, and an error shown twice is worse than none.
        let (Some(at), Some(until)) = (its_now, self.errors_until) else { return };
        let is_news = at > until;
        // Whoever watched before us showed it; nobody but us will from now on.
        let stands = self.is_first && self.conversed_at.is_none_or(|last| at >= last) && self.is_stable();
        if is_news {
            self.errors_until = its_now;
        }
        self.failed |= is_news || stands;
    }

    /// It cannot be reached.
    pub fn out_of_reach(&mut self, now: i64) {
        self.lost.get_or_insert(now);
    }

    /// What it shows now, if that is not what was shown last, or was shown long ago. An agent's observations have no positions: what a
    /// process that stood still while another took its place publishes late counts as newer, and an old copy of our database knows
    /// nothing of what was told since.
    pub fn news(&self, now: i64) -> Option<Native> {
        let shows = self.shows(now)?;
        let is_known = self.shown.as_ref().is_some_and(|(shown, _)| *shown == shows);
        (!is_known || self.repeat().is_some_and(|repeat| now >= repeat)).then_some(shows)
    }

    /// This is being published. Whether it was stored may never be known, so it is published once more unless it [`showed`](Self::showed).
    pub fn may_show(&mut self, native: Native) {
        self.shown = Some((native, LONG_AGO));
    }

    /// This was published.
    pub fn showed(&mut self, native: Native, now: i64) {
        if native.as_str() == "stable" {
            self.ran = false;
        }
        self.shown = Some((native, now));
    }

    /// What was published last.
    pub fn before(&self) -> Option<&Native> {
        self.shown.as_ref().map(|(shown, _)| shown)
    }

    /// Whether whoever watches is to be told of what is published now.
    pub fn tells(&mut self, native: &Native, now: i64) -> bool {
        let is_due = self.before() != Some(native) || self.told_at.is_none_or(|at| now >= at + TELL_MS);
        if is_due {
            self.told_at = Some(now);
        }
        is_due
    }

    /// When, after now, `news` may change though nothing is said.
    pub fn due(&self, now: i64) -> Option<i64> {
        let patience_ends = match self.lost {
            Some(lost) => Some(lost + self.patience.offline_ms),
            None => self.is_stable().then_some(self.since + self.patience.stable_ms),
        };
        [patience_ends, self.repeat()].into_iter().flatten().filter(|due| *due > now).min()
    }

    fn repeat(&self) -> Option<i64> {
        self.shown.as_ref().map(|(_, at)| at + self.patience.repeat_ms)
    }

    fn is_stable(&self) -> bool {
        self.said.as_ref().is_some_and(|said| said.as_str() == "stable")
    }

    fn shows(&self, now: i64) -> Option<Native> {
        let word = |word: &str| Native::new(word).ok();
        if let Some(lost) = self.lost {
            // It may be back in a moment, and what it then shows must not pass for what follows an outage.
            if now < lost + self.patience.offline_ms {
                return None;
            }
            // Of one that was never reached nobody can say that it is off.
            let was_reached = self.said.is_some() || self.before().is_some_and(|shown| shown.as_str() != "unknown");
            return word(if was_reached { "offline" } else { "unknown" });
        }
        if self.failed {
            return word("error");
        }
        // A screen that stands still for a moment is no agent that has stopped.
        if self.is_stable() && now < self.since + self.patience.stable_ms {
            return None;
        }
        if self.is_stable() && !self.hands_over() {
            return word("idle");
        }
        self.said.clone()
    }

    /// Whether that it stands still is worth telling: it ran before, or that is what was shown already. Whoever has shown nothing yet tells
    /// it: to the resolver it is no news after `stable` and `idle`, and a hand-over after any other word, `offline` too.
    fn hands_over(&self) -> bool {
        self.ran || self.before().is_none_or(|shown| shown.as_str() == "stable")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { stable_ms: 2_000, offline_ms: 30_000, repeat_ms: 60_000 };

    fn native(word: &str) -> Native {
        Native::new(word).unwrap()
    }

    /// What comes out at each moment, given what goes in.
    fn shown(steps: &[(i64, &str)]) -> Vec<(i64, String)> {
        shown_and_told(steps).0
    }

    /// When whoever watches is told, and what was shown before.
    type Told = (i64, Option<String>);

    /// The same, and when whoever watches is told, with what was shown before.
    fn shown_and_told(steps: &[(i64, &str)]) -> (Vec<(i64, String)>, Vec<Told>) {
        let mut watched = Watched::new(PATIENCE);
        let (mut out, mut told) = (Vec::new(), Vec::new());
        for &(now, step) in steps {
            match step {
                "lost" => watched.out_of_reach(now),
                "tick" => {}
                "again" => watched.begins_again(),
                // The agent's clock is an hour behind ours.
                "open" => watched.opened(now - 3_600_000),
                "old error" => watched.erred(Some(-7_200_000)),
                "error" => watched.erred(Some(now - 3_600_000)),
                "old message" => watched.conversed(Some(-7_200_001)),
                "message" => watched.conversed(Some(-7_199_999)),
                "error of 10" => watched.erred(Some(10 - 3_600_000)),
                status => watched.told(native(status), now),
            }
            if let Some(news) = watched.news(now) {
                if watched.tells(&news, now) {
                    told.push((now, watched.before().map(ToString::to_string)));
                }
                out.push((now, news.to_string()));
                watched.showed(news, now);
            }
        }
        (out, told)
    }

    fn expect(steps: &[(i64, &str)], expected: &[(i64, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(at, word)| (*at, (*word).to_owned())).collect();
        assert_eq!(shown(steps), expected, "{steps:?}");
    }

    #[test]
    fn running_shows_at_once_and_stable_only_when_it_lasts() {
        expect(
            &[(0, "stable"), (1_999, "tick"), (2_000, "tick"), (3_000, "running"), (4_000, "stable"), (6_000, "tick")],
            &[(2_000, "stable"), (3_000, "running"), (6_000, "stable")],
        );
    }

    #[test]
    fn a_short_pause_is_not_shown() {
        expect(&[(0, "running"), (500, "stable"), (1_500, "running"), (9_000, "tick")], &[(0, "running")]);
    }

    #[test]
    fn a_reconnect_replays_and_shows_nothing_new() {
        let steps =
            [(0, "running"), (10, "lost"), (900, "running"), (950, "open"), (1_000, "old error"), (1_001, "running")];
        expect(&steps, &[(0, "running")]);
    }

    #[test]
    fn an_agent_that_was_never_reached_is_unknown_and_one_that_went_is_offline() {
        expect(
            &[(0, "lost"), (29_999, "tick"), (30_000, "tick"), (50_000, "running")],
            &[(30_000, "unknown"), (50_000, "running")],
        );
        expect(
            &[(0, "running"), (100, "lost"), (200, "lost"), (30_099, "tick"), (30_100, "tick"), (40_000, "running")],
            &[(0, "running"), (30_100, "offline"), (40_000, "running")],
        );
    }

    #[test]
    fn an_error_is_shown_once_and_until_the_agent_begins_anew() {
        let steps = [
            (0, "running"),
            (1, "open"),
            (2, "old error"),
            (10, "error"),
            (20, "stable"),
            (5_000, "tick"),
            (6_000, "running"),
            (6_001, "tick"),
        ];
        expect(&steps, &[(0, "running"), (10, "error"), (6_000, "running")]);
    }

    #[test]
    fn an_agent_that_stood_still_before_an_outage_hands_nothing_over_after_it() {
        let shown = |first: &'static str, last: &'static str| {
            let first_at = if first == "stable" { 2_000 } else { 0 };
            // One that stood still all the time has stood still for long.
            let last_at = if first == "stable" { 50_000 } else { 52_000 };
            let outage = [(2_001, "lost"), (40_000, "tick"), (50_000, "stable"), (52_000, "tick")];
            let steps: Vec<_> = [(0, first), (2_000, "tick")].into_iter().chain(outage).collect();
            expect(&steps, &[(first_at, first), (40_000, "offline"), (last_at, last)]);
        };
        shown("stable", "idle");
        shown("running", "stable");
        let never_reached = [(0, "lost"), (40_000, "tick"), (50_000, "stable"), (52_000, "tick")];
        expect(&never_reached, &[(40_000, "unknown"), (52_000, "idle")]);
    }

    #[test]
    fn a_watch_that_begins_again_knows_what_was_shown_and_says_it_once_more() {
        let still = [(0, "stable"), (2_000, "tick"), (2_001, "lost"), (40_000, "tick"), (50_000, "again")];
        let shown = [(2_000, "stable"), (40_000, "offline")];
        let back = [(60_000, "stable"), (62_000, "tick")];
        expect(&[still.as_slice(), &back].concat(), &[shown.as_slice(), &[(62_000, "idle")]].concat());
        let away = [(60_000, "lost"), (90_000, "tick")];
        expect(&[still.as_slice(), &away].concat(), &[shown.as_slice(), &[(90_000, "offline")]].concat());
        expect(&[(0, "running"), (10, "again"), (20, "running")], &[(0, "running"), (20, "running")]);
        expect(&[(0, "running"), (10, "again"), (20, "stable"), (2_020, "tick")], &[(0, "running"), (2_020, "stable")]);
    }

    #[test]
    fn what_may_have_been_published_counts_as_shown_and_is_published_again() {
        let mut watched = Watched::new(PATIENCE);
        watched.told(native("stable"), 0);
        watched.showed(native("stable"), 2_000);
        watched.out_of_reach(3_000);
        watched.may_show(native("offline"));
        assert_eq!(watched.news(33_000), Some(native("offline")));
        watched.begins_again();
        watched.told(native("stable"), 50_000);
        assert_eq!(watched.news(52_000), Some(native("idle")));
    }

    #[test]
    fn an_error_stands_when_the_watch_begins_again() {
        let steps = [
            (0, "running"),
            (1, "open"),
            (10, "error"),
            (20, "stable"),
            (30, "again"),
            (31, "open"),
            (32, "stable"),
            (33, "error of 10"),
            (2_040, "tick"),
        ];
        expect(&steps, &[(0, "running"), (10, "error"), (33, "error")]);
    }

    #[test]
    fn an_agent_that_runs_after_an_outage_hands_over_what_it_then_does() {
        let steps = [
            (0, "lost"),
            (30_000, "tick"),
            (40_010, "stable"),
            (42_010, "tick"),
            (43_000, "running"),
            (44_000, "stable"),
            (46_000, "tick"),
            (106_000, "tick"),
        ];
        let expected =
            [(30_000, "unknown"), (42_010, "idle"), (43_000, "running"), (46_000, "stable"), (106_000, "stable")];
        expect(&steps, &expected);
    }

    #[test]
    fn a_first_connect_that_is_refused_hides_no_hand_over() {
        expect(&[(0, "lost"), (1_000, "lost"), (3_000, "stable"), (5_000, "tick")], &[(5_000, "stable")]);
        let mut watched = Watched::new(PATIENCE);
        watched.out_of_reach(100);
        assert_eq!(watched.due(100), Some(30_100));
    }

    #[test]
    fn an_outage_in_the_middle_of_standing_still_hides_no_hand_over() {
        let steps =
            [(0, "running"), (10, "stable"), (1_000, "lost"), (1_500, "stable"), (1_600, "lost"), (40_000, "stable")];
        expect(&steps, &[(0, "running"), (40_000, "stable")]);
    }

    #[test]
    fn an_error_of_which_nothing_came_stands_when_the_agent_is_first_watched() {
        let then = |said: &[(i64, &'static str)], last: &'static str| {
            let steps: Vec<_> =
                [(0, "open"), (1, "stable")].iter().chain(said).copied().chain([(2_001, "tick")]).collect();
            let (shown, _) = shown_and_told(&steps);
            assert_eq!(shown.last().map(|(_, word)| word.as_str()), Some(last), "{said:?}");
        };
        then(&[(2, "old message"), (3, "old error")], "error");
        then(&[(3, "old error")], "error");
        then(&[(2, "old message"), (2, "message"), (3, "old error")], "stable");
        then(&[(2, "running"), (3, "old error")], "running");
        then(&[(3, "old error"), (4, "running"), (5, "stable"), (2_005, "tick")], "stable");
        // A later connect repeats what was taken for history at the first.
        then(&[(3, "lost"), (4, "open"), (5, "stable"), (6, "old error")], "stable");
    }

    #[test]
    fn an_error_that_is_replayed_is_no_news() {
        let steps = [
            (0, "running"),
            (1, "open"),
            (10, "error of 10"),
            (20, "stable"),
            (6_000, "running"),
            (6_001, "error of 10"),
        ];
        expect(&steps, &[(0, "running"), (10, "error"), (6_000, "running")]);
    }

    #[test]
    fn it_says_when_to_look_again() {
        let mut watched = Watched::new(PATIENCE);
        assert_eq!(watched.due(0), None);
        watched.told(native("stable"), 100);
        assert_eq!(watched.due(100), Some(2_100));
        watched.showed(native("stable"), 2_100);
        assert_eq!(watched.due(2_100), Some(62_100));
        watched.out_of_reach(50_000);
        assert_eq!(watched.due(61_000), Some(62_100));
        assert_eq!(watched.due(70_000), Some(80_000), "what is past must not hide what is to come");
    }

    #[test]
    fn what_it_shows_is_told_once_more_from_time_to_time() {
        let steps = [(0, "running"), (59_999, "tick"), (60_000, "tick"), (60_001, "tick"), (120_000, "running")];
        expect(&steps, &[(0, "running"), (60_000, "running"), (120_000, "running")]);
        // While nobody can say what it shows nothing is repeated.
        expect(
            &[(0, "running"), (59_000, "lost"), (60_000, "tick"), (89_000, "tick")],
            &[(0, "running"), (89_000, "offline")],
        );
        expect(
            &[(0, "running"), (59_000, "stable"), (60_000, "tick"), (61_000, "tick")],
            &[(0, "running"), (61_000, "stable")],
        );
    }

    #[test]
    fn whoever_watches_is_told_what_is_new_and_the_same_only_before_it_is_forgotten() {
        let steps: Vec<(i64, &str)> =
            [(0, "running")].into_iter().chain((1..=11).map(|n| (n * 60_000, "tick"))).collect();
        let (shown, told) = shown_and_told(&steps);
        assert_eq!(shown.len(), 12);
        let running = Some("running".to_owned());
        assert_eq!(told, [(0, None), (300_000, running.clone()), (600_000, running.clone())]);
        let (_, told) = shown_and_told(&[(0, "running"), (10, "stable"), (2_010, "tick")]);
        assert_eq!(told, [(0, None), (2_010, running)]);
    }
}
