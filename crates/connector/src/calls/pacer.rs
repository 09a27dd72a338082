//! Decides whether a call may go out now, from what the system's answers said about limits and from what it asks of its callers.
//!
//! Pure: the time is an argument. Who goes first of those that may is [`Lanes`](crate::lanes::Lanes)' to say.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use model::Lane;
use tokio::time::Instant;

use super::limits::{LONGEST, Limit, Limits, Points, Standing};

/// Resets that are nearer to each other than this are one: clocks differ, and some systems round.
const SAME_RESET: Duration = Duration::from_secs(2);
/// No call is under way for longer.
const LONGEST_CALL: Duration = Duration::from_mins(5);
/// How soon to ask again where the calls under way leave no room.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// A call as the pacer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Who asks.
    pub lane: Lane,
    /// The kind of call.
    pub class: &'static str,
    /// The budgets that it draws on.
    pub budgets: &'static [&'static str],
    /// Whether it writes.
    pub writes: bool,
    /// Whether what it writes is content.
    pub makes_content: bool,
}

/// A budget's name, and the class of calls it is for where each has one of its own.
type Name = (&'static str, &'static str);

/// A call that is under way, and what was set aside for it.
#[derive(Debug)]
pub struct Drawn {
    began: Instant,
    need: Need,
    costs: Vec<(Name, u64)>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy)]
pub enum Ended<'a> {
    /// It was never sent.
    Unsent,
    /// It was sent, and no answer came that tells of limits.
    Unanswered,
    /// It was answered.
    Answered(&'a Limit),
}

/// The pace for one credential.
#[derive(Debug)]
pub struct Pacer {
    limits: Limits,
    /// How many calls may be under way at once.
    at_once: usize,
    under_way: usize,
    refusals: u32,
    not_before: Option<Instant>,
    next_write: Option<Instant>,
    budgets: BTreeMap<Name, Budget>,
    /// What calls of a class cost of a budget, at most so far.
    costs: BTreeMap<Name, u64>,
    /// The limits that no header tells of.
    spans: Vec<Span>,
}

/// A limit on a span of time, and what was spent of it.
#[derive(Debug)]
struct Span {
    points: Points,
    /// Points that were spent, each with the end of its span.
    spent: VecDeque<(Instant, u64)>,
    /// All of those, and the points of calls under way.
    taken: u64,
}

#[derive(Debug)]
struct Budget {
    limit: u64,
    /// What the answers of this window said was left, the least of them.
    remaining: u64,
    /// What is set aside for calls under way, counted as spent until an answer tells otherwise.
    set_aside: u64,
    /// What calls cost whose answers told nothing, and when they ended.
    untold: VecDeque<(Instant, u64)>,
    /// When the first answer of this window came.
    since: Instant,
    resets: Instant,
}

impl Pacer {
    /// The pace that these limits want; at most so many calls at once.
    pub fn new(limits: Limits, at_once: usize) -> Self {
        Self {
            limits,
            at_once,
            under_way: 0,
            refusals: 0,
            not_before: None,
            next_write: None,
            budgets: BTreeMap::new(),
            costs: BTreeMap::new(),
            spans: [limits.points, limits.content].into_iter().flatten().map(Span::new).collect(),
        }
    }

    /// Whether as many calls are under way as may be.
    pub fn is_full(&self) -> bool {
        self.under_way >= self.at_once
    }

    /// Whether writes go one at a time.
    pub fn spaces_writes(&self) -> bool {
        !self.limits.writes_apart.is_zero()
    }

    /// How long until a write may go, as far as it depends on the write before it; `None` for at once.
    pub fn wait_to_write(&self, now: Instant) -> Option<Duration> {
        until(self.next_write?, now)
    }

    /// How long a call has to wait for the system's limits; `None` for not at all.
    ///
    /// Of each budget the last part is left to those who are more urgent: `low` leaves a fifth, `normal` a tenth, `high` a
    /// twentieth. So a sweep cannot use up what a person's edit needs; it has its share again when the budget is whole.
    pub fn wait(&self, need: &Need, now: Instant) -> Option<Duration> {
        let held = self.not_before.and_then(|at| until(at, now));
        let apart = if need.writes { self.wait_to_write(now) } else { None };
        let budget = |name: Name| self.budgets.get(&name)?.wait(need.lane, self.cost(name.0, need.class), now);
        let budgets = names(need).filter_map(budget).max();
        let spans = self.spans.iter().filter_map(|span| span.wait(need, now)).max();
        [held, apart, budgets, spans].into_iter().flatten().max()
    }

    /// A call goes out.
    pub fn begin(&mut self, need: &Need, now: Instant) -> Drawn {
        self.spans.iter_mut().for_each(|span| span.take(need, now));
        let costs: Vec<_> = names(need).map(|name| (name, self.cost(name.0, need.class))).collect();
        for (name, cost) in &costs {
            if let Some(budget) = self.budgets.get_mut(name) {
                budget.renew(now);
                budget.set_aside += cost;
            }
        }
        self.under_way += 1;
        Drawn { began: now, need: *need, costs }
    }

