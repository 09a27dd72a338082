//! Who wins a conflict: every pair of statuses under every strategy, against the sync model's own words.

use std::collections::BTreeSet;

use model::{Lifecycle, LifecycleName, Lifecycles, Policy, RowKind, Status, Strategy, System, Verdict};

use crate::scene::{Scene, policy};

const TASK: &str = "postgres/task/1";
const CARD: &str = "board/card/1";
const BUG: &str = "github/issue/acme/web#1";
const PULL: &str = "github/pull_request/acme/web#2";

/// The words of `work`, where what is blocked or has ended stays so.
const TABLE: &str = "
[lifecycle.work]
statuses = ['backlog', 'todo', 'in_progress', 'blocked', 'in_review', 'done', 'canceled', 'failed']
terminal = ['done', 'canceled', 'failed']
initial = 'todo'
[lifecycle.work.transitions]
backlog = ['todo']
todo = ['backlog', 'in_progress']
in_progress = ['blocked', 'in_review', 'canceled']
in_review = ['in_progress', 'done']
";

/// A table, and a board that speaks the same words and comes after it.
fn table_and_board(strategy: Strategy) -> Policy {
    let mut lifecycles = Lifecycles::built_in().unwrap();
    lifecycles.add_toml(TABLE).unwrap();
    let mut policy = policy();
    let words = include_str!("../../../services/connector-postgres/mapping.toml");
    for text in [words, &words.replace("postgres", "board").replace("\"task\"", "\"card\"")] {
        policy.mappings.add_toml(text, &lifecycles).unwrap();
    }
    policy.lifecycles = lifecycles;
    policy.priorities.insert(System::new("board").unwrap(), 9);
    policy.strategy = strategy;
    policy
}

/// What the table allows in any number of steps.
fn leads_to(work: &Lifecycle, from: &Status, to: &Status) -> bool {
    let mut reached = BTreeSet::from([from]);
    for _ in work.statuses() {
        let next: Vec<&Status> =
            work.statuses().iter().filter(|to| reached.iter().any(|from| work.allows(from, to))).collect();
        reached.extend(next);
    }
    reached.contains(to)
}

/// What a merge makes of two statuses, of which the one came first; none where a person must decide.
fn merged<'a>(work: &Lifecycle, first: &'a Status, second: &'a Status, preferred: &'a Status) -> Option<&'a Status> {
    let (behind, ahead) = if work.rank(first) < work.rank(second) { (first, second) } else { (second, first) };
    if work.is_terminal(first) && work.is_terminal(second) {
        return None;
    }
    Some(if leads_to(work, behind, ahead) { ahead } else { preferred })
}

#[test]
fn a_merge_takes_the_further_along_where_one_leads_to_the_other() {
    let all = table_and_board(Strategy::Merge).lifecycles;
    let work = all.get(&LifecycleName::new("work").unwrap()).unwrap();
    for (first, second) in work.statuses().iter().flat_map(|one| work.statuses().iter().map(move |other| (one, other)))
    {
        let Some(base) = ["todo", "backlog", "in_progress"]
            .into_iter()
            .find(|base| ![first, second].iter().any(|edit| edit.as_str() == *base))
        else {
            continue;
        };
        if first == second {
            continue;
        }
        // Whoever comes first, the table comes before the board.
        for (one, other, preferred) in [(TASK, CARD, first), (CARD, TASK, second)] {
            let mut scene = Scene::new(table_and_board(Strategy::Merge), &[(one, base), (other, base)]);
            assert_eq!(scene.edit(one, first.as_str(), 10), Verdict::FastForward);
            assert_eq!(scene.edit(other, second.as_str(), 10), Verdict::Conflict);
            let wanted = merged(work, first, second, preferred);
            let what = format!("{one} {first}, {other} {second}");
            assert_eq!(scene.group.item.held.is_some(), wanted.is_none(), "{what}");
            assert_eq!(scene.status(), wanted.unwrap_or(first).as_str(), "{what}");
        }
    }
}

#[test]
fn the_later_edit_wins_and_within_the_clocks_skew_the_system_that_comes_first() {
    let skew = table_and_board(Strategy::TimestampBased).clock_skew_ms;
    for (one, other, within) in [(TASK, CARD, "blocked"), (CARD, TASK, "in_review")] {
        for (first, second, winner) in [
            (10_000, 10_000 + skew + 1, "in_review"),
            (10_000, 10_000 + skew, within),
            (10_000, 10_000, within),
            (10_000 + skew, 10_000, within),
            (10_000 + skew + 1, 10_000, "blocked"),
        ] {
            let policy = table_and_board(Strategy::TimestampBased);
            let mut scene = Scene::new(policy, &[(one, "in_progress"), (other, "in_progress")]);
            scene.edit(one, "blocked", first);
            assert_eq!(scene.edit(other, "in_review", second), Verdict::Conflict);
            assert_eq!(scene.status(), winner, "{one} at {first}, {other} at {second}");
        }
    }
}

#[test]
fn of_two_records_of_one_system_the_later_edit_wins() {
    for (at, winner) in [(9, "done"), (10, "canceled"), (11, "canceled")] {
        let mut scene = Scene::new(policy(), &[(TASK, "in_review"), (BUG, "open"), (PULL, "open")]);
        assert_eq!(scene.edit(PULL, "merged", 10), Verdict::FastForward);
        assert_eq!(scene.edit(BUG, "closed/not_planned", at), Verdict::Conflict);
        assert_eq!(scene.status(), winner, "at {at}");
    }
}

#[test]
fn the_losing_side_is_in_the_history_and_whatever_the_table_does_not_allow_is_marked() {
    let mut scene = Scene::new(table_and_board(Strategy::PriorityBased), &[(TASK, "todo"), (CARD, "todo")]);
    scene.edit(TASK, "in_progress", 10);
    let regular = scene.last.as_ref().unwrap().rows[0].clone();
    assert_eq!((regular.kind, regular.irregular), (RowKind::Changed, false));
    scene.edit(CARD, "done", 10);
    let lost = scene.last.as_ref().unwrap().rows[0].clone();
    assert_eq!((lost.kind, lost.to.as_str(), lost.irregular), (RowKind::Lost, "done", false), "it was not taken");
    assert_eq!(lost.conflict, Some(scene.last.as_ref().unwrap().conflicts[0].id));
    scene.edit(TASK, "done", 11);
    let irregular = scene.last.as_ref().unwrap().rows[0].clone();
    assert_eq!(
        (irregular.kind, irregular.irregular),
        (RowKind::Changed, true),
        "in progress does not lead to done here"
    );
}
