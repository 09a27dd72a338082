//! The pace against a server that keeps its limits strictly: it never has to say so, once it has told what they are.

use super::*;

const MS: Duration = Duration::from_millis(1);

/// A small generator of numbers, the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A server with a budget for each window, and limits on spans of time that it tells nobody of.
struct Server {
    limit: u64,
    window: Duration,
    used: u64,
    resets: Instant,
    /// Each with the beginning of the span and what was spent in it.
    spans: [(Points, Instant, u64); 2],
}

impl Server {
    /// What it says to a call that reaches it now.
    fn answers(&mut self, need: &Need, free: bool, now: Instant) -> Limit {
        if now >= self.resets {
            (self.used, self.resets) = (0, now + self.window);
        }
        for (points, began, spent) in &mut self.spans {
            if now >= *began + points.span {
                (*began, *spent) = (now, 0);
            }
        }
        let cost = |points: &Points| if need.writes { points.content } else { points.read };
        if self.used >= self.limit || self.spans.iter().any(|(points, _, spent)| spent + cost(points) > points.most) {
            return refused(Some(SECOND), true);
        }
        self.spans.iter_mut().for_each(|(points, _, spent)| *spent += cost(points));
        self.used += u64::from(!free);
        // As the readers do it: a second more, against clocks that differ and resets that are rounded.
        let resets_in = self.resets - now + SECOND;
        told(Standing { resets_in, ..standing(self.limit - self.used, self.limit, 0) })
    }
}

/// What has become of a call's answer.
enum Answer {
    Open,
    Lost,
    Given(Limit),
}

struct Call {
    drawn: Drawn,
    /// When it reaches the server, and when its answer is there.
    arrives: Instant,
    ends: Instant,
    answer: Answer,
    free: bool,
}

/// One run; how many calls went in it, and the refusals after the first answer.
fn run(seed: u64) -> (u64, u64) {
    let mut dice = Dice(seed);
    let start = Instant::now();
    let points = Points { span: 60 * SECOND, most: 60 + dice.below(200), read: 1, write: 5, content: 5 };
    let content = Points { span: 90 * SECOND, ..Points::content_an_hour(5 + dice.below(20)) };
    let window = Duration::from_secs(5 + dice.below(60));
    let spans = [(points, start, 0), (content, start, 0)];
    let mut server = Server { limit: 20 + dice.below(100), window, used: 0, resets: start, spans };
    let limits = Limits { points: Some(points), content: Some(content), budgets: &["core"], ..limits::STANDARD };
    let mut pacer = Pacer::new(limits, 1 + usize::try_from(dice.below(8)).unwrap());
    let (mut under_way, mut went, mut refusals, mut warm): (Vec<Call>, _, _, _) = (Vec::new(), 0, 0, false);
    for step in 0..30_000_u32 {
        let now = start + step * 10 * MS;
        under_way.sort_by_key(|call| call.arrives);
        for call in &mut under_way {
            if matches!(call.answer, Answer::Open) && call.arrives <= now {
                let answer = server.answers(&call.drawn.need, call.free, now);
                refusals += u64::from(warm && answer.refused.is_some());
                // One in fifty answers is lost on its way.
                call.answer = if dice.below(50) > 0 { Answer::Given(answer) } else { Answer::Lost };
            }
        }
        let (ended, left): (Vec<_>, Vec<_>) =
            under_way.into_iter().partition(|call| call.ends <= now && !matches!(call.answer, Answer::Open));
        under_way = left;
        for Call { drawn, answer, .. } in ended {
            let ended = if let Answer::Given(limit) = &answer { Ended::Answered(limit) } else { Ended::Unanswered };
            warm |= matches!(ended, Ended::Answered(_));
            pacer.end(&drawn, ended, now);
        }
        let lane = Lane::ALL[usize::try_from(dice.below(4)).unwrap()];
        let class = if dice.below(3) == 0 { "write" } else { "read" };
        let need = Need { budgets: &["core"], ..need(lane, class) };
        // Until it has been told anything, one call at a time.
        let room = !pacer.is_full() && (warm || under_way.is_empty());
        if room && pacer.wait(&need, now).is_none() {
            let arrives = now + MS * u32::try_from(dice.below(400)).unwrap();
            let ends = arrives + MS * u32::try_from(dice.below(400)).unwrap();
            let free = !need.writes && dice.below(4) == 0;
            under_way.push(Call { drawn: pacer.begin(&need, now), arrives, ends, answer: Answer::Open, free });
            went += 1;
        }
    }
    (went, refusals)
}

#[test]
fn a_strict_server_never_has_to_refuse() {
    let mut all = 0;
    for seed in 0..40 {
        let (went, refusals) = run(seed);
        assert_eq!(refusals, 0, "seed {seed}: {refusals} of {went} calls were refused");
        assert!(went > 100, "seed {seed}: only {went} calls went in five minutes");
        all += went;
    }
    println!("{all} calls");
}
