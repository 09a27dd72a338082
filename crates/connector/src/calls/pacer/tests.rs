use super::super::limits::{self, Refused};
use super::*;

mod strict;

const SECOND: Duration = Duration::from_secs(1);

fn need(lane: Lane, class: &'static str) -> Need {
    let writes = matches!(class, "write" | "redeliver");
    Need { lane, class, budgets: &["core", "points"], writes, makes_content: class == "write" }
}

fn urgent() -> Need {
    need(Lane::Critical, "read")
}

fn standing(remaining: u64, limit: u64, resets_in: u64) -> Standing {
    let resets_in = Duration::from_secs(resets_in);
    Standing { budget: "core", by_class: false, remaining, limit, resets_in, cost: None }
}

fn told(standing: Standing) -> Limit {
    Limit { refused: None, budgets: vec![standing] }
}

fn refused(wait: Option<Duration>, all: bool) -> Limit {
    Limit { refused: Some(Refused { wait, all }), budgets: Vec::new() }
}

/// A pace that has had one answer.
fn pacer_told(limit: &Limit, now: Instant) -> Pacer {
    let mut pacer = Pacer::new(limits::STANDARD, 8);
    assert_eq!(call(&mut pacer, limit, now), None);
    pacer
}

/// A call that goes and is answered at once.
fn call(pacer: &mut Pacer, limit: &Limit, now: Instant) -> Option<Duration> {
    let drawn = pacer.begin(&urgent(), now);
    pacer.end(&drawn, Ended::Answered(limit), now)
}

#[test]
fn an_empty_budget_holds_the_next_call_until_the_reset() {
    let now = Instant::now();
    let pacer = pacer_told(&told(standing(0, 100, 9)), now);
    assert_eq!(pacer.wait(&urgent(), now), Some(9 * SECOND), "the call itself went through");
    assert_eq!(pacer.wait(&urgent(), now + 9 * SECOND), None);
}

#[test]
fn refusals_without_a_wait_back_off_further_each_time() {
    let (mut pacer, now) = (Pacer::new(limits::STANDARD, 8), Instant::now());
    let waits: Vec<_> = (0..3).filter_map(|_| call(&mut pacer, &refused(None, true), now)).collect();
    assert_eq!(waits, [5, 10, 20].map(Duration::from_secs));
    assert_eq!(pacer.wait(&urgent(), now), Some(20 * SECOND));
    call(&mut pacer, &Limit::default(), now);
    assert_eq!(
        call(&mut pacer, &refused(None, true), now),
        Some(5 * SECOND),
        "a call that went through ends the growth"
    );
}

#[test]
fn a_budget_that_is_used_up_leaves_the_others_alone_and_a_secondary_limit_none() {
    let now = Instant::now();
    let other = Need { budgets: &["graphql"], ..urgent() };
    let mut pacer = Pacer::new(limits::STANDARD, 8);
    let used_up = Limit { budgets: vec![standing(0, 100, 60)], ..refused(Some(60 * SECOND), false) };
    assert_eq!(call(&mut pacer, &used_up, now), Some(60 * SECOND));
    assert_eq!((pacer.wait(&urgent(), now), pacer.wait(&other, now)), (Some(60 * SECOND), None));
    call(&mut pacer, &refused(Some(7 * SECOND), true), now);
    assert_eq!(pacer.wait(&other, now), Some(7 * SECOND));
}

#[test]
fn calls_under_way_have_their_part_of_the_budget_set_aside() {
    let now = Instant::now();
    let mut pacer = pacer_told(&told(standing(2, 100, 60)), now);
    let first = pacer.begin(&urgent(), now);
    assert_eq!(pacer.wait(&urgent(), now), None);
    let second = pacer.begin(&urgent(), now);
    assert_eq!(pacer.wait(&urgent(), now), Some(60 * SECOND));
    // One was never sent, the other cost nothing, as an answer with 304 does.
    pacer.end(&first, Ended::Unsent, now);
    pacer.end(&second, Ended::Answered(&told(standing(2, 100, 60))), now);
    assert_eq!(pacer.begin(&urgent(), now).costs.len(), 4);
    assert_eq!(pacer.wait(&urgent(), now), None);
}

