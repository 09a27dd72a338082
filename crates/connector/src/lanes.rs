//! Who goes next among those that wait: the more urgent more often, and each within a bound.
//!
//! Pure.

use std::collections::VecDeque;

use Lane::{Critical as C, High as H, Low as L, Normal as N};
use model::Lane;

/// Whose turn it is, pick by pick, and then from the beginning: of fifteen, eight are `critical`'s, four `high`'s, two
/// `normal`'s and one is `low`'s.
const WHEEL: [Lane; 15] = [C, H, C, N, C, H, C, L, C, H, C, N, C, H, C];

/// Those that wait, by lane and in the order in which they came.
///
/// **No lane starves.** Whoever is the first of its lane that may go is picked at the latest with the 2nd (`critical`), 4th
/// (`high`), 8th (`normal`) or 15th (`low`) pick from then on, whatever else comes. So with `k` of its own
/// lane before it, it waits for at most `k + 1` times as many picks. A turn that its lane cannot use goes to the most urgent
/// that may go.
#[derive(Debug)]
pub struct Lanes<T> {
    waiting: [VecDeque<T>; 4],
    turn: usize,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { waiting: Default::default(), turn: 0 }
    }
}

impl<T> Lanes<T> {
    /// Puts one at the end of its lane.
    pub fn push(&mut self, lane: Lane, one: T) {
        self.waiting[place(lane)].push_back(one);
    }

    /// Takes the next of those that `may` go; `None` when none may.
    pub fn pick(&mut self, mut may: impl FnMut(&T) -> bool) -> Option<T> {
        let on_turn = WHEEL[self.turn];
        let picked = std::iter::once(on_turn).chain(Lane::ALL).find_map(|lane| {
            let waiting = &mut self.waiting[place(lane)];
            let at = waiting.iter().position(&mut may)?;
            waiting.remove(at)
        })?;
        self.turn = (self.turn + 1) % WHEEL.len();
        Some(picked)
    }

    /// Takes out the one that `is` it, wherever it waits.
    pub fn remove(&mut self, is: impl Fn(&T) -> bool) -> Option<T> {
        self.waiting.iter_mut().find_map(|waiting| {
            let at = waiting.iter().position(&is)?;
            waiting.remove(at)
        })
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.iter().all(VecDeque::is_empty)
    }
}

fn place(lane: Lane) -> usize {
    match lane {
        Lane::Critical => 0,
        Lane::High => 1,
        Lane::Normal => 2,
        Lane::Low => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With which pick at the latest the first of a lane goes.
    fn bound(lane: Lane) -> usize {
        [2, 4, 8, 15][place(lane)]
    }

    /// A small generator of numbers, the same on every machine.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % end
        }

        fn lane(&mut self) -> Lane {
            Lane::ALL[usize::try_from(self.below(4)).unwrap()]
        }
    }

    #[test]
    fn while_all_wait_each_lane_has_its_share() {
        let mut lanes = Lanes::default();
        for lane in Lane::ALL.into_iter().cycle().take(400) {
            lanes.push(lane, lane);
        }
        let picked: Vec<Lane> = (0..75).filter_map(|_| lanes.pick(|_| true)).collect();
        let count = |lane| picked.iter().filter(|&&one| one == lane).count();
        assert_eq!(Lane::ALL.map(count), [40, 20, 10, 5]);
    }

    #[test]
    fn what_a_lane_cannot_use_goes_to_the_most_urgent() {
        let mut lanes = Lanes::default();
        for lane in [Lane::Low, Lane::High].into_iter().cycle().take(60) {
            lanes.push(lane, lane);
        }
        let first: Vec<Lane> = (0..15).filter_map(|_| lanes.pick(|_| true)).collect();
        assert_eq!(
            first.iter().filter(|&&lane| lane == Lane::Low).count(),
            1,
            "a person's edit before a sweep's repair"
        );
        assert_eq!(first[0], Lane::High);
    }

    /// Random arrivals, and some that may not go for a while: the first of each lane that may go is never kept longer than the
    /// bound, each lane keeps its order, and nobody is lost.
    #[test]
    fn no_lane_starves() {
        for seed in 0..300 {
            let mut dice = Dice(seed);
            let mut lanes: Lanes<(Lane, u64)> = Lanes::default();
            let mut waiting: Vec<(Lane, u64)> = Vec::new();
            let mut names = 0;
            // How many picks the first of each lane that may go has seen go by.
            let mut kept: [(Option<u64>, usize); 4] = Default::default();
            for step in 0..600_u64 {
                for _ in 0..dice.below(3) {
                    let one = (dice.lane(), names);
                    names += 1;
                    lanes.push(one.0, one);
                    waiting.push(one);
                }
                // A limit that keeps some of them back for a hundred steps or so, such as an empty budget.
                let held = |one: &(Lane, u64)| one.1 % 3 == 1 && step % 200 < 100;
                let firsts = Lane::ALL.map(|lane| waiting.iter().find(|one| one.0 == lane && !held(one)).copied());
                let Some(picked) = lanes.pick(|one| !held(one)) else {
                    assert!(waiting.iter().all(held), "seed {seed}, step {step}: somebody could go and nobody did");
                    continue;
                };
                assert!(firsts.contains(&Some(picked)), "seed {seed}, step {step}: out of its lane's order");
                for (lane, first) in Lane::ALL.into_iter().zip(firsts) {
                    let (who, seen) = &mut kept[place(lane)];
                    let name = first.map(|(_, name)| name);
                    *seen = if name.is_some() && *who == name { *seen + 1 } else { 1 };
                    *who = name;
                    let bound = bound(lane);
                    assert!(
                        name.is_none() || *seen <= bound,
                        "seed {seed}, step {step}: {lane:?} kept for {seen} picks"
                    );
                }
                let at = waiting.iter().position(|one| *one == picked).unwrap();
                waiting.remove(at);
            }
            while let Some(picked) = lanes.pick(|_| true) {
                waiting.retain(|one| *one != picked);
            }
            assert!(waiting.is_empty() && lanes.is_empty(), "seed {seed}: {waiting:?} were lost");
        }
    }
}
