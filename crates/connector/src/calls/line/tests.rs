use model::Lane;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

use super::super::limits::{self, Refused};
use super::*;

fn line(limits: limits::Limits, at_once: usize) -> Arc<Line> {
    Line::new("fake", Metrics::new(), Pacer::new(limits, at_once))
}

fn need(lane: Lane, writes: bool) -> Need {
    Need { lane, class: if writes { "write" } else { "read" }, budgets: &[], writes, makes_content: writes }
}

fn waiting(line: &Line) -> [i64; 4] {
    Lane::ALL.map(|lane| line.metrics.pacer_waiting.with_label_values(&["fake", lane.as_str()]).get())
}

#[tokio::test(start_paused = true)]
async fn a_persons_edit_goes_before_the_sweeps_that_came_first() {
    let line = line(limits::STANDARD, 1);
    let asking = Asking::default();
    let first = line.wait(need(Lane::Low, false), Wants::Call, &asking).await.unwrap();
    let (went, mut order) = mpsc::unbounded_channel();
    for lane in [Lane::Low, Lane::Low, Lane::Normal, Lane::High] {
        let (line, went) = (Arc::clone(&line), went.clone());
        tokio::spawn(async move {
            let _place = line.wait(need(lane, false), Wants::Call, &Asking::default()).await.unwrap();
            went.send(lane).unwrap();
        });
        yield_now().await;
    }
    drop(went);
    assert_eq!(waiting(&line), [0, 1, 1, 2]);
    drop(first);
    let mut seen = Vec::new();
    while let Some(lane) = order.recv().await {
        seen.push(lane);
    }
    assert_eq!(seen, [Lane::High, Lane::Normal, Lane::Low, Lane::Low]);
    assert_eq!(waiting(&line), [0; 4]);
    assert_eq!(line.metrics.pacer_granted_total.with_label_values(&["fake", "low"]).get(), 3);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_not_wanted_any_more_leaves_the_line() {
    let line = line(limits::STANDARD, 1);
    let held = line.wait(need(Lane::High, false), Wants::Call, &Asking::default()).await.unwrap();
    let ends = CancellationToken::new();
    let asking = Asking { ends: ends.clone(), ..Asking::default() };
    let waits = line.wait(need(Lane::High, false), Wants::Call, &asking);
    let (left, ()) = tokio::join!(waits, async { ends.cancel() });
    assert!(matches!(left, Err(Failure::Limited { retry_after: Duration::ZERO, .. })));
    assert!(line.state().waiting.is_empty());
    drop(held);
    line.wait(need(Lane::Low, false), Wants::Call, &Asking::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_to_all_who_wait() {
    let line = line(limits::STANDARD, 1);
    let asking = Asking::default();
    let mut place = line.wait(need(Lane::High, false), Wants::Call, &asking).await.unwrap();
    place.sends();
    let minute = Duration::from_mins(1);
    let refused = Limit { refused: Some(Refused { wait: Some(minute), all: true }), budgets: Vec::new() };
    let waits = line.wait(need(Lane::High, false), Wants::Call, &asking);
    let (told, refused) = tokio::join!(waits, async {
        yield_now().await;
        place.answered(&refused)
    });
    assert_eq!(refused, Some(minute));
    assert!(matches!(told, Err(Failure::Limited { retry_after, .. }) if retry_after == minute));
    assert_eq!(line.metrics.pacer_refused_total.with_label_values(&["fake"]).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_short_wait_is_spent_in_the_line() {
    let line = line(limits::STANDARD, 8);
    let asking = Asking::default();
    let place = line.wait(need(Lane::High, false), Wants::Call, &asking).await.unwrap();
    let wait = Duration::from_secs(20);
    place.answered(&Limit { refused: Some(Refused { wait: Some(wait), all: true }), budgets: Vec::new() });
    let began = Instant::now();
    line.wait(need(Lane::Low, false), Wants::Call, &asking).await.unwrap();
    assert!(began.elapsed() >= wait);
}

#[tokio::test(start_paused = true)]
async fn one_has_the_turn_to_write_and_the_next_a_second_after_its_write() {
    let line = line(limits::GITHUB, 8);
    let asking = Asking::default();
    let write = need(Lane::High, true);
    let began = Instant::now();
    let (overlaps, second) = (Arc::new(Mutex::new(0)), Duration::from_secs(1));
    let all = (0..4).map(|_| async {
        let turn = line.wait(write, Wants::Turn, &asking).await.unwrap();
        *overlaps.lock().unwrap() += 1;
        assert_eq!(*overlaps.lock().unwrap(), 1);
        // What it reads first does not wait for a second to be over.
        let read = line.wait(need(Lane::High, false), Wants::Call, &asking).await.unwrap();
        assert!(read.answered(&Limit::default()).is_none());
        let mut place = line.wait(write, Wants::Call, &asking).await.unwrap();
        place.sends();
        tokio::time::sleep(second).await;
        place.answered(&Limit::default());
        *overlaps.lock().unwrap() -= 1;
        drop(turn);
    });
    futures_util::future::join_all(all).await;
    let took = began.elapsed();
    assert!((7 * second..8 * second).contains(&took), "four writes of a second each, a second apart: {took:?}");
}