#[test]
fn answers_that_overtake_each_other_give_nothing_back() {
    let now = Instant::now();
    let mut pacer = pacer_told(&told(standing(12, 100, 60)), now);
    let (early, late) = (pacer.begin(&urgent(), now), pacer.begin(&urgent(), now));
    pacer.end(&late, Ended::Answered(&told(standing(1, 100, 60))), now);
    pacer.end(&early, Ended::Answered(&told(standing(2, 100, 60))), now);
    pacer.begin(&urgent(), now);
    assert!(pacer.wait(&urgent(), now).is_some(), "one was left, whatever the older answer says");
}

#[test]
fn an_answer_of_the_last_window_does_not_spoil_the_new_one() {
    let now = Instant::now();
    let mut pacer = pacer_told(&told(standing(5, 100, 10)), now);
    let old = pacer.begin(&urgent(), now);
    let later = now + 11 * SECOND;
    call(&mut pacer, &told(standing(99, 100, 60)), later);
    pacer.end(&old, Ended::Answered(&told(standing(0, 100, 0))), later);
    assert_eq!(pacer.wait(&urgent(), later), None);
}

#[test]
fn limits_that_were_made_tighter_are_believed() {
    let now = Instant::now();
    let mut pacer = pacer_told(&told(standing(4_000, 5_000, 3_000)), now);
    call(&mut pacer, &told(standing(0, 10, 5)), now);
    assert_eq!(pacer.wait(&urgent(), now), Some(5 * SECOND));
}

#[test]
fn the_last_part_of_a_budget_is_for_the_urgent() {
    let now = Instant::now();
    for (remaining, may) in [(21, [true; 4]), (20, [true, true, true, false]), (10, [true, true, false, false])] {
        let pacer = pacer_told(&told(standing(remaining, 100, 60)), now);
        assert_eq!(Lane::ALL.map(|lane| pacer.wait(&need(lane, "read"), now).is_none()), may, "{remaining} left");
    }
    let pacer = pacer_told(&told(standing(1, 100, 60)), now);
    assert_eq!(pacer.wait(&need(Lane::High, "read"), now), Some(60 * SECOND));
    assert_eq!(pacer.wait(&urgent(), now), None);
    assert_eq!(pacer.wait(&need(Lane::Low, "read"), now + 60 * SECOND), None, "a whole budget is for all");
}

#[test]
fn a_budget_of_one_class_holds_no_other() {
    let now = Instant::now();
    let endpoint = Standing { budget: "points", by_class: true, ..standing(0, 30, 60) };
    let pacer = pacer_told(&told(endpoint), now);
    assert_eq!(pacer.wait(&urgent(), now), Some(60 * SECOND), "the class whose answer told of it");
    assert_eq!(pacer.wait(&need(Lane::Critical, "write"), now), None);
}

#[test]
fn points_are_set_aside_as_calls_of_that_class_have_cost() {
    let now = Instant::now();
    let points = |remaining| Standing { budget: "points", cost: Some(60), ..standing(remaining, 1_000, 60) };
    let mut pacer = pacer_told(&told(points(100)), now);
    pacer.begin(&urgent(), now);
    assert!(pacer.wait(&urgent(), now).is_some(), "there are not twice 60 points left");
    assert_eq!(pacer.wait(&need(Lane::Critical, "token"), now), None, "of another class nothing is known");
}

#[test]
fn what_costs_more_than_a_budget_has_goes_when_it_is_whole() {
    let now = Instant::now();
    let points = Standing { budget: "points", cost: Some(5_000), ..standing(1_000, 1_000, 60) };
    let pacer = pacer_told(&told(points), now);
    assert_eq!(pacer.wait(&urgent(), now), None);
}

#[test]
fn writes_are_apart_and_reads_go_between() {
    let now = Instant::now();
    let mut pacer = Pacer::new(limits::GITHUB, 8);
    let write = need(Lane::High, "write");
    let drawn = pacer.begin(&write, now);
    let answered = now + 3 * SECOND;
    pacer.end(&drawn, Ended::Answered(&Limit::default()), answered);
    assert_eq!(pacer.wait(&write, answered), Some(SECOND), "from the answer on");
    assert_eq!(pacer.wait(&urgent(), answered), None);
    assert_eq!(pacer.wait(&write, answered + SECOND), None);
}