    /// A call has ended. How long to wait, when it was turned away.
    pub fn end(&mut self, drawn: &Drawn, ended: Ended<'_>, now: Instant) -> Option<Duration> {
        self.under_way = self.under_way.saturating_sub(1);
        let sent = !matches!(ended, Ended::Unsent);
        let limit = if let Ended::Answered(limit) = ended { Some(limit) } else { None };
        for (name, cost) in &drawn.costs {
            let Some(budget) = self.budgets.get_mut(name) else { continue };
            budget.set_aside = budget.set_aside.saturating_sub(*cost);
            let told = limit.is_some_and(|limit| limit.budgets.iter().any(|standing| standing.budget == name.0));
            if sent && !told {
                budget.remaining = budget.remaining.saturating_sub(*cost);
                while budget.untold.pop_front_if(|(ended, _)| *ended + LONGEST_CALL < now).is_some() {}
                budget.untold.push_back((now, *cost));
            }
        }
        self.spans.iter_mut().for_each(|span| span.end(&drawn.need, sent, now));
        if sent && drawn.need.writes {
            self.next_write = Some(now + self.limits.writes_apart);
        }
        let limit = limit?;
        for standing in &limit.budgets {
            self.saw(drawn, standing, now);
        }
        let Some(refused) = limit.refused else {
            self.refusals = 0;
            return None;
        };
        self.refusals = self.refusals.saturating_add(1);
        let grown = self.limits.unnamed_wait.saturating_mul(1 << (self.refusals - 1).min(16));
        let wait = refused.wait.unwrap_or(grown).min(LONGEST);
        if refused.all {
            self.not_before = Some(self.not_before.map_or(now + wait, |held| held.max(now + wait)));
        }
        Some(wait)
    }

    fn saw(&mut self, drawn: &Drawn, standing: &Standing, now: Instant) {
        let name = (standing.budget, if standing.by_class { drawn.need.class } else { "" });
        if let Some(cost) = standing.cost {
            let most = self.costs.entry((standing.budget, drawn.need.class)).or_default();
            *most = cost.max(*most);
        }
        let resets = now + standing.resets_in.min(LONGEST);
        let Some(budget) = self.budgets.get_mut(&name) else {
            let (limit, remaining) = (standing.limit, standing.remaining);
            self.budgets
                .insert(name, Budget { limit, remaining, set_aside: 0, untold: VecDeque::new(), since: now, resets });
            return;
        };
        // The answer does not count what ended untold while it was on its way.
        let untold = budget.untold.iter().filter(|(ended, _)| *ended >= drawn.began).map(|(_, cost)| cost).sum();
        let remaining = standing.remaining.saturating_sub(untold);
        let apart = resets.max(budget.resets) - resets.min(budget.resets);
        if apart < SAME_RESET && now < budget.resets {
            // Answers overtake each other: within a window only the least of them is to be believed.
            budget.remaining = budget.remaining.min(remaining);
        } else if drawn.began >= budget.since || resets > budget.resets {
            (budget.remaining, budget.resets, budget.since) = (remaining, resets, now);
        }
        budget.limit = standing.limit;
    }

    fn cost(&self, budget: &'static str, class: &'static str) -> u64 {
        self.costs.get(&(budget, class)).copied().unwrap_or(1).max(1)
    }
}

impl Span {
    fn new(points: Points) -> Self {
        Self { points, spent: VecDeque::new(), taken: 0 }
    }

    fn cost(&self, need: &Need) -> u64 {
        let Points { read, write, content, .. } = self.points;
        if need.makes_content {
            content
        } else if need.writes {
            write
        } else {
            read
        }
    }

    fn wait(&self, need: &Need, now: Instant) -> Option<Duration> {
        let (most, cost) = (self.points.most, self.cost(need));
        if cost == 0 {
            return None;
        }
        let room = most.saturating_sub(kept_back(most, need.lane)).max(cost);
        let (mut taken_then, mut at) = (self.taken + cost, now);
        // The oldest go first; those of calls under way have not begun to age.
        let mut oldest = self.spent.iter();
        while taken_then > room {
            let Some((over, spent)) = oldest.next() else { return Some(UNDER_WAY) };
            taken_then -= spent;
            at = *over;
        }
        until(at, now)
    }

    fn take(&mut self, need: &Need, now: Instant) {
        while let Some((_, spent)) = self.spent.pop_front_if(|(over, _)| *over <= now) {
            self.taken = self.taken.saturating_sub(spent);
        }
        self.taken += self.cost(need);
    }

    fn end(&mut self, need: &Need, sent: bool, now: Instant) {
        let cost = self.cost(need);
        if !sent {
            self.taken = self.taken.saturating_sub(cost);
        } else if cost > 0 {
            // Counted from the end: the system counts from some moment of the call.
            self.spent.push_back((now + self.points.span, cost));
        }
    }
}

impl Budget {
    fn wait(&self, lane: Lane, cost: u64, now: Instant) -> Option<Duration> {
        let wait = until(self.resets, now)?;
        let room = self.limit.saturating_sub(kept_back(self.limit, lane));
        let free = self.remaining.saturating_sub(self.set_aside).saturating_sub(kept_back(self.limit, lane));
        // Whatever costs more than there ever is goes when the budget is whole.
        (free < cost.min(room).max(1)).then_some(wait)
    }

    /// After its reset it is whole, until an answer tells more.
    fn renew(&mut self, now: Instant) {
        if self.resets <= now {
            self.remaining = self.limit;
        }
    }
}

/// What a lane leaves of a whole to those who are more urgent.
fn kept_back(whole: u64, lane: Lane) -> u64 {
    let percent = match lane {
        Lane::Critical => 0,
        Lane::High => 5,
        Lane::Normal => 10,
        Lane::Low => 20,
    };
    whole * percent / 100
}

/// The budgets of a call: those of all calls, and those of its class.
fn names(need: &Need) -> impl Iterator<Item = Name> {
    let class = need.class;
    need.budgets.iter().flat_map(move |budget| [(*budget, ""), (*budget, class)])
}

fn until(at: Instant, now: Instant) -> Option<Duration> {
    at.checked_duration_since(now).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests;