#[test]
fn points_that_no_header_tells_of_are_counted_here() {
    let now = Instant::now();
    let points = Points { span: 60 * SECOND, most: 12, read: 1, write: 5, content: 5 };
    let limits = Limits { points: Some(points), ..limits::STANDARD };
    let mut pacer = Pacer::new(limits, 8);
    for second in 0..2 {
        let at = now + second * SECOND;
        let drawn = pacer.begin(&need(Lane::Critical, "write"), at);
        pacer.end(&drawn, Ended::Unanswered, at);
    }
    let at = now + 2 * SECOND;
    assert_eq!(pacer.wait(&urgent(), at), None);
    assert_eq!(pacer.wait(&need(Lane::Critical, "write"), at), Some(58 * SECOND), "until the first is forgotten");
    pacer.begin(&urgent(), at);
    pacer.begin(&urgent(), at);
    assert_eq!(pacer.wait(&urgent(), at), Some(58 * SECOND));
}

#[test]
fn content_has_an_hour_of_its_own_whose_last_part_is_for_the_urgent() {
    let (mut pacer, now) = (Pacer::new(limits::GITHUB, 8), Instant::now());
    let write = |lane| need(lane, "write");
    // As fast as the other limits let it.
    for written in 0..400 {
        let at = now + SECOND * written;
        assert_eq!(pacer.wait(&write(Lane::Low), at), None, "after {written} writes");
        let drawn = pacer.begin(&write(Lane::Low), at);
        pacer.end(&drawn, Ended::Unanswered, at);
    }
    let at = now + 400 * SECOND;
    assert_eq!(pacer.wait(&write(Lane::Low), at), Some(3_200 * SECOND), "until the first is an hour ago");
    assert_eq!(pacer.wait(&write(Lane::Normal), at), None, "a fifth is left, of which a sweep takes nothing");
    assert_eq!(pacer.wait(&need(Lane::Low, "read"), at), None, "reading makes no content");
    assert_eq!(pacer.wait(&need(Lane::Low, "redeliver"), at), None, "nor does having a webhook sent again");
    let drawn = pacer.begin(&write(Lane::Normal), at);
    pacer.end(&drawn, Ended::Unsent, at);
    assert_eq!(pacer.wait(&write(Lane::Low), now + 3_600 * SECOND), None);
}

#[test]
fn writes_take_turns_only_where_the_system_wants_them_apart() {
    let now = Instant::now();
    for (limits, apart) in [(limits::STANDARD, false), (limits::LINEAR, false), (limits::GITHUB, true)] {
        let mut pacer = Pacer::new(limits, 8);
        assert_eq!(pacer.spaces_writes(), apart);
        let write = need(Lane::Critical, "write");
        let drawn = pacer.begin(&write, now);
        pacer.end(&drawn, Ended::Unanswered, now);
        assert_eq!(pacer.wait_to_write(now).is_some(), apart);
        assert_eq!(pacer.wait(&urgent(), now), None, "a read needs not wait for it");
    }
}

#[test]
fn it_is_full_while_as_many_calls_are_under_way_as_may_be() {
    let (mut pacer, now) = (Pacer::new(limits::STANDARD, 2), Instant::now());
    assert!(!pacer.is_full());
    let drawn: Vec<_> = (0..2).map(|_| pacer.begin(&urgent(), now)).collect();
    assert!(pacer.is_full());
    pacer.end(&drawn[0], Ended::Unsent, now);
    assert!(!pacer.is_full());
}

#[test]
fn the_last_point_of_a_span_may_be_spent_and_the_next_comes_when_the_oldest_is_over() {
    let (mut pacer, now) = (Pacer::new(limits::GITHUB, 1_000), Instant::now());
    for spent in 0..900 {
        let at = now + SECOND * (spent / 450);
        assert_eq!(pacer.wait(&urgent(), at), None, "after {spent} points");
        let drawn = pacer.begin(&urgent(), at);
        pacer.end(&drawn, Ended::Unanswered, at);
    }
    assert_eq!(pacer.wait(&urgent(), now + SECOND), Some(59 * SECOND));
    assert_eq!(pacer.wait(&urgent(), now + 60 * SECOND), None);
}
